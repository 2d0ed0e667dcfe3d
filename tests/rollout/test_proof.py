"""The proof of a weight update accepts equal weights and the same function, and nothing else."""

from __future__ import annotations

import math
from typing import Any

import pytest

from rlvr.errors import WeightUpdateError
from rlvr.rollout.checksums import Checksum
from rlvr.rollout.proof import (
    Difference,
    Held,
    comparable,
    difference,
    function_limit,
    prove_function,
    prove_weights,
)

OURS = {"embed": Checksum(300, 1), "q_proj": Checksum(90, 2), "norm": Checksum(10, 3)}
HELD: dict[str, Any] = {name: [each] for name, each in OURS.items()}
LEARNER = [[-1.0, -2.0], [-0.5]]


def test_engines_that_hold_the_weights_are_accepted() -> None:
    packed = HELD | {"embed": [OURS["embed"], OURS["embed"]]}
    assert comparable([HELD, packed], OURS) == set(OURS)
    assert prove_weights([HELD, packed], OURS, set(OURS), 1) == 1.0


@pytest.mark.parametrize(
    "copies",
    [
        [Checksum(90, 7)],
        [Checksum(89, 2)],
        [None],
        [],
        [OURS["q_proj"], Checksum(90, 7)],  # a packed copy kept old weights
    ],
)
def test_one_wrong_tensor_of_one_engine_stops_the_run(copies: list[Any]) -> None:
    with pytest.raises(WeightUpdateError, match=r"update 7 rollout engine 1 .* 1 of 3 .* q_proj") as caught:
        prove_weights([HELD, HELD | {"q_proj": copies}], OURS, set(OURS), 7)
    assert caught.value.where == "rollout worker 1"
    assert caught.value.exit_code == 4


def test_a_tensor_that_differs_before_anything_is_sent_is_left_out_and_the_share_says_so() -> None:
    turned = HELD | {"q_proj": [Checksum(90, 7)]}
    known = comparable([HELD, turned], OURS)
    assert known == {"embed", "norm"}
    assert prove_weights([HELD, turned], OURS, known, 1) == pytest.approx(310 / 400)
    assert comparable([{"embed": [OURS["embed"]]}], OURS) == {"embed"}


@pytest.mark.parametrize(("engines", "known"), [([], set(OURS)), ([HELD], set())])
def test_no_weights_compared_is_no_proof(engines: list[Held], known: set[str]) -> None:
    with pytest.raises(WeightUpdateError, match="no weights"):
        prove_weights(engines, OURS, known, 1)


def test_equal_engines_compute_the_same() -> None:
    assert prove_function([LEARNER, LEARNER], LEARNER, 1e-4, 1) == Difference(0, 0)


def test_a_single_token_that_rounds_badly_is_accepted_and_reported() -> None:
    tokens = [-1.0] * 999
    found = prove_function([[[*tokens, -3.0]]], [[*tokens, -3.6]], 0.01, 1)
    assert found.mean == pytest.approx(6e-4)
    assert found.largest == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("engine", "mean"),
    [
        ([[-1.0, -2.3], [-0.5]], 0.1),
        ([[-1.0, -2.0], [-0.2]], 0.1),
        ([[-1.0, -2.0], [math.nan]], math.inf),
        ([[-1.0, -2.0], [-math.inf]], math.inf),
    ],
)
def test_an_engine_that_computes_something_else_stops_the_run(engine: list[list[float]], mean: float) -> None:
    assert difference(engine, LEARNER).mean == pytest.approx(mean)
    with pytest.raises(WeightUpdateError, match=r"update 7 rollout engine 1 .* computes") as caught:
        prove_function([LEARNER, engine], LEARNER, 0.05, 7)
    assert caught.value.where == "rollout worker 1"
    assert "rollout.probe_tolerance" in str(caught.value.fix)


def test_infinities_on_both_sides_are_no_agreement() -> None:
    assert difference([[-math.inf]], [[-math.inf]]).mean == math.inf


@pytest.mark.parametrize("engine", [[[-1.0, -2.0]], [[-1.0], [-0.5]]])
def test_a_missing_probe_or_token_is_no_proof(engine: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="zip"):
        prove_function([engine], LEARNER, 1e-4, 1)


@pytest.mark.parametrize(("engines", "learner"), [([], LEARNER), ([[]], []), ([[[]]], [[]])])
def test_nothing_compared_is_no_proof(engines: Any, learner: Any) -> None:
    with pytest.raises(WeightUpdateError, match="nothing was compared"):
        prove_function(engines, learner, 1e-4, 1)


def test_the_limit_is_the_coarser_dtypes_and_rises_with_what_the_first_update_showed() -> None:
    assert function_limit(["float32", "float32"]) == pytest.approx(1e-3)
    assert function_limit(["bfloat16", "float32"]) == pytest.approx(0.1)
    assert function_limit(["bfloat16", "bfloat16"], first=0.004) == pytest.approx(0.1)
    assert function_limit(["float32", "float32"], first=0.002) == pytest.approx(0.02)
