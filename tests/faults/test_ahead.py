"""Sampling one step ahead on real engines: kills, slow sides and lost workers change nothing of what is computed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import ray

from rlvr.algorithms.grpo import GRPOConfig
from rlvr.checkpoint import Checkpoints, file_hash
from rlvr.cluster import LearnerPool, RolloutPool
from rlvr.config import ClusterConfig
from rlvr.data.prompts import PromptRenderer
from rlvr.records import Problem
from tests.commands import TIMEOUT, start, stderr
from tests.fakes import FakeTracker
from tests.faults.test_resume import lines, untimed, without_state
from tests.tiny import tiny_pools, train_tiny

pytestmark = pytest.mark.faults

COMMON = (
    *("train", "recipe=tiny", "train.max_staleness=1", "algorithm.importance_cap=2", "train.num_steps=5"),
    *("train.checkpoint_every=2", "train.prompts_per_step=8", "algorithm.group_size=4"),
    *("rollout.num_workers=1", "learner.threads_per_learner=1", "data.skills.num_train=20"),
)
ALGORITHMS = {
    "remax": (),  # each batch has 8 greedy responses besides
    # A critic, a reference model, and another stage, whose first batch lies in the checkpoint.
    "ppo": (
        *("train.minibatch_size=16", "algorithm.kl.coef=0.01"),
        "stages=[{from_step:3,train:{prompts_per_step:12},data:{skills:{operations:[3]}}}]",
    ),
    "dapo": ("algorithm.max_sampling_factor=4",),  # each batch takes as many prompts as it needs
    "grpo": ("train.num_epochs=2",),
}
STRIKES = {
    # The third batch has been sampled; the fourth is, while the third step is learned.
    "sampling": ("remax", "rlvr.collect", "", "judge_later", 3 * 40 + 5, 0.0),
    "learning": ("ppo", "rlvr.cluster.learner_pool", "LearnerPool", "update", 3, 0.2),
    # The first proof is that of the start. The weights are there, and what they compute is not proved yet.
    "publishing": ("dapo", "rlvr.cluster.learner_pool", "LearnerPool", "_prove", 4, 0.0),
    # Every file of step 4 is written, and the folder has not got its name.
    "saving": ("grpo", "rlvr.checkpoint", "", "seal", 2, 0.0),
}
"""Place: algorithm, and the call of which function, the so manieth, is the process's last, after how many seconds."""
PLUGIN = """
import importlib, os, signal, threading, time

module = importlib.import_module({module!r})
owner = getattr(module, {owner!r}) if {owner!r} else module
plain, calls = getattr(owner, {name!r}), 0


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def strike(*args, **kwargs):
    global calls
    calls += 1
    if calls == {call}:
        if {delay}:
            threading.Timer({delay}, kill).start()
        else:
            kill()
    return plain(*args, **kwargs)


setattr(owner, {name!r}, strike)
"""


