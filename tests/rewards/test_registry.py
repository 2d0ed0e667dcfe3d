"""Which verifier judges what, and what guessing is worth."""

from __future__ import annotations

import random
import statistics
from dataclasses import replace

import pytest

from rlvr.data.chains import generate
from rlvr.errors import DataError
from rlvr.records import Problem, Status
from rlvr.rewards.config import ProcessConfig, RewardsConfig
from rlvr.rewards.registry import chance_level, verifier_for, verifier_pool
from tests.fakes import problem, problems


def of(ability: str, truth: str, index: int = 0) -> Problem:
    return replace(problem(index, truth), ability=ability)


@pytest.mark.parametrize(
    ("ability", "truth", "identity"),
    [("arithmetic", "3", "final_answer/"), ("math", r"\frac12", "math/"), ("choice", "B", "choice/")],
)
def test_the_ability_chooses(ability: str, truth: str, identity: str) -> None:
    assert verifier_for([of(ability, truth)]).identity.startswith(identity)


def test_several_abilities_are_judged_each_by_its_own() -> None:
    mixed = [of("arithmetic", "3", 0), of("choice", "B", 1)]
    with verifier_pool(mixed, RewardsConfig()) as pool:
        assert "choice/" in pool.identity
        assert "final_answer/" in pool.identity
        assert pool.verify(mixed[0], "# 3", "stop").status is Status.CORRECT
        assert pool.verify(mixed[1], r"\boxed{B}", "stop").status is Status.CORRECT
        assert pool.verify(mixed[1], "# 3", "stop").status is Status.UNPARSED


def test_chains_are_judged_by_their_steps_where_asked() -> None:
    config = RewardsConfig(process=ProcessConfig("strict"))
    assert verifier_for(generate(2, [1], 0), config).identity.startswith("process/")
    with pytest.raises(DataError, match="no solution graph"):
        verifier_for([of("arithmetic", "3")], config)


@pytest.mark.parametrize(
    ("ability", "truth"),
    [("arithmetic", "4.2"), ("arithmetic", ""), ("math", "$ $"), ("choice", "yes"), ("code", "[]")],
)
def test_an_unusable_ground_truth_is_refused_by_problem(ability: str, truth: str) -> None:
    good = {"arithmetic": "3", "math": "3", "choice": "A", "code": '[{"stdin": "", "stdout": ""}]'}[ability]
    with pytest.raises(DataError) as caught:
        verifier_for([of(ability, good, 0), of(ability, truth, 2)])
    assert caught.value.where == "problem fake/train/2"


def test_another_style_or_ability_is_refused() -> None:
    with pytest.raises(DataError, match="style 'model'"):
        verifier_for([replace(problem(0), style="model")])
    with pytest.raises(DataError, match="ability 'maths'") as caught:
        verifier_for([*problems(2), of("maths", "3")])
    assert "did you mean 'math'?" in str(caught.value.fix)


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


def test_chance_of_answers_that_are_no_numbers() -> None:
    assert chance_level([problem(0, "x"), problem(1, "x "), problem(2, "y")]) == pytest.approx(1 / 3)
