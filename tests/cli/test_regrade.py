"""``rlvr evaluate regrade=…``: new verdicts for stored responses; nothing is sampled, nothing is overwritten."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rlvr.data.loaders import problems_hash
from rlvr.eval.samples import Sample, read_samples
from rlvr.eval.store import EvaluationSpec, SampleStore, write_problems
from rlvr.records import Problem, Status
from rlvr.run_folder import SAMPLES_FILE
from tests.cli.conftest import Rlvr
from tests.fakes import problem

RESPONSES = [r"\boxed{5}", r"\boxed{5\text{ cm}}", r"\boxed{6}", "five"]


@pytest.fixture
def problems() -> list[Problem]:
    """Two problems whose answer has a unit."""
    return [replace(problem(index, r"5\text{ cm}", "test"), ability="math") for index in range(2)]


def evaluation(folder: Path, problems: list[Problem], num_samples: int = 4) -> Path:
    """A stored evaluation in which every response was called incorrect."""
    spec = EvaluationSpec(
        model_name="base", model_path="nowhere", model_sha256="0", benchmark="mine",
        problems_sha256=problems_hash(problems), num_problems=len(problems), num_samples=4,
        prompt_template="boxed:0", sampling={"temperature": 1.0, "top_p": 1.0, "max_tokens": 8},
        verifier="old/1", seed=0, chance_level=0.0,
    )  # fmt: skip
    place = folder / "evaluation" / "mine" / "base"
    store = SampleStore(place, spec)
    write_problems(place, problems)
    for asked in problems:
        for index in range(num_samples):
            store.append([Sample(asked.id, index, 0.0, Status.INCORRECT, None, RESPONSES[index], 3, "stop")])
    store.close()
    return place


def statuses(place: Path) -> list[str]:
    return [row.status.value for row in read_samples(place / SAMPLES_FILE)]


def test_verdicts_are_new_and_the_old_ones_stay(rlvr: Rlvr, cwd: Path, problems: list[Problem]) -> None:
    place = evaluation(cwd / "run", problems)
    words = ("evaluate", "regrade=run")
    result = rlvr(*words)
    assert result.code == 0, result.err
    assert "regraded 8 responses, 6 verdicts changed" in result.out
    assert "4 incorrect → correct" in result.out
    new = cwd / "runs" / "evaluate" / "run-regraded" / "evaluation" / "mine" / "base"
    assert statuses(new) == ["correct", "correct", "incorrect", "unparsed"] * 2
    verifier = json.loads((new / "spec.json").read_text())["verifier"]
    assert verifier.startswith("math/")
    assert "extraction=boxed" in verifier  # where the template of the evaluation asks for the answer
    assert statuses(place) == ["incorrect"] * 8
    again = rlvr(*words)
    assert "regraded 0 responses" in again.out
    other = rlvr(*words, "rewards.math.units=required")
    assert other.code == 2
    assert "verifier" in other.err


def test_an_evaluation_of_which_samples_are_missing_is_not_regraded(
    rlvr: Rlvr, cwd: Path, problems: list[Problem]
) -> None:
    evaluation(cwd / "run", problems, num_samples=3)
    result = rlvr("evaluate", "regrade=run", "run.dir=new")
    assert result.code == 2
    assert "6 of 8 samples" in result.err
    assert not (cwd / "new").exists()


def test_problems_that_were_changed_are_not_regraded(rlvr: Rlvr, cwd: Path, problems: list[Problem]) -> None:
    place = evaluation(cwd / "run", problems)
    write_problems(place, [replace(each, ground_truth="7") for each in problems])
    result = rlvr("evaluate", "regrade=run", "run.dir=new")
    assert result.code == 2
    assert "does not hold the problems that were measured" in result.err


def test_new_verdicts_never_stand_among_the_old_ones(rlvr: Rlvr, cwd: Path, problems: list[Problem]) -> None:
    evaluation(cwd / "run", problems)
    result = rlvr("evaluate", "regrade=run", "run.dir=run")
    assert result.code == 2
    assert "where: run.dir" in result.err


def test_a_folder_without_an_evaluation(rlvr: Rlvr, cwd: Path) -> None:
    result = rlvr("evaluate", f"regrade={cwd}")
    assert result.code == 2
    assert "no evaluation" in result.err
