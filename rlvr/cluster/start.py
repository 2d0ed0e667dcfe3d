"""Start the pools side by side, and end them together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray.util.placement_group import PlacementGroup

from rlvr.algorithms.algorithm import Algorithm
from rlvr.cluster.actors import EngineActor, LearnerActor
from rlvr.cluster.calls import wait_all
from rlvr.cluster.pools import LearnerPool, RolloutPool
from rlvr.cluster.resources import plan_resources, resolve_learner, resolve_rollout, resolve_transfer
from rlvr.cluster.session import actor_options, placed, placed_pools, ray_session, start_actor
from rlvr.config import ClusterConfig, LearnerConfig, RolloutConfig
from rlvr.learner.deepspeed_learner import LearnerOptions
from rlvr.rollout.proof import TOLERANCE
from rlvr.rollout.vllm_engine import EngineOptions


@contextmanager
def rollout_pool(
    model: str, rollout: RolloutConfig, cluster: ClusterConfig, seed: int
) -> Iterator[RolloutPool]:
    """A rollout pool alone, for evaluation."""
    rollout = replace(resolve_rollout(rollout), weight_transfer="host")  # nothing will be transferred
    needed = plan_resources(rollout, None)
    with (
        ray_session(cluster, needed),
        placed(needed.rollout_bundle, rollout.num_workers, "rollout") as group,
    ):
        engines = start_engines(model, rollout, group, needed.rollout_bundle, seed)
        wait_all([actor.ready.remote() for actor in engines], "rollout worker")
        yield RolloutPool(engines)


@contextmanager
def training_pools(
    model: str,
    rollout: RolloutConfig,
    learner: LearnerConfig,
    cluster: ClusterConfig,
    algorithm: Algorithm,
    temperature: float,
    seed: int,
) -> Iterator[tuple[RolloutPool, LearnerPool]]:
    """Both pools, connected and started side by side; ended together."""
    rollout, learner = resolve_rollout(rollout), resolve_learner(learner)
    backend = resolve_transfer(rollout, learner, cluster)
    rollout = replace(rollout, weight_transfer=backend)
    needed = plan_resources(rollout, learner, cluster.colocate)
    with (
        ray_session(cluster, needed),
        placed_pools(needed, cluster.colocate) as (rollout_group, learner_group),
    ):
        # Both pools load side by side; the wait for the engines comes last.
        engines = start_engines(model, rollout, rollout_group, needed.rollout_bundle, seed)
        learners = start_learners(
            model, learner, learner_group, needed.learner_bundle, algorithm, temperature, seed
        )
        wait_all([actor.ready.remote() for actor in engines], "rollout worker")
        engine_pool = RolloutPool(engines)
        learner_pool = LearnerPool(
            learners,
            engine_pool,
            backend=backend,
            num_engine_ranks=rollout.num_workers * rollout.tensor_parallel_size,
            tolerance=TOLERANCE[rollout.dtype]
            if rollout.probe_tolerance is None
            else rollout.probe_tolerance,
            algorithm=algorithm,
        )
        yield engine_pool, learner_pool


def start_engines(
    model: str, rollout: RolloutConfig, group: PlacementGroup, bundle: dict[str, float], seed: int
) -> list[Any]:
    """Start a process per rollout worker; they load while the caller goes on."""
    actors = []
    for index in range(rollout.num_workers):
        options = EngineOptions(
            model=_absolute(model),
            device=rollout.device,
            dtype=rollout.dtype,
            max_model_len=rollout.max_prompt_tokens + rollout.max_response_tokens,
            max_num_seqs=rollout.max_num_seqs,
            tensor_parallel_size=rollout.tensor_parallel_size,
            threads=rollout.threads_per_worker,
            kv_cache_gib=rollout.kv_cache_gib,
            gpu_memory_utilization=rollout.gpu_memory_utilization,
            enforce_eager=rollout.enforce_eager,
            weight_transfer=rollout.weight_transfer,
            # Workers must not draw the same samples.
            seed=seed * 1009 + index,
        )
        placed = actor_options(group, index, bundle, rollout.device, rollout.threads_per_worker)
        actors.append(start_actor(EngineActor, placed, options))
    return actors


def start_learners(
    model: str,
    learner: LearnerConfig,
    group: PlacementGroup,
    bundle: dict[str, float],
    algorithm: Algorithm,
    temperature: float,
    seed: int,
) -> list[Any]:
    """Start a process per rank and load the models in all of them."""
    actors = [
        start_actor(
            LearnerActor, actor_options(group, rank, bundle, learner.device, learner.threads_per_learner)
        )
        for rank in range(learner.num_learners)
    ]
    [(address, port)] = wait_all([actors[0].rendezvous.remote()], "learner")
    wait_all(
        [
            actor.start.remote(
                LearnerOptions(
                    model=_absolute(model),
                    device=learner.device,
                    dtype=learner.dtype,
                    rank=rank,
                    num_ranks=learner.num_learners,
                    master_address=address,
                    master_port=port,
                    seed=seed,
                    temperature=temperature,
                    settings=learner,
                ),
                algorithm,
            )
            for rank, actor in enumerate(actors)
        ],
        "learner",
    )
    return actors


def _absolute(model: str) -> str:
    """A local folder by its absolute path, for workers that stand elsewhere; a hub name as it is."""
    return str(Path(model).resolve()) if Path(model).exists() else model
