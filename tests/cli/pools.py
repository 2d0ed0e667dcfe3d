"""Pools that start no engine, and settings that are small, for tests of whole commands."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from rlvr.data.chains import generate, make_splits
from rlvr.data.prompts import load_renderer
from rlvr.errors import RlvrError
from rlvr.eval.report import Report, StudyResults
from rlvr.eval.report.analysis import analyse
from rlvr.workflows import evaluate, regrade, sources
from rlvr.workflows import train as train_workflow
from tests.fakes import FakeEngine, FakeLearner

SMALL = (
    *(
        "data.chains.num_train=8",
        "data.chains.num_test=6",
        "data.chains.operations=[3]",
        "data.chains.seed=1",
    ),
    "evaluation.num_samples=4",
    "evaluation.chunk_size=2",
    *("rollout.max_prompt_tokens=80", "rollout.max_response_tokens=128", "evaluation.max_tokens=128"),
)
TRAIN = ("train.num_steps=2", "train.prompts_per_step=2", "algorithm.group_size=4")


def without_files(folder: Path, study: StudyResults, *, seed: int) -> Report:
    """Stands in for ``write_report``: the statistics alone."""
    analyses = analyse(study, seed=seed, num_resamples=20)
    return Report(folder / "report.html", tuple(each.comparison for each in analyses))


class Pools:
    """Stands in for both pools; answers every second sample right."""

    def __init__(self, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        renderer = load_renderer(str(model))
        train, test = make_splits(8, 6, [3], 1)
        longer = generate(4, [5], 1, "test")
        self.truths = {tuple(renderer.render(p)): int(p.ground_truth) for p in [*train, *test, *longer]}
        self.model = model
        self.trained: list[str] = []
        self.evaluated: list[tuple[str, int]] = []
        """Models that were sampled from, and the seeds of the engines."""
        self.started = 0
        """Pools for evaluation."""
        self.engines: list[int] = []
        """In each of them."""
        self.load_error: RlvrError | None = None
        """What a pool fails with when it is to read another model's weights."""
        self.die_after: int | None = None
        """Answered requests of a call after which its engine dies."""
        self.samples_left: int | None = None
        """Samples after which everything dies."""
        self.die_in_training: int | None = None
        """Number of the training run, from 1, that dies in its first step."""
        monkeypatch.setattr(train_workflow, "training_pools", self.training_pools)
        monkeypatch.setattr(sources, "rollout_pool", self.rollout_pool)
        # The report has tests of its own, and those of `rlvr study` write a real one.
        monkeypatch.setattr(evaluate, "write_report", without_files)
        monkeypatch.setattr(regrade, "write_report", without_files)

    def engine(self) -> FakeEngine:
        def respond(truth: int, sample: int) -> str:
            if self.samples_left is not None:
                self.samples_left -= 1
                if self.samples_left < 0:
                    raise KeyboardInterrupt
            return f"# {truth if sample % 2 else truth + 1}"

        return FakeEngine(
            respond,
            index=lambda prompt: self.truths[tuple(prompt)],
            die_after=self.die_after,
        )

    @contextmanager
    def training_pools(
        self, model: str, *_: Any, max_images: int, in_flight: bool
    ) -> Iterator[tuple[FakeEngine, FakeLearner]]:
        self.trained.append(model)
        engine, source = self.engine(), self.model
        if len(self.trained) == self.die_in_training:
            engine.die_after = 1

        class Learner(FakeLearner):
            def save(self, folder: Path) -> None:
                shutil.copytree(source, folder)
                weights = load_file(folder / "model.safetensors")
                weights["model.norm.weight"] += 1
                save_file(weights, folder / "model.safetensors")

        yield engine, Learner(engine)

    @contextmanager
    def rollout_pool(
        self, model: str, rollout: Any, cluster: Any, seed: int, *, max_images: int = 0
    ) -> Iterator[FakeEngine]:
        self.evaluated.append((model, seed))
        self.started += 1
        self.engines.append(rollout.num_workers)
        engine = self.engine()

        def load(other: str) -> None:
            if self.load_error is not None:
                raise self.load_error
            self.evaluated.append((other, seed))

        engine.load = load  # type: ignore[attr-defined]
        yield engine
