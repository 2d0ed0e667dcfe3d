"""A training run on fakes, to be looked at from all sides."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from rlvr.ahead import train_ahead
from rlvr.algorithms.grpo import GRPOConfig
from rlvr.algorithms.settings import AlgorithmConfig
from rlvr.checkpoint import Checkpoints
from rlvr.config import GuardsConfig, TrainConfig
from rlvr.driver import Stage, Training, train
from rlvr.guards import Guards
from rlvr.in_flight import train_in_flight
from tests.fakes import (
    FakeEngine,
    FakeLearner,
    FakeRenderer,
    FakeTracker,
    FakeVerifier,
    Respond,
    problems,
)


def half_right(index: int, sample: int) -> str:
    return f"# {index}" if sample % 2 else "# no"


class Run:
    """One training run on fakes: 6 problems, groups of 4, 2 prompts a step."""

    def __init__(
        self,
        folder: Path,
        respond: Respond = half_right,
        *,
        lose_update: int | None = None,
        num_logged_samples: int = 1,
        guards: GuardsConfig | None = None,
        algorithm: AlgorithmConfig | None = None,
        engine: FakeEngine | None = None,
        stages: Sequence[Stage] = (),
        **config: Any,
    ) -> None:
        self.algorithm = algorithm or GRPOConfig(group_size=4)
        self.engine = engine or FakeEngine(respond)
        self.learner = FakeLearner(self.engine, lose_update=lose_update)
        self.verifier = FakeVerifier()
        self.tracker = FakeTracker()
        self.folder = folder
        self.said: list[str] = []
        self.guards = guards or GuardsConfig()
        self.num_logged_samples = num_logged_samples
        self.config = TrainConfig(**{"num_steps": 3, "prompts_per_step": 2, **config})
        self.stages = stages or [Stage.of(self.config, problems(6), 16)]

    def __call__(self, *, resume: bool = False) -> Run:
        checkpoints = Checkpoints(
            self.folder,
            keep=self.config.keep_checkpoints,
            keep_model_every=self.config.keep_model_every,
            report=self.said.append,
        )
        training = Training(
            config=self.config,
            algorithm=self.algorithm.build(),
            engine=self.engine,
            learner=self.learner,
            verifier=self.verifier,
            renderer=FakeRenderer(),
            stages=self.stages,
            seed=0,
            tracker=self.tracker,
            num_logged_samples=self.num_logged_samples,
            guards=Guards(self.guards, self.folder, self.said.append),
        )
        loops: dict[int, Any] = {0: train, 1: train_ahead}
        loop = loops.get(self.config.max_staleness, partial(train_in_flight, engine=cast(Any, self.engine)))
        self.progress = loop(
            training,
            output=self.folder / "model",
            checkpoints=checkpoints,
            resume=checkpoints.newest() if resume else None,
        )
        return self


class Interrupt:
    """An engine's answers until one of them raises."""

    def __init__(self, after: int, error: type[BaseException] = KeyboardInterrupt) -> None:
        self.left, self.error = after, error

    def __call__(self, index: int, sample: int) -> str:
        self.left -= 1
        if self.left < 0:
            raise self.error
        return half_right(index, sample)
