"""Sampling in flight on real engines: no kill and no lost worker loses a prompt or uses one twice."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import ray

from rlvr.algorithms.grpo import GRPOConfig
from rlvr.checkpoint import Checkpoints
from rlvr.config import ClusterConfig
from rlvr.data.prompts import PromptRenderer
from rlvr.protocols import Probe, SyncReport
from rlvr.records import Problem
from tests.commands import TIMEOUT, stderr
from tests.fakes import FakeTracker
from tests.faults.test_ahead import PLUGIN, run_to_end
from tests.faults.test_resume import lines
from tests.tiny import tiny_pools, train_tiny

pytestmark = pytest.mark.faults

NUM_PROBLEMS, NUM_STEPS, PROMPTS = 20, 5, 8
COMMAND = (
    *("train", "recipe=tiny", "train.max_staleness=2", "algorithm=dapo", "algorithm.importance_cap=2"),
    *("algorithm.max_sampling_factor=4", "algorithm.group_size=4", f"train.num_steps={NUM_STEPS}"),
    *("train.checkpoint_every=2", f"train.prompts_per_step={PROMPTS}", "rollout.num_workers=1"),
    *("rollout.max_num_seqs=16", "learner.threads_per_learner=1", f"data.skills.num_train={NUM_PROBLEMS}"),
    f"tracking.num_logged_samples={4 * PROMPTS}",
)
"""Few places, so that whatever comes finds responses half written; refused groups are passed over."""


@pytest.mark.timeout(3 * TIMEOUT)
def test_a_killed_run_goes_on_without_losing_or_doubling_a_prompt(tmp_path: Path) -> None:
    plugin = tmp_path / "strike.py"
    plugin.write_text(
        PLUGIN.format(
            module="rlvr.cluster.learner_pool", owner="LearnerPool", name="update", call=4, delay=0.2
        )
    )
    run = run_to_end(tmp_path, *COMMAND, "--plugin", str(plugin), code=-signal.SIGKILL)
    [checkpoint] = Checkpoints(run).all()
    assert checkpoint.step == 2
    num_drawn = checkpoint.progress().num_drawn
    run_to_end(tmp_path, *COMMAND)
    said = stderr(tmp_path)
    assert "going on after step 2" in said
    rows = lines(run / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]
    assert all(row["rollout/staleness_max"] <= 2 for row in rows)
    again = int(rows[2]["rollout/prompts_resampled"])
    assert [row["rollout/prompts_resampled"] for row in rows] == [0, 0, again, 0, 0]
    assert again > 0
    assert f"{again} prompts were being sampled when the checkpoint was written" in said
    # What each step has used follows on what the one before had; of the stream nothing is left out.
    used = [0, *(int(row["rollout/prompts_used"]) for row in rows)]
    sampled = [round(row["filter/sampling_factor"] * row["filter/kept_groups"]) for row in rows]
    assert [later - earlier for earlier, later in itertools.pairwise(used)] == sampled
    assert num_drawn == used[2]
    # The problems of each epoch are trained on once at most, whatever the kill.
    trained = [row["problem"] for row in lines(run / "rollouts.jsonl")]
    assert len(trained) == sum(row["filter/kept_groups"] for row in rows)
    assert max(trained.count(problem) for problem in trained) <= -(-used[-1] // NUM_PROBLEMS)


@pytest.mark.timeout(3 * TIMEOUT)
def test_what_a_lost_worker_had_in_hand_goes_to_the_others(
    tmp_path: Path, problems: Sequence[Problem], renderer: PromptRenderer
) -> None:
    """One is lost while a step is learned, and replaced when its weights are published; then all are lost at once."""
    algorithm, tracker = GRPOConfig(group_size=4, importance_cap=2.0).build(), FakeTracker()
    with tiny_pools(
        algorithm,
        num_workers=2,
        num_learners=1,
        zero_stage=2,
        learning_rate=1e-3,
        max_num_seqs=16,
        cache_at_update="recompute",
        cluster=ClusterConfig(heartbeat_timeout=30.0, max_restarts=3),
    ) as (engine, learner):
        updates: list[int] = []
        lost_at_update: list[int] = []
        update, publish = learner.update, learner.publish

        def losing(*args: Any, **kwargs: Any) -> dict[str, float]:
            updates.append(engine.version)
            doomed = {2: engine.workers[1:], 4: engine.workers}.get(len(updates), [])
            for process in ray.get(
                [each.actor.__ray_call__.remote(lambda actor: os.getpid()) for each in doomed]
            ):
                os.kill(process, signal.SIGKILL)
            return update(*args, **kwargs)

        def publishing(version: int, probes: Sequence[Probe]) -> SyncReport:
            lost_at_update.append(sum(bool(worker.lost) for worker in engine.workers))
            return publish(version, probes)

        learner.update, learner.publish = losing, publishing
        train_tiny(
            engine, learner, algorithm, problems, renderer, tracker, tmp_path,
            num_steps=6, prompts_per_step=16, max_staleness=2, num_logged_samples=16,
        )  # fmt: skip
        assert engine._watch.num_restarts == 3
        assert engine._watch.num_reissued > 0
    assert updates == [0, 1, 2, 3, 4, 5]
    assert max(lost_at_update) == 2  # nobody was left to sample, and the run has waited for the learner
    rows = [row for _, row in tracker.rows]
    assert [row["rollout/prompts_used"] for row in rows] == [16 * step for step in range(1, 7)]
    seen = [row["problem"] for _, samples in tracker.samples for row in samples]
    assert len(set(seen[:64])) == 64  # an epoch has each of its problems once
