"""The table of policies in docs/rewards.md, row by row: a document that says what the verifier does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlvr.records import Problem, Status
from rlvr.rewards.choice import ChoiceVerifier
from rlvr.rewards.config import MathConfig
from rlvr.rewards.math.verifier import MathVerifier

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "rewards.md"
ROW = re.compile(
    r"\| (math|choice) \| `(.+?)` \| `(.+?)` \| (right|wrong|unparsed)(?:; (right|wrong) with `(\w+)=([\w.]+)`)? \| .*\|"
)
ROWS = [
    match.groups() for match in map(ROW.fullmatch, DOCUMENT.read_text(encoding="utf-8").splitlines()) if match
]
STATUSES = {"right": Status.CORRECT, "wrong": Status.INCORRECT, "unparsed": Status.UNPARSED}
CHOICES = ["3", "seven", "a red square"]


@pytest.fixture(scope="module")
def default() -> Iterator[MathVerifier]:
    with MathVerifier() as made:
        yield made


def judged(kind: str, gold: str, answer: str, default: MathVerifier, settings: dict[str, str]) -> Status:
    problem = Problem("p", (), "d", gold, ability=kind, extra_info={"choices": CHOICES})
    response = rf"\boxed{{{answer}}}"
    if kind == "choice":
        tolerance = float(settings.get("choice_tolerance", 0))
        return ChoiceVerifier(tolerance).verify(problem, response, "stop").status
    if not settings:
        return default.verify(problem, response, "stop").status
    tolerance = float(settings.pop("decimal_tolerance", 0))
    with MathVerifier(MathConfig(decimal_tolerance=tolerance, **settings)) as verifier:  # type: ignore[arg-type]
        return verifier.verify(problem, response, "stop").status


def test_every_row_is_read() -> None:
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    assert len(ROWS) == sum(line.startswith(("| math |", "| choice |")) for line in lines) > 60


@pytest.mark.parametrize("row", ROWS, ids=[f"{row[1]} {row[2]}" for row in ROWS])
def test_row(row: tuple[str, ...], default: MathVerifier) -> None:
    kind, gold, answer, verdict, other, key, value = row
    assert judged(kind, gold, answer, default, {}) is STATUSES[verdict]
    if other:
        assert judged(kind, gold, answer, default, {key: value}) is STATUSES[other]
