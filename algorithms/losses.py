"""Policy losses per token; how they are averaged is the business of reductions.py."""

from __future__ import annotations

import torch
from torch import Tensor

from rlvr.algorithms.algorithm import PolicyLossOutput

MAX_LOG_RATIO = 20.0
"""log(π/π_old) is clamped to ± this, so that exp cannot overflow."""


def clip_loss(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, *, clip_low: float, clip_high: float
) -> PolicyLossOutput:
    """The clipped surrogate, max(−A·r, −A·clip(r, 1 − ε_low, 1 + ε_high)): PPO (1707.06347, eq. 7).

    Args:
        logprobs: log π of each token, with gradient; any shape.
        old_logprobs: log π_old, same shape.
        advantages: A, same shape.
        clip_low: ε_low.
        clip_high: ε_high; larger than ε_low is DAPO's clip-higher (2503.14476, eq. 10).
    """
    ratio = torch.exp((logprobs - old_logprobs).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO))
    unclipped = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - clip_low, 1 + clip_high)
    return PolicyLossOutput(torch.maximum(unclipped, clipped), ratio.detach(), (clipped > unclipped).detach())
