"""Models of all kinds on real engines: what the dry run passes starts, weights arrive under names that vLLM knows, and the
proof agrees.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rlvr.algorithms.grpo import GRPOConfig
from rlvr.cluster import training_pools
from rlvr.config import (
    ChainsConfig,
    ClusterConfig,
    DataConfig,
    ExperimentConfig,
    LearnerConfig,
    RolloutConfig,
)
from rlvr.data.chains import words
from rlvr.data.tiny_tokenizer import build_tokenizer
from rlvr.protocols import Probe
from rlvr.workflows.preflight import prepare_training, refuse_misfits
from tests.architectures import DENSE, VOCABULARY, write_tiny
from tests.tiny import random_batch

UNUSUAL = ("phi", "gemma2", "granite", "gpt_neox", "gpt2")
"""A biased head, capped logits and attention, scaled logits, other names in files, transposed matrices; the others start
with `make test-models`."""
PROVED = {"gpt2": 0.05}
"""Share of the parameters that the proof knows where it is not all: vLLM has GPT-2's matrices transposed."""


@pytest.mark.parametrize(
    "name", [name if name in UNUSUAL else pytest.param(name, marks=pytest.mark.models) for name in DENSE]
)
def test_what_the_dry_run_passes_starts_and_learns(name: str, tmp_path: Path) -> None:
    """Weights are proved before and after an update.

    vLLM runs GPT-NeoX through transformers' own layers, so its fused projections lie as in the files and are all compared.
    """
    folder = write_tiny(name, tmp_path)
    build_tokenizer(words(23)).save_pretrained(folder)
    rollout = RolloutConfig(max_prompt_tokens=40, max_response_tokens=40)
    learner = LearnerConfig(learning_rate=1e-2, threads_per_learner=1)
    config = ExperimentConfig(
        algorithm=GRPOConfig(),
        model=str(folder),
        data=DataConfig(chains=ChainsConfig(num_train=4, num_test=4, operations=[3])),
        rollout=rollout,
        learner=learner,
    )
    prepared = prepare_training(config, ask_hub=False)
    prepared.verifier.close()
    refuse_misfits([("training", prepared.plan)], config.cluster)
    generator = torch.Generator().manual_seed(0)
    probes = [Probe(torch.randint(3, VOCABULARY, (30,), generator=generator).tolist(), 5) for _ in range(3)]
    with training_pools(
        str(folder), rollout, learner, ClusterConfig(), GRPOConfig().build(), 1.0, seed=0
    ) as (_, learners):
        first = learners.publish(0, probes)
        assert learners.update([random_batch()])["policy/grad_norm"] > 0
        known = pytest.approx(PROVED.get(name, 1.0), abs=0.05)
        assert first.proved_share == learners.publish(1, probes).proved_share == known
