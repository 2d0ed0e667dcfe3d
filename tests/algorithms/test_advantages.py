"""Advantages against numbers computed by hand and against plain loops."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rlvr.algorithms.advantages import (
    gae,
    group_centred,
    group_mean,
    group_normalised,
    leave_one_out,
    packing,
    return_to_go,
    suffix_sum,
    to_tokens,
    token_rewards,
    whiten,
)
from tests.algorithms.batches import close, generator, masked

REWARDS = torch.tensor([1.0, 0.0, 0.0, 0.0])
ALL_VALID = torch.ones(4, dtype=torch.bool)
SHADES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=4, max_size=4)
SEEDS = st.integers(0, 10_000)

RELATIVES = [
    group_normalised,
    partial(group_normalised, ddof=0),
    group_centred,
    leave_one_out,
]


def ragged(seed: int) -> Tensor:
    """A random mask with holes; row 0 is full and row 1 empty."""
    mask = (torch.rand(6, 9, generator=generator(seed)) < 0.6).double()
    mask[0], mask[1] = 1, 0
    return mask


def noise(seed: int, mask: Tensor) -> Tensor:
    """Random numbers, outside the mask as well."""
    return torch.randn(mask.shape, generator=generator(seed), dtype=torch.float64)


# Over a group.


@pytest.mark.parametrize(
    ("relative", "first", "rest"),
    [
        (partial(group_normalised, ddof=1, epsilon=1e-6), 1.499997, -0.499999),
        (partial(group_normalised, ddof=0, epsilon=1e-6), 1.732047, -0.577349),
        (partial(group_normalised, ddof=1, epsilon=1e-4), 1.499700, -0.499900),  # TRL
        (group_centred, 0.75, -0.25),  # Dr.GRPO
        (leave_one_out, 1.0, -1 / 3),
    ],
)
def test_one_right_of_four(relative, first: float, rest: float) -> None:
    close(relative(REWARDS, ALL_VALID, 4), [first, rest, rest, rest])


def test_the_defaults_are_ddof_1_and_the_papers_delta() -> None:
    explicit = group_normalised(REWARDS, ALL_VALID, 4, ddof=1, epsilon=1e-6)
    assert torch.equal(group_normalised(REWARDS, ALL_VALID, 4), explicit)


@pytest.mark.parametrize("relative", RELATIVES)
def test_groups_do_not_see_one_another(relative) -> None:
    rewards = torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    both = relative(rewards, torch.ones(8, dtype=torch.bool), 4)
    torch.testing.assert_close(both[:4], relative(rewards[:4], ALL_VALID, 4))
    torch.testing.assert_close(both[4:], relative(rewards[4:], ALL_VALID, 4))


@pytest.mark.parametrize("score", [0.0, 0.7])
@pytest.mark.parametrize("relative", RELATIVES)
def test_an_invalid_member_gets_nothing_and_changes_nothing(score: float, relative) -> None:
    rewards = torch.tensor([1.0, 0.0, score, 0.0, 0.0])
    valid = torch.tensor([True, True, False, True, True])
    found = relative(rewards, valid, 5)
    assert found[2] == 0
    torch.testing.assert_close(found[valid], relative(REWARDS, ALL_VALID, 4))


@pytest.mark.parametrize("relative", RELATIVES)
@pytest.mark.parametrize("num_valid", [0, 1])
def test_a_group_in_which_nothing_is_left_to_compare_has_no_advantage(num_valid: int, relative) -> None:
    valid = torch.arange(4) < num_valid
    assert relative(REWARDS, valid, 4).tolist() == [0, 0, 0, 0]
    assert group_mean(REWARDS, valid, 4).tolist() == [float(num_valid)] * 4


@pytest.mark.parametrize("relative", RELATIVES)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_uniform_group_has_no_advantage(value: float, relative) -> None:
    assert relative(torch.full((4,), value), ALL_VALID, 4).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("epsilon", [1e-6, 1e-9])
@given(st.floats(-1, 1, width=32), st.integers(2, 16))
def test_rounding_makes_no_difference_between_equal_rewards(
    epsilon: float, value: float, group_size: int
) -> None:
    # In single precision the sum of eight times 0.7 is not 5.6, and a tiny deviation divided by a
    # tiny deviation is no longer tiny.
    rewards, valid = torch.full((group_size,), value), torch.ones(group_size, dtype=torch.bool)
    assert rewards.dtype == torch.float32
    assert (group_normalised(rewards, valid, group_size, epsilon=epsilon) == 0).all()


@given(SHADES, st.floats(0.5, 4), st.floats(-2, 2))
def test_normalised_groups_sum_to_zero_and_ignore_scale_and_offset(
    rewards: list[float], scale: float, offset: float
) -> None:
    original = torch.tensor(rewards, dtype=torch.float64)
    found = group_normalised(original, ALL_VALID, 4, epsilon=1e-9)
    assert abs(found.sum().item()) < 1e-6
    if len(set(rewards)) > 1:
        changed = group_normalised(original * scale + offset, ALL_VALID, 4, epsilon=1e-9)
        close(found, changed)


@given(st.integers(2, 9), st.integers(1, 4), SEEDS)
def test_leaving_one_out_is_the_centred_reward_scaled(group_size: int, num_groups: int, seed: int) -> None:
    rewards = torch.rand(group_size * num_groups, generator=generator(seed), dtype=torch.float64)
    valid = torch.ones(len(rewards), dtype=torch.bool)
    found = leave_one_out(rewards, valid, group_size)
    centred = rewards - group_mean(rewards, valid, group_size)
    close(found, group_size / (group_size - 1) * centred, 1e-12)
    # And by its own definition, R less the mean of the others.
    for row, reward in enumerate(rewards.tolist()):
        start = row - row % group_size
        others = [rewards[i].item() for i in range(start, start + group_size) if i != row]
        assert found[row].item() == pytest.approx(reward - sum(others) / len(others), abs=1e-12)


# Over tokens.


def test_every_response_token_gets_its_responses_advantage_and_padding_none() -> None:
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    assert to_tokens(torch.tensor([2.0, -3.0]), mask).tolist() == [[2, 2, 0], [-3, 0, -3]]


def test_the_reward_stands_on_the_last_token_and_the_penalty_on_every_one() -> None:
    mask = torch.tensor([[1.0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
    rewards = torch.tensor([2.0, 3.0, 5.0, 7.0])
    assert token_rewards(rewards, None, mask).tolist() == [[0, 2, 0, 0], [0, 0, 3, 0], [0] * 4, [0, 0, 0, 7]]
    penalty = torch.full((4, 4), 0.5)
    assert token_rewards(rewards, penalty, mask).tolist() == [
        [-0.5, 1.5, 0, 0],
        [-0.5, 0, 2.5, 0],
        [0] * 4,
        [-0.5, -0.5, -0.5, 6.5],
    ]


@given(st.integers(0, 40), st.sampled_from([0.0, 0.3, 0.9, 0.99, 1.0]), SEEDS)
def test_the_sum_of_what_follows_equals_a_plain_loop(length: int, discount: float, seed: int) -> None:
    values = torch.randn(3, length, generator=generator(seed), dtype=torch.float64)
    expected, running = torch.zeros_like(values), torch.zeros(3, dtype=torch.float64)
    for t in reversed(range(length)):
        running = values[:, t] + discount * running
        expected[:, t] = running
    close(suffix_sum(values, discount), expected, 1e-10)


@given(SEEDS)
def test_packing_moves_the_tokens_of_the_mask_to_the_front_in_order_and_back(seed: int) -> None:
    mask = ragged(seed)
    pack, unpack = packing(mask)
    values = noise(seed, mask)
    packed = pack(values)
    for row in range(len(mask)):
        kept = values[row][mask[row] > 0]
        assert packed[row, : len(kept)].tolist() == kept.tolist()
        assert (packed[row, len(kept) :] == 0).all()
    assert torch.equal(unpack(packed), values * mask)
    assert torch.equal(unpack(torch.ones_like(mask)), mask)


def naive_gae(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """The recursion as the paper writes it, over the tokens of each row's mask."""
    advantages, returns = torch.zeros_like(mask), torch.zeros_like(mask)
    for row in range(len(mask)):
        next_value = next_advantage = 0.0
        for t in reversed(mask[row].nonzero().flatten().tolist()):
            value = values[row, t].item()
            delta = rewards[row, t].item() + gamma * next_value - value
            next_advantage = delta + gamma * lam * next_advantage
            next_value = value
            advantages[row, t], returns[row, t] = next_advantage, next_advantage + value
    return advantages, returns


