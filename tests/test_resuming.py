"""The training loop, interrupted: what is kept, and that it goes on as if it had not been."""

from __future__ import annotations

import errno
import random
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rlvr.algorithms.registry import ALGORITHMS
from rlvr.checkpoint import Checkpoints
from rlvr.errors import WeightUpdateError
from rlvr.protocols import SampleRequest, SamplingSettings
from rlvr.records import Completion
from rlvr.seeds import derive_seed
from rlvr.signals import SIGNALS
from tests.fakes import (
    FakeEngine,
    FakeTracker,
    completion,
)
from tests.training import Interrupt, Run


def test_a_resumed_run_draws_what_an_uninterrupted_one_draws(tmp_path: Path) -> None:
    whole = Run(tmp_path / "whole", num_steps=5)()
    first = Run(tmp_path / "run", Interrupt(8 * 3 + 2), num_steps=5)
    with pytest.raises(KeyboardInterrupt):
        first()
    assert first.said == ["checkpoint of step 3 written"]
    second = Run(tmp_path / "run", num_steps=5)(resume=True)
    assert second.learner.calls[:2] == ["load state", "publish 3"]
    asked = [*first.engine.requests[: 2 * 3], *second.engine.requests]
    assert [r.prompt_tokens for r in asked] == [r.prompt_tokens for r in whole.engine.requests]
    seeds = [*first.engine.settings[:3], *second.engine.settings]
    assert [each.seed for each in seeds] == [each.seed for each in whole.engine.settings]
    assert [step for step, _ in second.tracker.rows] == [4, 5]
    assert second.learner.num_updates == whole.learner.num_updates
    assert second.progress.num_drawn == whole.progress.num_drawn


class SeededEngine(FakeEngine):
    """Samples by the seed of the settings and the key of the request alone, as the real one does."""

    def generate(
        self, requests: Sequence[SampleRequest], settings: SamplingSettings
    ) -> Iterator[tuple[int, list[Completion]]]:
        assert settings.seed is not None
        self.requests += requests
        for request in reversed(requests):
            draws = random.Random(derive_seed(settings.seed, request.key))
            index = self.index(request.prompt_tokens)
            yield (
                request.key,
                [
                    completion(
                        f"# {index}" if draws.random() < (0.1, 0.5, 0.9)[index % 3] else "# no",
                        prompt=request.prompt_tokens,
                        response=[3] * draws.randint(1, 5),
                        version=self.version,
                    )
                    for _ in range(request.num_samples)
                ],
            )


class Killed(BaseException):
    """Stands for kill -9: nothing is done about it."""


def killed_at(method: str, call: int) -> Callable[[Run], None]:
    """Kill in the so manieth call of a method of the learner."""

    def prepare(run: Run) -> None:
        plain, calls = getattr(run.learner, method), iter(range(1, 100))

        def killed(*args: Any, **kwargs: Any) -> Any:
            if next(calls) == call:
                raise Killed
            return plain(*args, **kwargs)

        setattr(run.learner, method, killed)

    return prepare


class DyingTracker(FakeTracker):
    """Dies in the fifth step, two after the last checkpoint."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        if step == 5:
            raise Killed
        super().log(step, metrics)


@pytest.mark.parametrize("name", ["ppo", "grpo", "reinforce_pp", "rloo", "remax", "dapo"])
def test_every_algorithm_goes_on_with_the_batches_that_it_would_have_had(tmp_path: Path, name: str) -> None:
    whole = seeded_run(tmp_path / "whole", name)()
    killed = seeded_run(tmp_path / "cut", name)
    killed.tracker = DyingTracker()
    with pytest.raises(Killed):
        killed()
    resumed = seeded_run(tmp_path / "cut", name)(resume=True)
    assert_same_end(resumed, whole)
    assert (whole.progress.num_drawn > 6 * 4) == (name == "dapo")  # refused groups are replaced


@pytest.mark.parametrize("name", ["ppo", "dapo"])
def test_a_finished_run_that_is_made_longer_equals_a_longer_one(tmp_path: Path, name: str) -> None:
    whole = seeded_run(tmp_path / "whole", name)()
    short = seeded_run(tmp_path / "short", name, num_steps=3)()
    assert short.learner.calls[-1].startswith("save")
    assert_same_end(seeded_run(tmp_path / "short", name)(resume=True), whole)


def seeded_run(folder: Path, name: str, *, num_steps: int = 6) -> Run:
    return Run(
        folder,
        engine=SeededEngine(),
        algorithm=replace(ALGORITHMS[name], group_size=4),
        num_steps=num_steps,
        prompts_per_step=4,
        checkpoint_every=3,
    )


def assert_same_end(resumed: Run, whole: Run) -> None:
    """The steps from the fourth on are those of a run that was never stopped."""
    assert resumed.learner.calls[:2] == ["load state", "publish 3"]
    assert [step for step, _ in resumed.tracker.rows] == [4, 5, 6]
    for found, expected in zip(resumed.learner.updates, whole.learner.updates[3:], strict=True):
        for minibatch, other in zip(found, expected, strict=True):
            for spec in fields(minibatch):
                left, right = getattr(minibatch, spec.name), getattr(other, spec.name)
                assert left is right is None or torch.equal(left, right), spec.name
    untimed = [
        [{key: row[key] for key in row if not key.startswith(("time/", "throughput/"))} for _, row in rows]
        for rows in (resumed.tracker.rows, whole.tracker.rows[3:])
    ]
    assert untimed[0] == untimed[1]
    assert resumed.progress.num_drawn == whole.progress.num_drawn
    assert resumed.learner.num_updates == whole.learner.num_updates
    assert resumed.progress.watched == whole.progress.watched


def test_an_interrupted_update_is_not_taken_for_a_step(tmp_path: Path) -> None:
    run = Run(tmp_path, num_steps=4, lose_update=3)
    with pytest.raises(WeightUpdateError):
        run()
    assert Checkpoints(tmp_path).all() == []
    assert run.said == []


def test_a_signal_during_an_update_waits_for_the_end_of_the_step(tmp_path: Path) -> None:
    run = Run(tmp_path, num_steps=4)
    update = run.learner.update

    def signalled(*args: Any, **kwargs: Any) -> dict[str, float]:
        if len(run.learner.updates) == 1:
            signal.raise_signal(signal.SIGTERM)
        return update(*args, **kwargs)

    run.learner.update = signalled
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    SIGNALS.install()
    try:
        with pytest.raises(KeyboardInterrupt):
            run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert [step for step, _ in run.tracker.rows] == [1, 2]
    assert run.said == ["checkpoint of step 2 written"]
    assert SIGNALS.exit_code == 143
    assert [each.step for each in Checkpoints(tmp_path).all()] == [2]


def test_a_last_checkpoint_that_fails_does_not_hide_why_the_run_ended(tmp_path: Path) -> None:
    run = Run(tmp_path, Interrupt(10))
    run.learner.save_state = full_disk
    with pytest.raises(KeyboardInterrupt):
        run()
    assert "No space left" in run.said[0]


def full_disk(folder: Path) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")
