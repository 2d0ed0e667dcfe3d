"""Option letters and numbers."""

from __future__ import annotations

from typing import Any

import pytest

from rlvr.errors import DataError
from rlvr.records import Problem, Status
from rlvr.rewards.choice import ChoiceVerifier

CHOICES = ["3", "seven", "a red square"]
YES, NO, UNPARSED = Status.CORRECT, Status.INCORRECT, Status.UNPARSED


def problem(gold: str, choices: Any = None) -> Problem:
    return Problem("p/0", (), "d", gold, ability="choice", extra_info={"choices": choices})


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ("B", YES), ("(B)", YES), ("b", YES), ("B.", YES), ("B. seven", YES), ("(b) seven", YES), ("Seven", YES),
        (r"\text{B}", YES), ("A", NO), ("C: a red square", NO), ("a red square", NO), ("3", NO),
        ("(B) or (C)", UNPARSED), ("(B) and (C)", UNPARSED), ("B. or C.", UNPARSED), ("B: C", UNPARSED),
        ("(B), (C)", UNPARSED), ("B. 3", UNPARSED), ("B. a red square", UNPARSED), ("B. It is clear.", YES),
        ("（B）", YES), ("**B**", YES), (r"\textbf{(B)}", YES), (r"\textbf{(B)}\ \text{seven}", YES),
        ("Option B", YES), ("The answer is B", YES), ("the correct option is (B) seven", YES), ("Answer: C", NO),
        ("Option B or C", UNPARSED), ("Option", UNPARSED), ("The answer is seven", UNPARSED),
        ("A or B", UNPARSED), ("eight", UNPARSED), ("", UNPARSED), ("Because", UNPARSED), ("B" * 500, UNPARSED),
    ],
)  # fmt: skip
def test_letters(answer: str, status: Status) -> None:
    assert ChoiceVerifier().verify(problem("B", CHOICES), rf"\boxed{{{answer}}}", "stop").status is status


@pytest.mark.parametrize(
    ("gold", "answer", "tolerance", "status"),
    [
        ("1.5", "3/2", 0.0, YES), ("1.5", "1.50", 0.0, YES), ("100", "101", 0.0, NO), ("100", "101", 0.01, YES),
        ("100", "102", 0.01, NO), ("-2", "2", 0.5, NO), ("1000", "1,000", 0.0, YES), ("5", "about five", 0.0, UNPARSED),
    ],
)  # fmt: skip
def test_numbers(gold: str, answer: str, tolerance: float, status: Status) -> None:
    assert (
        ChoiceVerifier(tolerance).verify(problem(gold), f"<answer>{answer}</answer>", "stop").status is status
    )


def test_options_of_the_same_text_cannot_be_told_apart() -> None:
    assert ChoiceVerifier().verify(problem("A", ["same", "same"]), r"\boxed{same}", "stop").status is UNPARSED


def test_a_response_that_was_cut_off_has_not_answered() -> None:
    assert ChoiceVerifier().verify(problem("B"), r"\boxed{B}", "length").status is UNPARSED


@pytest.mark.parametrize(
    ("gold", "choices"), [("seven", None), ("", None), ("D", CHOICES), ("A", 5), ("A", "AB")]
)
def test_an_unusable_ground_truth_is_refused(gold: str, choices: Any) -> None:
    with pytest.raises(DataError) as caught:
        ChoiceVerifier().check([problem(gold, choices)])
    assert caught.value.where == "problem p/0"
