"""Runs in flight on fakes: an engine that writes a few tokens of every response at a time, and sides that are slow."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from rlvr.algorithms.registry import ALGORITHMS
from rlvr.batch import RolloutBatch
from rlvr.collect import PromptStream
from rlvr.protocols import SampleRequest, SamplingSettings
from rlvr.records import Completion
from rlvr.seeds import derive_seed
from tests.fakes import FakeEngine, problems
from tests.training import Run

K, PROMPTS, GROUP = 2, 4, 4
PATIENCE = 20.0
"""Seconds after which a test that waits for the other side fails."""


@dataclass
class Writing:
    """A response that is being written."""

    length: int
    text: str
    versions: list[int] = field(default_factory=list)


class PolledFake(FakeEngine):
    """Writes a few tokens of every open response in each poll; one in twenty is twenty times as long as the others."""

    def __init__(
        self, *, tokens_per_poll: int = 3, seconds: float = 0.0, right: Sequence[float] = (0.1, 0.5, 0.9)
    ) -> None:
        super().__init__()
        self.tokens_per_poll, self.seconds, self.right = tokens_per_poll, seconds, right
        self.open: dict[int, tuple[SampleRequest, list[Writing]]] = {}
        self.most_open = 0
        self.prompts: list[int] = []
        """Keys of all requests, in the order in which they were submitted."""

    @property
    def num_open(self) -> int:
        return len(self.open)

    def submit(self, requests: Sequence[SampleRequest], settings: SamplingSettings) -> None:
        assert settings.seed is not None
        for request in requests:
            assert request.key not in self.open
            self.prompts.append(request.key)
            draws = random.Random(derive_seed(settings.seed, request.key))
            index = self.index(request.prompt_tokens)
            self.open[request.key] = (
                request,
                [
                    Writing(
                        draws.randint(1, 6) * (20 if draws.random() < 0.05 else 1),
                        f"# {index}" if draws.random() < self.right[index % 3] else "# no",
                    )
                    for _ in range(request.num_samples)
                ],
            )
        self.most_open = max(self.most_open, len(self.open))

    def poll(self) -> list[tuple[int, list[Completion]]]:
        time.sleep(self.seconds)
        for _, responses in self.open.values():
            for each in responses:
                count = min(self.tokens_per_poll, each.length - len(each.versions))
                each.versions += [self.version] * count
        done = [
            key
            for key, (_, responses) in self.open.items()
            if all(len(each.versions) == each.length for each in responses)
        ]
        random.Random(len(done)).shuffle(done)
        return [self._answer(key) for key in done]

    def _answer(self, key: int) -> tuple[int, list[Completion]]:
        request, responses = self.open.pop(key)
        return key, [
            Completion(
                request.prompt_tokens,
                [3] * each.length,
                [-0.5] * each.length,
                each.text,
                "stop",
                each.versions[0],
                later_versions=tuple(
                    (place, version)
                    for place, version in enumerate(each.versions)
                    if place and version != each.versions[place - 1]
                ),
            )
            for each in responses
        ]


class ToTheLast(PolledFake):
    """Writes every response until the learner needs it."""

    def poll(self) -> list[tuple[int, list[Completion]]]:
        time.sleep(0.005)
        done = []
        for key, (_, responses) in self.open.items():
            for each in responses:
                each.versions.append(self.version)
                each.length = len(each.versions)
            if self.version == key // 2 // PROMPTS:  # the weights that its batch is trained on
                done.append(key)
        return [self._answer(key) for key in done]


def flight(folder: Path, name: str = "grpo", engine: FakeEngine | None = None, **config: Any) -> Run:
    return Run(
        folder,
        engine=engine or PolledFake(),
        algorithm=replace(ALGORITHMS[name], group_size=GROUP, importance_cap=2.0),
        **{"num_steps": 8, "prompts_per_step": PROMPTS, "checkpoint_every": 3, "max_staleness": K, **config},
    )


def prompts_of(batch: RolloutBatch) -> list[int]:
    """The problem of each group, as the fake renderer has it."""
    return [int(batch.tokens[row, 1]) - 2 for row in range(0, len(batch), GROUP)]


def in_order(count: int, start: int = 0) -> list[int]:
    """The problems of the stream's prompts."""
    stream = PromptStream(problems(6), 0, start)
    return [int(next(stream).extra_info["index"]) for _ in range(count)]


def ages(run: Run) -> list[list[int]]:
    """Of all tokens of each step's batch."""
    return [
        (step - batch.policy_version[batch.response_mask > 0]).tolist()
        for step, batch in enumerate(run.learner.batches)
    ]


class Slow:
    """A learner whose update takes until the engine has nothing more to do."""

    def __init__(self, run: Run) -> None:
        self.engine = cast(Any, run.engine)
        self.update, self.poll = run.learner.update, self.engine.poll
        self.ticks = threading.Semaphore(0)
        run.learner.update = self.wait
        self.engine.poll = self.tick

    def tick(self) -> Any:
        self.ticks.release()
        return self.poll()

    def wait(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        while self.ticks.acquire(blocking=False):
            pass
        while True:
            assert self.ticks.acquire(timeout=PATIENCE)
            if not self.engine.num_open:
                break
        return self.update(*args, **kwargs)


def fast_engine(folder: Path, **config: Any) -> Run:
    return flight(folder, engine=PolledFake(tokens_per_poll=1000), **config)


def slow_engine(folder: Path, **config: Any) -> Run:
    return flight(folder, engine=PolledFake(tokens_per_poll=1, seconds=0.003), **config)


def slow_learner(folder: Path, **config: Any) -> Run:
    run = flight(folder, **config)
    Slow(run)
    return run


SIDES: dict[str, Callable[..., Run]] = {
    "fast engine": fast_engine,
    "slow engine": slow_engine,
    "slow learner": slow_learner,
}
