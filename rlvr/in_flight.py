"""The training loop that samples in flight: ``train.max_staleness`` of 2 or more.

The engines never wait for a batch to be whole. Its long responses are written on while further prompts are begun, and
through updates of the weights, which come between two of the short calls by which this thread drives the engines. The
learner has a thread of its own::

    engines   ────── responses ──────┊── responses ──┊──────── responses ───────┊──
    learner    learn batch t         ┊ publish t     ┊   learn batch t + 1      ┊ publish t + 1

**Which prompts.** A batch is the next prompts of the stream in their order, whoever is done first, so short responses are
not favoured, and none is lost or used twice. Groups that the algorithm refuses are passed over, as their turn comes.

**How old.** A prompt is begun only if its batch, whatever comes of the groups before it, is one of the next K + 1. The
oldest token of batch t is then of version t − 1 − K at least. Nothing is ever discarded for its age.

**What depends on timing.** Which version has written a token, and so what it is. Prompts, their order, their batches and
the seeds of their responses do not.
"""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

from rlvr.checkpoint import PENDING_FILE, Checkpoint, Checkpoints, Progress, save_model
from rlvr.collect import Collected, judge_later, refuse_useless
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
from rlvr.protocols import PolledEngine, SampleRequest, StreamingVerifier
from rlvr.records import Completion, Problem, Rollout, RolloutGroup, Verdict
from rlvr.signals import SIGNALS
from rlvr.tracking.progress import say

Result = TypeVar("Result")
KEYS_PER_PROMPT = 2
"""One of the request for a prompt's group, and one of that for a greedy baseline."""
Finished = Sequence[tuple[int, RolloutGroup]]
"""Groups whose verdicts are there, each after the number of its prompt in the stream."""


