"""How token losses become one number: as weights over a whole optimizer minibatch.

The weights are computed once, before the minibatch is cut into micro-batches and shared
among learners; the objective is then a plain sum, which no cut can change.
"""

from __future__ import annotations

from torch import Tensor


def token_mean(mask: Tensor) -> Tensor:
    """Mean over all tokens of the minibatch (DAPO, 2503.14476, eq. 12): (B, T) → (B, T)."""
    return mask / mask.sum().clamp(min=1)


def sequence_mean(mask: Tensor) -> Tensor:
    """Mean over a response's tokens, then over responses (GRPO, 2402.03300, eq. 3): (B, T) → (B, T)."""
    lengths = mask.sum(1, keepdim=True)
    num_responses = (lengths > 0).sum().clamp(min=1)
    return mask / lengths.clamp(min=1) / num_responses


def sequence_sum(mask: Tensor) -> Tensor:
    """Sum over a response's tokens, mean over responses: (B, T) → (B, T)."""
    return mask / (mask.sum(1) > 0).sum().clamp(min=1)


def constant_length(mask: Tensor, *, length: int) -> Tensor:
    """Sum over tokens divided by a constant length (Dr.GRPO, 2503.20783, §3.2): (B, T) → (B, T)."""
    return sequence_sum(mask) / length


REDUCTIONS = {"token_mean": token_mean, "sequence_mean": sequence_mean, "sequence_sum": sequence_sum}
"""Reductions by the name that configs use (``constant_length`` needs a length besides)."""
