"""Evaluations as other tools log them: the fields that their readers need, and the numbers that are ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fabricate import COUNTS, N, evaluation, study_folder


@pytest.fixture
def exported(rlvr, tmp_path: Path):
    def export(name: str, *words: object) -> list[Path]:
        study = study_folder(tmp_path / "study", benchmarks=("toy", "far"))
        result = rlvr("export", study, f"format={name}", f"output={tmp_path}/logs", *words)
        assert result.code == 0, result.err
        return [Path(line) for line in result.out.splitlines()]

    return export


def test_a_log_of_inspect_has_an_epoch_per_sample(exported) -> None:
    paths = exported("inspect", "benchmarks=toy")
    assert len(paths) == 3
    logs = [json.loads(path.read_text()) for path in paths]
    [grpo] = [log for log in logs if log["eval"]["model"] == "grpo"]
    assert (grpo["version"], grpo["status"], grpo["eval"]["task"]) == (2, "success", "toy")
    # Readers of the head alone, among them inspect's viewer, refuse a log without these two.
    assert list(grpo)[:6] == ["version", "status", "eval", "plan", "results", "stats"]
    assert grpo["stats"]["completed_at"] == grpo["eval"]["created"]
    assert grpo["eval"]["config"] == {"epochs": N}
    assert grpo["eval"]["model_generate_config"] == {"temperature": 0.6, "top_p": 0.95}
    assert [(s["id"], s["epoch"]) for s in grpo["samples"]] == [
        (f"toy/test/{i}", epoch) for i in range(12) for epoch in range(1, N + 1)
    ]
    right = [
        sum(s["scores"]["rlvr"]["value"] == "C" for s in grpo["samples"] if s["id"] == f"toy/test/{i}")
        for i in range(12)
    ]
    assert right == COUNTS["grpo"]
    [score] = grpo["results"]["scores"]
    assert score["metrics"]["accuracy"]["value"] == pytest.approx(sum(COUNTS["grpo"]) / 12 / N)
    sample = grpo["samples"][0]
    assert sample["messages"][-1]["content"] == sample["output"]["completion"] == "# 1"
    assert sample["input"][0]["content"] == "What is 0 + 1 <b>?</b>"
    assert sample["target"] == "1"


def test_logs_of_lm_eval_have_a_row_per_problem(exported) -> None:
    paths = exported("lm_eval")
    assert len(paths) == 6
    found: dict[tuple[str, str], Any] = {}
    for path in paths:
        assert path.parent.name in COUNTS
        results = json.loads(path.read_text())
        [(task, values)] = results["results"].items()
        found[results["model_name"], task] = values
        date = path.stem.removeprefix("results_")
        rows = [
            json.loads(line)
            for line in (path.parent / f"samples_{task}_{date}.jsonl").read_text().splitlines()
        ]
        assert [row["doc_id"] for row in rows] == list(range(12))
        assert all(len(row["resps"][0]) == len(row["filtered_resps"][0]) == N for row in rows)
        mean = sum(row["pass@4"] for row in rows) / 12
        assert values["pass@4,none"] == pytest.approx(mean)
    assert found["base", "toy"]["exact_match,none"] == found["base", "toy"]["pass@1,none"]
    assert found["base", "toy"]["pass@1,none"] == pytest.approx(sum(COUNTS["base"]) / 12 / N)
    assert found["grpo", "toy"]["pass@8,none"] == pytest.approx(9 / 12)


@pytest.mark.parametrize(
    ("words", "message"), [(("format=csv",), "no format 'csv'"), ((), "no format is named")]
)
def test_a_format_that_is_not_there_is_refused(
    rlvr, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    evaluation(tmp_path / "evaluation" / "toy" / "base", "base", COUNTS["base"])
    result = rlvr("export", tmp_path, *words)
    assert result.code == 2
    assert message in result.err
    assert "inspect" in result.err
