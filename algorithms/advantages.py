"""Advantages: pure functions of rewards, one paper equation each."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor


def group_mean(rewards: Tensor, valid: Tensor, group_size: int) -> Tensor:
    """Mean of each group's valid rewards, repeated for its members.

    Args:
        rewards: (B,), prompt-major.
        valid: (B,) bool.
        group_size: G, divides B.

    Returns:
        (B,).
    """
    rewards_PG, valid_PG = rewards.view(-1, group_size), valid.view(-1, group_size)
    mean_P = (rewards_PG * valid_PG).sum(1) / valid_PG.sum(1).clamp(min=1)
    return mean_P.repeat_interleave(group_size)


def group_normalised(
    rewards: Tensor,
    valid: Tensor,
    group_size: int,
    *,
    divide_by_std: bool = True,
    ddof: Literal[0, 1] = 1,
    epsilon: float = 1e-6,
) -> Tensor:
    """Rewards relative to their group, (R − mean) / (std + ε): GRPO (2402.03300, §4.1.2).

    Without the division it is the advantage of Dr.GRPO (2503.20783, eq. 2).

    Args:
        rewards: (B,), prompt-major.
        valid: (B,) bool; an invalid member neither counts nor receives an advantage.
        group_size: G ≥ 2, divides B.
        divide_by_std: divide by the group's standard deviation.
        ddof: 1 divides its variance by G − 1 (torch's default; verl, TRL), 0 by G.
        epsilon: added to the standard deviation.

    Returns:
        (B,).
    """
    centred = (rewards - group_mean(rewards, valid, group_size)) * valid
    if not divide_by_std:
        return centred
    num_valid_P = valid.view(-1, group_size).sum(1)
    variance_P = centred.view(-1, group_size).square().sum(1) / (num_valid_P - ddof).clamp(min=1)
    return centred / (variance_P.sqrt().repeat_interleave(group_size) + epsilon)


def to_tokens(advantages: Tensor, response_mask: Tensor) -> Tensor:
    """Give every response token its response's advantage: (B,) and (B, T) → (B, T)."""
    return torch.where(response_mask > 0, advantages[:, None], 0.0)
