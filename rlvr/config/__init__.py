"""The configuration schema: every value, its default and its meaning, in one place.

Plain dataclasses, checked when they are built; Hydra is only one way of filling them.
Sizes are in tokens, problems or rollouts as each docstring says; times in seconds.

A module for each command (experiment, evaluate, pretrain, distill), one for the commands that look at evaluations (analyses) and
one for those that start no engine (tools); they are made of the sections in the others. Everywhere else all are imported from
here: ``from rlvr.config import TrainConfig``.
"""

from __future__ import annotations

from rlvr.config.analyses import AuditConfig, EntropyConfig, ExportConfig, PerplexityConfig, ReportConfig
from rlvr.config.benchmarks import BenchmarkConfig, as_benchmarks
from rlvr.config.data import (
    FAMILIES,
    FORMATS,
    MAX_OPERATIONS,
    MIN_MODULUS,
    ChainsConfig,
    ColumnsConfig,
    DataConfig,
    GraphsConfig,
    GraphsWorld,
    ProgramsConfig,
    SignsConfig,
    SignsWorld,
    SkillsConfig,
    SkillsWorld,
)
from rlvr.config.distill import DistillConfig
from rlvr.config.evaluate import EvaluateConfig
from rlvr.config.evaluation import ApiConfig, EvaluationConfig, SamplingPlan
from rlvr.config.experiment import ExperimentConfig
from rlvr.config.pools import ClusterConfig, LearnerConfig, RolloutConfig
from rlvr.config.pretrain import MixtureComponent, PretrainConfig, PretrainStage
from rlvr.config.run import MAX_TAG, RunConfig, TrackingConfig
from rlvr.config.tools import CheckpointsConfig, DoctorConfig, InspectDataConfig, PaperConfig, VerifyConfig
from rlvr.config.training import GuardsConfig, TrainConfig

__all__ = [
    "FAMILIES",
    "FORMATS",
    "MAX_OPERATIONS",
    "MAX_TAG",
    "MIN_MODULUS",
    "ApiConfig",
    "AuditConfig",
    "BenchmarkConfig",
    "ChainsConfig",
    "CheckpointsConfig",
    "ClusterConfig",
    "ColumnsConfig",
    "DataConfig",
    "DistillConfig",
    "DoctorConfig",
    "EntropyConfig",
    "EvaluateConfig",
    "EvaluationConfig",
    "ExperimentConfig",
    "ExportConfig",
    "GraphsConfig",
    "GraphsWorld",
    "GuardsConfig",
    "InspectDataConfig",
    "LearnerConfig",
    "MixtureComponent",
    "PaperConfig",
    "PerplexityConfig",
    "PretrainConfig",
    "PretrainStage",
    "ProgramsConfig",
    "ReportConfig",
    "RolloutConfig",
    "RunConfig",
    "SamplingPlan",
    "SignsConfig",
    "SignsWorld",
    "SkillsConfig",
    "SkillsWorld",
    "TrackingConfig",
    "TrainConfig",
    "VerifyConfig",
    "as_benchmarks",
]
