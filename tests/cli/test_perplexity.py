"""``rlvr perplexity``: what it is going to score, and its refusals; engines have tests of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlvr.data.chains import generate
from rlvr.eval.loading import load_results
from rlvr.eval.perplexity import OWN, REFERENCE, Perplexities, write_perplexities
from rlvr.workflows.perplexity import jobs_of
from tests.cli.refusing import refused
from tests.fabricate import COUNTS, evaluation, sha, study_folder


def jobs(folder: Path, responses: int = 4) -> list[tuple[str, str, str]]:
    """(scorer, kind, folder) of what is still to do."""
    [benchmark] = load_results([folder]).benchmarks
    return [(job.scorer.name, job.of, job.beside.name) for job in jobs_of(benchmark, responses, None)]


def test_the_base_scores_everyone_and_each_trained_model_its_own_and_the_bases(cwd: Path) -> None:
    study_folder(cwd / "runs", ("base", "grpo", "grpo-step2"))
    assert jobs(cwd / "runs") == [
        ("base", OWN, "base"),
        ("base", OWN, "grpo"),
        ("base", OWN, "grpo-step2"),
        ("grpo", OWN, "grpo"),
        ("grpo", OWN, "base"),
    ]


def test_what_is_there_is_not_scored_again(cwd: Path) -> None:
    study_folder(cwd / "runs", ("base", "grpo"))
    done = [Perplexities(OWN, "base", sha("base"), 4, {"toy/test/0": [1.0]})]
    write_perplexities(cwd / "runs/evaluation/toy/grpo", done)
    assert ("base", OWN, "grpo") not in jobs(cwd / "runs")
    assert ("base", OWN, "grpo") in jobs(cwd / "runs", responses=8)


def test_generated_problems_bring_their_reference_solutions(cwd: Path) -> None:
    problems = generate(12, [4], seed=1, split="test")
    for name in ("base", "grpo"):
        evaluation(cwd / "runs" / name, name, COUNTS[name], problems=problems)
    assert ("base", REFERENCE, "base") in jobs(cwd / "runs")
    assert ("grpo", REFERENCE, "base") in jobs(cwd / "runs")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], ["no folder is named"]),
        (
            ["runs", "responses=none"],
            ["responses is 'none'", "where: responses", "rlvr perplexity --help=responses"],
        ),
        (["runs", "rollout.num_worker=2"], ["unknown key 'rollout.num_worker'", "'rollout.num_workers'?"]),
        (["runs", "rollout.num_workers=two"], ["where: rollout"]),
        (["runs", "reference=nowhere.jsonl"], ["no such file", "where: nowhere.jsonl"]),
        (["runs"], ["where: runs/base"]),
    ],
)
def test_a_mistake(rlvr, cwd: Path, words: list[str], found: list[str]) -> None:
    evaluation(cwd / "runs/base", "base", COUNTS["base"])
    refused(rlvr("perplexity", *words), "rlvr perplexity: ", *found)
