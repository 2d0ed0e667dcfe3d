"""What a report is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlvr.eval.store import Evaluation
from rlvr.records import Problem

MetricRow = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StudyResults:
    """A finished study. Whatever is empty leaves its section out of the report."""

    evaluations: Sequence[Evaluation]
    """The base model first, then the models trained from it."""
    problems: Sequence[Problem] = ()
    """The benchmark, for the samples to read."""
    metrics: Mapping[str, Sequence[MetricRow]] = field(default_factory=dict)
    """Rows of ``metrics.jsonl`` by training run; keys such as ``reward/mean``."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """seed, date, versions, git_commit, config_sha256, wall_seconds, command, hardware, …"""
    title: str = "What reinforcement learning did to pass@k"
