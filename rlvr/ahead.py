"""The training loop that samples one step ahead: ``train.max_staleness=1``.

While step t is learned, the engines sample the batch of step t + 1 with the weights after step t − 1, which are the
newest that they have. Publishing waits for both, so every batch but the first is sampled by weights that are exactly one
step older than those it is trained on::

    engines   batch t + 1 by weights t − 1 ┊         ┊ batch t + 2 by weights t ┊
    learner   learn batch t → weights t    ┊ publish ┊ learn batch t + 1        ┊ publish

A batch belongs to its step, not to the moment at which it is ready: which prompts, seeds and weights make it follows
from the step's number alone. So a run depends on no timing, and a checkpoint that holds the batch in hand goes on bit for
bit. Since a batch is drained before the next is begun, an answer's tokens all come from the same weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import fmean
from types import TracebackType
from typing import Any, Self

from rlvr.checkpoint import PENDING_FILE, Checkpoint, Checkpoints, Progress, save_model
from rlvr.collect import Collected
from rlvr.driver import (
    RunClock,
    Sampled,
    StepClock,
    Training,
    go_on,
    is_due,
    speed_metrics,
    write_checkpoint,
)
from rlvr.errors import RlvrError
from rlvr.files import write_text
from rlvr.pending import group_from_json, group_to_json
from rlvr.records import Problem
from rlvr.signals import SIGNALS


def train_ahead(
    run: Training, *, output: Path, checkpoints: Checkpoints, resume: Checkpoint | None = None
) -> Progress:
    """Train a policy, sampling each batch while the one before is learned; then save it.

    A step is done as a whole or not at all. A signal waits for the end of the step, since the batch that is being
    sampled could not be sampled again once the learner has moved on. The last step samples ahead as well: its batch lies
    in the last checkpoint, so that a longer run is the one that so many steps at once would have been.

    Args:
        run: what is trained, and with what.
        output: folder of the final model.
        checkpoints: where checkpoints are written.
        resume: the one to go on from.

    Returns:
        Where the run stands at its end.

    Raises:
        RlvrError: a part of a step has failed, or a checkpoint could not be written.
        KeyboardInterrupt: a signal has stopped the run.
    """
    progress = Progress() if resume is None else go_on(resume, run.learner, run.guards)
    clock = RunClock(progress.seconds)
    run.publish_first(progress.step)
    # There is nothing to be learned yet while the first batch is sampled.
    pending = run.sample(1, 0) if resume is None else read_pending(resume.folder, run, progress)
    at_rest = True  # the learner stands where ``progress`` says, and the engines have its weights
    try:
        with Sampler(run) as sampler:
            while progress.step < run.config.num_steps:
                step, laps, sampled = progress.step + 1, StepClock(), pending
                measured = run.check(step, sampled)
                with SIGNALS.held():
                    at_rest = False
                    sampler.start(step + 1, sampled.num_drawn)
                    learned = run.learn(step, sampled)
                    laps.lap("learn")
                    pending = sampler.take()
                    laps.lap("wait_for_rollout")
                    sync = run.publish(step, sampled)
                    laps.lap("sync")
                    speed = laps.metrics() | overlap_metrics(step, sampled, pending, laps)
                    speed |= speed_metrics(sampled.collected, laps.total)
                    run.tracker.log(step, measured | learned | sync.metrics() | speed)
                    progress = Progress(step, sampled.num_drawn, clock.seconds, dict(run.guards.watched))
                    at_rest = True
                    if is_due(step, run.config):
                        checkpoints.save(progress, partial(write_all, run, pending))
        with SIGNALS.held():
            save_model(output, run.learner.save)
    except (KeyboardInterrupt, RlvrError):
        if at_rest:
            with SIGNALS.held():
                checkpoints.rescue(progress, partial(write_all, run, pending))
        raise
    return progress


class Sampler:
    """Samples one batch at a time beside its caller, in a thread of its own."""

    def __init__(self, run: Training) -> None:
        """Nothing is sampled yet."""
        self._run = run
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sampler")
        self._batch: Future[Sampled] | None = None

    def start(self, step: int, num_drawn: int) -> None:
        """Begin to sample the batch of a step, whose first prompt comes after so many others."""
        self._batch = self._thread.submit(self._run.sample, step, num_drawn)

    def take(self) -> Sampled:
        """Wait for the batch; what its sampling has raised is raised here, as it is."""
        assert self._batch is not None, "nothing was started"
        batch, self._batch = self._batch, None
        return batch.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Whatever is still being sampled is wanted no more; the thread is gone once this returns."""
        self._run.engine.stop()
        self._thread.shutdown()


def overlap_metrics(step: int, sampled: Sampled, following: Sampled, laps: StepClock) -> dict[str, float]:
    """How old a step's batch is, and how far sampling the following one lay beside learning it."""
    completions = [each.completion for group in sampled.collected.groups for each in group.rollouts]
    learning = laps.metrics()["time/learn"]
    return {
        "rollout/staleness": fmean(step - 1 - completion.policy_version for completion in completions),
        "time/rollout": sampled.seconds,
        "time/wait_for_learner": max(0.0, learning - following.seconds),
        "throughput/overlap_share": min(learning, following.seconds) / laps.total,
    }


def write_all(run: Training, pending: Sampled, folder: Path) -> None:
    """A checkpoint: the learner's part, and the batch of the next step, which is in hand."""
    write_checkpoint(run.learner, folder)
    write_text(folder / PENDING_FILE, json.dumps(pending_to_json(pending)) + "\n")


def read_pending(folder: Path, run: Training, progress: Progress) -> Sampled:
    """The batch that a checkpoint holds, which is that of the step after it."""
    found = json.loads((folder / PENDING_FILE).read_text(encoding="utf-8"))
    prompts = run.prompts(progress.step + 1, progress.num_drawn)
    return pending_from_json(found, list(islice(prompts, found["num_drawn"] - prompts.num_drawn)))


def pending_to_json(pending: Sampled) -> dict[str, Any]:
    """A batch as plain data, every number as it is; without its problems, which the stream of prompts gives again."""
    collected = pending.collected
    places = {id(group): place for place, group in enumerate(collected.sampled)}
    return {
        "num_drawn": pending.num_drawn,
        "seconds": pending.seconds,
        "verify_seconds": collected.verify_seconds,
        "pool_metrics": collected.pool_metrics,
        "kept": [places[id(group)] for group in collected.groups],
        "sampled": [group_to_json(group) for group in collected.sampled],
    }


def pending_from_json(found: Mapping[str, Any], problems: Sequence[Problem]) -> Sampled:
    """The reverse of :func:`pending_to_json`; ``problems`` are those of the sampled groups, in their order."""
    sampled = [
        group_from_json(group, problem) for problem, group in zip(problems, found["sampled"], strict=True)
    ]
    collected = Collected(
        [sampled[place] for place in found["kept"]], sampled, found["verify_seconds"], found["pool_metrics"]
    )
    return Sampled(collected, found["num_drawn"], found["seconds"])
