"""How many engines measure the models of a study: what both pools of the training had."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import psutil
import pytest

from rlvr.config import ClusterConfig, LearnerConfig, RolloutConfig
from rlvr.planning.evaluation_pool import evaluation_pool

NODE = ClusterConfig(num_nodes=1, gpus_per_node=8, gpu_memory_gib=80, cpus_per_node=96, host_memory_gib=1024)
CORES = 4


def engines(
    *,
    cluster: ClusterConfig,
    device: str = "cuda",
    asked: int | None = None,
    rollout: dict[str, Any],
    learner: dict[str, Any] | None,
) -> int:
    """Engines of the evaluation."""
    learners = None if learner is None else LearnerConfig(**{"device": device, **learner})
    found = evaluation_pool(RolloutConfig(device=device, **rollout), learners, cluster, asked)
    assert replace(found, num_workers=1) == RolloutConfig(device=device, **{**rollout, "num_workers": 1})
    return found.num_workers


@pytest.mark.parametrize(
    ("cluster", "rollout", "learner", "expected"),
    [
        (NODE, {"num_workers": 4}, {"num_learners": 4}, 8),
        (NODE, {"num_workers": 2, "tensor_parallel_size": 2}, {"num_learners": 4}, 4),
        (NODE, {"num_workers": 1, "tensor_parallel_size": 4}, {"num_learners": 2}, 1),
        # They share their GPUs, and none is free that was not.
        (replace(NODE, colocate=True), {"num_workers": 8}, {"num_learners": 8}, 8),
        # A learner on the CPU leaves no GPU.
        (NODE, {"num_workers": 4}, {"num_learners": 4, "device": "cpu"}, 4),
        # Of 6 GPUs of a node, an engine of 4 leaves 2 that are none: 16 GPUs, and places for 3 engines.
        (
            replace(NODE, num_nodes=3, gpus_per_node=6),
            {"num_workers": 2, "tensor_parallel_size": 4},
            {"num_learners": 8},
            3,
        ),
        # Nobody knows how the GPUs of a running cluster lie together, which matters to large engines alone.
        (ClusterConfig(address="auto"), {"num_workers": 4}, {"num_learners": 4}, 8),
        (
            ClusterConfig(address="auto"),
            {"num_workers": 2, "tensor_parallel_size": 4},
            {"num_learners": 8},
            2,
        ),
    ],
)
def test_engines_take_the_gpus_of_both_pools(
    cluster: ClusterConfig, rollout: dict[str, Any], learner: dict[str, Any], expected: int
) -> None:
    assert engines(cluster=cluster, rollout=rollout, learner=learner) == expected


@pytest.mark.parametrize(
    ("rollout", "learner", "expected"),
    [
        ({"num_workers": 1}, {"threads_per_learner": 1}, 2),
        ({"num_workers": 1, "threads_per_worker": 2}, {"threads_per_learner": 2}, 2),
        ({"num_workers": 1, "threads_per_worker": 2}, {"threads_per_learner": 1}, 1),
        # Pools that take turns ask for more threads than there are cores, and engines that work together do not.
        ({"num_workers": 3}, {"threads_per_learner": 3}, CORES),
        ({"num_workers": 6}, {"threads_per_learner": 2}, 6),
    ],
)
def test_engines_on_a_cpu_take_the_threads_of_both_pools_but_no_more_than_there_are_cores(
    monkeypatch: pytest.MonkeyPatch, rollout: dict[str, Any], learner: dict[str, Any], expected: int
) -> None:
    monkeypatch.setattr(psutil, "cpu_count", lambda: CORES)
    assert engines(cluster=ClusterConfig(), device="cpu", rollout=rollout, learner=learner) == expected


def test_the_setting_has_the_last_word_and_an_evaluation_alone_has_no_learners() -> None:
    four = {"num_workers": 4}
    assert engines(cluster=NODE, asked=6, rollout=four, learner={"num_learners": 4}) == 6
    assert engines(cluster=NODE, asked=2, rollout=four, learner={"num_learners": 4}) == 2
    assert engines(cluster=NODE, rollout=four, learner=None) == 4
    assert engines(cluster=NODE, asked=8, rollout=four, learner=None) == 8
