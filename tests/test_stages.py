"""Stages of a run: each step has its stage's batch, limit and problems, wherever the run was stopped in between."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rlvr.algorithms.grpo import GRPOConfig
from rlvr.algorithms.registry import ALGORITHMS
from rlvr.config import ExperimentConfig, GuardsConfig
from rlvr.driver import Stage
from rlvr.errors import ConfigError
from tests.fakes import FakeEngine, index_of, problem, problems
from tests.test_resuming import Killed, SeededEngine
from tests.training import Run, half_right

EASY, HARD = problems(6), [problem(index) for index in range(10, 16)]
STAGES = (
    Stage(EASY, prompts_per_step=2, minibatch_size=None, max_response_tokens=16),
    Stage(EASY, prompts_per_step=4, minibatch_size=8, max_response_tokens=32, first_step=3),
    Stage(HARD, prompts_per_step=2, minibatch_size=4, max_response_tokens=32, first_step=5),
)


def staged(folder: Path, max_staleness: int, name: str = "grpo", **config: Any) -> Run:
    return Run(
        folder,
        engine=SeededEngine(),
        algorithm=replace(ALGORITHMS[name], group_size=4, importance_cap=2.0),
        stages=STAGES,
        **{"num_steps": 6, "checkpoint_every": 1, "max_staleness": max_staleness, **config},
    )


@pytest.mark.parametrize("max_staleness", [0, 1])
def test_every_step_has_what_its_stage_says(tmp_path: Path, max_staleness: int) -> None:
    run = staged(tmp_path, max_staleness)()
    learner = run.learner
    assert [len(batch) // 4 for batch in learner.batches] == [2, 2, 4, 4, 2, 2]
    assert [[len(minibatch) for minibatch in update] for update in learner.updates] == [
        *[[8]] * 2, *[[8, 8]] * 2, *[[4, 4]] * 2,
    ]  # fmt: skip
    assert [batch.max_response_tokens for batch in learner.batches] == [16, 16, 32, 32, 32, 32]
    asked = [
        index_of(batch.tokens[row, :2].tolist())
        for batch in learner.batches
        for row in range(0, len(batch), 4)
    ]
    # Twelve prompts of the first set are two epochs, through the change of the batch; then the other set begins.
    assert sorted(asked[:6]) == sorted(asked[6:12]) == list(range(6))
    assert len(set(asked[12:])) == 4
    assert set(asked[12:]) < set(range(10, 16))
    assert [row["train/stage"] for _, row in run.tracker.rows] == [1, 1, 2, 2, 3, 3]
    assert run.progress.num_drawn == 4


def test_a_run_of_one_stage_has_no_such_metric(tmp_path: Path) -> None:
    [(_, row), *_] = Run(tmp_path)().tracker.rows
    assert "train/stage" not in row


@pytest.mark.parametrize("max_staleness", [0, 1])
@pytest.mark.parametrize("name", ["grpo", "dapo"])
@pytest.mark.parametrize("killed_in", range(2, 7))
def test_a_run_killed_in_any_stage_goes_on_as_if_it_had_not_been(
    tmp_path: Path, name: str, max_staleness: int, killed_in: int
) -> None:
    whole = staged(tmp_path / "whole", max_staleness, name)()
    cut = staged(tmp_path / "cut", max_staleness, name)
    update, calls = cut.learner.update, iter(range(1, 10))

    def killed(*args: Any, **kwargs: Any) -> dict[str, float]:
        if next(calls) == killed_in:
            raise Killed
        return update(*args, **kwargs)

    cut.learner.update = killed
    with pytest.raises(Killed):
        cut()
    resumed = staged(tmp_path / "cut", max_staleness, name)(resume=True)
    first = killed_in - 1
    assert resumed.learner.calls[:2] == ["load state", f"publish {first}"]
    for found, expected in zip(resumed.learner.updates, whole.learner.updates[first:], strict=True):
        for minibatch, other in zip(found, expected, strict=True):
            for spec in fields(minibatch):
                left, right = getattr(minibatch, spec.name), getattr(other, spec.name)
                assert left is right is None or torch.equal(left, right), spec.name
    untimed = [
        [{key: row[key] for key in row if not key.startswith(("time/", "throughput/"))} for _, row in rows]
        for rows in (resumed.tracker.rows, whole.tracker.rows[first:])
    ]
    assert untimed[0] == untimed[1]
    assert resumed.progress.num_drawn == whole.progress.num_drawn
    assert resumed.progress.watched == whole.progress.watched


def test_what_jumps_with_a_stage_stops_no_run(tmp_path: Path) -> None:
    """Harder problems are right less often, which is what they are for."""
    engine = FakeEngine(lambda index, sample: half_right(index, sample) if index < 10 else "# no")
    guards = GuardsConfig(window=2, on_jump="stop")
    run = Run(tmp_path, engine=engine, guards=guards, stages=STAGES, num_steps=6)()
    assert [row["reward/mean"] for _, row in run.tracker.rows] == [0.5] * 4 + [0.0] * 2


def config(*stages: Any, **train: Any) -> ExperimentConfig:
    found = ExperimentConfig(GRPOConfig(group_size=4), model="m", stages=list(stages))
    found.train = replace(found.train, **train)
    return found


def test_a_stage_stands_on_those_before_it() -> None:
    found = config(
        {"from_step": 5, "train": {"prompts_per_step": 64}, "rollout": {"max_response_tokens": 512}},
        {"from_step": 9, "train": {"minibatch_size": 8}, "data": {"chains": {"operations": [7]}}},
    ).in_stages()
    assert list(found) == [1, 5, 9]
    assert [each.train.prompts_per_step for each in found.values()] == [32, 64, 64]
    assert [each.rollout.max_response_tokens for each in found.values()] == [256, 512, 512]
    assert [each.train.minibatch_size for each in found.values()] == [None, None, 8]
    assert [each.data.chains.operations for each in found.values()] == [[4, 5, 6, 7, 8]] * 2 + [[7]]
    assert found[9].data.chains.num_train == 8192
    assert not any(each.stages for each in found.values())
    assert (
        config({"from_step": 3, "rollout": {"max_response_tokens": 64}}).for_longest().max_response_tokens
        == 256
    )


WRONG: dict[str, tuple[list[Any], str, str]] = {
    "no step": ([{"train": {"prompts_per_step": 4}}], "stages[0]", "from which step on"),
    "nothing changed": ([{"from_step": 3}], "stages[0]", "changes what"),
    "the first step": ([{"from_step": 1, "train": {"prompts_per_step": 4}}], "stages[0].from_step", "the whole run"),
    "out of order": (
        [{"from_step": step, "train": {"prompts_per_step": 4}} for step in (9, 5)], "stages[1].from_step", "step 5",
    ),
    "misspelled": ([{"from_step": 3, "train": {"promts_per_step": 4}}], "stages[0].train.promts_per_step", "prompts_per_step"),
    "of the learner": ([{"from_step": 3, "learner": {"learning_rate": 1e-3}}], "stages[0].learner.learning_rate", "the learner is started"),
    "of the engines": ([{"from_step": 3, "rollout": {"num_workers": 2}}], "stages[0].rollout.num_workers", "the engines are started"),
    "temperature": ([{"from_step": 3, "train": {"temperature": 0.7}}], "stages[0].train.temperature", "compared at it"),
    "algorithm": ([{"from_step": 3, "algorithm": {"group_size": 8}}], "stages[0].algorithm.group_size", "optimizer goes on"),
    "length": ([{"from_step": 3, "train": {"num_steps": 8}}], "stages[0].train.num_steps", "the whole run"),
    "seed": ([{"from_step": 3, "seed": 8}], "stages[0].seed", "the whole run"),
    "of another type": ([{"from_step": 3, "train": {"prompts_per_step": "8k"}}], "stages[0].train.prompts_per_step", "another type"),
    "checked as ever": ([{"from_step": 3, "train": {"minibatch_size": 6}}], "stages[0]: train.minibatch_size", "not divisible"),
    "too small": ([{"from_step": 3, "rollout": {"max_response_tokens": 0}}], "stages[0]: rollout.max_response_tokens", "is 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_no_stage_can_change_is_refused_with_the_reason(name: str) -> None:
    stages, where, words = WRONG[name]
    with pytest.raises(ConfigError) as caught:
        config(*stages)
    assert caught.value.where == where
    assert words in str(caught.value)
    assert caught.value.fix
