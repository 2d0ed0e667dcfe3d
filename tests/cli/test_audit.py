"""``rlvr audit`` on made-up evaluations, and what the report makes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlvr.data.chains import graph_of, solution_text
from rlvr.eval.loading import load_results
from rlvr.eval.report import write, write_report
from tests.cli.refusing import refused
from tests.eval.test_audit import HARD_COUNTS, PROBLEMS, N, broken, filled, with_texts
from tests.fabricate import evaluation


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No figures: they have tests of their own."""
    monkeypatch.setattr(write, "write_figure", lambda *_: None)


def test_the_command_judges_and_the_report_shows_it(rlvr, cwd: Path, quick: None) -> None:
    good, bad = ([solution_text(graph_of(p))] * 4 for p in PROBLEMS), [[broken(p)] * 4 for p in PROBLEMS]
    with_texts(cwd / "runs/base", "base", PROBLEMS, list(good))
    with_texts(cwd / "runs/grpo", "grpo", PROBLEMS, bad)
    result = rlvr("audit", "runs")
    assert result.code == 0, result.err
    assert "toy, base: 12 of 12 right answers have valid reasoning" in result.out
    assert "toy, grpo: 0 of 12" in result.out
    write_report(cwd / "out", load_results([cwd / "runs"]), num_resamples=50)
    found = json.loads((cwd / "out/summary.json").read_text())["reasoning"]
    assert found["valid"] == {"base": 12, "grpo": 0}
    assert found["cot_pass_at_k"] == {"base": [1.0, 1.0, 1.0], "grpo": [0.0, 0.0, 0.0]}
    page = (cwd / "out/report.html").read_text()
    assert 'id="figure-cot_pass_at_k"' in page
    assert "12 of 24 have valid reasoning" in page


def test_write_read_report(rlvr, cwd: Path, quick: None) -> None:
    evaluation(cwd / "runs/base", "base", HARD_COUNTS, samples=N)
    evaluation(cwd / "runs/grpo", "grpo", [40, 1, 1, 1, 0], samples=N)
    assert "5 responses to read: to_read.jsonl" in rlvr("audit", "runs", "write=to_read.jsonl").out
    rows = [json.loads(line) for line in Path("to_read.jsonl").read_text().splitlines()]
    assert rows[0]["prompt"][0]["content"].startswith("What is")
    filled(rows, Path("read.jsonl"), chain="valid", answer="right")
    read = rlvr("audit", "runs", "read=read.jsonl").out
    assert "toy, grpo: 3 of 3 right answers" in read
    assert "on the 3 problems solved in under 5% of the samples: 3 of 3, on 3 of these problems" in read
    write_report(cwd / "out", load_results([cwd / "runs"]), num_resamples=50)
    page = (cwd / "out/report.html").read_text()
    assert "People read right answers to the hardest problems" in page
    assert "of 5 accepted answers that were read, 0 are wrong" in page
    assert "figure-cot_pass_at_k" not in page


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], ["no folder is named", "runs/tiny"]),
        (["runs", "wirte=x"], ["unknown key 'wirte'", "'write'?"]),
        (["runs", "write=a", "read=b"], ["exclude each other"]),
        (["runs", "read=nowhere.jsonl"], ["no such file", "where: nowhere.jsonl"]),
        (["runs"], ["toy/test/0 has no solution graph", "write=to_read.jsonl"]),
    ],
)
def test_a_mistake(rlvr, cwd: Path, words: list[str], found: list[str]) -> None:
    evaluation(cwd / "runs/base", "base", HARD_COUNTS, samples=N)
    refused(rlvr("audit", *words), "rlvr audit: ", *found)
