"""RLOO: REINFORCE Leave-One-Out (Ahmadian et al. 2024, arXiv 2402.14740).

For each prompt x, k responses y_1 … y_k are sampled; a response is one action.

(1) reward     R(y_i, x) = r(y_i, x) − β log(π(y_i | x) / π_ref(y_i | x))                       eq. 2
(2) advantage  Â_i = R(y_i, x) − 1/(k − 1) Σ_{j≠i} R(y_j, x)                                     eq. 8
(3) loss       ℓ_i = −Â_i log π(y_i | x) = −Σ_t Â_i log π(y_{i,t} | x, y_{i,<t})
(4) objective  mean of (3) over responses
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from rlvr.algorithms.advantages import compared, leave_one_out
from rlvr.algorithms.algorithm import Algorithm, Credit, Scored
from rlvr.algorithms.settings import KLConfig, ReinforceConfig, refuse_single


@dataclass
class RLOOConfig(ReinforceConfig):
    """Defaults: the paper's, except β = 0 as in the study (the paper: 0.03 and 0.10)."""

    name: str = "rloo"
    kl: KLConfig = field(
        default_factory=lambda: KLConfig(placement="reward", estimator="k1", group_baseline="reward_minus_kl")
    )
    """β of (1)."""

    def __post_init__(self) -> None:
        """Refuse settings under which the equations mean nothing."""
        super().__post_init__()
        refuse_single(self, "RLOO")

    def build(self) -> Algorithm:
        """Compose the algorithm from the numbered equations."""
        return Algorithm(
            **self.shared(),  # samples, β of (1), (4)
            advantage=partial(advantage, config=self),  # (2)
            policy_loss=self.surrogate(),  # (3)
        )


def advantage(scored: Scored, *, config: RLOOConfig) -> Credit:
    """Equation (2) for every response token."""
    others = partial(leave_one_out, valid=scored.valid, group_size=scored.group_size)
    return Credit(compared(scored, others, baseline_sees_kl=config.kl.baseline_sees_kl))
