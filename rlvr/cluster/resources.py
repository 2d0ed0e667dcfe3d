"""What the pools need: settled from the configuration, and checked against what there is."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import ray
import torch

from rlvr.config import ClusterConfig, LearnerConfig, RolloutConfig
from rlvr.errors import ConfigError
from rlvr.rollout.engine_args import check_engine_args

JOIN_TIMEOUT = 120.0
"""Seconds for the nodes of a cluster to join; a command often starts before the last of them."""
SHARED_GPU = 0.5
"""A colocated worker's share of its GPU, as Ray counts; memory is divided by the engines' own settings."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What the two pools need: checked before Ray starts, reserved by placement groups."""

    rollout_bundle: dict[str, float]
    num_rollout_workers: int
    learner_bundle: dict[str, float]
    num_learners: int

    @property
    def num_cpus(self) -> float:
        """CPUs of both pools."""
        return (
            self.rollout_bundle["CPU"] * self.num_rollout_workers
            + self.learner_bundle["CPU"] * self.num_learners
        )

    @property
    def num_gpus(self) -> float:
        """GPUs of both pools."""
        return (
            self.rollout_bundle.get("GPU", 0) * self.num_rollout_workers
            + self.learner_bundle.get("GPU", 0) * self.num_learners
        )


def resolve_rollout(config: RolloutConfig) -> RolloutConfig:
    """Replace every ``auto`` by what this machine offers."""
    device = resolve_device(config.device)
    return replace(config, device=device, dtype=resolve_dtype(config.dtype, device))


def resolve_learner(config: LearnerConfig) -> LearnerConfig:
    """Replace every ``auto`` by what this machine offers."""
    device = resolve_device(config.device)
    return replace(config, device=device, dtype=resolve_dtype(config.dtype, device))


def resolve_transfer(rollout: RolloutConfig, learner: LearnerConfig, cluster: ClusterConfig) -> str:
    """The weight-transfer backend for two resolved pools.

    Raises:
        ConfigError: the backend that is asked for cannot work with this placement.
    """
    on_gpus = rollout.device == learner.device == "cuda"
    chosen = rollout.weight_transfer
    if chosen == "auto":
        return ("ipc" if cluster.colocate else "nccl") if on_gpus else "host"
    if chosen != "host" and (not on_gpus or cluster.colocate != (chosen == "ipc")):
        raise ConfigError(
            f"weight transfer by {chosen} does not fit the placement",
            where="rollout.weight_transfer",
            fix="ipc needs cluster.colocate=true, nccl needs it false, both need cuda in both pools; or auto",
        )
    return chosen


def resolve_device(device: str) -> str:
    """``auto`` is cuda where torch sees one."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


def resolve_dtype(dtype: str, device: str) -> str:
    """``auto`` is bfloat16 on cuda and float32 on cpu."""
    if dtype == "auto":
        return "bfloat16" if device == "cuda" else "float32"
    return dtype


def plan_resources(
    rollout: RolloutConfig, learner: LearnerConfig | None, colocate: bool = False
) -> Resources:
    """Resources of resolved configs.

    A GPU worker takes one CPU beside its GPUs, or as many as it computes with threads; a pair shares a GPU.
    """
    rollout_bundle: dict[str, float] = {"CPU": rollout.threads_per_worker}
    if rollout.device == "cuda":
        rollout_bundle = {"CPU": 1, "GPU": SHARED_GPU if colocate else rollout.tensor_parallel_size}
    learner_bundle: dict[str, float] = {"CPU": 1}
    num_learners = 0
    if learner is not None:
        num_learners = learner.num_learners
        learner_bundle = {"CPU": learner.cpu_threads or 1}
        if learner.device == "cuda":
            learner_bundle["GPU"] = SHARED_GPU if colocate else 1
    return Resources(rollout_bundle, rollout.num_workers, learner_bundle, num_learners)


def check_plan(rollout: RolloutConfig, learner: LearnerConfig | None, cluster: ClusterConfig) -> None:
    """Check the pools against this machine, without starting anything; a cluster is checked on joining.

    Raises:
        ConfigError: the pools do not fit each other, or ask for more GPUs than this machine has.
    """
    workers, learners = check_layout(rollout, learner, cluster)
    if cluster.address is None:
        check_resources(cluster, plan_resources(workers, learners, cluster.colocate))


def check_layout(
    rollout: RolloutConfig, learner: LearnerConfig | None, cluster: ClusterConfig
) -> tuple[RolloutConfig, LearnerConfig | None]:
    """Check the pools against each other, whatever machine they are for; return them resolved.

    Raises:
        ConfigError: the pools do not fit each other, or an engine option is none.
    """
    workers = resolve_rollout(rollout)
    check_engine_args(workers.engine_args, workers.device)
    learners = None if learner is None else resolve_learner(learner)
    if cluster.sleep and workers.device != "cuda":
        raise ConfigError(
            "engines can sleep on cuda only",
            where="cluster.sleep",
            fix="cluster.sleep=false, or rollout.device=cuda",
        )
    if learners is not None:
        resolve_transfer(workers, learners, cluster)
    if learners is not None and cluster.colocate:
        pairs = (workers.num_workers, workers.device) == (learners.num_learners, learners.device)
        if not pairs or workers.tensor_parallel_size > 1:
            raise ConfigError(
                f"{workers.num_workers} rollout workers and {learners.num_learners} learners cannot be paired",
                where="cluster.colocate",
                fix="as many of one as of the other, on the same device, with rollout.tensor_parallel_size=1",
            )
    return workers, learners


def check_resources(cluster: ClusterConfig, needed: Resources) -> None:
    """Refuse more GPUs than there are.

    Raises:
        ConfigError: the pools ask for more GPUs than this machine or cluster has.
    """
    if cluster.address is None:
        available, place = float(torch.cuda.device_count()), "this machine has"
    else:
        available, place = _joined_gpus(needed.num_gpus), "the Ray cluster has"
    if needed.num_gpus > available:
        raise ConfigError(
            f"the pools need {needed.num_gpus:g} GPUs, {place} {available:g}",
            where="rollout.num_workers × rollout.tensor_parallel_size + learner.num_learners"
            if needed.num_learners
            else "evaluation.num_workers or rollout.num_workers, × rollout.tensor_parallel_size",
            fix="fewer workers, cluster.address=… of a larger cluster, or rollout.device=cpu learner.device=cpu; "
            "--dry-run plans for hardware that is not here",
        )


def _joined_gpus(wanted: float) -> float:
    """GPUs of the cluster's nodes, once there are enough or the time to join is over."""
    deadline = time.monotonic() + JOIN_TIMEOUT
    while True:
        found = float(ray.cluster_resources().get("GPU", 0.0))
        if found >= wanted or time.monotonic() > deadline:
            return found
        time.sleep(1.0)