@given(SEEDS, st.sampled_from([0.0, 0.9, 1.0]), st.sampled_from([0.0, 0.8, 1.0]))
def test_gae_equals_the_recursion_over_the_tokens_of_the_mask(seed: int, gamma: float, lam: float) -> None:
    mask = ragged(seed)
    rewards, values = noise(seed + 1, mask), noise(seed + 2, mask)
    found = gae(rewards, values, mask, gamma=gamma, lam=lam)
    for ours, expected in zip(found, naive_gae(rewards, values, mask, gamma, lam), strict=True):
        close(ours, expected, 1e-10)


@given(SEEDS, st.sampled_from([0.0, 0.5, 1.0]))
def test_gae_without_values_at_lambda_1_is_the_return_to_go(seed: int, gamma: float) -> None:
    mask = ragged(seed)
    rewards = noise(seed, mask)
    expected = return_to_go(rewards, mask, gamma=gamma)
    for found in gae(rewards, torch.zeros_like(mask), mask, gamma=gamma, lam=1.0):
        close(found, expected, 1e-12)


@given(SEEDS)
def test_gae_at_lambda_1_has_the_return_to_go_as_its_returns_whatever_the_values(seed: int) -> None:
    mask = ragged(seed)
    rewards, values = noise(seed, mask), noise(seed + 1, mask)
    _, returns = gae(rewards, values, mask, gamma=0.9, lam=1.0)
    close(returns, return_to_go(rewards, mask, gamma=0.9), 1e-10)


