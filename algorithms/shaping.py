"""What is added to the verifier's score before advantages are computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from rlvr.batch import RolloutBatch


def overlong_penalty(lengths: Tensor, max_response_tokens: int, buffer: int, *, cap: bool = True) -> Tensor:
    """Soft overlong punishment: DAPO (2503.14476, eq. 13).

    0 up to L_max − c tokens, then falling linearly to −1 at L_max.

    Args:
        lengths: (B,) response tokens.
        max_response_tokens: L_max.
        buffer: c, tokens.
        cap: never below −1, where a response may exceed L_max.

    Returns:
        (B,), at most 0.
    """
    penalty = ((max_response_tokens - buffer - lengths) / buffer).clamp(max=0)
    return penalty.clamp(min=-1) if cap else penalty


def overlong_shaping(batch: RolloutBatch, *, buffer_share: float, weight: float) -> Tensor:
    """The penalty of each response of a batch, with c as a share of L_max: (B,)."""
    buffer = max(1, round(buffer_share * batch.max_response_tokens))
    from rlvr.batch import response_lengths  # here, so that help and a typo in a setting need no torch

    lengths = response_lengths(batch.response_mask).float()
    return weight * overlong_penalty(lengths, batch.max_response_tokens, buffer)
