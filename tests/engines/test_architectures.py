"""Models of several kinds on real engines: the weights arrive under names that vLLM knows, and the proof agrees."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rlvr.algorithms.grpo import GRPOConfig
from rlvr.cluster import training_pools
from rlvr.config import ClusterConfig, LearnerConfig, RolloutConfig
from rlvr.data.chains import words
from rlvr.data.tiny_tokenizer import build_tokenizer
from rlvr.protocols import Probe
from tests.architectures import VOCABULARY, write_tiny
from tests.tiny import random_batch


@pytest.mark.parametrize(
    ("name", "known"), [("phi", 1.0), ("gemma2", 1.0), ("granite", 1.0), ("gpt_neox", 1.0)]
)
def test_engine_and_learner_agree_on(name: str, known: float, tmp_path: Path) -> None:
    """A biased head, capped logits and attention, scaled logits, other names in files; before and after an update.

    vLLM runs GPT-NeoX through transformers' own layers, so its fused projections lie as in the files and are all compared.
    """
    folder = write_tiny(name, tmp_path)
    build_tokenizer(words(23)).save_pretrained(folder)
    rollout = RolloutConfig(max_prompt_tokens=40, max_response_tokens=40)
    learner = LearnerConfig(learning_rate=1e-2, threads_per_learner=1)
    generator = torch.Generator().manual_seed(0)
    probes = [Probe(torch.randint(3, VOCABULARY, (30,), generator=generator).tolist(), 5) for _ in range(3)]
    with training_pools(
        str(folder), rollout, learner, ClusterConfig(), GRPOConfig().build(), 1.0, seed=0
    ) as (_, learners):
        first = learners.publish(0, probes)
        assert learners.update([random_batch()])["policy/grad_norm"] > 0
        assert (
            first.proved_share == learners.publish(1, probes).proved_share == pytest.approx(known, abs=0.05)
        )
