"""Micro-batch plans: nothing lost, nothing doubled, bounded and balanced."""

from __future__ import annotations

from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from rlvr.learner.micro_batches import plan_micro_batches

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=50)
BUDGETS = st.integers(1, 400)
RANKS = st.integers(1, 5)


def padded(rows: list[int], lengths: list[int]) -> int:
    """Tokens of a micro-batch, padding included."""
    return len(rows) * max((lengths[row] for row in rows), default=0)


@given(LENGTHS, BUDGETS, RANKS)
def test_every_row_exactly_once(lengths: list[int], budget: int, ranks: int) -> None:
    plan = plan_micro_batches(lengths, budget, ranks)
    assert sorted(chain.from_iterable(chain.from_iterable(plan))) == list(range(len(lengths)))


@given(LENGTHS, BUDGETS, RANKS)
def test_the_budget_is_respected_but_for_a_longer_row_alone(
    lengths: list[int], budget: int, ranks: int
) -> None:
    for rows in chain.from_iterable(plan_micro_batches(lengths, budget, ranks)):
        assert padded(rows, lengths) <= budget or len(rows) == 1


@given(LENGTHS, BUDGETS, RANKS)
def test_every_rank_has_the_same_number_of_micro_batches(lengths: list[int], budget: int, ranks: int) -> None:
    plan = plan_micro_batches(lengths, budget, ranks)
    assert plan
    assert {len(micro_batches) for micro_batches in plan} == {ranks}


@given(LENGTHS, BUDGETS, RANKS)
def test_a_rank_is_idle_only_where_no_row_is_left_to_give(
    lengths: list[int], budget: int, ranks: int
) -> None:
    bins = list(chain.from_iterable(plan_micro_batches(lengths, budget, ranks)))
    idle = sum(not rows for rows in bins)
    assert idle < ranks
    if idle:
        assert max(map(len, bins)) == 1


@given(LENGTHS, BUDGETS, RANKS)
def test_ranks_wait_for_one_another_for_one_micro_batch_at_most(
    lengths: list[int], budget: int, ranks: int
) -> None:
    plan = plan_micro_batches(lengths, budget, ranks)
    costs = [[padded(rows, lengths) for rows in micro_batches] for micro_batches in plan]
    waiting = sum(max(round_) - min(round_) for round_ in costs)
    assert waiting <= max(chain.from_iterable(costs))


@given(LENGTHS, BUDGETS, RANKS)
def test_every_rank_computes_the_same_plan(lengths: list[int], budget: int, ranks: int) -> None:
    assert plan_micro_batches(lengths, budget, ranks) == plan_micro_batches(tuple(lengths), budget, ranks)


def test_rows_of_like_length_share_a_micro_batch() -> None:
    assert plan_micro_batches([10, 2, 10, 2, 2, 2], 20, 1) == [[[0, 2]], [[1, 3, 4, 5]]]


def test_equal_rows_are_shared_out_equally() -> None:
    plan = plan_micro_batches([10] * 8, 1000, 2)
    assert [[len(rows) for rows in micro_batches] for micro_batches in plan] == [[4, 4]]
