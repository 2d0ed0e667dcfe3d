"""The answers of public math sets against themselves and each other. Needs a folder with the sets.

Set RLVR_DATA to a folder with aime24.jsonl, math500.jsonl, …; without one the tests are skipped.
"""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from rlvr.records import Problem, Status
from rlvr.rewards.extract import last_boxed
from rlvr.rewards.math.spelling import normalise
from rlvr.rewards.math.verifier import MathVerifier

DATA = Path(os.environ.get("RLVR_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
AS_TEXT = {
    "aime24": 0, "amc23": 0, "gsm8k": 0, "math500": 0,
    "minerva_math": 0, "olympiadbench": 1, "omni_math_rule": 2,
}  # fmt: skip
"""Rows whose answer is compared as text: two sentences, and a set of polynomials given by a property."""
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


@pytest.mark.parametrize("name", AS_TEXT)
def test_every_gold_verifies_against_itself(verifier: MathVerifier, name: str) -> None:
    as_text = 0
    for number, gold in enumerate(golds(name), start=1):
        as_text += verifier.as_text(gold) is not None
        assert verifier.compare(gold, gold)[0] is Status.CORRECT, (number, gold)
    assert as_text == AS_TEXT[name]


@pytest.mark.parametrize("name", AS_TEXT)
def test_other_golds_are_wrong(verifier: MathVerifier, name: str) -> None:
    """Pairs of golds that are spelled differently, in both directions; those called equal are few."""
    usable = [gold for gold in golds(name) if verifier.as_text(gold) is None]
    rng = random.Random(name)
    pairs = [(rng.choice(usable), rng.choice(usable)) for _ in range(400)]
    pairs = [(a, b) for a, b in pairs if normalise(a) != normalise(b)]
    equal = [(a, b) for a, b in pairs if verifier.compare(a, b)[0] is Status.CORRECT]
    assert len(equal) <= max(1, MAX_FALSE_POSITIVES * len(pairs)), equal
    for a, b in equal:
        assert verifier.compare(b, a)[0] is Status.CORRECT, (a, b)


def test_powers_of_ten_in_e_notation(verifier: MathVerifier) -> None:
    """Minerva writes 58 answers like ``3e8``; each is its power of ten and its plain number."""
    written = [gold for gold in golds("minerva_math") if re.fullmatch("-?[0-9.]+e-?[0-9]+", gold)]
    assert len(written) == 58
    for gold in written:
        mantissa, exponent = gold.split("e")
        for answer in (
            rf"{mantissa} \times 10^{{{exponent}}}",
            rf"{mantissa}\cdot10^{{{exponent}}}",
            f"{Decimal(gold):f}",
        ):
            assert verifier.compare(gold, answer)[0] is Status.CORRECT, (gold, answer)
        assert verifier.compare(gold, rf"{mantissa} \times 10^{{{int(exponent) + 1}}}")[0] is Status.INCORRECT


SOLVED = {"math500": 500, "aime24": 29, "omni_math_rule": 311}
"""Rows whose worked solution boxes its answer, beside a column with the answer."""
DISAGREEMENTS = {
    "2": "the solution finds 2^{1011}: one of the two columns is wrong",
    "10": "the last box of the solution holds a step, 6.25^2 + 3.75^2",
    "576": "the solution finds 443: one of the two columns is wrong",
    "\\[\n\\boxed{\\frac{\\pi}{4}}\n\\]": "the solution boxes a chain, ∠NMB ≅ 45° ≅ π/4, and ≅ is not read",
    r"{m \leq \sqrt{\frac{12}{n(n-1)(n+1)}}}": "the solution boxes the bound without m ≤",
    "{11111001110_8}": "digits of base 2 with the subscript of base 8; the solution has 3736_8",
}
"""Every worked solution that is not called right, by its answer, and why."""


def worked(name: str) -> list[tuple[str, str]]:
    """Answer and worked solution of the rows that have a box."""
    answers = golds(name)
    rows = [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    return [
        (gold, row["solution"]) for gold, row in zip(answers, rows, strict=True) if "boxed" in row["solution"]
    ]


@pytest.mark.parametrize("name", SOLVED)
def test_worked_solutions_agree_with_the_answers_beside_them(verifier: MathVerifier, name: str) -> None:
    """Written by people, with their notation; of 840, six are not called right, for the reasons above."""
    pairs = worked(name)
    assert len(pairs) == SOLVED[name]
    refused = [
        gold
        for gold, text in pairs
        if verifier.verify(Problem("p", (), name, gold), text, "stop").status is not Status.CORRECT
    ]
    assert set(refused) <= set(DISAGREEMENTS)
    assert len(refused) == (len(DISAGREEMENTS) if name == "omni_math_rule" else 0)


def test_worked_solutions_of_other_problems_are_wrong(verifier: MathVerifier) -> None:
    pairs = worked("math500")
    rng = random.Random(0)
    passed = []
    for gold, _ in pairs:
        other, text = rng.choice(pairs)
        verdict = verifier.verify(Problem("p", (), "math500", gold), text, "stop")
        if verdict.status is Status.CORRECT and normalise(gold) != normalise(other):
            passed.append((gold, other))
    assert passed == [(r"90^\circ", "90")]  # a unit may be left out, by default
