"""CISPO: Clipped IS-weight Policy Optimization (MiniMax-M1, 2025, arXiv 2506.13585).

GRPO whose loss caps the weight of a token and keeps its gradient:

(1) loss       ℓ_{i,t} = −sg(min(ρ_{i,t}, ρ_max)) Â_{i,t} log π(o_{i,t} | q, o_{i,<t})      eq. 4, 5
(2) objective  mean of (1) over all tokens of the batch
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from rlvr.algorithms.algorithm import Algorithm
from rlvr.algorithms.grpo import GRPOConfig
from rlvr.algorithms.losses import capped_ratio_loss
from rlvr.algorithms.settings import above, refuse_dual_clip


@dataclass
class CISPOConfig(GRPOConfig):
    """Defaults: the paper's; the clip_* values are not used, the paper having no lower bound."""

    name: str = "cispo"
    reduction: str = "token_mean"
    max_ratio: float = 5.0
    """ρ_max of (1); not stated by the paper (ScaleRL, 2510.13786: 4 to 8; TRL: 5)."""

    def __post_init__(self) -> None:
        """Check the cap, and refuse what the paper's loss does not have."""
        super().__post_init__()
        refuse_dual_clip(self, "CISPO")
        above(self, "", "max_ratio", 0)

    def build(self) -> Algorithm:
        """GRPO with (1) and (2)."""
        loss = partial(capped_ratio_loss, max_ratio=self.max_ratio)
        return replace(super().build(), policy_loss=loss)
