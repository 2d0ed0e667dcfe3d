"""A user's function as verifier: what it may return, and what is told of its mistakes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rlvr.errors import ConfigError
from rlvr.records import Problem, Status
from rlvr.rewards.config import RewardsConfig
from rlvr.rewards.function import FunctionVerifier
from rlvr.rewards.pool import VerifierPool
from rlvr.rewards.registry import compared_as_text, faults, verifier_for

PROBLEM = Problem("a", ({"role": "user", "content": "?"},), "test", "NaN", style="model", ability="poetry")
CODE = """
from rlvr.records import Status, Verdict

def by_length(problem, response):
    return {"right": True, "half": 0.5, "none": None, "many": 2, "own": Verdict(0.0, Status.TIMEOUT)}.get(response, False)
"""


@pytest.fixture
def place(tmp_path: Path) -> str:
    file = tmp_path / "mine.py"
    file.write_text(CODE)
    return f"{file}:by_length"


@pytest.mark.parametrize(
    ("response", "score", "status"),
    [
        ("right", 1.0, Status.CORRECT),
        ("wrong", 0.0, Status.INCORRECT),
        ("half", 0.5, Status.INCORRECT),
        ("none", 0.0, Status.UNPARSED),
        ("own", 0.0, Status.TIMEOUT),
        ("many", 0.0, Status.ERROR),
    ],
)
def test_what_it_returns_becomes_a_verdict(place: str, response: str, score: float, status: Status) -> None:
    with VerifierPool(verifier_for([PROBLEM], RewardsConfig(function=place)), 2) as pool:
        verdict = pool.verify(PROBLEM, response, "stop")
    assert (verdict.score, verdict.status) == (score, status)


def test_it_judges_problems_that_no_verifier_is_made_for(place: str) -> None:
    config = RewardsConfig(function=place)
    assert faults([PROBLEM], config) == {}
    assert compared_as_text([PROBLEM], config) == {}
    assert faults([PROBLEM], RewardsConfig())


def test_results_of_other_code_are_told_apart(place: str) -> None:
    before = FunctionVerifier(place).identity
    assert before.startswith("mine.py:by_length/")
    file = Path(place.rpartition(":")[0])
    file.write_text(CODE + "# changed")
    assert FunctionVerifier(place).identity != before


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("{file}", "names no function"),
        ("{file}:by_lenght", "has no function 'by_lenght'"),
        ("nowhere.py:judge", "no such Python file"),
    ],
)
def test_a_function_that_is_not_there_is_refused(place: str, word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        FunctionVerifier(word.format(file=place.rpartition(":")[0]))
    assert "rewards.function" in str(caught.value.where)


def test_a_file_that_fails_says_how(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import nothing_of_this_name")
    with pytest.raises(ConfigError, match="the file fails: ModuleNotFoundError"):
        FunctionVerifier(f"{tmp_path}/mine.py:judge")


@pytest.mark.parametrize(
    ("body", "message", "line"),
    [
        (
            "(problem, response):\n    return int(response) == 1",
            "'I do not know.': ValueError: invalid literal",
            2,
        ),
        (
            "(problem, response):\n    return problem.answer",
            "'42': AttributeError: .* no attribute 'answer'",
            2,
        ),
        ("(response):\n    return True", "'42': TypeError: .* takes 1 positional argument", None),
        ("(problem, response):\n    return 2", "the function returned 2, which is no score", None),
    ],
)
def test_a_function_that_fails_is_found_before_anything_starts(
    tmp_path: Path, body: str, message: str, line: int | None
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(f"def judge{body}\n")
    with pytest.raises(ConfigError, match=message) as caught:
        verifier_for([replace(PROBLEM, ground_truth="42")], RewardsConfig(function=f"{file}:judge"))
    place = f"rewards.function={file}:judge"
    assert caught.value.where == (place if line is None else f"{place}, line {line}")
