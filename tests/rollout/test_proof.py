"""The proof of a weight update accepts equality and nothing else."""

from __future__ import annotations

import math

import pytest

from rlvr.errors import WeightUpdateError
from rlvr.rollout.proof import TOLERANCE, largest_difference, prove

LEARNER = [[-1.0, -2.0], [-0.5]]


def test_equal_engines_are_accepted() -> None:
    assert prove([LEARNER, LEARNER], LEARNER, 1e-4, 1) == 0


def test_rounding_is_accepted_and_reported() -> None:
    assert prove([LEARNER, [[-1.0, -2.00005], [-0.5]]], LEARNER, 1e-4, 1) == pytest.approx(5e-5)


@pytest.mark.parametrize(
    ("engine", "difference"),
    [
        ([[-1.0, -2.01], [-0.5]], 0.01),
        ([[-1.0, -2.0], [-0.4]], 0.1),
        ([[-1.0, -2.0], [math.nan]], math.inf),
        ([[-1.0, -2.0], [-math.inf]], math.inf),
    ],
)
def test_one_wrong_engine_stops_the_run_and_is_named(engine, difference: float) -> None:
    worst, where = largest_difference([LEARNER, engine], LEARNER)
    assert worst == pytest.approx(difference)
    assert where == 1
    with pytest.raises(WeightUpdateError, match="update 7 rollout engine 1") as caught:
        prove([LEARNER, engine], LEARNER, 1e-4, 7)
    assert caught.value.where == "rollout worker 1"
    assert caught.value.fix


def test_infinities_on_both_sides_are_no_agreement() -> None:
    assert largest_difference([[[-math.inf]]], [[-math.inf]])[0] == math.inf


@pytest.mark.parametrize("engine", [[[-1.0, -2.0]], [[-1.0], [-0.5]]])
def test_a_missing_probe_or_token_is_no_proof(engine) -> None:
    with pytest.raises(ValueError, match="zip"):
        prove([engine], LEARNER, 1e-4, 1)


@pytest.mark.parametrize(("engines", "learner"), [([], LEARNER), ([[]], []), ([[[]]], [[]])])
def test_nothing_compared_is_no_proof(engines, learner) -> None:
    with pytest.raises(WeightUpdateError):
        prove(engines, learner, 1e-4, 1)


def test_tolerances_by_dtype() -> None:
    assert TOLERANCE == {"float32": 5e-4, "bfloat16": 0.1}
