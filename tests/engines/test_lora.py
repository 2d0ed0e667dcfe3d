"""Adapters through the real engines: trained by DeepSpeed, merged, sent, proved."""

from __future__ import annotations

from rlvr.algorithms.grpo import GRPOConfig
from rlvr.cluster import training_pools
from rlvr.config import ClusterConfig, LearnerConfig, RolloutConfig
from rlvr.protocols import Probe
from tests.tiny import PROMPT, TINY, random_batch


def test_engines_hold_the_merged_weights() -> None:
    batch = random_batch()
    probes = [Probe(row, PROMPT) for row in batch.tokens.tolist()]
    rollout = RolloutConfig(num_workers=1, max_prompt_tokens=80, max_response_tokens=128)
    learner = LearnerConfig(threads_per_learner=1, zero_stage=2, learning_rate=1e-2, lora_rank=4)
    with training_pools(
        str(TINY), rollout, learner, ClusterConfig(), GRPOConfig().build(), temperature=1.0, seed=0
    ) as (engine, learners):
        learners.publish(0, probes)
        [before] = engine.probe(probes)
        for version in (1, 2, 3):  # B starts at zero, so the first steps move little
            learners.update([batch])
            report = learners.publish(version, probes)
            assert report.proved_share == 1
        [after] = engine.probe(probes)
    moved = max(
        abs(a - b)
        for row, other in zip(before, after, strict=True)
        for a, b in zip(row.logprobs, other.logprobs, strict=True)
    )
    assert moved > 0.05
