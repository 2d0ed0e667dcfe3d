"""The overlong penalty."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlvr.algorithms.shaping import overlong_penalty, overlong_shaping
from rlvr.batch import Annotations
from tests.algorithms.batches import close, config_of, one_step, rollouts

LENGTHS = [3, 16, 17, 18, 20, 21]
EXPECTED = [0.0, 0.0, -0.25, -0.5, -1.0]


@pytest.mark.parametrize(("cap", "beyond"), [(True, -1.0), (False, -1.25)])
def test_the_last_four_of_twenty_tokens_cost_a_quarter_each(cap: bool, beyond: float) -> None:
    close(overlong_penalty(torch.tensor(LENGTHS).float(), 20, 4, cap=cap), [*EXPECTED, beyond])


@given(st.integers(1, 30), st.integers(1, 30), st.lists(st.integers(0, 40), min_size=1, max_size=10))
def test_longer_never_costs_less_and_nothing_costs_more_than_one(
    limit: int, buffer: int, lengths: list[int]
) -> None:
    found = overlong_penalty(torch.tensor(sorted(lengths)).float(), limit, min(buffer, limit), cap=True)
    assert (found <= 0).all()
    assert (found >= -1).all()
    assert (found.diff() <= 0).all()


@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_of_a_batch_with_the_buffer_as_a_share_of_the_limit(weight: float) -> None:
    # A hole is context that the response goes on after: the response is as long as its last token's place.
    batch = rollouts([0] * 5, LENGTHS[:5], group_size=5, holes=[(4, 2), (3, 0)], max_response_tokens=20)
    found = overlong_shaping(batch, buffer_share=0.2, weight=weight)
    close(found, [weight * penalty for penalty in EXPECTED])


def test_a_buffer_is_never_shorter_than_a_token() -> None:
    batch = rollouts([0, 0], [2, 3], group_size=2, max_response_tokens=3)
    close(overlong_shaping(batch, buffer_share=0.01, weight=1.0), [0.0, -1.0])


def test_dapo_compares_answers_by_the_shaped_reward() -> None:
    rewards, lengths = [1.0, 1.0, 0.0, 0.0], [16, 18, 17, 20]
    batch = rollouts(rewards, lengths, group_size=4, max_response_tokens=20)
    shaped = torch.tensor([1.0, 0.5, -0.25, -1.0], dtype=torch.float64)
    algorithm = config_of("dapo").build()
    expected = (shaped - shaped.mean()) / (shaped.std() + 1e-6)
    close(one_step(algorithm, batch).advantages, expected[:, None] * batch.response_mask)
    metrics = algorithm.assign_credit(batch, Annotations(batch.rollout_logprobs), 4).metrics
    assert metrics["reward/shaped_mean"] == pytest.approx(0.0625)
    plain = config_of("dapo", overlong_weight=0).build()
    assert plain.shape_reward is None
    close(one_step(plain, batch).advantages[:, 0], [0.866024, 0.866024, -0.866024, -0.866024])
