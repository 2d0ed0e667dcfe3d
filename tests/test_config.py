"""Every impossible setting is refused with its key and a way out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any

import pytest

from rlvr import config
from rlvr.algorithms.grpo import GRPOConfig
from rlvr.config import (
    BenchmarkConfig,
    ChainsConfig,
    DataConfig,
    EvaluateConfig,
    EvaluationConfig,
    ExperimentConfig,
    GuardsConfig,
    LearnerConfig,
    PretrainConfig,
    PretrainStage,
    ProgramsConfig,
    RolloutConfig,
    SamplingPlan,
    TrackingConfig,
    TrainConfig,
)
from rlvr.data import chains
from rlvr.data.families import FAMILIES
from rlvr.errors import ConfigError


def experiment(**train: Any) -> ExperimentConfig:
    return ExperimentConfig(GRPOConfig(group_size=8), model="m", train=TrainConfig(**train))


BAD: list[tuple[Callable[..., object], str, str, Any]] = [
    (ChainsConfig, "data.chains.", "num_train", 0),
    (ChainsConfig, "data.chains.", "num_test", -1),
    (ProgramsConfig, "data.programs.", "num_train", 0),
    (DataConfig, "data.", "family", "sums"),
    (PretrainConfig, "", "family", "sums"),
    (GuardsConfig, "guards.", "max_bad_steps", 0),
    (GuardsConfig, "guards.", "on_jump", "shout"),
    (TrainConfig, "train.", "num_steps", 0),
    (TrainConfig, "train.", "prompts_per_step", 0),
    (TrainConfig, "train.", "temperature", 0.0),
    (TrainConfig, "train.", "temperature", -1.0),
    (TrainConfig, "train.", "checkpoint_every", -1),
    (TrainConfig, "train.", "keep_model_every", -1),
    (TrainConfig, "train.", "keep_checkpoints", 0),
    (TrainConfig, "train.", "max_error_share", 1.5),
    (TrainConfig, "train.", "num_epochs", 0),
    (TrainConfig, "train.", "top_p", 0.9),
    (TrainConfig, "train.", "top_k", 20),
    (TrainConfig, "train.", "min_p", 0.05),
    (partial(BenchmarkConfig, "own"), "benchmarks.own.", "num_problems", 0),
    (RolloutConfig, "rollout.", "num_workers", 0),
    (EvaluationConfig, "evaluation.", "num_workers", 0),
    (RolloutConfig, "rollout.", "tensor_parallel_size", 0),
    (RolloutConfig, "rollout.", "threads_per_worker", 0),
    (RolloutConfig, "rollout.", "max_prompt_tokens", 0),
    (RolloutConfig, "rollout.", "max_response_tokens", 0),
    (RolloutConfig, "rollout.", "max_num_seqs", 0),
    (RolloutConfig, "rollout.", "device", "gpu"),
    (RolloutConfig, "rollout.", "dtype", "float16"),
    (RolloutConfig, "rollout.", "weight_transfer", "disk"),
    (RolloutConfig, "rollout.", "gpu_memory_utilization", 1.5),
    (RolloutConfig, "rollout.", "kv_cache_gib", 0.0),
    (RolloutConfig, "rollout.", "probe_tolerance", 0.0),
    (LearnerConfig, "learner.", "num_learners", 0),
    (LearnerConfig, "learner.", "threads_per_learner", 0),
    (LearnerConfig, "learner.", "max_grad_norm", 0.0),
    (LearnerConfig, "learner.", "micro_batch_tokens", 0),
    (LearnerConfig, "learner.", "device", "tpu"),
    (LearnerConfig, "learner.", "dtype", "fp32"),
    (LearnerConfig, "learner.", "zero_stage", 4),
    (LearnerConfig, "learner.", "zero_stage", -1),
    (partial(LearnerConfig, zero_stage=1), "learner.", "accumulate_in_float32", True),
    (LearnerConfig, "learner.", "learning_rate", -1e-6),
    (LearnerConfig, "learner.", "warmup_steps", -1),
    (EvaluationConfig, "evaluation.", "num_samples", 0),
    (EvaluationConfig, "evaluation.", "max_tokens", 0),
    (EvaluationConfig, "evaluation.", "chunk_size", 0),
    (EvaluationConfig, "evaluation.", "temperature", -0.1),
    (EvaluationConfig, "evaluation.", "top_p", 0.0),
    (EvaluationConfig, "evaluation.", "top_p", 1.1),
    (TrackingConfig, "tracking.", "wandb", "on"),
    (TrackingConfig, "tracking.", "num_logged_samples", -1),
    (PretrainStage, "stages.", "noise", 1.0),
    (PretrainStage, "stages.", "noise", -0.1),
    (PretrainStage, "stages.", "num_tokens", 0),
    (PretrainConfig, "", "stages", []),
    (PretrainConfig, "", "batch_tokens", 0),
    (PretrainConfig, "", "report_every", 0),
    (PretrainConfig, "", "num_heads", 3),  # does not divide the hidden size
    (PretrainStage, "stages.", "operations", []),
    (PretrainStage, "stages.", "operations", [26]),
    (PretrainStage, "stages.", "operations", [0, 3]),
    (PretrainConfig, "", "modulus", 24),
    (PretrainConfig, "", "modulus", 25),
    (PretrainConfig, "", "modulus", 19),
]


@pytest.mark.parametrize(("build", "section", "key", "value"), BAD)
def test_a_bad_value_is_refused_by_its_key(build: Callable, section: str, key: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        build(**{key: value})
    assert caught.value.where == section + key
    assert caught.value.fix


def test_the_limits_of_the_generated_families_are_the_generators() -> None:
    assert (chains.MIN_MODULUS, len(chains.NAMES) - 1) == (config.MIN_MODULUS, config.MAX_OPERATIONS)
    assert tuple(FAMILIES) == config.FAMILIES
    PretrainConfig(stages=[PretrainStage(operations=[1, 25])], modulus=29)


@pytest.mark.parametrize(
    ("minibatch", "words"),
    [
        (12, "not divisible by the group size 8"),
        (0, "group size"),
        (-8, "group size"),
        (24, "not divisible into"),
    ],
)
def test_a_minibatch_must_hold_whole_groups_and_divide_the_step(minibatch: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        experiment(prompts_per_step=8, minibatch_size=minibatch)
    assert caught.value.where == "train.minibatch_size"
    assert caught.value.fix


@pytest.mark.parametrize("minibatch", [None, 8, 16, 64])
def test_a_minibatch_that_fits_is_accepted(minibatch: int | None) -> None:
    assert experiment(prompts_per_step=8, minibatch_size=minibatch).train.minibatch_size == minibatch


@pytest.mark.parametrize("build", [lambda: ExperimentConfig(GRPOConfig()), EvaluateConfig])
def test_a_model_is_needed(build: Callable) -> None:
    with pytest.raises(ConfigError, match="no model") as caught:
        build()
    assert caught.value.where == "model"
    assert "recipe=tiny" in str(caught.value.fix)


def test_num_samples_has_one_owner() -> None:
    short = EvaluateConfig(model="m", num_samples=64)
    assert short.evaluation.num_samples == 64
    assert short.num_samples is None
    assert EvaluateConfig(model="m").evaluation.num_samples is None
    with pytest.raises(ConfigError, match="num_samples"):
        EvaluateConfig(model="m", num_samples=0)


@pytest.mark.parametrize(
    ("name", "value", "wrong"),
    [
        ("num_samples", 64, 0),
        ("limit", 5, 0),
        ("max_tokens", 100, 0),
        ("temperature", 0.5, -1.0),
        ("top_p", 0.9, 0.0),
        ("top_k", 20, 0),
    ],
)
def test_what_a_measurement_draws_may_be_said_in_short(name: str, value: Any, wrong: Any) -> None:
    given: dict[str, Any] = {name: value}
    short = EvaluateConfig(model="m", **given)
    assert getattr(short.evaluation, name) == value
    assert getattr(short, name) is None
    with pytest.raises(ConfigError, match=f"where: evaluation.{name}"):
        EvaluateConfig(model="m", **(given | {name: wrong}))


def test_the_studys_settings_are_the_defaults() -> None:
    evaluation = EvaluationConfig().plan(SamplingPlan())
    assert evaluation.num_samples == 128
    assert (evaluation.temperature, evaluation.top_p, evaluation.max_tokens) == (0.6, 0.95, 16_384)
    assert LearnerConfig().learning_rate == 1e-6
    assert TrainConfig().temperature == 1.0
    assert TrainConfig().minibatch_size is None  # strictly on-policy
    assert GRPOConfig().group_size == 8


def test_defaults_are_not_shared_between_configs() -> None:
    first, second = EvaluateConfig(model="a"), EvaluateConfig(model="b")
    first.data.chains.operations.append(99)
    first.evaluation.num_samples = 1
    assert second.data.chains.operations == [4, 5, 6, 7, 8]
    assert second.evaluation.num_samples is None


def test_group_size_lives_on_the_algorithm_alone() -> None:
    schemas = [kind for kind in vars(config).values() if isinstance(kind, type) and is_dataclass(kind)]
    names = {spec.name for kind in schemas for spec in fields(kind)}
    assert len(names) > 50
    assert "group_size" not in names
