"""REINFORCE++ (Hu et al. 2025, arXiv 2501.03262).

PPO's tricks without a critic: advantages are normalised over the whole batch, not over a group.

(1) reward     r_t = 1[t last]·R − β Δ_t,   Δ_t = log(π_old(o_t) / π_ref(o_t))         KL in the reward, k1
(2) return     A_t = Σ_l γ^l r_{t+l}
(3) advantage  Â_t = (A_t − mean(A)) / sqrt(var(A) + 1e-8) over all tokens of the batch
(4) loss       ℓ_t = −min(ρ_t Â_t, clip(ρ_t, 1 − ε_low, 1 + ε_high) Â_t)
(5) objective  mean of (4) over all tokens

The variant REINFORCE++-baseline takes R − mean(R of the prompt's group) for R in (1).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from rlvr.algorithms.advantages import compared, group_centred, return_to_go, token_rewards, whiten
from rlvr.algorithms.algorithm import Algorithm, Credit, Scored
from rlvr.algorithms.settings import ClippedConfig, KLConfig, one_of, refuse_single, share, zero_or_one

BASELINES = ("none", "group_mean")


@dataclass
class ReinforcePPConfig(ClippedConfig):
    """Defaults: the paper's, except β = 0 as in the study (the paper: 0.01 and 0.001)."""

    name: str = "reinforce_pp"
    baseline: str = "none"
    """What is subtracted from R in (1): ``none``, or the ``group_mean`` of REINFORCE++-baseline."""
    gamma: float = 1.0
    """γ of (2). With the baseline it is always 1."""
    ddof: int = 1
    """The variance of (3) divides by N − ddof (verl: 1, OpenRLHF: 0)."""
    kl: KLConfig = field(default_factory=lambda: KLConfig(placement="reward", estimator="k1"))
    """β of (1)."""

    def __post_init__(self) -> None:
        """Refuse settings under which the equations mean nothing."""
        super().__post_init__()
        one_of(self.baseline, BASELINES, "baseline")
        share(self, "", "gamma")
        zero_or_one(self, "ddof")
        if self.baseline == "group_mean":
            refuse_single(self, "REINFORCE++-baseline")

    def build(self) -> Algorithm:
        """Compose the algorithm from the numbered equations."""
        return Algorithm(
            **self.shared(),  # samples, β of (1), (5)
            advantage=partial(advantage, config=self),  # (1) to (3)
            policy_loss=self.clip_loss(),  # (4)
        )


def advantage(scored: Scored, *, config: ReinforcePPConfig) -> Credit:
    """Equations (1) to (3)."""
    if config.baseline == "group_mean":
        relative = partial(group_centred, valid=scored.valid, group_size=scored.group_size)
        returns = compared(scored, relative, baseline_sees_kl=config.kl.baseline_sees_kl)
    else:
        rewards = token_rewards(scored.rewards, scored.kl_penalty, scored.mask)
        returns = return_to_go(rewards, scored.mask, gamma=config.gamma)
    return Credit(whiten(returns, scored.mask, ddof=config.ddof))
