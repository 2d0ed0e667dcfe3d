"""Strict pass@k beside that of answers alone, and the kinds of error, on samples with known faults."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from rlvr.config import GraphsWorld
from rlvr.data.graphs import generate, gold
from rlvr.eval.report import steps
from rlvr.eval.report.analysis import analyse
from rlvr.eval.report.html import Markup
from rlvr.eval.report.measurement import Part
from rlvr.eval.results import BenchmarkResults, StudyResults
from rlvr.eval.samples import encode_samples
from rlvr.eval.store import Evaluation
from rlvr.run_folder import SAMPLES_FILE
from tests.fabricate import N, evaluation

PROBLEMS = generate(3, [3], ["zoo"], 1, GraphsWorld(), "test")
SOLUTIONS = [worked.solution for worked in gold(PROBLEMS)]


def written(place: int, kind: str) -> str:
    """A response to a problem with one fault."""
    right = SOLUTIONS[place]
    parts = right.split(" ; ")
    value = parts[2].rpartition(" = ")[2]
    return {
        "right": right,
        "extra": " ; ".join([parts[0], "z = 1", *parts[1:]]),
        "missing": " ; ".join([*parts[:1], *parts[2:]]),
        "value": " ; ".join(
            [*parts[:2], parts[2].rpartition(" = ")[0] + f" = {(int(value) + 1) % 11}", *parts[3:]]
        ),
        "dependency": " ; ".join([parts[1], parts[0], *parts[2:]]),
        "answer": " ; ".join([*parts[:4], "# 99 99 99"]),
    }[kind]


SAMPLES = {
    "base": [
        ["right", "extra", *6 * ["missing"]],
        [*8 * ["value"]],
        ["right", "dependency", *6 * ["answer"]],
    ],
    "grpo": [[*8 * ["right"]], ["extra", *7 * ["value"]], [*8 * ["answer"]]],
}


@pytest.fixture
def models(tmp_path: Path) -> list[Evaluation]:
    made = []
    for name, kinds in SAMPLES.items():
        found = evaluation(tmp_path / name, name, [0, 0, 0], problems=PROBLEMS)
        rows = {(each.problem, each.sample): each for each in found.samples()}
        texts = {
            (problem.id, i): written(place, kind)
            for place, problem in enumerate(PROBLEMS)
            for i, kind in enumerate(kinds[place])
        }
        changed = [replace(row, text=texts[key]) for key, row in rows.items()]
        (found.folder / SAMPLES_FILE).write_bytes(encode_samples(changed))
        made.append(found)
    return made


def test_samples_are_counted_by_their_answers_and_by_their_steps(models: list[Evaluation]) -> None:
    [analysis] = analyse(StudyResults([BenchmarkResults(models, PROBLEMS)]), num_resamples=50)
    found = analysis.found[steps.ANCHOR]
    base, grpo = found.kinds["base"], found.kinds["grpo"]
    assert base == {"right": 3, "missing": 6, "dependency": 1, "value": 8, "answer": 6}
    assert grpo == {"right": 9, "missing": 0, "dependency": 0, "value": 7, "answer": 8}

    # The right answers stand behind missing steps, wrong values and wrong orders as well.
    def exact(counts: list[int], k: int) -> float:
        """pass@k by going through all draws of k samples."""
        shares = [
            np.mean([any(s < count for s in draw) for draw in combinations(range(N), k)]) for count in counts
        ]
        return float(np.mean(shares))

    for k in (1, 2, 4, 8):
        assert found.strict.models[0].curve.at(k).estimate == pytest.approx(exact([2, 0, 1], k))
        assert found.strict.models[1].curve.at(k).estimate == pytest.approx(exact([8, 1, 0], k))
        assert found.answer.models[0].curve.at(k).estimate == pytest.approx(exact([8, 8, 2], k))
    numbers = steps.summary(found)
    assert numbers["strict_pass_at_k"]["base"][0] == pytest.approx(3 / 24, abs=1e-4)
    assert numbers["answer_pass_at_k"]["base"][-1] == 1.0
    assert numbers["kinds"]["grpo"] == grpo
    page = steps.section(Part(analysis, {}))
    assert isinstance(page, Markup)
    assert "answer and steps" in page
    assert "25.0" in page  # of the base's samples a step is missing in a quarter


def test_problems_without_a_graph_have_no_such_section(tmp_path: Path) -> None:
    found = evaluation(tmp_path / "base", "base", [1, 2])
    [analysis] = analyse(StudyResults([BenchmarkResults([found])]), num_resamples=20)
    assert steps.ANCHOR not in analysis.found
