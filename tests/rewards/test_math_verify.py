"""The library Math-Verify as judge: its verdicts are its own, its process is ours."""

from __future__ import annotations

from collections.abc import Iterator

import math_verify
import pytest

from rlvr.errors import ConfigError
from rlvr.records import Problem, Status
from rlvr.rewards.config import MathConfig, RewardsConfig
from rlvr.rewards.math.verifier import MathVerifier
from rlvr.rewards.registry import verifier_for


@pytest.fixture(scope="module")
def judge() -> Iterator[MathVerifier]:
    with MathVerifier(MathConfig(judge="math_verify")) as verifier:
        yield verifier


def problem(gold: str) -> Problem:
    return Problem("x", ({"role": "user", "content": "?"},), "own", gold)


PAIRS = [
    ("1/2", "0.5"),
    ("\\frac{1}{2}", "0.5"),
    ("42", "43"),
    ("x^2-1", "(x-1)(x+1)"),
    ("(1,2)", "(2,1)"),
    ("\\{1,2\\}", "\\{2,1\\}"),
    ("\\sqrt{2}", "1.414213562"),
    ("3", "three"),
]


@pytest.mark.parametrize(("gold", "answer"), PAIRS)
def test_verdicts_are_the_librarys(judge: MathVerifier, gold: str, answer: str) -> None:
    read = math_verify.parse(f"\\boxed{{{gold}}}"), math_verify.parse(f"\\boxed{{{answer}}}")
    verdict = judge.verify(problem(gold), f"So it is \\boxed{{{answer}}}.", "stop")
    if not read[1]:
        assert verdict.status is Status.UNPARSED
    else:
        assert (verdict.status is Status.CORRECT) == math_verify.verify(*read)


def test_it_accepts_what_the_exact_judge_refuses(judge: MathVerifier) -> None:
    """The reason why it is not the default; and that the setting reaches the judge."""
    with MathVerifier() as exact:
        assert judge.compare("\\sqrt{2}", "1.41421356")[0] is Status.CORRECT
        assert exact.compare("\\sqrt{2}", "1.41421356")[0] is Status.INCORRECT
        assert judge.identity != exact.identity
    assert "judge=math_verify" in judge.identity


def test_a_cut_off_response_has_no_answer(judge: MathVerifier) -> None:
    assert judge.verify(problem("4"), "\\boxed{4}", "length").status is Status.UNPARSED


def test_it_is_chosen_by_the_config() -> None:
    config = RewardsConfig(math=MathConfig(judge="math_verify"))
    verifier = verifier_for([problem("\\frac{1}{2}")], config)
    try:
        assert "judge=math_verify" in verifier.identity
        assert verifier.verify(problem("\\frac{1}{2}"), "\\boxed{0.5}", "stop").status is Status.CORRECT
    finally:
        verifier.close()  # type: ignore[attr-defined]


def test_settings_that_it_would_not_heed_are_refused() -> None:
    with pytest.raises(ConfigError, match="would not heed units=ignored"):
        MathConfig(judge="math_verify", units="ignored")
    with pytest.raises(ConfigError, match="not a choice"):
        MathConfig(judge="sympy")
