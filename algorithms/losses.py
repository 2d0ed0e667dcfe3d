"""Losses per token; how they are averaged is the business of reductions.py.

Shapes: everything (b, T); ``mask`` is 1 on response tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

MAX_LOG_RATIO = 20.0
"""log(π/π_old) is clamped to ± this, so that exp cannot overflow."""


@dataclass(frozen=True, slots=True)
class PolicyLossOutput:
    """The loss of each token and the diagnostics that go with it."""

    loss: Tensor
    """Same shape as the log-probabilities."""
    ratio: Tensor
    """π/π_old of each token, or of its response where the loss compares responses."""
    clipped: Tensor
    """Whether the clip was active on each token."""


def ratio_of(logprobs: Tensor, old_logprobs: Tensor) -> Tensor:
    """π/π_old of each token."""
    return (logprobs - old_logprobs).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()


def clip_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    clip_low: float,
    clip_high: float,
    dual_clip: float | None = None,
) -> PolicyLossOutput:
    """The clipped surrogate, max(−A·r, −A·clip(r, 1 − ε_low, 1 + ε_high)): PPO (1707.06347, eq. 7).

    Args:
        logprobs: log π of each token, with gradient.
        old_logprobs: log π_old.
        advantages: A.
        mask: response tokens.
        clip_low: ε_low.
        clip_high: ε_high; larger than ε_low is DAPO's clip-higher (2503.14476, eq. 10).
        dual_clip: c > 1: where A < 0 the loss is at most −c·A (Ye et al., 1912.09729, eq. 4).
    """
    return _clipped(ratio_of(logprobs, old_logprobs), advantages, clip_low, clip_high, dual_clip)


def _clipped(
    ratio: Tensor, advantages: Tensor, clip_low: float, clip_high: float, dual_clip: float | None = None
) -> PolicyLossOutput:
    unclipped = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - clip_low, 1 + clip_high)
    loss, active = unclipped.maximum(clipped), clipped > unclipped
    if dual_clip is not None:
        ceiling = (-advantages * dual_clip).where(advantages < 0, inf)
        loss, active = loss.minimum(ceiling), active | (loss > ceiling)
    return PolicyLossOutput(loss, ratio.detach(), active.detach())


def reinforce_loss(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, mask: Tensor
) -> PolicyLossOutput:
    """−A·log π of each token: REINFORCE; summed over a response it is −A·log π(response)."""
    ratio = ratio_of(logprobs.detach(), old_logprobs)
    return PolicyLossOutput(-advantages * logprobs, ratio, mask.new_zeros(mask.shape).bool())


def sequence_clip_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    clip_low: float,
    clip_high: float,
) -> PolicyLossOutput:
    """The clipped surrogate on the response's ratio, (π(o)/π_old(o))^(1/|o|): GSPO (2507.18071, eq. 5-7).

    Every token carries its response's ratio; the gradient is shared out among them as in
    eq. 17 of the paper (GSPO-token, which equals GSPO when a response has one advantage).
    """
    difference = (logprobs - old_logprobs) * mask
    mean = difference.detach().sum(-1, keepdim=True) / mask.sum(-1, keepdim=True).clamp(min=1)
    ratio = (mean + logprobs - logprobs.detach()).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
    return _clipped(ratio, advantages, clip_low, clip_high)


def capped_ratio_loss(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, mask: Tensor, *, max_ratio: float
) -> PolicyLossOutput:
    """−sg(min(r, max_ratio))·A·log π: CISPO (2506.13585, eq. 4), which clips the weight, never the gradient."""
    ratio = ratio_of(logprobs.detach(), old_logprobs)
    loss = -ratio.clamp(max=max_ratio) * advantages * logprobs
    return PolicyLossOutput(loss, ratio, ratio > max_ratio)


def value_loss(values: Tensor, old_values: Tensor, returns: Tensor, *, clip: float | None) -> Tensor:
    """½·max((V − R)², (V_clipped − R)²) with V_clipped within ± clip of the old value.

    Follows the released code of PPO (openai/baselines), as verl and OpenRLHF do.

    Args:
        values: V of each token, with gradient.
        old_values: V before the step.
        returns: R.
        clip: largest move that is rewarded; None does not clip.
    """
    error = (values - returns).square()
    if clip is not None:
        clipped = old_values + (values - old_values).clamp(-clip, clip)
        error = error.maximum((clipped - returns).square())
    return error / 2
