"""Group-relative advantages against numbers computed by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlvr.algorithms.advantages import group_mean, group_normalised, to_tokens

REWARDS = torch.tensor([1.0, 0.0, 0.0, 0.0])
ALL_VALID = torch.ones(4, dtype=torch.bool)


def close(actual: torch.Tensor, expected: list[float]) -> None:
    torch.testing.assert_close(actual, torch.tensor(expected), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("options", "first", "rest"),
    [
        ({"ddof": 1, "epsilon": 1e-6}, 1.499997, -0.499999),
        ({"ddof": 0, "epsilon": 1e-6}, 1.732047, -0.577349),
        ({"ddof": 1, "epsilon": 1e-4}, 1.499700, -0.499900),  # TRL
        ({"divide_by_std": False}, 0.75, -0.25),  # Dr.GRPO
    ],
)
def test_one_right_of_four(options: dict, first: float, rest: float) -> None:
    close(group_normalised(REWARDS, ALL_VALID, 4, **options), [first, rest, rest, rest])


def test_the_defaults_are_ddof_1_and_the_papers_delta() -> None:
    explicit = group_normalised(REWARDS, ALL_VALID, 4, divide_by_std=True, ddof=1, epsilon=1e-6)
    assert torch.equal(group_normalised(REWARDS, ALL_VALID, 4), explicit)


def test_groups_do_not_see_one_another() -> None:
    rewards = torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    both = group_normalised(rewards, torch.ones(8, dtype=torch.bool), 4)
    torch.testing.assert_close(both[:4], group_normalised(rewards[:4], ALL_VALID, 4))
    torch.testing.assert_close(both[4:], group_normalised(rewards[4:], ALL_VALID, 4))


@pytest.mark.parametrize("score", [0.0, 0.7])
@pytest.mark.parametrize("divide_by_std", [True, False])
def test_an_invalid_member_gets_nothing_and_changes_nothing(score: float, divide_by_std: bool) -> None:
    rewards = torch.tensor([1.0, 0.0, score, 0.0, 0.0])
    valid = torch.tensor([True, True, False, True, True])
    found = group_normalised(rewards, valid, 5, divide_by_std=divide_by_std)
    expected = group_normalised(REWARDS, ALL_VALID, 4, divide_by_std=divide_by_std)
    assert found[2] == 0
    torch.testing.assert_close(found[valid], expected)


def test_a_group_without_valid_members_has_no_advantage() -> None:
    valid = torch.zeros(4, dtype=torch.bool)
    assert group_normalised(REWARDS, valid, 4).tolist() == [0, 0, 0, 0]
    assert group_mean(REWARDS, valid, 4).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_uniform_group_has_no_advantage(value: float) -> None:
    assert group_normalised(torch.full((4,), value), ALL_VALID, 4).tolist() == [0, 0, 0, 0]


@given(
    st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=4, max_size=4),
    st.floats(0.5, 4),
    st.floats(-2, 2),
)
def test_normalised_groups_sum_to_zero_and_ignore_scale_and_offset(
    rewards: list[float], scale: float, offset: float
) -> None:
    original = torch.tensor(rewards, dtype=torch.float64)
    found = group_normalised(original, ALL_VALID, 4, epsilon=1e-9)
    assert abs(found.sum().item()) < 1e-6
    if len(set(rewards)) > 1:
        moved = group_normalised(original * scale + offset, ALL_VALID, 4, epsilon=1e-9)
        torch.testing.assert_close(found, moved, atol=1e-5, rtol=0)


def test_every_response_token_gets_its_responses_advantage_and_padding_none() -> None:
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    assert to_tokens(torch.tensor([2.0, -3.0]), mask).tolist() == [[2, 2, 0], [-3, 0, 0]]
