"""GRPO: Group Relative Policy Optimization (Shao et al. 2024, arXiv 2402.03300).

For each prompt q, G responses o_1 … o_G are sampled from π_old and scored r_1 … r_G.

(1) advantage    Â_{i,t} = (r_i − mean(r)) / (std(r) + δ)              §4.1.2, outcome supervision
(2) ratio        ρ_{i,t} = π(o_{i,t} | q, o_{i,<t}) / π_old(o_{i,t} | q, o_{i,<t})
(3) loss         ℓ_{i,t} = −min(ρ_{i,t} Â_{i,t}, clip(ρ_{i,t}, 1 − ε_low, 1 + ε_high) Â_{i,t})
(4) objective    L = 1/G Σ_i 1/|o_i| Σ_t ℓ_{i,t}                        eq. 3, averaged over prompts

The study trains without the paper's KL term (arXiv 2504.13837, §4.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from torch import Tensor

from rlvr.algorithms.advantages import group_normalised, to_tokens
from rlvr.algorithms.algorithm import Algorithm
from rlvr.algorithms.losses import clip_loss
from rlvr.algorithms.reductions import REDUCTIONS
from rlvr.batch import RolloutBatch
from rlvr.errors import ConfigError


@dataclass
class GRPOConfig:
    """Defaults: the paper's; clip ratio from verl and TRL, as the paper states none."""

    group_size: int = 8
    """G, responses per prompt; at least 2 (2504.13837: 8)."""
    clip_low: float = 0.2
    """ε_low of eq. (3)."""
    clip_high: float = 0.2
    """ε_high of eq. (3)."""
    divide_by_std: bool = True
    """Divide by the group's standard deviation in (1); false is Dr.GRPO's advantage."""
    std_epsilon: float = 1e-6
    """δ of eq. (1) (verl: 1e-6, TRL: 1e-4)."""
    reduction: str = "sequence_mean"
    """How (4) averages: sequence_mean (paper), token_mean or sequence_sum."""

    def __post_init__(self) -> None:
        """Refuse settings under which the equations mean nothing."""
        if self.group_size < 2:
            raise ConfigError(
                f"GRPO compares the responses of a group, and a group of {self.group_size} has nothing to compare",
                where="algorithm.group_size",
                fix="2 or more (the study uses 8)",
            )
        for name in ("clip_low", "clip_high", "std_epsilon"):
            if getattr(self, name) <= 0:
                raise ConfigError(
                    f"{name} is {getattr(self, name)}", where=f"algorithm.{name}", fix="above 0"
                )
        if self.reduction not in REDUCTIONS:
            raise ConfigError(
                f"unknown reduction {self.reduction!r}",
                where="algorithm.reduction",
                fix=f"one of: {', '.join(REDUCTIONS)}",
            )

    def build(self) -> Algorithm:
        """Compose the algorithm from the numbered equations."""
        return Algorithm(
            group_size=self.group_size,
            advantage=partial(advantage, divide_by_std=self.divide_by_std, epsilon=self.std_epsilon),  # (1)
            policy_loss=partial(clip_loss, clip_low=self.clip_low, clip_high=self.clip_high),  # (2), (3)
            loss_weights=REDUCTIONS[self.reduction],  # (4)
        )


def advantage(batch: RolloutBatch, *, divide_by_std: bool, epsilon: float) -> Tensor:
    """Equation (1) for every response token: (B, T)."""
    per_response = group_normalised(
        batch.rewards, batch.valid, batch.group_size, divide_by_std=divide_by_std, epsilon=epsilon
    )
    return to_tokens(per_response, batch.response_mask)
