"""Ground truths and responses with the verdict that mathematics, or a policy of docs/rewards.md, gives them.

``cases/math.jsonl``: one case a row. Most are after public reports about graders.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlvr.records import Problem, Status
from rlvr.rewards.math.verifier import MathVerifier

CASES = [
    json.loads(line)
    for line in (Path(__file__).parent / "cases" / "math.jsonl").read_text(encoding="utf-8").splitlines()
]


@pytest.fixture(scope="module")
def verifier() -> Iterator[MathVerifier]:
    with MathVerifier() as made:
        yield made


@pytest.mark.parametrize(
    "case", CASES, ids=[f"{number}: {case['about']}" for number, case in enumerate(CASES, 1)]
)
def test_case(verifier: MathVerifier, case: dict[str, str]) -> None:
    verdict = verifier.verify(Problem("p", (), "d", case["ground_truth"]), case["response"], "stop")
    assert (verdict.status is Status.CORRECT) == (case["want"] == "correct"), verdict
    assert verdict.status is not Status.ERROR
