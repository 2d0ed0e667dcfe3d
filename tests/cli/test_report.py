"""``rlvr report`` on made-up studies."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from rlvr.eval import report
from rlvr.eval.report import write
from tests.cli.refusing import refused
from tests.fabricate import study_folder, study_in_training


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few resamples, and no figures: they have tests of their own."""
    monkeypatch.setattr(write, "write_figure", lambda *_: None)
    monkeypatch.setattr(report, "write_report", partial(report.write_report, num_resamples=50))


def test_two_studies_become_one_report(rlvr, cwd: Path) -> None:
    study_folder(cwd / "runs" / "a", ("base", "grpo", "grpo-step2"), ("toy", "toy_long"))
    study_folder(cwd / "runs" / "b", ("base", "grpo", "ppo"), ("toy", "toy_long"), tag="b")
    study_folder(cwd / "elsewhere", ("base", "ppo"))
    result = rlvr("report", "runs/a", "runs/b")
    assert result.code == 0, result.err
    assert result.err == ""
    assert "report: runs/report/report.html" in result.out
    assert "grpo (a)" in result.out
    assert max(map(len, result.out.splitlines())) <= 100
    summary = json.loads((cwd / "runs/report/summary.json").read_text())
    assert list(summary["models"]) == ["base", "grpo (a)", "ppo", "grpo (b)"]
    assert list(summary["benchmarks"]) == ["toy", "toy_long"]
    assert list(summary["steps"]) == ["grpo (a)"]
    assert summary["provenance"]["runs"]["ppo"]["command"] == f"rlvr study run.dir={cwd}/runs/b"
    assert summary["versions"]
    assert "GRPO (a)" in (cwd / "runs/report/report.html").read_text()


def test_the_output_and_the_benchmarks_are_keys(rlvr, cwd: Path) -> None:
    study_folder(cwd / "one", ("base", "grpo"), ("toy", "toy_long"))
    result = rlvr("report", "one", "output=here", "benchmarks=toy_long")
    assert result.code == 0, result.err
    assert list(json.loads((cwd / "here/summary.json").read_text())["benchmarks"]) == ["toy_long"]


def test_a_study_that_trains_has_a_page_with_its_curves(rlvr, cwd: Path) -> None:
    home = study_in_training(cwd / "tiny")
    result = rlvr("report", "tiny")
    assert result.code == 0, result.err
    assert result.out == "report: runs/report/report.html\n"
    assert "still to come: training grpo: 2 of 4 steps" in result.err
    assert result.err.count(f"run this again, it goes on: rlvr study run.dir={home}") == 1
    page = (cwd / "runs/report/report.html").read_text()
    for words in (
        "Training so far",
        "GRPO: step 2",
        "Still to come",
        "measuring base, ppo, grpo on toy_long",
        "Reward",
    ):
        assert words in page
    assert "pass@" not in page.partition("<main>")[2].partition("<script>")[0]
    summary = json.loads((cwd / "runs/report/summary.json").read_text())
    assert summary["unfinished"][0] == {"stage": "training grpo", "done": 2, "total": 4, "unit": "steps"}
    assert summary["benchmarks"] == {}


@pytest.mark.parametrize("command", [("audit",), ("perplexity",), ("entropy",), ("export", "format=inspect")])
def test_where_nothing_is_measured_yet_there_is_nothing_to_look_at(
    rlvr, cwd: Path, command: tuple[str, ...]
) -> None:
    study_in_training(cwd / "tiny")
    result = rlvr(command[0], "tiny", *command[1:])
    assert result.code == 2
    assert result.out == ""
    assert "no evaluation that is finished was found here\n  where: tiny\n" in result.err


def test_what_is_half_measured_is_named_on_the_page_and_in_no_number(rlvr, cwd: Path) -> None:
    home = study_folder(cwd / "tiny", ("base", "grpo", "ppo"))
    (home / "evaluation" / "toy" / "ppo" / "samples.jsonl.gz").write_bytes(b"")
    result = rlvr("report", "tiny")
    assert result.code == 0, result.err
    assert "still to come: measuring ppo on toy: not begun" in result.err
    assert "ppo" not in result.out
    assert "measuring ppo on toy" in (cwd / "runs/report/report.html").read_text()
    assert list(json.loads((cwd / "runs/report/summary.json").read_text())["models"]) == ["base", "grpo"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], ["no folder is named", "runs/tiny"]),
        (["nowhere"], ["no such folder", "where: nowhere"]),
        (["one", "outptu=x"], ["unknown key 'outptu'", "'output'?"]),
        (["one", "--outptu"], ["unknown flag '--outptu'"]),
        (["one", "output="], ["where: output"]),
        (["one", "benchmarks=toi"], ["no evaluation on 'toi'", "'toy'?"]),
        (["empty"], ["no evaluation that is finished was found here", "where: empty"]),
        (["one", "other"], ["verifier is math-1 against math-2", "one/evaluation/toy/base"]),
    ],
)
def test_a_mistake(rlvr, cwd: Path, words: list[str], found: list[str]) -> None:
    study_folder(cwd / "one", ("base", "grpo"))
    study_folder(cwd / "other", ("base", "ppo"), changes={"verifier": "math-2"})
    (cwd / "empty").mkdir()
    refused(rlvr("report", *words), "rlvr report: ", *found)
    assert not (cwd / "runs").exists()


def test_a_report_is_not_written_into_a_training_run(rlvr, cwd: Path) -> None:
    study_folder(cwd / "one", ("base", "grpo"))
    study_in_training(cwd / "tiny")
    refused(
        rlvr("report", "one", "output=tiny/grpo"), "tiny/grpo holds a training run", "output=tiny/grpo-report"
    )
    assert not (cwd / "tiny/grpo/report.html").exists()


def test_models_measured_differently_are_refused(rlvr, cwd: Path) -> None:
    study_folder(cwd / "one", ("base", "grpo"))
    spec = cwd / "one/evaluation/toy/grpo/spec.json"
    spec.write_text(spec.read_text().replace('"temperature": 0.6', '"temperature": 1.0'))
    refused(
        rlvr("report", "one"), "'base' and 'grpo' cannot be compared: sampling", "one/evaluation/toy/grpo"
    )
