"""Reductions as weights: the value of the objective, and what it must not depend on."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from rlvr.algorithms.reductions import (
    REDUCTIONS,
    constant_length,
    sequence_mean,
    sequence_sum,
    token_mean,
)

MASK = torch.tensor([[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
LOSSES = torch.tensor([[1.0, 1.0, 99.0, 99.0], [3.0, 3.0, 3.0, 3.0]])
constant_8 = partial(constant_length, length=8)
ALL = [*REDUCTIONS.values(), constant_8]


@pytest.mark.parametrize(
    ("reduction", "value"),
    [(token_mean, 14 / 6), (sequence_mean, 2.0), (sequence_sum, 7.0), (constant_8, 0.875)],
)
def test_responses_of_two_and_four_tokens(reduction, value: float) -> None:
    assert (LOSSES * reduction(MASK)).sum().item() == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("reduction", [token_mean, sequence_mean])
def test_a_mean_has_weights_that_sum_to_one(reduction) -> None:
    assert reduction(MASK).sum().item() == pytest.approx(1)


@pytest.mark.parametrize("reduction", ALL)
def test_weights_do_not_depend_on_padding(reduction) -> None:
    wider = torch.cat([MASK, torch.zeros(2, 3)], dim=1)
    torch.testing.assert_close(reduction(wider)[:, :4], reduction(MASK))
    assert (reduction(wider)[:, 4:] == 0).all()


@pytest.mark.parametrize("reduction", ALL)
def test_a_row_without_tokens_weighs_nothing_and_changes_nothing(reduction) -> None:
    taller = torch.cat([MASK, torch.zeros(1, 4)])
    torch.testing.assert_close(reduction(taller)[:2], reduction(MASK))
    assert (reduction(taller)[2] == 0).all()


@pytest.mark.parametrize("reduction", ALL)
def test_nothing_to_train_on_is_no_division_by_zero(reduction) -> None:
    assert (reduction(torch.zeros(2, 3)) == 0).all()


def test_the_names_that_configs_use() -> None:
    assert {
        "token_mean": token_mean,
        "sequence_mean": sequence_mean,
        "sequence_sum": sequence_sum,
    } == REDUCTIONS
