"""What a report is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rlvr.eval.names import checkpoint_of
from rlvr.eval.pass_at_k import default_ks
from rlvr.eval.store import Evaluation
from rlvr.records import Problem
from rlvr.run_folder import MetricRow

TITLE = "What reinforcement learning did to pass@k"


@dataclass(frozen=True, slots=True)
class BenchmarkResults:
    """All models on one benchmark."""

    evaluations: Sequence[Evaluation]
    """The base model first, then the models trained from it and their checkpoints."""
    problems: Sequence[Problem] = ()
    """The benchmark, for the samples to read."""
    out_of_domain: bool = False
    """Whether its problems are of another kind than those trained on."""
    sweep: Sequence[Evaluation] = ()
    """The same models at other temperatures."""
    guesses: Evaluation | None = None
    """The base model asked to answer without reasoning, on the same problems."""

    @property
    def name(self) -> str:
        """The benchmark's name."""
        return self.evaluations[0].spec.benchmark


@dataclass(frozen=True, slots=True)
class Stage:
    """Something that is under way, was interrupted, or has not begun."""

    title: str
    """Such as ``training grpo`` or ``measuring grpo on chains``."""
    done: int
    total: int | None
    """None where nothing says it yet."""
    unit: str
    """``steps`` or ``samples``."""
    where: Path
    command: str
    """How to go on with it."""

    @property
    def progress(self) -> str:
        """How far it has come, in words."""
        if not self.done:
            return "not begun"
        return f"{self.done:,} of {self.total:,} {self.unit}" if self.total else f"{self.done:,} {self.unit}"

    def __str__(self) -> str:
        """One line for a terminal."""
        return f"{self.title}: {self.progress}"


@dataclass(frozen=True, slots=True)
class StudyResults:
    """A study. Whatever is empty leaves its section out of the report."""

    benchmarks: Sequence[BenchmarkResults]
    """The in-domain one first; every one holds the same models in the same order. None while nothing is measured: the
    report then has the training runs alone."""
    metrics: Mapping[str, Sequence[MetricRow]] = field(default_factory=dict)
    """Rows of ``metrics.jsonl`` by training run; keys such as ``reward/mean``."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """seed, date, versions, git_commit, config_sha256, wall_seconds, command, hardware, …"""
    title: str = TITLE
    unfinished: Sequence[Stage] = ()
    """What is still to come, and therefore in none of the numbers."""
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """``config.json`` by training run."""

    def with_provenance(self, more: Mapping[str, Any]) -> StudyResults:
        """The same results; what is known about them comes after ``more``."""
        return replace(self, provenance={**more, **self.provenance})


def final_models(evaluations: Sequence[Evaluation]) -> tuple[Evaluation, ...]:
    """The base, whatever its name, and all models that are not checkpoints."""
    base, *others = evaluations
    return (base, *(each for each in others if checkpoint_of(each.name) is None))


def common_ks(evaluations: Sequence[Evaluation]) -> tuple[int, ...]:
    """The grid of k that all models support, checkpoints and other temperatures included."""
    return default_ks(min(int(each.num_samples.min()) for each in evaluations))


def last_step(rows: Sequence[MetricRow]) -> int | None:
    """The last step that a run recorded; None without any."""
    return max((int(row["step"]) for row in rows if "step" in row), default=None)
