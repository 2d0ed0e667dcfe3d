"""The exact-answer verifier, case by case."""

from __future__ import annotations

import pytest

from rlvr.records import Status, Verdict
from rlvr.rewards.final_answer import MAX_DIGITS, FinalAnswerVerifier
from tests.fakes import problem

CORRECT, INCORRECT, UNPARSED = Status.CORRECT, Status.INCORRECT, Status.UNPARSED


def judge(response: str, truth: str = "42", finish_reason: str = "stop") -> Verdict:
    return FinalAnswerVerifier().verify(problem(0, truth), response, finish_reason)


@pytest.mark.parametrize(
    ("response", "status", "answer"),
    [
        ("a = 42 ; # 42", CORRECT, "42"),
        ("6 × 7 is\n#### 42", CORRECT, "42"),
        ("#42", CORRECT, "42"),
        ("# 42 \n", CORRECT, "42"),
        ("# +42", CORRECT, "42"),
        ("# 042", CORRECT, "42"),
        ("# 7 ; # 42", CORRECT, "42"),
        ("# 43", INCORRECT, "43"),
        ("# 42 ; # 7", INCORRECT, "7"),
        ("# -42", INCORRECT, "-42"),
        ("# 4,2", CORRECT, "42"),
        ("", UNPARSED, None),
        ("42", UNPARSED, None),
        ("the answer is 42", UNPARSED, None),
        ("#", UNPARSED, None),
        ("# forty-two", UNPARSED, None),
        ("# 42 apples", UNPARSED, None),
        ("# 42.", UNPARSED, None),
        ("# 42.0", UNPARSED, None),
        ("# 42 ; and so on", UNPARSED, None),
        ("# 4 2", UNPARSED, None),
        ("# x42", UNPARSED, None),
        ("# 1e3", UNPARSED, None),
        ("# \u00b2", UNPARSED, None),  # superscript two is a digit to str.isdigit, not to int
        ("# \u221242", UNPARSED, None),  # a minus sign that is no hyphen
    ],
)
def test_responses(response: str, status: Status, answer: str | None) -> None:
    assert judge(response) == Verdict(float(status is CORRECT), status, answer)


@pytest.mark.parametrize(
    ("response", "truth", "status"),
    [
        ("# 1,234,567", "1234567", CORRECT),
        ("# 1234567", "1,234,567", CORRECT),
        ("# -7", "-7", CORRECT),
        ("# 7", "-7", INCORRECT),
        ("# -0", "0", CORRECT),
        ("# 3", "+3", CORRECT),
        ("# 0", "0", CORRECT),
        ("# 3", "3" * 20, INCORRECT),
        ("# " + "3" * 20, "3" * 20, CORRECT),
    ],
)
def test_numbers_are_compared_by_value(response: str, truth: str, status: Status) -> None:
    assert judge(response, truth).status is status


def test_a_response_that_was_cut_off_has_not_answered() -> None:
    assert judge("# 42", finish_reason="length") == Verdict(0.0, UNPARSED)


@pytest.mark.parametrize("digits", [MAX_DIGITS + 1, 5000, 1_000_000])
def test_a_huge_number_is_no_answer_and_costs_nothing(digits: int) -> None:
    assert judge("# " + "4" * digits) == Verdict(0.0, UNPARSED)


@pytest.mark.parametrize("digits", ["\u0664\u0662", "\uff14\uff12", "4\u0662"])
def test_digits_of_other_scripts_are_no_answer(digits: str) -> None:
    assert int(digits) == 42  # Python would read them
    assert judge(f"# {digits}") == Verdict(0.0, UNPARSED)


def test_a_long_response_is_judged_by_its_end() -> None:
    assert judge("x " * 1_000_000 + "# 42").status is CORRECT


def test_hostile_repetitions_are_quick() -> None:
    assert judge("#" * 200_000).status is UNPARSED
    assert judge("# " + "1," * 200_000 + "x").status is UNPARSED


def test_the_identity_names_a_version() -> None:
    assert FinalAnswerVerifier.identity == "final_answer/2"
