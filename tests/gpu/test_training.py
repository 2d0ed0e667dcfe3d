"""What CUDA alone can show: vLLM's transfers between real GPUs, its sleep mode, and the learner's state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rlvr.algorithms.grpo import GRPOConfig
from rlvr.cluster import LearnerPool, RolloutPool, rollout_pool, training_pools
from rlvr.config import ClusterConfig, LearnerConfig, RolloutConfig
from rlvr.errors import WeightUpdateError
from rlvr.protocols import Probe, SampleRequest, SamplingSettings
from tests.tiny import PROMPT, TINY, leave_one_tensor_stale, random_batch

NUM_GPUS = torch.cuda.device_count()
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.engines,
    pytest.mark.skipif(NUM_GPUS == 0, reason="torch sees no CUDA device"),
]
two_gpus = pytest.mark.skipif(NUM_GPUS < 2, reason=f"needs two GPUs, torch sees {NUM_GPUS}")

PROBES = [Probe(row, PROMPT) for row in random_batch().tokens.tolist()]
REQUESTS = [SampleRequest(key, probe.tokens[:PROMPT], 4) for key, probe in enumerate(PROBES)]
SAMPLED = SamplingSettings(temperature=1.0, max_tokens=64, top_p=0.9)


@contextmanager
def pools(dtype: str, *, colocate: bool, zero_stage: int = 2) -> Iterator[tuple[RolloutPool, LearnerPool]]:
    """One engine and one learner on the tiny model, on one GPU in turns or on two."""
    rollout = RolloutConfig(
        device="cuda", dtype=dtype, max_prompt_tokens=80, max_response_tokens=128, gpu_memory_utilization=0.3
    )
    learner = LearnerConfig(device="cuda", dtype=dtype, zero_stage=zero_stage, learning_rate=1e-4)
    cluster = ClusterConfig(colocate=colocate, sleep=colocate)
    with training_pools(
        str(TINY), rollout, learner, cluster, GRPOConfig().build(), temperature=1.0, seed=0
    ) as both:
        yield both


def check_updates(engine: RolloutPool, learner: LearnerPool, largest_mean: float) -> None:
    """Honest updates are proved, and one stale tensor is found."""
    for version in range(3):
        report = learner.publish(version, PROBES)
        assert report.proved_share == 1
        assert report.probe_mean_abs < largest_mean
        assert len(list(engine.generate(REQUESTS, SAMPLED))) == len(REQUESTS)
        learner.update([random_batch()])
    leave_one_tensor_stale(learner, "model.layers.1.mlp.down_proj.weight")
    learner.update([random_batch()])
    with pytest.raises(WeightUpdateError, match=r"1 of .* tensors differ"):
        learner.publish(3, PROBES)


@pytest.mark.parametrize(("dtype", "largest_mean"), [("bfloat16", 0.1), ("float32", 1e-3)])
def test_ipc_on_a_gpu_that_engine_and_learner_use_in_turns(dtype: str, largest_mean: float) -> None:
    with pools(dtype, colocate=True) as (engine, learner):
        check_updates(engine, learner, largest_mean)


@two_gpus
@pytest.mark.parametrize("zero_stage", [2, 3])
def test_nccl_between_two_gpus(zero_stage: int) -> None:
    with pools("bfloat16", colocate=False, zero_stage=zero_stage) as (engine, learner):
        check_updates(engine, learner, 0.1)


def test_a_saved_run_goes_on_where_it_was(tmp_path: Path) -> None:
    """The same update from the saved state gives the same weights, bit by bit."""
    state = tmp_path / "state"
    state.mkdir()
    with pools("bfloat16", colocate=True) as (_, learner):
        learner.publish(0, PROBES)
        learner.update([random_batch()])
        learner.save_state(state)
        learner.update([random_batch()])
        learner.save(tmp_path / "once")
    with pools("bfloat16", colocate=True) as (_, learner):
        learner.load_state(state)
        assert learner.publish(1, PROBES).proved_share == 1
        learner.update([random_batch()])
        learner.save(tmp_path / "again")
    once, again = (load_file(tmp_path / name / "model.safetensors") for name in ("once", "again"))
    assert once.keys() == again.keys()
    assert all(torch.equal(once[name], again[name]) for name in once)


@pytest.mark.parametrize("gpus", [1, pytest.param(2, marks=two_gpus)])
def test_evaluation_with_top_p_needs_no_compiler(gpus: int) -> None:
    rollout = RolloutConfig(
        device="cuda", tensor_parallel_size=gpus, max_prompt_tokens=80, max_response_tokens=128
    )
    with rollout_pool(str(TINY), rollout, ClusterConfig(), 0) as engine:
        assert len(list(engine.generate(REQUESTS, SAMPLED))) == len(REQUESTS)
