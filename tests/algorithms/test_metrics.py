"""What credit assignment says of a batch."""

from __future__ import annotations

import pytest
import torch

from rlvr.batch import Annotations
from tests.algorithms.batches import config_of, rollouts


def test_metrics_are_means_over_what_counts() -> None:
    batch = rollouts([1, 0, 1, 1], [2, 1, 3, 1], group_size=2, errors=(3,))
    algorithm = config_of("dr_grpo", group_size=2).build()
    metrics = algorithm.assign_credit(batch, Annotations(), 4).metrics
    assert metrics == pytest.approx(
        {
            "reward/shaped_mean": 2 / 3,
            "advantage/mean": (2 * 0.5 - 0.5) / 6,  # the second group has a single valid member
            "advantage/abs_mean": (2 * 0.5 + 0.5) / 6,
        }
    )


def test_the_greedy_baseline_shows_in_the_metrics() -> None:
    batch = rollouts([1, 0, 1, 0], [1, 1, 1, 1], group_size=2, baseline_rewards=[1, 1, 0, 0])
    metrics = config_of("remax", group_size=2).build().assign_credit(batch, Annotations(), 4).metrics
    assert metrics["baseline/reward_mean"] == 0.5


@pytest.mark.parametrize(
    ("values", "explained"),
    [
        ([[1.0, 1.0, 0], [0.0, 0.0, 0.0]], 1.0),  # the returns themselves
        ([[1.3, 1.3, 0], [0.3, 0.3, 0.3]], 1.0),  # an offset does not count
        ([[0.4, 0.4, 0], [0.4, 0.4, 0.4]], 0.0),
        ([[0.5, 0.5, 0], [0.0, 0.0, 0.0]], 0.75),
        ([[-1.0, -1.0, 0], [0.0, 0.0, 0.0]], -3.0),
    ],
)
def test_explained_variance_says_how_much_of_the_returns_the_critic_foresaw(
    values: list[list[float]], explained: float
) -> None:
    batch = rollouts([1, 0], [2, 3], group_size=1)
    annotations = Annotations(values=torch.tensor(values, dtype=torch.float64))
    metrics = config_of("ppo", group_size=1).build().assign_credit(batch, annotations, 2).metrics
    assert metrics["critic/explained_variance"] == pytest.approx(explained)
    assert metrics["critic/return_mean"] == pytest.approx(2 / 5)
    assert metrics["critic/value_mean"] == pytest.approx(sum(map(sum, values)) / 5)