def run_to_end(folder: Path, *words: str, code: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    command = start(folder, *words, f"run.dir={folder / 'run'}")
    command.communicate(timeout=TIMEOUT)
    assert command.returncode == code, stderr(folder)
    return folder / "run"


@pytest.mark.timeout(4 * TIMEOUT)
@pytest.mark.parametrize("place", STRIKES)
def test_a_run_killed_anywhere_goes_on_as_if_it_had_not_been(tmp_path: Path, place: str) -> None:
    algorithm, module, owner, name, call, delay = STRIKES[place]
    words = (*COMMON, f"algorithm={algorithm}", *ALGORITHMS[algorithm])
    whole = run_to_end(tmp_path / "whole", *words)
    plugin = tmp_path / "strike.py"
    plugin.write_text(PLUGIN.format(module=module, owner=owner, name=name, call=call, delay=delay))
    cut = run_to_end(tmp_path / "cut", *words, "--plugin", str(plugin), code=-signal.SIGKILL)
    assert [each.step for each in Checkpoints(cut).all()] == [2]
    assert bool(list((cut / "checkpoints").glob(".step-000004*"))) == (place == "saving")
    run_to_end(tmp_path / "cut", *words)
    assert "going on after step 2" in stderr(tmp_path / "cut")

    assert lines(cut / "rollouts.jsonl") == lines(whole / "rollouts.jsonl")
    rows = [[untimed(row) for row in lines(run / "metrics.jsonl")] for run in (cut, whole)]
    assert [row["rollout/staleness"] for row in rows[0]] == [0, 1, 1, 1, 1]
    assert rows[0] == rows[1]
    ends = [Checkpoints(run).all()[-1] for run in (cut, whole)]
    files = [without_times(each.files) for each in ends]
    assert files[0] == files[1]
    assert any(name.startswith("learner/policy/") for name in files[0])
    assert ends[0].progress().num_drawn == ends[1].progress().num_drawn
    assert ends[0].progress().watched == ends[1].progress().watched


def without_times(files: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """All but the two files that say how long something took."""
    return {name: entry for name, entry in without_state(files).items() if name != "pending.json"}


def run_tiny(
    folder: Path,
    problems: Sequence[Problem],
    renderer: PromptRenderer,
    *,
    num_workers: int = 1,
    prepare: Callable[[RolloutPool, LearnerPool], None] = lambda engine, learner: None,
) -> tuple[list[Any], str, FakeTracker]:
    """Four steps; what was computed, the hash of the weights, and what the tracker has."""
    tracker = FakeTracker()
    algorithm = GRPOConfig(group_size=4, importance_cap=2.0).build()
    with tiny_pools(
        algorithm,
        num_workers=num_workers,
        num_learners=1,
        zero_stage=2,
        learning_rate=1e-3,
        cluster=ClusterConfig(heartbeat_timeout=30.0),
    ) as (engine, learner):
        prepare(engine, learner)
        train_tiny(
            engine, learner, algorithm, problems, renderer, tracker, folder,
            num_steps=4, prompts_per_step=16, max_staleness=1, num_logged_samples=16,
        )  # fmt: skip
    rows = [untimed(row) for _, row in tracker.rows]
    return [rows, tracker.samples], file_hash(folder / "after" / "model.safetensors"), tracker


def slow_engine(engine: RolloutPool, learner: LearnerPool) -> None:
    """Every step of the engine takes 20 ms more."""

    def slow_down(actor: Any) -> None:
        plain = actor._engine._engine.step

        def step() -> Any:
            time.sleep(0.02)
            return plain()

        actor._engine._engine.step = step

    ray.get([worker.actor.__ray_call__.remote(slow_down) for worker in engine.workers])


def slow_learner(engine: RolloutPool, learner: LearnerPool) -> None:
    """Every update takes three seconds more."""

    def slow_down(actor: Any) -> None:
        plain = actor._learner.update

        def update(*args: Any) -> Any:
            time.sleep(3)
            return plain(*args)

        actor._learner.update = update

    ray.get([worker.actor.__ray_call__.remote(slow_down) for worker in learner.workers])


@pytest.mark.timeout(4 * TIMEOUT)
def test_neither_a_slow_engine_nor_a_slow_learner_changes_a_run(
    tmp_path: Path, problems: list[Problem], renderer: PromptRenderer
) -> None:
    computed, weights, _ = run_tiny(tmp_path / "plain", problems, renderer)
    for name, prepare, waits in (
        ("again", lambda engine, learner: None, None),
        ("engine", slow_engine, "time/wait_for_rollout"),
        ("learner", slow_learner, "time/wait_for_learner"),
    ):
        found, found_weights, tracker = run_tiny(tmp_path / name, problems, renderer, prepare=prepare)
        assert found == computed, name
        assert found_weights == weights, name
        assert waits is None or all(row[waits] > 0.5 for _, row in tracker.rows), name


@pytest.mark.timeout(4 * TIMEOUT)
def test_a_worker_lost_while_a_step_is_learned_changes_no_batch(
    tmp_path: Path, problems: list[Problem], renderer: PromptRenderer
) -> None:
    computed, weights, _ = run_tiny(tmp_path / "plain", problems, renderer, num_workers=2)
    updates: list[int] = []
    pools: list[RolloutPool] = []

    def lose_one(engine: RolloutPool, learner: LearnerPool) -> None:
        """At the second update, while the third batch is being sampled."""
        pools.append(engine)
        slow_engine(engine, learner)
        process = ray.get(engine.workers[1].actor.__ray_call__.remote(lambda actor: os.getpid()))
        update = learner.update

        def losing(*args: Any, **kwargs: Any) -> dict[str, float]:
            updates.append(engine.version)
            if len(updates) == 2:
                os.kill(process, signal.SIGKILL)
            return update(*args, **kwargs)

        learner.update = losing

    found, found_weights, _ = run_tiny(tmp_path / "lost", problems, renderer, num_workers=2, prepare=lose_one)
    assert updates == [0, 1, 2, 3]
    assert pools[0]._watch.num_restarts == 1
    assert pools[0]._watch.num_reissued > 0
    assert found == computed
    assert found_weights == weights
