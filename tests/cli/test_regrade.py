"""``rlvr evaluate regrade=…``: new verdicts for stored responses; nothing is sampled, nothing is overwritten."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rlvr.data.loaders import problems_hash, save_problems
from rlvr.eval.store import EvaluationSpec, Sample, SampleStore, read_samples
from rlvr.records import Problem, Status
from tests.cli.conftest import Rlvr
from tests.fakes import problem

RESPONSES = [r"\boxed{5}", r"\boxed{5\text{ cm}}", r"\boxed{6}", "five"]


@pytest.fixture
def problems(cwd: Path) -> list[Problem]:
    """Two problems whose answer has a unit, also in a file."""
    made = [replace(problem(index, r"5\text{ cm}", "test"), ability="math") for index in range(2)]
    save_problems(made, cwd / "problems.jsonl")
    return made


def evaluation(folder: Path, problems: list[Problem], num_samples: int = 4) -> Path:
    """A stored evaluation in which every response was called incorrect."""
    spec = EvaluationSpec(
        model_name="base", model_path="nowhere", model_sha256="0", benchmark="file",
        problems_sha256=problems_hash(problems), num_problems=len(problems), num_samples=4,
        prompt_template="t", sampling={"temperature": 1.0, "top_p": 1.0, "max_tokens": 8},
        verifier="old/1", seed=0, chance_level=0.0,
    )  # fmt: skip
    store = SampleStore(folder / "samples", spec)
    for asked in problems:
        for index in range(num_samples):
            store.append([Sample(asked.id, index, 0.0, Status.INCORRECT, None, RESPONSES[index], 3, "stop")])
    store.close()
    return folder


def test_verdicts_are_new_and_the_old_ones_stay(rlvr: Rlvr, cwd: Path, problems: list[Problem]) -> None:
    folder = evaluation(cwd / "run", problems)
    before = (folder / "samples" / "samples.jsonl").read_bytes()
    words = ("evaluate", f"regrade={folder}", "benchmark=file", "benchmark.path=problems.jsonl")
    result = rlvr(*words)
    assert result.code == 0, result.err
    assert "regraded 8 responses, 6 verdicts changed" in result.out
    assert "4 incorrect → correct" in result.out
    rows = list(read_samples(folder / "regraded" / "samples.jsonl"))
    assert [row.status.value for row in rows] == ["correct", "correct", "incorrect", "unparsed"] * 2
    assert json.loads((folder / "regraded" / "spec.json").read_text())["verifier"].startswith("math/")
    assert (folder / "samples" / "samples.jsonl").read_bytes() == before
    again = rlvr(*words)
    assert "regraded 0 responses" in again.out
    other = rlvr(*words, "rewards.math.units=required")
    assert other.code == 2
    assert "verifier" in other.err


@pytest.mark.parametrize(
    ("num_samples", "change", "words"), [(3, False, "6 of 8 samples"), (4, True, "other problems")]
)
def test_what_cannot_be_regraded(
    rlvr: Rlvr, cwd: Path, problems: list[Problem], num_samples: int, change: bool, words: str
) -> None:
    stored = [replace(p, ground_truth="7") for p in problems] if change else problems
    folder = evaluation(cwd / "run", stored, num_samples)
    result = rlvr("evaluate", f"regrade={folder}", "benchmark=file", "benchmark.path=problems.jsonl")
    assert result.code == 2
    assert words in result.err
    assert not (folder / "regraded").exists()


def test_a_folder_without_an_evaluation(rlvr: Rlvr, cwd: Path) -> None:
    result = rlvr("evaluate", f"regrade={cwd}")
    assert result.code == 2
    assert "no evaluation" in result.err
