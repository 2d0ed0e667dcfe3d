"""A session of Ray, and the places of the pools in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from rlvr.algorithms.registry import PLUGINS
from rlvr.cluster.resources import Resources, check_resources
from rlvr.config import ClusterConfig
from rlvr.errors import ConfigError

PLACEMENT_TIMEOUT = 120.0
"""Seconds to wait for a pool's resources before saying that they are not there."""


@contextmanager
def ray_session(cluster: ClusterConfig, needed: Resources) -> Iterator[None]:
    """Start Ray on this machine, or join a cluster; end it with everything that it started."""
    # Ray's default (15) would let any other process of the machine starve the workers.
    os.environ.setdefault("RAY_worker_niceness", "0")
    for plugin in PLUGINS:
        # Workers, on other machines as well, do not have a user's file: its code travels with what uses it.
        ray.cloudpickle.register_pickle_by_value(plugin)
    ray.init(
        # "local" starts a cluster even where another one, that somebody else uses, is running.
        address=cluster.address or "local",
        # Engines of alternating pools may share cores, so logical CPUs may exceed them.
        num_cpus=None if cluster.address else max(os.cpu_count() or 1, int(needed.num_cpus)),
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        namespace=f"rlvr-{os.getpid()}",
    )
    try:
        if cluster.address is not None:
            check_resources(cluster, needed)
        yield
    finally:
        ray.shutdown()


@contextmanager
def placed(bundle: dict[str, float], count: int, pool: str) -> Iterator[PlacementGroup]:
    """A placement group of ``count`` bundles, as close together as there is room.

    Raises:
        ConfigError: there is no room.
    """
    group = placement_group([bundle] * count, strategy="PACK")
    if not group.wait(PLACEMENT_TIMEOUT):
        raise ConfigError(
            f"Ray could not place the {pool} pool: {count} × {bundle} within {PLACEMENT_TIMEOUT:.0f} s",
            where=f"{pool} pool",
            fix="the cluster is too small or busy: `ray status` shows what is free",
        )
    try:
        yield group
    finally:
        remove_placement_group(group)


@contextmanager
def placed_pools(needed: Resources, colocate: bool) -> Iterator[tuple[PlacementGroup, PlacementGroup]]:
    """A placement group per pool, or one whose every bundle holds a worker and a learner."""
    if colocate:
        pair = {
            name: needed.rollout_bundle[name] + needed.learner_bundle[name] for name in needed.rollout_bundle
        }
        with placed(pair, needed.num_learners, "shared") as group:
            yield group, group
        return
    with (
        placed(needed.rollout_bundle, needed.num_rollout_workers, "rollout") as rollout_group,
        placed(needed.learner_bundle, needed.num_learners, "learner") as learner_group,
    ):
        yield rollout_group, learner_group


def actor_options(
    group: PlacementGroup, index: int, bundle: dict[str, float], device: str, threads: int
) -> dict[str, Any]:
    """Options of one actor: its place, its resources and its environment."""
    environment = {"TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error"}
    if device == "cpu":
        # Idle OpenMP threads of one pool must not spin on the cores that the other pool computes on.
        environment |= {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
    return {
        "num_cpus": bundle["CPU"],
        "num_gpus": bundle.get("GPU", 0),
        "scheduling_strategy": PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=index),
        "runtime_env": {"env_vars": environment},
    }


def start_actor(actor: Any, options: dict[str, Any], *arguments: Any) -> Any:
    """Start an actor; a ray class is untyped where it is used."""
    return ray.remote(actor).options(**options).remote(*arguments)