def train_in_flight(
    run: Training,
    engine: PolledEngine,
    *,
    output: Path,
    checkpoints: Checkpoints,
    resume: Checkpoint | None = None,
) -> Progress:
    """Train a policy on batches of up to ``train.max_staleness`` steps of age; then save it.

    A step is done as a whole or not at all. A signal while the learner waits for a batch leaves a checkpoint of the step
    before; from the update on, a step is carried through. A checkpoint holds the groups that are finished. Those that are
    not are sampled again after it, by newer weights, so a resumed run is not the one that it would have been.

    Args:
        run: what is trained, and with what.
        engine: that of ``run``.
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
    flight = Flight(run, engine, progress)
    if resume is not None:
        flight.restore(resume.folder)
    at_rest = True  # the learner stands where ``progress`` says
    learner = ThreadPoolExecutor(1, thread_name_prefix="learner")
    try:
        while progress.step < run.config.num_steps:
            step, laps = progress.step + 1, StepClock()
            sampled = flight.batch()
            laps.lap("wait_for_rollout")
            measured = run.check(step, sampled)
            with SIGNALS.held():
                at_rest = False
                learned = flight.beside(learner.submit(run.learn, step, sampled))
                laps.lap("learn")
                sync = run.publish(step, sampled)
                laps.lap("sync")
                speed = laps.metrics() | flight.metrics(sampled, laps)
                speed |= speed_metrics(sampled.collected, laps.total)
                run.tracker.log(step, measured | learned | sync.metrics() | speed)
                progress = Progress(step, sampled.num_drawn, clock.seconds, dict(run.guards.watched))
                flight.go_on_after(progress)
                at_rest = True
                if is_due(step, run.config):
                    write = partial(write_all, run, flight.num_drawn, flight.finished)
                    flight.beside(learner.submit(checkpoints.save, progress, write))
        with SIGNALS.held():
            save_model(output, run.learner.save)
    except (KeyboardInterrupt, RlvrError):
        if at_rest:
            learner.shutdown()  # a checkpoint may be being written
            with SIGNALS.held():
                checkpoints.rescue(progress, partial(write_all, run, flight.num_drawn, flight.finished))
        raise
    finally:
        if not at_rest:
            run.learner.stop()  # nobody waits for its update any more
        learner.shutdown()
    return progress


@dataclass(eq=False)
class Flying:
    """A prompt that was begun, and what has come of it."""

    number: int
    """Of the prompt in the stream."""
    problem: Problem
    requests: list[SampleRequest]
    """For the group, and for the greedy baseline where there is one."""
    begun: float = field(default_factory=time.perf_counter)
    judged: dict[int, list[tuple[Completion, Future[Verdict]]]] = field(default_factory=dict)
    """Responses by the key of their request."""
    group: RolloutGroup | None = None
    """Once all verdicts are there."""

    @property
    def is_written(self) -> bool:
        """Whether no response is missing."""
        return self.group is not None or len(self.judged) == len(self.requests)

    def settle(self) -> None:
        """Make the group if all verdicts are there."""
        if self.group is not None or not self.is_written:
            return
        if all(verdict.done() for pairs in self.judged.values() for _, verdict in pairs):
            rollouts = [
                tuple(
                    Rollout(completion, verdict.result()) for completion, verdict in self.judged[request.key]
                )
                for request in self.requests
            ]
            baseline = rollouts[1][0] if len(rollouts) > 1 else None
            self.group = RolloutGroup(self.problem, rollouts[0], baseline, self.requests[0].images)


class Flight:
    """The prompts that were begun and are not trained on yet, in their order."""

    def __init__(self, run: Training, engine: PolledEngine, progress: Progress) -> None:
        """Nothing is begun; the first prompt is the one after those that the run has used."""
        self._run, self._engine = run, engine
        self._sampling = run.algorithm.sampling
        stage = run.stage(progress.step + 1)  # a run in flight has one
        self._size = stage.prompts_per_step
        self._limit = math.ceil(self._sampling.max_sampling_factor * self._size)
        self._settings = run.settings(stage, 0)  # steps count from 1
        self._stream = run.prompts(progress.step + 1, progress.num_drawn)
        self._progress = progress
        self._flying = deque[Flying]()
        self._num_resampled = 0
        self._verify_seconds = self._idle_seconds = 0.0

    @property
    def num_drawn(self) -> int:
        """Prompts begun so far, over all sessions."""
        return self._stream.num_drawn

    @property
    def finished(self) -> Finished:
        """Groups that are to be trained on and need not be sampled again."""
        return [(each.number, each.group) for each in self._flying if each.group is not None]

    def restore(self, folder: Path) -> None:
        """Take up the groups of a checkpoint, and begin again what was not finished then."""
        found = json.loads((folder / PENDING_FILE).read_text(encoding="utf-8"))
        groups = {group["number"]: group for group in found["groups"]}
        while self.num_drawn < found["num_drawn"]:
            number, problem = self.num_drawn, next(self._stream)
            if number in groups:
                group = group_from_json(groups[number], problem)
                self._flying.append(Flying(number, problem, [], group=group))
            else:
                self._begin(number, problem)
                self._num_resampled += 1
        if self._num_resampled:
            say(
                f"{self._num_resampled} prompts were being sampled when the checkpoint was written, and are sampled again"
            )

    def batch(self) -> Sampled:
        """The groups of the next step; waits for them.

        Raises:
            TrainingError: there is nothing to learn from.
            RlvrError: a worker failed.
        """
        while True:
            members = self._next_batch()
            if members and all(each.group is not None for each in members):
                return self._sampled(members)
            started, is_written = time.perf_counter(), members and all(each.is_written for each in members)
            self._poll()
            if is_written:
                self._verify_seconds += time.perf_counter() - started

    def beside(self, work: Future[Result]) -> Result:
        """Keep the engines going until some work is done; its result, or what it has raised."""
        self._idle_seconds = 0.0
        while not work.done():
            self._poll()
        return work.result()

    def go_on_after(self, progress: Progress) -> None:
        """A step is done: its groups have been used, and further prompts may be begun."""
        self._progress, self._num_resampled = progress, 0
        while self._flying and self._flying[0].number < progress.num_drawn:
            self._flying.popleft()

    def metrics(self, sampled: Sampled, laps: StepClock) -> dict[str, float]:
        """How old the batch of the step is, what is in flight beside it, and how far sampling lay beside learning."""
        completions = [each.completion for group in sampled.collected.groups for each in group.rollouts]
        spans = [span for completion in completions for span in completion.version_spans if span[1]]
        ages = [(self._progress.step - version, count) for version, count in spans]
        num_tokens = max(1, sum(count for _, count in ages))
        learning = laps.metrics()["time/learn"]
        idle = min(self._idle_seconds, learning)
        return {
            "rollout/staleness": sum(age * count for age, count in ages) / num_tokens,
            "rollout/staleness_max": float(max((age for age, _ in ages), default=0)),
            "rollout/updated_share": sum(bool(each.later_versions) for each in completions)
            / len(completions),
            "rollout/prompts_used": float(sampled.num_drawn),
            "rollout/prompts_in_flight": float(self.num_drawn - sampled.num_drawn),
            "rollout/prompts_resampled": float(self._num_resampled),
            "time/rollout": sampled.seconds,
            "time/wait_for_learner": idle,
            "throughput/overlap_share": (learning - idle) / laps.total,
        }

    def _poll(self) -> None:
        """Begin what may be begun, and take in what has got done."""
        self._fill()
        started, is_idle = time.perf_counter(), not self._engine.num_open
        for key, completions in self._engine.poll():
            flying = self._flying[key // KEYS_PER_PROMPT - self._flying[0].number]
            flying.judged[key] = [
                (completion, judge_later(self._run.verifier, flying.problem, completion))
                for completion in completions
            ]
        for flying in self._flying:
            flying.settle()
        if is_idle:
            self._idle_seconds += time.perf_counter() - started

    def _fill(self) -> None:
        """Begin the next prompts, as long as the batch that they will be in is near enough."""
        config = self._run.config
        ends, num_kept = self._ends()
        batches = min(config.max_staleness + 1, config.num_steps - self._progress.step) - len(ends)
        if batches <= 0:
            return
        num_walked = len(self._flying) - (ends[-1] if ends else 0)
        first = min(self._size - num_kept, self._limit - num_walked)
        for _ in range(first + (batches - 1) * self._size):
            number = self.num_drawn
            self._begin(number, next(self._stream))

    def _begin(self, number: int, problem: Problem) -> None:
        request = self._run.renderer.request(KEYS_PER_PROMPT * number, problem, self._sampling.group_size)
        requests = [request]
        if self._sampling.greedy_baseline:
            requests.append(replace(request, key=request.key + 1, num_samples=1, greedy=True))
        self._flying.append(Flying(number, problem, requests))
        self._engine.submit(requests, self._settings)

    def _ends(self) -> tuple[list[int], int]:
        kept = (each.group is None or self._keeps(each.group) for each in self._flying)
        return batch_ends(kept, self._size, self._limit)

    def _keeps(self, group: RolloutGroup) -> bool:
        return self._sampling.keep_group is None or self._sampling.keep_group(group)

    def _next_batch(self) -> list[Flying]:
        """Its prompts as far as they are known; empty as long as not even their number is."""
        ends, _ = self._ends()
        return list(islice(self._flying, ends[0])) if ends else []

    def _sampled(self, members: Sequence[Flying]) -> Sampled:
        verifier = self._run.verifier
        groups = [each.group for each in members if each.group is not None]
        kept = [group for group in groups if self._keeps(group)]
        if not kept:
            refuse_useless(groups, self._sampling, verifier.expects)
        pool_metrics = verifier.metrics() if isinstance(verifier, StreamingVerifier) else {}
        collected = Collected(kept, groups, self._verify_seconds, pool_metrics)
        self._verify_seconds = 0.0
        seconds = time.perf_counter() - min(each.begun for each in members)
        return Sampled(collected, members[-1].number + 1, seconds)


def batch_ends(kept: Iterable[bool], size: int, limit: int) -> tuple[list[int], int]:
    """Where batches end among groups in the order of their prompts.

    Args:
        kept: whether the algorithm keeps a group. Of one that is not known yet, True: then no batch ends later than it
            will in the end, and no group is in a later batch.
        size: groups kept of a batch.
        limit: most groups of a batch, refused ones included; it is then smaller.

    Returns:
        The number of groups up to the end of each batch, and the number of groups kept after the last one.
    """
    ends: list[int] = []
    start = num_kept = 0
    for place, is_kept in enumerate(kept, 1):
        num_kept += is_kept
        if num_kept == size or place - start == limit:
            ends.append(place)
            start, num_kept = place, 0
    return ends, num_kept


def write_all(run: Training, num_drawn: int, finished: Finished, folder: Path) -> None:
    """A checkpoint: the learner's part, the groups that are finished, and how many prompts were begun."""
    write_checkpoint(run.learner, folder)
    groups = [{"number": number, **group_to_json(group)} for number, group in finished]
    write_text(folder / PENDING_FILE, json.dumps({"num_drawn": num_drawn, "groups": groups}) + "\n")
