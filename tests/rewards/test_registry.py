"""Which verifier judges what, and what guessing is worth."""

from __future__ import annotations

import random
import statistics
from dataclasses import replace

import pytest

from rlvr.errors import DataError
from rlvr.rewards.final_answer import FinalAnswerVerifier
from rlvr.rewards.registry import chance_level, verifier_for
from tests.fakes import problem, problems


@pytest.mark.parametrize("truth", ["3", "-3", "+3", "1,234"])
def test_integers_are_judged_by_their_final_answer(truth: str) -> None:
    assert isinstance(verifier_for([problem(0, truth)]), FinalAnswerVerifier)


@pytest.mark.parametrize("truth", ["", "4.2", "x + 1", "3 apples", "True", "nan", "3\n"])
def test_another_ground_truth_is_refused_by_problem(truth: str) -> None:
    with pytest.raises(DataError, match="no verifier") as caught:
        verifier_for([*problems(2), problem(2, truth)])
    assert caught.value.where == "problem fake/train/2"
    assert "integer" in str(caught.value.fix)


def test_another_style_is_refused() -> None:
    with pytest.raises(DataError, match="of style 'model'"):
        verifier_for([replace(problem(0), style="model")])


def test_chance_is_the_share_of_equal_pairs() -> None:
    # One of the six pairs of answers is equal.
    four = [problem(0, "1"), problem(1, "1"), problem(2, "2"), problem(3, "3")]
    assert chance_level(four) == pytest.approx(1 / 6)
    assert chance_level(four[:1]) == 0.0


def test_chance_is_unbiased_for_a_small_set_of_uniform_answers() -> None:
    rng = random.Random(0)
    levels = [chance_level([problem(i, str(rng.randrange(23))) for i in range(30)]) for _ in range(2000)]
    assert statistics.mean(levels) == pytest.approx(1 / 23, abs=0.001)


def test_chance_counts_values_not_spellings() -> None:
    assert chance_level(
        [problem(0, "1000"), problem(1, "1,000"), problem(2, "2"), problem(3, "3")]
    ) == pytest.approx(1 / 6)
