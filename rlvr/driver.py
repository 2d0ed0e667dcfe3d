"""The training loop. It knows protocols only: neither Ray nor an engine nor an algorithm's name."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rlvr.algorithms.algorithm import Algorithm
from rlvr.batch import collate
from rlvr.collect import check_error_share, collect
from rlvr.config import TrainConfig
from rlvr.protocols import Learner, Probe, Renderer, RolloutEngine, SamplingSettings, Tracker, Verifier
from rlvr.records import Problem, RolloutGroup

NUM_PROBES = 4
"""Sequences compared between engine and learner at every weight update."""


def train(
    *,
    config: TrainConfig,
    algorithm: Algorithm,
    engine: RolloutEngine,
    learner: Learner,
    verifier: Verifier,
    renderer: Renderer,
    problems: Sequence[Problem],
    max_response_tokens: int,
    seed: int,
    tracker: Tracker,
    num_logged_samples: int,
    output: Path,
) -> None:
    """Train a policy: sample, verify, assign credit, update, publish; then save.

    Args:
        config: length and batch.
        algorithm: the composition that is trained with.
        engine: samples responses.
        learner: updates the policy.
        verifier: scores responses.
        renderer: makes prompts.
        problems: the training set; gone through in a new seeded order every epoch.
        max_response_tokens: responses are cut off here.
        seed: of the data order.
        tracker: receives one row of metrics per step.
        num_logged_samples: rollouts per step that it receives to be read.
        output: folder of the final model; intermediate ones stand beside it as ``<output>-step<N>``.

    Raises:
        WeightUpdateError: an engine does not hold the learner's weights.
        VerifierError: the verifier failed on too many responses.
    """
    settings = SamplingSettings(
        config.temperature, max_response_tokens, logprobs=True, stop_token_ids=renderer.stop_token_ids
    )
    stream = prompt_stream(problems, seed)
    minibatch_size = config.minibatch_size or config.prompts_per_step * algorithm.group_size
    # Version 0 is proved on prompts, before anything has been sampled.
    learner.publish(0, [Probe(renderer.render(problem), 1) for problem in problems[:NUM_PROBES]])

    for step in range(1, config.num_steps + 1):
        clock = StepClock()
        collected = collect(
            engine, renderer, verifier, stream, config.prompts_per_step, algorithm.sampling, settings
        )
        metrics = collected.metrics()
        tracker.log_samples(step, sample_rows(collected.groups, num_logged_samples))
        check_error_share(metrics["verify/error"], config.max_error_share)
        clock.lap("rollout")

        batch = collate(collected.groups, max_response_tokens)
        num_updates = math.ceil(len(batch) / minibatch_size) * config.num_epochs
        annotations = learner.annotate(batch, old_logprobs=algorithm.needs_old_logprobs(num_updates))
        assigned = algorithm.assign_credit(batch, annotations, minibatch_size, config.num_epochs)
        metrics |= assigned.metrics
        metrics |= learner.update(assigned.minibatches, value_only=step <= algorithm.value_only_steps)
        clock.lap("learn")

        sync = learner.publish(step, probes_from(collected.groups))
        clock.lap("sync")

        if config.save_every and step % config.save_every == 0 and step < config.num_steps:
            learner.save(output.with_name(f"{output.name}-step{step}"))
        tracker.log(
            step,
            metrics
            | {"sync/version": float(sync.version), "sync/probe_max_abs": sync.probe_max_abs}
            | clock.metrics()
            | {
                "time/verify": collected.verify_seconds,
                "throughput/rollouts_per_second": len(collected.sampled) * algorithm.group_size / clock.total,
                "throughput/tokens_per_second": collected.num_tokens / clock.total,
            },
        )
    learner.save(output)


def prompt_stream(problems: Sequence[Problem], seed: int) -> Iterator[Problem]:
    """The problems in a new seeded order every epoch, without end."""
    epoch = 0
    while True:
        order = list(range(len(problems)))
        random.Random(f"data/{seed}/{epoch}").shuffle(order)
        for index in order:
            yield problems[index]
        epoch += 1


def probes_from(groups: Sequence[RolloutGroup]) -> list[Probe]:
    """Rollouts of this very step: tokens on which the weights matter."""
    completions = [group.rollouts[0].completion for group in groups[:NUM_PROBES]]
    return [
        Probe([*completion.prompt_tokens, *completion.response_tokens], len(completion.prompt_tokens))
        for completion in completions
    ]


def sample_rows(groups: Sequence[RolloutGroup], limit: int) -> list[dict[str, object]]:
    """A rollout of each of the first groups, to be read; where the verifier failed, that one first."""
    rows = []
    for group in sorted(groups, key=lambda group: all(rollout.verdict.counts for rollout in group.rollouts))[
        :limit
    ]:
        shown = min(group.rollouts, key=lambda rollout: rollout.verdict.counts)
        rows.append(
            {
                "problem": group.problem.id,
                "prompt": group.problem.prompt[-1]["content"],
                "ground_truth": group.problem.ground_truth,
                "response": shown.completion.text,
                "score": shown.verdict.score,
                "status": shown.verdict.status.value,
                "answer": shown.verdict.answer,
            }
        )
    return rows


class StepClock:
    """Splits a step's wall time into stages."""

    def __init__(self) -> None:
        """Start now."""
        self._last = self._start = time.perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """Everything since the last lap belongs to ``stage``."""
        now = time.perf_counter()
        self._laps[stage] = now - self._last
        self._last = now

    @property
    def total(self) -> float:
        """Seconds since the start, up to the last lap."""
        return self._last - self._start

    def metrics(self) -> dict[str, float]:
        """``time/<stage>`` and ``time/step``, in seconds."""
        return {f"time/{stage}": seconds for stage, seconds in self._laps.items()} | {"time/step": self.total}
