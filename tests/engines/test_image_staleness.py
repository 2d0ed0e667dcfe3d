"""Images, trained one step ahead and in flight: every token is that of the version, tower included, that wrote it.

The runs start pools of their own, so they have a file of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from rlvr.ahead import train_ahead
from rlvr.algorithms.grpo import GRPOConfig
from rlvr.batch import Annotations, RolloutBatch
from rlvr.checkpoint import Checkpoints
from rlvr.cluster import LearnerPool, training_pools
from rlvr.config import (
    BenchmarkConfig,
    ClusterConfig,
    DataConfig,
    GuardsConfig,
    LearnerConfig,
    RolloutConfig,
    TrainConfig,
)
from rlvr.data.benchmarks import benchmark_problems
from rlvr.data.prompts import load_renderer, longest_prompt
from rlvr.driver import Stage, Training
from rlvr.guards import Guards
from rlvr.in_flight import train_in_flight
from rlvr.learner.forward import Policy
from rlvr.learner.loading import load_model
from rlvr.learner.vision import ImageInputs
from rlvr.protocols import Probe, SyncReport
from rlvr.records import Problem, Status, Verdict
from tests.fakes import FakeTracker
from tests.vision import vision_model, visual_set

NUM_STEPS, PROMPTS, LENGTH = 5, 4, 48
ROUNDING = 1e-3
"""Nats by which an engine and transformers may differ in float32 (the proof of the weights allows as much)."""


class Lengths:
    """Takes every third length for right: something to be learned by a model that knows nothing."""

    identity = "lengths"
    expects = "anywhere"

    def verify(self, problem: Problem, response: str, finish_reason: str) -> Verdict:
        """By the number of characters."""
        is_right = len(response) % 3 == 0
        return Verdict(float(is_right), Status.CORRECT if is_right else Status.INCORRECT)


@pytest.mark.parametrize("max_staleness", [1, 2])
def test_tokens_are_of_the_weights_and_the_tower_that_wrote_them(tmp_path: Path, max_staleness: int) -> None:
    model = vision_model(tmp_path / "model", steps=0)
    visual_set(tmp_path, repeat=3)
    problems = benchmark_problems(BenchmarkConfig("mathvista"), DataConfig(folder=str(tmp_path)))
    renderer, algorithm = load_renderer(str(model)), GRPOConfig(group_size=4, importance_cap=2.0).build()
    # Places for half a batch: an update finds responses half written.
    rollout = RolloutConfig(
        max_prompt_tokens=longest_prompt(renderer, problems), max_response_tokens=LENGTH, max_num_seqs=8
    )
    settings = LearnerConfig(zero_stage=2, learning_rate=1e-2, threads_per_learner=1)
    config = TrainConfig(num_steps=NUM_STEPS, prompts_per_step=PROMPTS, max_staleness=max_staleness)
    tracker = FakeTracker()
    with training_pools(
        str(model), rollout, settings, ClusterConfig(), algorithm, 1.0, seed=0, max_images=1,
        in_flight=max_staleness > 1,
    ) as (engine, learner):  # fmt: skip
        batches = noted(learner, tmp_path)
        loop: Any = train_ahead if max_staleness == 1 else partial(train_in_flight, engine=engine)
        loop(
            Training(
                config=config, algorithm=algorithm, engine=engine, learner=learner, verifier=Lengths(),
                renderer=renderer, stages=[Stage.of(config, problems, LENGTH)], seed=0, tracker=tracker,
                num_logged_samples=0, guards=Guards(GuardsConfig(), tmp_path / "run"),
            ),
            output=tmp_path / "after",
            checkpoints=Checkpoints(tmp_path / "run"),
        )  # fmt: skip
    rows = [row for _, row in tracker.rows]
    assert len(rows) == len(batches) == NUM_STEPS
    assert all(row["sync/proved_share"] == 1 and row["policy/grad_norm"] > 0 for row in rows)
    assert max(row["rollout/staleness"] for row in rows) > 0
    if max_staleness > 1:
        assert any(row["rollout/updated_share"] > 0 for row in rows)

    assert all(batch.images is not None for batch in batches)
    written = [set(batch.policy_version[batch.response_mask > 0].tolist()) for batch in batches]
    own, other_tower = [], []
    for version in sorted(set.union(*written)):
        holding = [batch for batch, versions in zip(batches, written, strict=True) if version in versions]
        own += farthest(tmp_path / str(version), holding, version)
        if version:
            mixed = with_tower_of(tmp_path, version, version - 1)
            other_tower += farthest(mixed, holding, version)
    assert max(own) < ROUNDING
    assert min(other_tower) > 2 * ROUNDING  # so what an older tower had made of an image would be noticed


def noted(learner: LearnerPool, folder: Path) -> list[RolloutBatch]:
    """The batches that are going to be trained on; every version that is published is saved by its number."""
    batches: list[RolloutBatch] = []
    annotate, publish = learner.annotate, learner.publish

    def annotating(batch: RolloutBatch, *, old_logprobs: bool) -> Annotations:
        batches.append(batch)
        return annotate(batch, old_logprobs=old_logprobs)

    def publishing(version: int, probes: Sequence[Probe]) -> SyncReport:
        report = publish(version, probes)
        learner.save(folder / str(version))
        return report

    learner.annotate, learner.publish = annotating, publishing
    return batches


def farthest(folder: Path, batches: Sequence[RolloutBatch], version: int) -> list[float]:
    """Of each batch, how far the log-probabilities of the tokens of a version are from those of a model."""
    model = load_model(str(folder), torch.float32)
    policy, images = Policy(model), ImageInputs(str(folder), model, torch.device("cpu"))
    found = []
    for batch in batches:
        with torch.no_grad():
            logprobs, _ = policy(
                batch.tokens, batch.prompt_lengths, batch.response_mask, 1.0, images.inputs(batch.images)
            )
        its: Tensor = (batch.response_mask > 0) & (batch.policy_version == version)
        found.append(float((logprobs - batch.rollout_logprobs).abs()[its].max()))
    return found


def with_tower_of(folder: Path, version: int, older: int) -> Path:
    """A model of one version that sees by the tower of another."""
    mixed = folder / f"{version} with the tower of {older}"
    mixed.mkdir()
    for path in (folder / str(version)).iterdir():
        (mixed / path.name).write_bytes(path.read_bytes())
    weights, before = (load_file(folder / str(each) / "model.safetensors") for each in (version, older))
    tower = {name: tensor for name, tensor in before.items() if "vision_model" in name}
    assert tower
    save_file(weights | tower, mixed / "model.safetensors", metadata={"format": "pt"})
    return mixed
