"""What is made of evaluations that are there: reports, logs for other tools, audits, perplexity and entropy."""

from __future__ import annotations

from dataclasses import dataclass, field

from rlvr.config.checks import require, require_positive
from rlvr.config.pools import ClusterConfig, RolloutConfig

HOTTEST = 10.0
"""Temperatures are below it."""


@dataclass
class AnalysisConfig:
    """What all of these are about."""

    folders: list[str] = field(default_factory=list)
    """Of studies, evaluations or multiruns; they are searched to any depth."""
    benchmarks: list[str] = field(default_factory=list)
    """Names of those to take; none takes all."""

    def __post_init__(self) -> None:
        """Check that there is something to look at."""
        require(bool(self.folders), "no folder is named", "folders", "folders of runs, such as runs/tiny")


@dataclass
class ReportConfig(AnalysisConfig):
    """``rlvr report``: the evaluations of any number of runs as one page."""

    output: str = "runs/report"
    """Folder of the report: report.html, summary.json, figures/."""
    guess: list[str] = field(default_factory=list)
    """Folders of evaluations of the base model with ``prompt=direct``, answers without reasoning: what it hits in under 5 % of
    the samples is left out in a second set of curves."""
    sweep: list[str] = field(default_factory=list)
    """Folders of evaluations of the same models at other temperatures."""

    def __post_init__(self) -> None:
        """Check the folders."""
        super().__post_init__()
        require_output(self.output, "runs/report")


@dataclass
class ExportConfig(AnalysisConfig):
    """``rlvr export``: the samples of evaluations in the log formats of other tools."""

    format: str = ""
    """``inspect``: a log for each model and benchmark, an epoch for each sample; ``lm_eval``: results_DATE.json and
    samples_TASK_DATE.jsonl for each model, with accuracy (exact_match) and pass@k of every problem."""
    output: str = "runs/export"
    """Folder of the logs."""

    def __post_init__(self) -> None:
        """Check that a format is named; which there are, the writers know (rlvr/eval/export.py)."""
        super().__post_init__()
        require(bool(self.format), "no format is named", "format", "format=inspect or format=lm_eval")
        require_output(self.output, "runs/export")


@dataclass
class AuditConfig(AnalysisConfig):
    """``rlvr audit``: is the reasoning behind right answers valid?"""

    write: str | None = None
    """File to write for people to read, with every right answer to a model's hardest problems; nothing is judged."""
    read: str | None = None
    """The same file with what they say; null judges generated problems by their solution graphs."""

    def __post_init__(self) -> None:
        """Check that it is one or the other."""
        super().__post_init__()
        require(
            self.write is None or self.read is None,
            "write and read exclude each other",
            "write, read",
            "write=FILE, let people fill it in, read=FILE",
        )


@dataclass
class PerplexityConfig(AnalysisConfig):
    """``rlvr perplexity``: how likely each model finds what it and the others wrote."""

    responses: int = 32
    """Per problem, the first ones by sample index (arXiv 2504.13837, Figure 6)."""
    reference: str | None = None
    """JSONL file with ``problem`` (an id) and ``response`` in each row; generated problems bring their own solutions."""
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)

    def __post_init__(self) -> None:
        """Check the numbers."""
        super().__post_init__()
        require_positive(self, "", "responses")


@dataclass
class EntropyConfig(AnalysisConfig):
    """``rlvr entropy``: entropy per token as sampled, and the temperature that matches the base's."""

    responses: int = 4
    """New ones per problem: tokens are many, so few responses give a narrow interval."""
    match: list[float] = field(default_factory=list)
    """Temperatures at which all models but the base are measured too, to find the one at which a model's entropy is that
    of the base."""
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)

    def __post_init__(self) -> None:
        """Check the numbers."""
        super().__post_init__()
        require_positive(self, "", "responses")
        for temperature in self.match:
            require(
                0 < temperature < HOTTEST,
                f"match is '{temperature:g}'",
                "match",
                "temperatures, such as match=0.8,1.0,1.2",
            )


def require_output(output: str, default: str) -> None:
    """Refuse an empty name of a folder."""
    require(bool(output), "output is empty", "output", f"a folder, such as {default}")
