"""A training run in flight on real engines. It starts pools of its own, so it has a file of its own."""

from __future__ import annotations

from pathlib import Path

from rlvr.algorithms.remax import ReMaxConfig
from rlvr.batch import Annotations, RolloutBatch
from rlvr.data.prompts import PromptRenderer
from rlvr.records import Problem
from tests.fakes import FakeTracker
from tests.tiny import tiny_pools, train_tiny

ROUNDING = 1e-3
"""Nats by which an engine and transformers may differ in float32 (the proof of the weights allows as much)."""


def test_a_run_in_flight_trains_on_what_it_is_said_to(
    problems: list[Problem], renderer: PromptRenderer, tmp_path: Path
) -> None:
    """Few places and many prompts, so that updates find responses half written; greedy baselines besides."""
    algorithm = ReMaxConfig(group_size=4, importance_cap=2.0).build()
    tracker = FakeTracker()
    with tiny_pools(
        algorithm,
        num_workers=1,
        num_learners=1,
        zero_stage=2,
        learning_rate=1e-3,
        max_num_seqs=24,
        cache_at_update="recompute",
    ) as (engine, learner):
        annotate = learner.annotate
        oldest: list[dict[int, float]] = []

        def noting(batch: RolloutBatch, *, old_logprobs: bool) -> Annotations:
            """How far each version's tokens are from the weights that are trained, by their age."""
            now = annotate(batch, old_logprobs=True).old_logprobs
            assert now is not None
            differences = (now - batch.rollout_logprobs).abs()
            ages = len(oldest) - batch.policy_version
            tokens = batch.response_mask > 0
            oldest.append(
                {
                    age: float(differences[tokens & (ages == age)].max())
                    for age in ages[tokens].unique().tolist()
                }
            )
            return annotate(batch, old_logprobs=old_logprobs)

        learner.annotate = noting
        train_tiny(
            engine, learner, algorithm, problems, renderer, tracker, tmp_path,
            num_steps=8, prompts_per_step=16, max_staleness=2,
        )  # fmt: skip
    rows = [row for _, row in tracker.rows]
    assert len(rows) == 8
    assert all(row["sync/proved_share"] == 1 and row["sync/probe_mean_abs"] < ROUNDING for row in rows)
    assert [row["rollout/prompts_used"] for row in rows] == [16 * step for step in range(1, 9)]
    assert max(row["rollout/staleness_max"] for row in rows) in (1, 2)  # by which side is the slower one here
    assert any(row["rollout/updated_share"] > 0 for row in rows)
    assert all(0 < row["mismatch/effective_sample_share"] <= 1 for row in rows)
    # What the weights of now have written is theirs, and what older ones have is not.
    assert all(ages[0] < ROUNDING for ages in oldest if 0 in ages)
    assert max(ages[age] for ages in oldest for age in ages if age > 0) > 10 * ROUNDING
    assert sum(len(ages) > 1 for ages in oldest) > 1
