"""DAPO: Decoupled Clip and Dynamic Sampling Policy Optimization (Yu et al. 2025, arXiv 2503.14476).

GRPO with four changes, numbered as the paper's sections 3.1 to 3.4.

(1) clip-higher        ℓ_{i,t} = −min(ρ_{i,t} Â_{i,t}, clip(ρ_{i,t}, 1 − ε_low, 1 + ε_high) Â_{i,t}), ε_high > ε_low
(2) dynamic sampling   groups with 0 < #correct < G only; the next prompts replace the others     eq. 11
(3) token-level loss   L = 1/Σ_i |o_i| Σ_i Σ_t ℓ_{i,t}                                              eq. 12
(4) overlong penalty   r_i ← r_i + max(−1, min(0, (L_max − c − |o_i|) / c))                         eq. 13
(5) advantage          Â_{i,t} = (r_i − mean(r)) / (std(r) + δ)                                     eq. 9

There is no KL term (§2.3). The filter (2) looks at the answers, never at the shaped reward of (4).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from rlvr.algorithms.algorithm import Algorithm, Sampling
from rlvr.algorithms.grpo import GRPOConfig
from rlvr.algorithms.settings import above, at_least, share
from rlvr.algorithms.shaping import overlong_shaping
from rlvr.records import RolloutGroup


@dataclass
class DAPOConfig(GRPOConfig):
    """Defaults: the paper's (§4.1)."""

    name: str = "dapo"
    clip_high: float = 0.28
    """ε_high of (1)."""
    reduction: str = "token_mean"
    """How (3) averages."""
    dynamic_sampling: bool = True
    """Filter and refill as in (2)."""
    max_sampling_factor: float = 10.0
    """Groups sampled for a step, at most, per group wanted; what was kept by then makes the step
    (verl's recipe: 10 generation batches)."""
    overlong_share: float = 0.2
    """c of (4) as a share of L_max (the paper: 4,096 of 20,480)."""
    overlong_weight: float = 1.0
    """Weight of the penalty (4); 0 turns it off."""

    def __post_init__(self) -> None:
        """Refuse settings under which the equations mean nothing."""
        super().__post_init__()
        at_least(self, "", "max_sampling_factor", 1)
        above(self, "", "overlong_share", 0)
        share(self, "", "overlong_share")
        at_least(self, "", "overlong_weight", 0)

    def build(self) -> Algorithm:
        """Compose the algorithm from the numbered equations."""
        filtered = Sampling(
            self.group_size, keep_group=has_signal, max_sampling_factor=self.max_sampling_factor
        )
        penalty = partial(overlong_shaping, buffer_share=self.overlong_share, weight=self.overlong_weight)
        return replace(
            super().build(),  # (1), (3), (5)
            sampling=filtered if self.dynamic_sampling else Sampling(self.group_size),  # (2)
            shape_reward=penalty if self.overlong_weight else None,  # (4)
        )


def has_signal(group: RolloutGroup) -> bool:
    """Equation (2): some answers right, some wrong."""
    return 0 < group.accuracy < 1
