"""GRPO: Group Relative Policy Optimization (Shao et al. 2024, arXiv 2402.03300).

For each prompt q, G responses o_1 … o_G are sampled from π_old and scored r_1 … r_G.

(1) advantage  Â_{i,t} = (r_i − mean(r)) / (std(r) + δ)                      §4.1.2, outcome supervision
(2) ratio      ρ_{i,t} = π(o_{i,t} | q, o_{i,<t}) / π_old(o_{i,t} | q, o_{i,<t})
(3) loss       ℓ_{i,t} = −min(ρ_{i,t} Â_{i,t}, clip(ρ_{i,t}, 1 − ε_low, 1 + ε_high) Â_{i,t}) + β k3_{i,t}
(4) objective  L = 1/G Σ_i 1/|o_i| Σ_t ℓ_{i,t}                                eq. 3, averaged over prompts

Dr.GRPO (2503.20783) is (1) without the division and (4) with a constant in place of |o_i|.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from rlvr.algorithms.advantages import compared, group_centred, group_normalised
from rlvr.algorithms.algorithm import Algorithm, Credit, Scored
from rlvr.algorithms.settings import ClippedConfig, above, refuse_single


@dataclass
class GRPOConfig(ClippedConfig):
    """Defaults: the paper's, except β = 0 as in the study (the paper: 0.04)."""

    name: str = "grpo"
    reduction: str = "sequence_mean"
    """How (4) averages (verl, OpenRLHF: token_mean)."""
    divide_by_std: bool = True
    """Divide by the group's standard deviation in (1)."""
    std_epsilon: float = 1e-6
    """δ of (1) (verl: 1e-6, OpenRLHF: 1e-9, TRL: 1e-4)."""

    def __post_init__(self) -> None:
        """Refuse settings under which the equations mean nothing."""
        super().__post_init__()
        refuse_single(self, type(self).__name__.removesuffix("Config"))
        above(self, "", "std_epsilon", 0)

    def build(self) -> Algorithm:
        """Compose the algorithm from the numbered equations."""
        return Algorithm(
            **self.shared(),  # samples, β of (3), (4)
            advantage=partial(advantage, config=self),  # (1)
            policy_loss=self.clip_loss(),  # (2), (3)
        )


def advantage(scored: Scored, *, config: GRPOConfig) -> Credit:
    """Equation (1) for every response token."""
    relative = (
        partial(group_normalised, epsilon=config.std_epsilon) if config.divide_by_std else group_centred
    )
    group_relative = partial(relative, valid=scored.valid, group_size=scored.group_size)
    return Credit(compared(scored, group_relative, baseline_sees_kl=config.kl.baseline_sees_kl))
