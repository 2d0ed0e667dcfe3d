"""The answers of public math sets against themselves and each other. Needs a folder with the sets.

Set RLVR_DATA to a folder with aime24.jsonl, math500.jsonl, …; without one the tests are skipped.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlvr.records import Problem, Status
from rlvr.rewards.extract import last_boxed
from rlvr.rewards.math import MathVerifier
from rlvr.rewards.math_form import normalise

DATA = Path(os.environ.get("RLVR_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
UNUSABLE = {
    "aime24": 0, "amc23": 0, "gsm8k": 0, "math500": 0,
    "minerva_math": 4, "olympiadbench": 3, "omni_math_rule": 9,
}  # fmt: skip
"""Rows whose answer cannot be read as mathematics: sentences, unbalanced braces, unknown notation."""
MAX_FALSE_POSITIVES = 0.002


def golds(name: str) -> list[str]:
    """The ground truths of one set, each in its own column."""
    path = DATA / f"{name}.jsonl"
    if not path.exists():
        pytest.skip(f"{path} is not there: set RLVR_DATA to a folder with the sets")
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if name == "gsm8k":
            found.append(row["answer"].rpartition("####")[2].strip())
        elif name == "minerva_math":
            found.append(last_boxed(row["solution"]) or "")
        elif name == "olympiadbench":
            found.append(row["final_answer"][0])
        else:
            found.append(str(row["answer"]))
    return found


@pytest.fixture(scope="module")
def verifier() -> Iterator[MathVerifier]:
    with MathVerifier() as made:
        yield made


@pytest.mark.parametrize("name", UNUSABLE)
def test_every_usable_gold_verifies_against_itself(verifier: MathVerifier, name: str) -> None:
    unusable = 0
    for number, gold in enumerate(golds(name), start=1):
        if verifier.unreadable(gold) is not None:
            unusable += 1
            continue
        verdict = verifier.verify(Problem("p", (), name, gold), rf"So it is \boxed{{{gold}}}.", "stop")
        assert verdict.status is Status.CORRECT, (number, gold)
    assert unusable <= UNUSABLE[name]


@pytest.mark.parametrize("name", UNUSABLE)
def test_other_golds_are_wrong(verifier: MathVerifier, name: str) -> None:
    """Pairs of golds that are spelled differently, in both directions; those called equal are few."""
    usable = [gold for gold in golds(name) if verifier.unreadable(gold) is None]
    rng = random.Random(name)
    pairs = [(rng.choice(usable), rng.choice(usable)) for _ in range(400)]
    pairs = [(a, b) for a, b in pairs if normalise(a) != normalise(b)]
    equal = [(a, b) for a, b in pairs if verifier.compare(a, b) is Status.CORRECT]
    assert len(equal) <= max(1, MAX_FALSE_POSITIVES * len(pairs)), equal
    for a, b in equal:
        assert verifier.compare(b, a) is Status.CORRECT, (a, b)
