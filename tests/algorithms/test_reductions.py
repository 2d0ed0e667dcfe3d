"""Reductions as weights: the value of the objective, and what it must not depend on."""

from __future__ import annotations

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
L = 8
each_reduction = pytest.mark.parametrize("reduction", REDUCTIONS.values(), ids=REDUCTIONS)


@pytest.mark.parametrize(
    ("reduction", "value"),
    [(token_mean, 14 / 6), (sequence_mean, 2.0), (sequence_sum, 7.0), (constant_length, 0.875)],
)
def test_responses_of_two_and_four_tokens(reduction, value: float) -> None:
    assert (LOSSES * reduction(MASK, L)).sum().item() == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("reduction", [token_mean, sequence_mean])
def test_a_mean_has_weights_that_sum_to_one(reduction) -> None:
    assert reduction(MASK, L).sum().item() == pytest.approx(1)


def test_a_token_of_the_constant_divisor_weighs_the_same_in_every_response() -> None:
    weights = constant_length(MASK, L)
    assert weights[MASK > 0].unique().tolist() == [1 / 16]  # two responses of at most eight tokens


@each_reduction
def test_weights_do_not_depend_on_padding(reduction) -> None:
    wider = torch.cat([MASK, torch.zeros(2, 3)], dim=1)
    torch.testing.assert_close(reduction(wider, L)[:, :4], reduction(MASK, L))
    assert (reduction(wider, L)[:, 4:] == 0).all()


@each_reduction
def test_weights_do_not_depend_on_where_holes_are(reduction) -> None:
    moved = torch.tensor([[1.0, 0.0, 0.0, 1.0, 0.0], [1.0, 1.0, 0.0, 1.0, 1.0]])
    weights = reduction(moved, L)
    assert (weights[moved == 0] == 0).all()
    torch.testing.assert_close(weights[moved > 0], reduction(MASK, L)[MASK > 0])


@each_reduction
def test_a_row_without_tokens_weighs_nothing_and_changes_nothing(reduction) -> None:
    taller = torch.cat([MASK, torch.zeros(1, 4)])
    torch.testing.assert_close(reduction(taller, L)[:2], reduction(MASK, L))
    assert (reduction(taller, L)[2] == 0).all()


@each_reduction
def test_nothing_to_train_on_is_no_division_by_zero(reduction) -> None:
    assert (reduction(torch.zeros(2, 3), L) == 0).all()


def test_the_names_that_configs_use() -> None:
    assert {
        "token_mean": token_mean,
        "sequence_mean": sequence_mean,
        "sequence_sum": sequence_sum,
        "constant_length": constant_length,
    } == REDUCTIONS
