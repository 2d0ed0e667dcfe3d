"""Training on images with real engines: what is learned is what was sampled, and what was learned is sampled from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rlvr.algorithms.algorithm import Sampling
from rlvr.algorithms.grpo import GRPOConfig
from rlvr.algorithms.ppo import PPOConfig
from rlvr.algorithms.settings import KLConfig
from rlvr.batch import RolloutBatch, collate
from rlvr.cluster import RolloutPool, training_pools
from rlvr.collect import sample_groups
from rlvr.config import BenchmarkConfig, ClusterConfig, DataConfig, LearnerConfig, RolloutConfig
from rlvr.data.benchmarks import benchmark_problems
from rlvr.data.prompts import PromptRenderer, load_renderer, longest_prompt
from rlvr.driver import probes_from
from rlvr.protocols import SamplingSettings
from rlvr.records import Problem, RolloutGroup
from rlvr.rewards.final_answer import FinalAnswerVerifier
from tests.vision import qwen_model, vision_model, visual_set

ALGORITHM = PPOConfig(group_size=4, kl=KLConfig(coef=0.01, placement="loss", estimator="k3")).build()
"""With a critic and a reference model, which see the images as well."""
SAMPLED = SamplingSettings(temperature=1.0, max_tokens=8, logprobs=True)


@pytest.mark.parametrize(
    "settings",
    [
        LearnerConfig(zero_stage=2),
        LearnerConfig(zero_stage=3, num_learners=2),
        LearnerConfig(zero_stage=2, lora_rank=4, freeze_vision_tower=True),
    ],
    ids=["whole", "sharded", "adapters"],
)
def test_what_is_learned_is_what_was_sampled(tmp_path: Path, settings: LearnerConfig) -> None:
    model = vision_model(tmp_path / "model", steps=0)
    visual_set(tmp_path)
    problems = benchmark_problems(BenchmarkConfig("mathvista"), DataConfig(folder=str(tmp_path)))
    renderer = load_renderer(str(model))
    rollout = RolloutConfig(max_prompt_tokens=longest_prompt(renderer, problems), max_response_tokens=8)
    settings.learning_rate, settings.threads_per_learner = 1e-2, 1
    before = load_file(model / "model.safetensors")
    with training_pools(
        str(model), rollout, settings, ClusterConfig(), ALGORITHM, 1.0, seed=0, max_images=1
    ) as (engine, learner):
        learner.publish(0, [renderer.probe(problem) for problem in problems])
        for version in (1, 2):  # an adapter's first step changes half of it
            groups = sampled(engine, renderer, problems)
            batch = collate(groups, 8)
            annotations = learner.annotate(batch, old_logprobs=True)
            then = annotations.old_logprobs
            assert then is not None
            # The second time the tower has moved, and what it had made of these images must be forgotten.
            assert (then - batch.rollout_logprobs).abs().max() < 1e-4
            metrics = learner.update(
                ALGORITHM.assign_credit(rewarded(batch), annotations, len(batch)).minibatches
            )
            assert metrics["policy/grad_norm"] > 0
            report = learner.publish(version, probes_from(groups, renderer))
            assert report.proved_share == 1
            assert report.probe_mean_abs < 1e-4
            now = learner.annotate(batch, old_logprobs=True).old_logprobs
            assert now is not None
            assert not torch.equal(now, then)
        learner.save(tmp_path / "after")
    after = load_file(tmp_path / "after" / "model.safetensors")
    assert after.keys() == before.keys()
    moved = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    tower = {name for name in after if "vision_model" in name}
    assert bool(moved & tower) != settings.freeze_vision_tower
    assert {name.partition(".layers.")[0] for name in moved - tower} >= {"model.text_model"}
    # The saved folder reads images as the first one did.
    again = load_renderer(str(tmp_path / "after"))
    assert [again.num_tokens(problem) for problem in problems] == [
        renderer.num_tokens(problem) for problem in problems
    ]


def test_qwen_is_learned_as_it_is_sampled(tmp_path: Path) -> None:
    """Beside a CPU torch without torchvision, which the video part of its processor would need."""
    model = qwen_model(tmp_path / "model")
    visual_set(tmp_path)
    problems = benchmark_problems(BenchmarkConfig("mathvista"), DataConfig(folder=str(tmp_path)))
    renderer = load_renderer(str(model))
    rollout = RolloutConfig(max_prompt_tokens=longest_prompt(renderer, problems), max_response_tokens=8)
    settings = LearnerConfig(zero_stage=2, learning_rate=1e-2, threads_per_learner=1)
    algorithm = GRPOConfig(group_size=4).build()
    with training_pools(
        str(model), rollout, settings, ClusterConfig(), algorithm, 1.0, seed=0, max_images=1
    ) as (engine, learner):
        learner.publish(0, [renderer.probe(problem) for problem in problems])
        for version in (1, 2):
            groups = sampled(engine, renderer, problems)
            batch = collate(groups, 8)
            annotations = learner.annotate(batch, old_logprobs=True)
            assert annotations.old_logprobs is not None
            assert (annotations.old_logprobs - batch.rollout_logprobs).abs().max() < 1e-4
            assigned = algorithm.assign_credit(rewarded(batch), annotations, len(batch))
            assert learner.update(assigned.minibatches)["policy/grad_norm"] > 0
            report = learner.publish(version, probes_from(groups, renderer))
            assert report.proved_share == 1
            assert report.probe_mean_abs < 1e-4
        learner.save(tmp_path / "after")
    again = load_renderer(str(tmp_path / "after"))
    assert again.num_tokens(problems[0]) == renderer.num_tokens(problems[0])


def sampled(engine: RolloutPool, renderer: PromptRenderer, problems: Sequence[Problem]) -> list[RolloutGroup]:
    groups, _ = sample_groups(engine, renderer, FinalAnswerVerifier(), problems, Sampling(4), SAMPLED)
    return groups


def rewarded(batch: RolloutBatch) -> RolloutBatch:
    """The same with rewards that teach something, whatever was said."""
    batch.rewards.copy_((torch.arange(len(batch)) % 3 == 0).float())
    return batch
