"""A session of Ray, and the places of the pools in it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil
import ray
from ray.util.placement_group import PlacementGroup, placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from rlvr.algorithms.registry import PLUGINS
from rlvr.cluster.actors import HEALTH, INBOX
from rlvr.cluster.calls import first_line
from rlvr.cluster.resources import Resources, check_resources
from rlvr.config import ClusterConfig
from rlvr.errors import ConfigError, WorkerError
from rlvr.openmp import ASLEEP
from rlvr.tracking.progress import say

START_ATTEMPTS = 3
"""Starts of Ray before giving up."""
PLACEMENT_TIMEOUT = 120.0
"""Seconds to wait for a pool's resources before saying that they are not there."""


@contextmanager
def ray_session(cluster: ClusterConfig, needed: Resources) -> Iterator[None]:
    """Start Ray on this machine, or join a cluster; end it with everything that it started."""
    # Ray's default (15) would let any other process of the machine starve the workers.
    os.environ.setdefault("RAY_worker_niceness", "0")
    # Ours is the guard of memory, with a message (cluster.max_memory_share); Ray's kills a worker, and comes later.
    os.environ.setdefault("RAY_memory_usage_threshold", "0.98")
    # The history of every call, which only Ray's dashboard reads, would grow for as long as the run.
    os.environ.setdefault("RAY_task_events_report_interval_ms", "0")
    for plugin in PLUGINS:
        # Workers, on other machines as well, do not have a user's file: its code travels with what uses it.
        ray.cloudpickle.register_pickle_by_value(plugin)
    if cluster.address is not None and os.environ.get("RAY_AUTH_MODE") != "token":
        say(
            f"warning: joining {cluster.address} without token authentication; whoever reaches its ports can run "
            "code on it. RAY_AUTH_MODE=token, on all its machines and here, closes them"
        )
    start_ray(
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


def start_ray(**options: Any) -> None:
    """``ray.init``, again if a busy machine takes longer than Ray's own 30 seconds.

    Raises:
        WorkerError: Ray did not start.
    """
    handler = signal.getsignal(signal.SIGTERM)
    for attempt in range(1, START_ATTEMPTS + 1):
        before = set(psutil.Process().children(recursive=True))
        try:
            with GROUPS.of_their_own():
                ray.init(**options)
        except Exception as error:
            ray.shutdown()
            for process in set(psutil.Process().children(recursive=True)) - before:
                with suppress(psutil.Error):  # what a failed start leaves behind
                    process.kill()
            if attempt == START_ATTEMPTS or "timed out during startup" not in str(error):
                raise WorkerError(
                    f"Ray did not start: {first_line(error)}",
                    where=f"cluster.address={options['address']}",
                    fix="see Ray's logs under /tmp/ray/session_latest/logs; is there a cluster at that address, "
                    "or is the machine busy?",
                ) from error
        else:
            if threading.current_thread() is threading.main_thread():
                # Ray puts a handler of its own before ours, which aborts the process three seconds later: too
                # soon for a step to end and a checkpoint to be written.
                signal.signal(signal.SIGTERM, handler)
            return


class Groups:
    """Which process group Ray's own processes are in.

    In the driver's, they would end at once by a signal that is meant for the driver, and is sent to its whole group as
    `timeout` does: before a checkpoint is written, for which they are needed.
    """

    def __init__(self) -> None:
        """Processes stay in the group of the one that starts them."""
        self._apart = False
        # Ray starts its processes with a function that runs in the child, and therefore so does this.
        os.register_at_fork(after_in_child=self._leave)

    def _leave(self) -> None:
        if self._apart:
            os.setpgrp()

    @contextmanager
    def of_their_own(self) -> Iterator[None]:
        """What is started within has groups of its own."""
        self._apart = True
        try:
            yield
        finally:
            self._apart = False


GROUPS = Groups()
"""Of this process."""


def placed(bundle: dict[str, float], count: int, pool: str) -> PlacementGroup:
    """A placement group of ``count`` bundles, as close together as there is room; Ray ends it with the session.

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
    return group


def placed_pools(needed: Resources, colocate: bool) -> tuple[PlacementGroup, PlacementGroup]:
    """A placement group per pool, or one whose every bundle holds a worker and a learner."""
    if colocate:
        pair = {
            name: needed.rollout_bundle[name] + needed.learner_bundle[name] for name in needed.rollout_bundle
        }
        group = placed(pair, needed.num_learners, "shared")
        return group, group
    rollout_group = placed(needed.rollout_bundle, needed.num_rollout_workers, "rollout")
    return rollout_group, placed(needed.learner_bundle, needed.num_learners, "learner")


def actor_options(
    group: PlacementGroup, index: int, bundle: dict[str, float], threads: int | None
) -> dict[str, Any]:
    """Options of one actor: its place, its resources and its environment.

    Args:
        group: where it is placed.
        index: of its bundle there.
        bundle: what it takes.
        threads: that it computes with on the CPU; None leaves it to Ray, which allows one.
    """
    environment = {"TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error"}
    if threads is not None:
        environment |= {"OMP_NUM_THREADS": str(threads), **ASLEEP}
    return {
        "num_cpus": bundle["CPU"],
        "num_gpus": bundle.get("GPU", 0),
        "scheduling_strategy": PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=index),
        "runtime_env": {"env_vars": environment},
    }


def start_actor(actor: Any, options: dict[str, Any], *arguments: Any) -> Any:
    """Start an actor; a ray class is untyped where it is used."""
    return ray.remote(concurrency_groups={HEALTH: 1, INBOX: 1})(actor).options(**options).remote(*arguments)
