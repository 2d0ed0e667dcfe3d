"""``rlvr distill``: which responses are learned, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from rlvr.cli.hydra_app import MODELS
from rlvr.data.chains import generate, graph_of, solution_text
from rlvr.eval.samples import Sample
from rlvr.eval.store import EvaluationSpec, SampleStore, write_problems
from rlvr.records import Problem, Status
from rlvr.workflows.distill import right_responses

TINY = MODELS / "tiny"


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    return generate(3, [3], 5)


def sample(problem: Problem, number: int, text: str, status: Status = Status.CORRECT) -> Sample:
    score = float(status is Status.CORRECT)
    return Sample(problem.id, number, score, status, "1", text, len(text.split()) + 1, "stop")


def write_teacher(folder: Path, problems: list[Problem], status: Status = Status.CORRECT) -> None:
    spec = EvaluationSpec("t", "t", "0", "chains", "0", len(problems), 1, "p", {}, "v", 0, 0.0)
    store = SampleStore(folder / "samples", spec)
    store.append([sample(each, 0, f" {solution_text(graph_of(each))}", status) for each in problems])
    store.close()
    write_problems(folder / "samples", problems)


def test_only_different_right_responses_are_learned_and_not_too_many_of_a_problem(
    problems: list[Problem],
) -> None:
    first, second, third = problems
    samples = [
        *(sample(first, number, f"text {number % 6}") for number in range(12)),
        sample(second, 0, "wrong", Status.INCORRECT),
        sample(second, 1, "ours", Status.ERROR),
        sample(third, 0, "right"),
    ]
    found = right_responses(problems, samples, 4, 0)
    assert [example.problem.id for example in found] == [first.id] * 4 + [third.id]
    assert len({example.response for example in found if example.problem is first}) == 4
    assert right_responses(problems, samples, 4, 0) == found
    assert len(right_responses(problems, samples, 100, 0)) == 7


def test_a_student_is_made_and_says_how(rlvr, cwd: Path, problems: list[Problem]) -> None:
    write_teacher(cwd / "teacher", problems)
    result = rlvr("distill", f"model={TINY}", "teacher=[teacher]", "output=student", "num_epochs=1")
    assert result.code == 0, result.err
    assert result.out.endswith("model: student\n")
    assert "3 right responses to 3 of 3 problems" in result.err
    record = json.loads((cwd / "student" / "distilled.json").read_text())
    assert record["num_examples"] == 3
    assert record["teachers"][0]["benchmark"] == "chains"
    assert record["model_sha256"] != record["start_model_sha256"]
    AutoModelForCausalLM.from_pretrained(cwd / "student")

    again = rlvr("distill", f"model={TINY}", "teacher=[teacher]", "output=student")
    assert again.code == 2
    assert "there is a model in this folder" in again.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["teacher=[teacher]"], "no model is given"),
        ([f"model={TINY}"], "no teacher is given"),
        ([f"model={TINY}", "teacher=[nowhere]"], "there is no such folder"),
        ([f"model={TINY}", "teacher=[wrong]"], "the teacher has no right response"),
        ([f"model={TINY}", "teacher=[teacher]", "max_tokens=3"], "none of 3 examples has at most 3 tokens"),
        ([f"model={TINY}", "teacher=[teacher]", "num_epochs=0"], "where: num_epochs"),
    ],
)
def test_what_is_refused(rlvr, cwd: Path, problems: list[Problem], words: list[str], said: str) -> None:
    write_teacher(cwd / "teacher", problems)
    write_teacher(cwd / "wrong", problems, Status.INCORRECT)
    result = rlvr("distill", *words)
    assert result.code == 2
    assert said in result.err
