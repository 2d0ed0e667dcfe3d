"""Largest losses and gains: which problems, and what was written on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlvr.config import DataConfig
from rlvr.data.families import FAMILIES
from rlvr.eval.changes import LISTED, changed_problems, largest_changes
from rlvr.eval.report import BenchmarkResults, StudyResults
from rlvr.eval.report.analysis import analyse
from rlvr.eval.report.changes import changes_section, misreadings, shown_runs
from rlvr.eval.report.charts import comparison_charts
from rlvr.eval.report.measurement import BenchmarkAnalysis, Part
from rlvr.eval.report.responses import Responses
from rlvr.eval.samples import Sample
from rlvr.records import Problem, Status
from tests.fabricate import COUNTS, evaluation, toy_problems

MODELS = ("base", "grpo-seed0", "grpo-seed1", "ppo")


@pytest.fixture
def analysis(tmp_path: Path) -> BenchmarkAnalysis:
    models = [evaluation(tmp_path / name, name, COUNTS[name], text="# 1 <b>") for name in MODELS]
    return analyse(StudyResults([BenchmarkResults(models, toy_problems())]), num_resamples=20)[0]


def test_losses_and_gains_are_ranked_by_accuracy(analysis: BenchmarkAnalysis) -> None:
    assert [run.name for run in shown_runs(analysis.comparison)] == ["grpo-seed0", "ppo"]
    losses, gains = largest_changes(*analysis.evaluations[:2])
    assert [each.problem for each in losses] == ["toy/test/1", "toy/test/2", "toy/test/11"]
    assert len(gains) == LISTED
    changes = [each.difference for each in gains]
    assert changes == sorted(changes, reverse=True)
    assert changes[0] == pytest.approx(4 / 8)  # never more often than this: 3 of 8 → 7 of 8
    assert {each.problem for each in (*losses, *gains)} <= changed_problems(analysis.evaluations)


def test_the_section_shows_what_was_written(analysis: BenchmarkAnalysis) -> None:
    section = changes_section(Part(analysis, comparison_charts(analysis.comparison)))
    assert section is not None
    assert "toy/test/1: 0.125 → 0.000 (−0.125)" in section
    assert "This answer: 8 of 8 samples." in section  # the trained model's wrong one
    assert 'data-problem="toy/test/1"' in section
    assert "<b>" not in section.replace("&lt;b&gt;", "")
    assert "Other models" in section


def sample(index: int, answer: str | None, status: Status = Status.INCORRECT, text: str = "") -> Sample:
    return Sample("p", index, 0.0, status, answer, text, 5, "stop")


def test_the_typical_wrong_answer_is_the_most_frequent_one() -> None:
    found = Responses("grpo", 1, 6)
    for index, answer in enumerate(["7", "9", "9", None]):
        found.offer(sample(index, answer), count_wrong=True)
    found.offer(sample(4, "5", Status.CORRECT), count_wrong=True)
    typical = found.typical_wrong()
    assert typical is not None
    assert (typical[0].sample, typical[1]) == (1, 2)
    assert Responses("base", 0, 0).typical_wrong() is None


def misread(problem: Problem) -> str:
    """A worked solution in which every named operation is taken in its popular wrong way."""
    graph = problem.extra_info["solution_graph"]
    named = {name: {**each, "right": each["misreading"]} for name, each in graph["skills"].items()}
    values: dict[str, int] = {}
    steps = []
    for node in graph["nodes"]:
        if node["operator"] is None:
            values[node["name"]] = int(node["left"])
            steps.append(f"{node['name']} = {node['left']}")
            continue
        a, b = (str(values.get(word, word)) for word in (node["left"], node["right"]))
        reading = named[node["operator"]]["right"] if node["operator"] in named else f"a {node['operator']} b"
        spelt = " ".join({"a": a, "b": b}.get(word, word) for word in reading.split())
        left, operator, right = spelt.split()
        results = {"+": int(left) + int(right), "-": int(left) - int(right), "*": int(left) * int(right)}
        values[node["name"]] = results[operator] % 23
        steps.append(
            f"{node['name']} = {node['left']} {node['operator']} {node['right']} = {spelt} = {values[node['name']]}"
        )
    return " ; ".join(steps) + " ; # 1"


def test_a_misreading_is_named_where_the_problem_tells() -> None:
    problems = FAMILIES["skills"].test_split(DataConfig(), 20, None)
    said = [misreadings(problem, sample(0, "1", text=misread(problem))) for problem in problems]
    [first, *_] = [words[0] for words in said if words]
    assert "Misread: f" in first
    graphs = [problem.extra_info["solution_graph"]["skills"] for problem in problems]
    assert any(each["misreading"] in first for graph in graphs for each in graph.values())
    assert misreadings(toy_problems()[0], sample(0, "1", text="a = 1 ; # 1")) == []
