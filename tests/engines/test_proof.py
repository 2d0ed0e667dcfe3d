"""The proof in bfloat16 on real engines: it lets honest runs go on, and sees what no log-probability shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import ray

from rlvr.algorithms.grpo import GRPOConfig
from rlvr.data.prompts import PromptRenderer
from rlvr.errors import WeightUpdateError
from rlvr.protocols import Probe
from rlvr.records import Problem
from tests.fakes import FakeTracker
from tests.tiny import leave_one_tensor_stale, random_batch, tiny_pools, train_tiny

STEPS = 50
STALE = "model.layers.1.self_attn.k_proj.weight"


def set_rate(actor: Any) -> None:
    actor._learner._policy._learning_rate = 1e-6


def test_fifty_honest_steps_in_bfloat16_and_then_one_stale_tensor(
    problems: list[Problem], renderer: PromptRenderer, tmp_path: Path
) -> None:
    algorithm = GRPOConfig(group_size=4).build()
    tracker = FakeTracker()
    with tiny_pools(
        algorithm, num_workers=1, num_learners=1, zero_stage=2, learning_rate=1e-4, dtype="bfloat16"
    ) as (engine, learner):
        train_tiny(
            engine, learner, algorithm, problems, renderer, tracker, tmp_path,
            num_steps=STEPS, prompts_per_step=4,
        )  # fmt: skip
        rows = [row for _, row in tracker.rows]
        assert len(rows) == STEPS
        assert all(row["sync/proved_share"] == 1 for row in rows)
        assert max(row["sync/probe_max_abs"] for row in rows) > 0.1  # such a limit would have stopped it
        assert max(row["sync/probe_mean_abs"] for row in rows) < 0.02

        # At such a rate an update moves log-probabilities by less than bfloat16 rounds them.
        ray.get([worker.actor.__ray_call__.remote(set_rate) for worker in learner.workers])
        leave_one_tensor_stale(learner, STALE)
        learner.update([random_batch()])
        with pytest.raises(WeightUpdateError, match=f"1 of .* tensors differ, the first is {STALE}"):
            learner.publish(STEPS + 1, [Probe(renderer.render(problem), 1) for problem in problems[:4]])
        assert engine.version == STEPS
