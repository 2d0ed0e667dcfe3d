"""Advantages: pure functions of rewards, one paper equation each.

B = rollouts, prompt-major; T = longest response; G = rollouts per prompt. A mask may have
holes (tokens that the policy did not write); time then runs over the tokens of the mask.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rlvr.algorithms.algorithm import Scored

if TYPE_CHECKING:
    from torch import Tensor

# Over a group: (B,) → (B,)


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
    # In double precision, where the mean of equal rewards is that reward: a rounding error would
    # be divided by a standard deviation that is nothing but the same rounding error.
    mean_P = (rewards_PG * valid_PG).double().sum(1) / valid_PG.sum(1).clamp(min=1)
    return mean_P.to(rewards.dtype).repeat_interleave(group_size)


def group_centred(rewards: Tensor, valid: Tensor, group_size: int) -> Tensor:
    """R − mean: Dr.GRPO (2503.20783, §3.2), REINFORCE++-baseline (2501.03262, §3)."""
    return (rewards - group_mean(rewards, valid, group_size)) * valid


def group_normalised(
    rewards: Tensor, valid: Tensor, group_size: int, *, ddof: int = 1, epsilon: float = 1e-6
) -> Tensor:
    """(R − mean) / (std + ε): GRPO (2402.03300, §4.1.2).

    Args:
        rewards: (B,), prompt-major.
        valid: (B,) bool; an invalid member neither counts nor receives an advantage.
        group_size: G ≥ 2, divides B.
        ddof: 1 divides the variance by G − 1 (torch's default; verl, TRL), 0 by G.
        epsilon: added to the standard deviation.

    Returns:
        (B,).
    """
    centred = group_centred(rewards, valid, group_size)
    num_valid_P = valid.view(-1, group_size).sum(1)
    variance_P = centred.view(-1, group_size).square().sum(1) / (num_valid_P - ddof).clamp(min=1)
    return centred / (variance_P.sqrt().repeat_interleave(group_size) + epsilon)


def leave_one_out(rewards: Tensor, valid: Tensor, group_size: int) -> Tensor:
    """R minus the mean of the group's other valid rewards: RLOO (2402.14740, eq. 8).

    As G/(G − 1)·(R − mean), which is the same. A group with one valid member gets zero.
    """
    num_valid = valid.view(-1, group_size).sum(1).repeat_interleave(group_size)
    return group_centred(rewards, valid, group_size) * num_valid / (num_valid - 1).clamp(min=1)


# Over tokens: (B, T)


def to_tokens(per_response: Tensor, mask: Tensor) -> Tensor:
    """Give every response token its response's value: (B,) and (B, T) → (B, T)."""
    return per_response[:, None].where(mask > 0, 0.0)


def token_rewards(per_response: Tensor, kl_penalty: Tensor | None, mask: Tensor) -> Tensor:
    """The response's reward on its last token, less the KL penalty on every token.

    Args:
        per_response: (B,).
        kl_penalty: (B, T) or None.
        mask: (B, T).

    Returns:
        (B, T).
    """
    left = mask.flip(1).cumsum(1).flip(1)
    rewards = to_tokens(per_response, mask * (left == 1))
    return rewards if kl_penalty is None else rewards - kl_penalty * mask


def return_to_go(rewards: Tensor, mask: Tensor, *, gamma: float) -> Tensor:
    """Σ_l γ^l r_{t+l} over the tokens of the mask, zero outside: (B, T) → (B, T)."""
    pack, unpack = packing(mask)
    return unpack(suffix_sum(pack(rewards), gamma))


def gae(rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation (Schulman et al., 1506.02438, eq. 11 and 16).

    δ_t = r_t + γ·V_{t+1} − V_t, A_t = Σ_l (γλ)^l δ_{t+l}; the value after the last token is 0.

    Args:
        rewards: (B, T) token rewards.
        values: (B, T) V before each token.
        mask: (B, T).
        gamma: γ.
        lam: λ.

    Returns:
        Advantages and returns A + V, each (B, T), zero outside the mask.
    """
    pack, unpack = packing(mask)
    packed_values = pack(values)
    next_values = shifted(packed_values, 1)
    delta = pack(rewards) + gamma * next_values - packed_values
    advantages = suffix_sum(delta, gamma * lam)
    return unpack(advantages), unpack(advantages + packed_values)


def packing(mask: Tensor) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """Two functions on (B, T): move the mask's tokens to the front of their row, and back to their places.

    Both leave zeros where the mask has none, so a recursion over the front sees neither holes nor padding.
    """
    order = (mask <= 0).argsort(dim=1, stable=True)

    def pack(tensor: Tensor) -> Tensor:
        return (tensor * mask).gather(1, order)

    def unpack(tensor: Tensor) -> Tensor:
        return tensor.new_zeros(tensor.shape).scatter(1, order, tensor) * mask

    return pack, unpack


def shifted(values: Tensor, shift: int) -> Tensor:
    """Every entry is the one ``shift`` places further on, and zero past the end: (B, T) → (B, T)."""
    moved = values.new_zeros(values.shape)
    moved[:, : values.shape[1] - shift] = values[:, shift:]
    return moved


def suffix_sum(values: Tensor, discount: float) -> Tensor:
    """Σ_l discount^l · value_{t+l}: (B, T) → (B, T).

    log₂ T passes over the whole tensor instead of T steps: after the pass with shift s, each
    entry holds the sum of its next 2s terms.
    """
    shift = 1
    while shift < values.shape[1]:
        values = values + discount**shift * shifted(values, shift)
        shift *= 2
    return values


def whiten(values: Tensor, mask: Tensor, *, ddof: int = 1, epsilon: float = 1e-8) -> Tensor:
    """(x − mean) / sqrt(var + ε) over the tokens of the mask, zero outside: (B, T) → (B, T).

    Args:
        values: (B, T).
        mask: (B, T).
        ddof: 1 divides the variance by N − 1 (verl), 0 by N (OpenRLHF).
        epsilon: added to the variance.
    """
    count = mask.sum()
    mean = (values * mask).sum() / count.clamp(min=1)
    centred = (values - mean) * mask
    variance = centred.square().sum() / (count - ddof).clamp(min=1)
    return centred * (variance + epsilon).rsqrt()


def compared(scored: Scored, relative: Callable[[Tensor], Tensor], *, baseline_sees_kl: bool) -> Tensor:
    """Advantages of an algorithm that compares responses, with KL in the reward or without.

    Args:
        scored: the batch.
        relative: (B,) rewards → (B,) rewards relative to a baseline.
        baseline_sees_kl: True: the summed penalty is subtracted from each response's reward
            before it is compared (verl, TRL). False: responses are compared by the verifier's
            reward alone, and each token then loses the penalties from itself on (OpenRLHF).

    Returns:
        (B, T).
    """
    if scored.kl_penalty is None:
        return to_tokens(relative(scored.rewards), scored.mask)
    if baseline_sees_kl:
        return to_tokens(relative(scored.rewards - scored.kl_penalty.sum(1)), scored.mask)
    rewards = token_rewards(relative(scored.rewards), scored.kl_penalty, scored.mask)
    return return_to_go(rewards, scored.mask, gamma=1.0)
