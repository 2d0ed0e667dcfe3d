"""GSPO: Group Sequence Policy Optimization (Zheng et al. 2025, arXiv 2507.18071).

GRPO that compares whole responses:

(1) ratio  s_i = (π(o_i | q) / π_old(o_i | q))^(1/|o_i|)                     eq. 7
(2) loss   ℓ_i = −min(s_i Â_i, clip(s_i, 1 − ε_low, 1 + ε_high) Â_i)          eq. 5

Advantage and objective are GRPO's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from rlvr.algorithms.algorithm import Algorithm
from rlvr.algorithms.grpo import GRPOConfig
from rlvr.algorithms.losses import sequence_clip_loss
from rlvr.algorithms.settings import refuse_dual_clip


@dataclass
class GSPOConfig(GRPOConfig):
    """Defaults: the paper's (§5.1)."""

    name: str = "gspo"
    clip_low: float = 3e-4
    clip_high: float = 4e-4

    def __post_init__(self) -> None:
        """Refuse what the paper's loss does not have."""
        super().__post_init__()
        refuse_dual_clip(self, "GSPO")

    def build(self) -> Algorithm:
        """GRPO with (1) and (2)."""
        loss = partial(sequence_clip_loss, clip_low=self.clip_low, clip_high=self.clip_high)
        return replace(super().build(), policy_loss=loss)
