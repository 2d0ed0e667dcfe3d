"""How token losses become one number: as weights over a whole optimizer minibatch.

The weights are computed once, before the minibatch is cut into micro-batches and shared
among learners; the objective is then a plain sum, which no cut can change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor


Reduction: TypeAlias = "Callable[[Tensor, int], Tensor]"
"""(response mask (B, T), longest response allowed) → weights (B, T)."""


def token_mean(mask: Tensor, max_response_tokens: int) -> Tensor:
    """Mean over all tokens of the minibatch (DAPO, 2503.14476, eq. 12)."""
    return mask / mask.sum().clamp(min=1)


def sequence_mean(mask: Tensor, max_response_tokens: int) -> Tensor:
    """Mean over a response's tokens, then over responses (GRPO, 2402.03300, eq. 3)."""
    lengths = mask.sum(1, keepdim=True)
    num_responses = (lengths > 0).sum().clamp(min=1)
    return mask / lengths.clamp(min=1) / num_responses


def sequence_sum(mask: Tensor, max_response_tokens: int) -> Tensor:
    """Sum over a response's tokens, mean over responses (RLOO, 2402.14740; ReMax, 2310.10505)."""
    return mask / (mask.sum(1) > 0).sum().clamp(min=1)


def constant_length(mask: Tensor, max_response_tokens: int) -> Tensor:
    """Sum over tokens divided by the longest response allowed (Dr.GRPO, 2503.20783, §3.2)."""
    return sequence_sum(mask, max_response_tokens) / max_response_tokens


REDUCTIONS: dict[str, Reduction] = {
    "token_mean": token_mean,
    "sequence_mean": sequence_mean,
    "sequence_sum": sequence_sum,
    "constant_length": constant_length,
}
"""Reductions by the name that configs use."""
