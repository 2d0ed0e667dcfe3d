"""Sampling in flight: which prompts make which batch and how old they are, whoever is slow."""

from __future__ import annotations

import gc
import math
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.batch import RolloutBatch
from rlvr.errors import TrainingError
from rlvr.in_flight import batch_ends
from tests.fakes import FakeTracker
from tests.polled import (
    GROUP,
    PROMPTS,
    SIDES,
    K,
    PolledFake,
    ToTheLast,
    ages,
    flight,
    in_order,
    prompts_of,
)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("staleness", [2, 4])
def test_batches_are_the_next_prompts_in_order_whoever_is_slow(
    tmp_path: Path, side: str, staleness: int
) -> None:
    run = SIDES[side](tmp_path, max_staleness=staleness)()
    assert [prompts_of(batch) for batch in run.learner.batches] == [
        in_order(PROMPTS, PROMPTS * step) for step in range(8)
    ]
    engine: Any = run.engine
    assert engine.prompts == [2 * number for number in range(8 * PROMPTS)]  # none twice, none for nothing
    assert engine.most_open <= (staleness + 1) * PROMPTS
    assert engine.num_open == 0
    assert all(0 <= age <= staleness for step in ages(run) for age in step)
    if side == "slow learner":  # all that may be begun was done while a step was learned
        assert [max(step) for step in ages(run)] == [min(step, staleness) for step in range(8)]
        assert all(row["time/wait_for_learner"] > 0 for _, row in run.tracker.rows)
    rows = [row for _, row in run.tracker.rows]
    assert [row["rollout/prompts_used"] for row in rows] == [PROMPTS * step for step in range(1, 9)]
    assert [row["rollout/staleness_max"] for row in rows] == [max(step) for step in ages(run)]
    assert [row["rollout/staleness"] for row in rows] == pytest.approx(
        [sum(step) / len(step) for step in ages(run)]
    )
    assert all(row["rollout/prompts_resampled"] == 0 for row in rows)


def test_responses_are_written_through_updates(tmp_path: Path) -> None:
    run = flight(tmp_path, engine=ToTheLast())()
    for step, batch in enumerate(run.learner.batches):
        for versions, mask in zip(batch.policy_version, batch.response_mask, strict=True):
            assert versions[mask > 0].unique().tolist() == list(range(max(0, step - K), step + 1))
    rows = [row for _, row in run.tracker.rows]
    assert [row["rollout/updated_share"] for row in rows] == [0, *[1] * 7]
    assert [row["rollout/staleness_max"] for row in rows] == [0, 1, *[K] * 6]
    assert all(0 < row["throughput/overlap_share"] <= 1 for row in rows[:-1])


def test_its_metrics_are_documented(tmp_path: Path) -> None:
    table = (Path(__file__).resolve().parents[1] / "docs" / "metrics.md").read_text(encoding="utf-8")
    [(_, row), *_] = flight(tmp_path)().tracker.rows
    assert [name for name in row if f"`{name}`" not in table] == []


class Forgetful(FakeTracker):
    """Keeps nothing but what the test asks for."""

    def __init__(self, measure: Callable[[int], None]) -> None:
        super().__init__()
        self.measure, self.used = measure, [0.0]

    def log(self, step: int, metrics: Any) -> None:
        self.used.append(metrics["rollout/prompts_used"])
        assert metrics["rollout/prompts_in_flight"] <= K * PROMPTS * 4
        self.measure(step)

    def log_samples(self, step: int, rows: Any) -> None:
        pass


@pytest.mark.parametrize("name", ["grpo", "dapo"])
def test_five_hundred_steps_lose_no_prompt_and_no_memory(tmp_path: Path, name: str) -> None:
    run = flight(tmp_path, name, engine=PolledFake(tokens_per_poll=10), num_steps=500, checkpoint_every=0)
    sizes: dict[int, int] = {}

    def measure(step: int) -> None:
        for kept in (
            run.learner.calls,
            run.learner.probes,
            run.learner.asked_old_logprobs,
            run.verifier.calls,
        ):
            kept.clear()
        if step % 100 == 0:
            gc.collect()
            sizes[step] = tracemalloc.get_traced_memory()[0]

    run.tracker = tracker = Forgetful(measure)
    seen: list[int] = []
    update, annotate = run.learner.update, run.learner.annotate

    def forgetting(*args: Any, **kwargs: Any) -> Any:
        run.learner.updates.clear()
        return update(*args, **kwargs)

    def noting(batch: RolloutBatch, **kwargs: Any) -> Any:
        seen.extend(prompts_of(batch))
        run.learner.batches.clear()
        return annotate(batch, **kwargs)

    run.learner.update, run.learner.annotate = forgetting, noting
    tracemalloc.start()
    try:
        run()
    finally:
        tracemalloc.stop()
    engine: Any = run.engine
    assert engine.prompts == [2 * number for number in range(len(engine.prompts))]
    expected = in_order(int(tracker.used[-1]))
    if name == "grpo":
        assert seen == expected
        assert len(engine.prompts) == 500 * PROMPTS
    else:  # refused groups are passed over, and what is kept comes in the order of its prompts
        rest = iter(expected)
        assert all(each in rest for each in seen)
        assert len(seen) > 400 * PROMPTS
    assert all(later > earlier for earlier, later in zip(tracker.used, tracker.used[1:], strict=False))
    assert sizes[500] - sizes[200] < 300_000  # the keys that the test itself keeps are 50 kB


@pytest.mark.parametrize("name", ["ppo", "grpo", "reinforce_pp", "rloo", "remax", "dapo"])
def test_every_algorithm_runs_in_flight(tmp_path: Path, name: str) -> None:
    run = flight(tmp_path, name)()
    assert [step for step, _ in run.tracker.rows] == list(range(1, 9))
    assert all(0 <= age <= K for step in ages(run) for age in step)
    if name == "remax":
        assert all(batch.baseline_rewards is not None for batch in run.learner.batches)
    if name == "dapo":
        assert run.progress.num_drawn > 8 * PROMPTS
        for batch in run.learner.batches:
            scores = batch.rewards.view(-1, GROUP)
            assert (scores.min(1).values != scores.max(1).values).all()


@given(
    outcomes=st.lists(st.booleans(), max_size=60),
    known=st.integers(0, 60),
    size=st.integers(1, 5),
    factor=st.floats(1, 3),
    seed=st.integers(0, 99),
)
def test_no_group_comes_into_a_later_batch_than_was_reckoned_with(
    outcomes: list[bool], known: int, size: int, factor: float, seed: int
) -> None:
    """What is not known yet counts as kept: whatever it turns out to be, batches end there or later."""
    limit = math.ceil(factor * size)
    unknown = set(random.Random(seed).sample(range(len(outcomes)), min(known, len(outcomes))))
    reckoned, _ = batch_ends([kept or place in unknown for place, kept in enumerate(outcomes)], size, limit)
    found, _ = batch_ends(outcomes, size, limit)
    assert len(found) <= len(reckoned)
    assert all(end >= other for end, other in zip(found, reckoned, strict=False))
    for start, end in zip([0, *found], found, strict=False):
        assert sum(outcomes[start:end]) == size or end - start == limit


def test_a_step_of_which_nothing_is_kept_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="can teach anything"):
        flight(tmp_path, "dapo", engine=PolledFake(right=(0, 1, 0)))()
