"""The training loop. It knows protocols only: neither Ray nor an engine nor an algorithm's name."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from rlvr.algorithms.algorithm import Algorithm
from rlvr.batch import collate
from rlvr.checkpoint import LEARNER_FOLDER, Checkpoint, Checkpoints, Progress, save_model
from rlvr.collect import Collected, PromptStream, check_error_share, collect, why_unread
from rlvr.config import TrainConfig
from rlvr.errors import RlvrError
from rlvr.guards import Guards
from rlvr.protocols import (
    Learner,
    Probe,
    SamplingSettings,
    SyncReport,
    TokenRenderer,
    Tracker,
    TrainingEngine,
    Verifier,
)
from rlvr.records import Problem, RolloutGroup
from rlvr.rewards.training import TrainingReward
from rlvr.run_folder import MODEL_FOLDER
from rlvr.seeds import derive_seed
from rlvr.signals import SIGNALS

NUM_PROBES = 4
"""Sequences compared between engine and learner at every weight update."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What may differ between the steps of a run; which stage a step belongs to follows from its number."""

    problems: Sequence[Problem]
    """Gone through in a new seeded order every epoch; the same object as in the stage before is gone on with."""
    prompts_per_step: int
    minibatch_size: int | None
    """Rollouts in one optimizer step; None takes the whole step."""
    max_response_tokens: int
    """Responses are cut off here."""
    first_step: int = 1

    @classmethod
    def of(
        cls, config: TrainConfig, problems: Sequence[Problem], max_response_tokens: int, first_step: int = 1
    ) -> Self:
        """The batch that a config says, of these problems."""
        return cls(problems, config.prompts_per_step, config.minibatch_size, max_response_tokens, first_step)


@dataclass(kw_only=True)
class Training:
    """What a run trains with, and the parts of one of its steps: sample, check, learn, publish.

    They know their step by its number and by what is handed on, so a loop may have them overlap: ``sample``
    touches nothing that ``learn`` does, and may run in a thread of its own.
    """

    config: TrainConfig
    """Length of the run, and what all steps have in common."""
    stages: Sequence[Stage]
    """In the order of their first steps; a run that changes nothing has one."""
    algorithm: Algorithm
    """The composition that is trained with."""
    engine: TrainingEngine
    """Samples responses."""
    learner: Learner
    """Updates the policy."""
    verifier: Verifier
    """Scores responses."""
    renderer: TokenRenderer
    """Makes prompts."""
    seed: int
    """Of the data order and, with ``config.seed_requests``, of the sampling."""
    tracker: Tracker
    """Receives one row of metrics per step."""
    num_logged_samples: int
    """Rollouts per step that it receives to be read."""
    guards: Guards
    """Stop a run that has gone wrong."""

    def stage(self, step: int) -> Stage:
        """What holds at a step."""
        return [each for each in self.stages if each.first_step <= step][-1]

    def prompts(self, step: int, num_drawn: int) -> PromptStream:
        """The prompts from a step on, after the ``num_drawn`` that the steps before have taken of its problems.

        A stage with problems of its own begins with the first of them.
        """
        stage = self.stage(step)
        begins = 1 < step == stage.first_step and stage.problems is not self.stage(step - 1).problems
        return PromptStream(stage.problems, self.seed, 0 if begins else num_drawn)

    def publish_first(self, step: int) -> None:
        """Send and prove the weights that a session starts with: on prompts, since nothing has been sampled yet."""
        problems = self.stage(step + 1).problems[:NUM_PROBES]
        self.learner.publish(step, [self.renderer.probe(problem) for problem in problems])

    def sample(self, step: int, num_drawn: int) -> Sampled:
        """Sample and verify the rollouts of a step, whose first prompt comes after so many others.

        Raises:
            TrainingError: there is nothing to learn from.
            RlvrError: a worker failed.
        """
        stage = self.stage(step)
        started = time.perf_counter()
        prompts = self.prompts(step, num_drawn)
        collected = collect(
            self.engine,
            self.renderer,
            self.verifier,
            prompts,
            stage.prompts_per_step,
            self.algorithm.sampling,
            self.settings(stage, step),
        )
        return Sampled(collected, prompts.num_drawn, time.perf_counter() - started)

    def settings(self, stage: Stage, number: int) -> SamplingSettings:
        """How responses are sampled; the seeds of a number, such as a step's, are its own."""
        return SamplingSettings(
            self.config.temperature,
            stage.max_response_tokens,
            logprobs=True,
            stop_token_ids=self.renderer.stop_token_ids,
            seed=derive_seed(self.seed, number) if self.config.seed_requests else None,
        )

    def check(self, step: int, sampled: Sampled) -> dict[str, float]:
        """Log samples of a step's rollouts, and look whether they may be trained on; what was measured of them.

        Raises:
            VerifierError: the verifier failed on too many responses.
            TrainingError: a guard has stopped the run.
        """
        config, collected, stage = self.config, sampled.collected, self.stage(step)
        metrics = collected.metrics(config.reward)
        if len(self.stages) > 1:
            metrics["train/stage"] = 1.0 + self.stages.index(stage)
            if step == stage.first_step:  # what jumps here was meant to
                self.guards.forget()
        self.tracker.log_samples(step, sample_rows(collected.groups, self.num_logged_samples, config.reward))
        check_error_share(metrics["verify/error"], config.max_error_share)
        self.guards.check_rollouts(step, metrics)
        self.guards.check_answers(step, why_unread(collected.sampled, self.verifier.expects))
        return metrics

    def learn(self, step: int, sampled: Sampled) -> dict[str, float]:
        """Assign credit and update the policy; what was measured on the way.

        Raises:
            TrainingError: a guard has stopped the run.
        """
        config, algorithm, stage = self.config, self.algorithm, self.stage(step)
        minibatch_size = stage.minibatch_size or stage.prompts_per_step * algorithm.group_size
        batch = collate(sampled.collected.groups, stage.max_response_tokens, config.reward)
        num_updates = math.ceil(len(batch) / minibatch_size) * config.num_epochs
        annotations = self.learner.annotate(batch, old_logprobs=algorithm.needs_old_logprobs(num_updates))
        assigned = algorithm.assign_credit(batch, annotations, minibatch_size, config.num_epochs)
        updated = self.learner.update(assigned.minibatches, value_only=step <= algorithm.value_only_steps)
        metrics = assigned.metrics | updated
        self.guards.check_update(step, metrics, assigned.minibatches)
        return metrics

    def publish(self, step: int, sampled: Sampled) -> SyncReport:
        """Send the weights after a step to the engines, and prove that they arrived.

        Raises:
            WeightUpdateError: an engine does not hold the learner's weights.
        """
        return self.learner.publish(step, probes_from(sampled.collected.groups, self.renderer))


