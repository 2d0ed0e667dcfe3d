"""``rlvr evaluate``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rlvr.config.benchmarks import PLANNED, as_benchmarks
from rlvr.config.checks import require
from rlvr.config.data import DataConfig
from rlvr.config.evaluation import ApiConfig, EvaluationConfig
from rlvr.config.pools import ClusterConfig, RolloutConfig
from rlvr.config.run import MISSING_PATH, RunConfig, TrackingConfig, require_model
from rlvr.rewards.config import RewardsConfig

SHORT = (*PLANNED, "limit")
"""Settings of ``evaluation`` that may be given without its name."""


@dataclass
class EvaluateConfig:
    """``rlvr evaluate``: models on benchmarks."""

    model: str = MISSING_PATH
    """Hugging Face folder, training run folder, or hub name. Short for ``models`` with one."""
    models: Any = None
    """Several, measured one after another: ``[Qwen/Qwen2.5-7B,runs/mine]``, or by the names that they get in tables,
    ``{base: Qwen/Qwen2.5-7B, grpo: runs/mine}``. The base is the one called ``base``, or else the first."""
    name: str | None = None
    """The model's name in tables; null takes the folder's name."""
    regrade: str | None = None
    """Folder of a finished evaluation whose responses are judged anew; nothing is sampled."""
    benchmark: str | None = None
    """Name of a registered benchmark, or a file. Short for ``benchmarks`` with one."""
    benchmarks: Any = None
    """What is measured: names and files, ``[math500,own.jsonl]``, or settings by name, each a
    :class:`BenchmarkConfig`."""
    prompt: str | None = None
    """Prompt template by name (rlvr/data/templates.py), or a YAML file with one of your own; null takes each
    benchmark's own."""
    seed: int = 0
    """Seed of the sampling, and of the bootstrap behind the intervals."""
    num_samples: int | None = None
    """Short for ``evaluation.num_samples``."""
    limit: int | None = None
    """Short for ``evaluation.limit``."""
    max_tokens: int | None = None
    """Short for ``evaluation.max_tokens``."""
    temperature: float | None = None
    """Short for ``evaluation.temperature``."""
    top_p: float | None = None
    """Short for ``evaluation.top_p``."""
    top_k: int | None = None
    """Short for ``evaluation.top_k``."""
    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    api: ApiConfig = field(default_factory=ApiConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    rewards: RewardsConfig = field(default_factory=RewardsConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)

    def __post_init__(self) -> None:
        """Give the short forms to their owners, and check what involves more than one of them."""
        if self.regrade is None and not self.models:
            require_model(self.model)
        require(
            not (self.models and (self.model or self.name)),
            "both one model and several are given",
            "models",
            "models={NAME: FOLDER, …} alone",
        )
        require(
            not (self.benchmark and self.benchmarks),
            "both one benchmark and several are given",
            "benchmarks",
            "benchmarks=[…] alone",
        )
        self.benchmarks = as_benchmarks(self.benchmarks or ([self.benchmark] if self.benchmark else []))
        for name in SHORT:
            if getattr(self, name) is not None:
                setattr(self.evaluation, name, getattr(self, name))
                setattr(self, name, None)
        self.evaluation.__post_init__()