REWARDS_3 = torch.tensor([[0.0, 0.0, 1.0]])
VALUES_3 = torch.tensor([[0.5, 0.4, 0.3]])


def test_gae_of_three_tokens() -> None:
    advantages, returns = gae(REWARDS_3, VALUES_3, torch.ones(1, 3), gamma=0.9, lam=0.8)
    close(advantages, [[0.12928, 0.374, 0.7]])
    close(returns, [[0.62928, 0.774, 1.0]])
    close(whiten(advantages, torch.ones(1, 3), ddof=1), [[-0.949324, -0.094625, 1.043949]])
    close(whiten(advantages, torch.ones(1, 3), ddof=0), [[-1.162680, -0.115892, 1.278571]])


@pytest.mark.parametrize("value_in_the_hole", [0.4, 100.0])
def test_gae_carries_values_and_advantages_across_a_hole(value_in_the_hole: float) -> None:
    values = torch.tensor([[0.5, value_in_the_hole, 0.3]])
    mask = torch.tensor([[1.0, 0.0, 1.0]])
    advantages, returns = gae(REWARDS_3, values, mask, gamma=0.9, lam=0.8)
    close(advantages, [[0.274, 0.0, 0.7]])
    close(returns, [[0.774, 0.0, 1.0]])


def test_discounting_counts_tokens_of_the_mask_only() -> None:
    mask = torch.tensor([[1.0, 0, 0, 1, 1]])
    rewards = torch.tensor([[0.0, 9, 9, 0, 1]])
    close(return_to_go(rewards, mask, gamma=0.5), [[0.25, 0, 0, 0.5, 1]])


@pytest.mark.parametrize(("ddof", "right", "wrong"), [(0, 1.224745, -0.816497), (1, 1.095445, -0.730297)])
def test_whitening_counts_tokens_and_not_responses(ddof: int, right: float, wrong: float) -> None:
    mask = masked([2, 3])
    returns = return_to_go(token_rewards(torch.tensor([1.0, 0.0]), None, mask), mask, gamma=1.0)
    close(whiten(returns, mask, ddof=ddof), [[right, right, 0], [wrong, wrong, wrong]])


@given(SEEDS, st.sampled_from([0, 1]), st.floats(0.5, 4), st.floats(-3, 3))
@settings(max_examples=30)
def test_whitened_tokens_have_mean_0_and_variance_1_whatever_their_scale(
    seed: int, ddof: int, scale: float, offset: float
) -> None:
    mask = ragged(seed)
    values = noise(seed, mask)
    found = whiten(values, mask, ddof=ddof)
    assert (found[mask == 0] == 0).all()
    inside = found[mask > 0]
    close(inside.mean(), 0.0, 1e-9)
    close(inside.var(correction=ddof), 1.0)
    close(whiten(values * scale + offset, mask, ddof=ddof), found)


@pytest.mark.parametrize("num_tokens", [0, 1])
def test_whitening_what_has_no_spread_gives_zeros(num_tokens: int) -> None:
    mask = (torch.arange(3) < num_tokens).float()[None]
    assert whiten(torch.full((1, 3), 0.7), mask).tolist() == [[0, 0, 0]]