@dataclass(frozen=True, slots=True)
class Sampled:
    """The rollouts of one step, and all that the next one needs to know of them."""

    collected: Collected
    num_drawn: int
    """Prompts drawn of the step's problems, up to and with this step."""
    seconds: float
    """That sampling and verifying took."""


def train(
    run: Training, *, output: Path, checkpoints: Checkpoints, resume: Checkpoint | None = None
) -> Progress:
    """Train a policy, one part of a step after another, step by step; then save it: ``train.max_staleness=0``.

    A step is done as a whole or not at all. A signal or an error while responses are sampled and verified
    leaves a checkpoint of the step before; from the update on, a step is carried through.

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
    write = partial(write_checkpoint, run.learner)
    run.publish_first(progress.step)
    at_rest = True  # the learner stands where ``progress`` says
    try:
        while progress.step < run.config.num_steps:
            step, laps = progress.step + 1, StepClock()
            sampled = run.sample(step, progress.num_drawn)
            measured = run.check(step, sampled)
            laps.lap("rollout")
            with SIGNALS.held():
                at_rest = False
                learned = run.learn(step, sampled)
                laps.lap("learn")
                sync = run.publish(step, sampled)
                laps.lap("sync")
                speed = laps.metrics() | speed_metrics(sampled.collected, laps.total)
                run.tracker.log(step, measured | learned | sync.metrics() | speed)
                progress = Progress(step, sampled.num_drawn, clock.seconds, dict(run.guards.watched))
                at_rest = True
                if is_due(step, run.config):
                    checkpoints.save(progress, write)
        with SIGNALS.held():
            save_model(output, run.learner.save)
    except (KeyboardInterrupt, RlvrError):
        if at_rest:
            with SIGNALS.held():
                checkpoints.rescue(progress, write)
        raise
    return progress


def go_on(checkpoint: Checkpoint, learner: Learner, guards: Guards) -> Progress:
    """Put learner and guards where a checkpoint says, and tell where that is."""
    progress = checkpoint.progress()
    guards.restore(progress.watched)
    learner.load_state(checkpoint.folder / LEARNER_FOLDER)
    return progress


def is_due(step: int, config: TrainConfig) -> bool:
    """Whether a checkpoint is written after a step; after the last one too, so that a longer run can go on from it."""
    if config.checkpoint_every and step == config.num_steps:
        return True
    return any(every and step % every == 0 for every in (config.checkpoint_every, config.keep_model_every))


def write_checkpoint(learner: Learner, folder: Path) -> None:
    """The learner's part of a checkpoint."""
    learner.save(folder / MODEL_FOLDER)
    learner.save_state(folder / LEARNER_FOLDER)


def speed_metrics(collected: Collected, seconds: float) -> dict[str, float]:
    """``time/verify`` and ``throughput/…`` of a step that took so many seconds."""
    return {
        "time/verify": collected.verify_seconds,
        "throughput/rollouts_per_second": collected.num_rollouts / seconds,
        "throughput/tokens_per_second": collected.num_tokens / seconds,
    }


def probes_from(groups: Sequence[RolloutGroup], renderer: TokenRenderer) -> list[Probe]:
    """Rollouts of this very step: tokens on which the weights matter."""
    probes = []
    for group in groups[:NUM_PROBES]:
        # Not the prompt's tokens as the engine has read them, which it would widen again at each image.
        prompt = renderer.render(group.problem)
        response = group.rollouts[0].completion.response_tokens
        probes.append(Probe([*prompt, *response], len(prompt), group.images))
    return probes


def sample_rows(
    groups: Sequence[RolloutGroup], limit: int, reward: TrainingReward
) -> list[dict[str, object]]:
    """A rollout of each of the first groups, to be read; where the verifier failed, that one first."""
    rows = []
    for group in sorted(
        groups, key=lambda group: all(rollout.verdict.is_valid for rollout in group.rollouts)
    )[:limit]:
        shown = min(group.rollouts, key=lambda rollout: rollout.verdict.is_valid)
        rows.append(
            {
                "problem": group.problem.id,
                "prompt": group.problem.prompt[-1]["content"],
                "ground_truth": group.problem.ground_truth,
                "response": shown.completion.text,
                "score": shown.verdict.score,
                "reward": reward(group.problem, shown),
                "status": shown.verdict.status.value,
                "answer": shown.verdict.answer,
            }
        )
    return rows


class RunClock:
    """Wall time of a run over all of its sessions."""

    def __init__(self, seconds_before: float) -> None:
        """Earlier sessions took ``seconds_before``."""
        self._before, self._start = seconds_before, time.monotonic()

    @property
    def seconds(self) -> float:
        """So far."""
        return round(self._before + time.monotonic() - self._start, 3)


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
