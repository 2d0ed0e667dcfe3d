"""How many engines an evaluation has: those of the training, and as many again as the idle learners leave room for."""

from __future__ import annotations

from dataclasses import replace

from rlvr.cluster.resources import resolve_learner, resolve_rollout
from rlvr.config import ClusterConfig, LearnerConfig, RolloutConfig
from rlvr.planning.plan import machine_of


def evaluation_pool(
    rollout: RolloutConfig, learner: LearnerConfig | None, cluster: ClusterConfig, num_workers: int | None
) -> RolloutConfig:
    """The rollout pool of an evaluation.

    Args:
        rollout: that of the training, or of an evaluation alone.
        learner: whose devices are free while models are measured; None of an evaluation alone.
        cluster: where both are.
        num_workers: ``evaluation.num_workers``; None takes what there is room for.
    """
    if num_workers is None:
        num_workers = rollout.num_workers if learner is None else _room(rollout, learner, cluster)
    return replace(rollout, num_workers=num_workers)


def _room(rollout: RolloutConfig, learner: LearnerConfig, cluster: ClusterConfig) -> int:
    """Engines that find room on the devices of both pools, and never fewer than in training."""
    rollout, learner = resolve_rollout(rollout), resolve_learner(learner)
    machine, on_cpu = machine_of(cluster), rollout.device == "cpu"
    size = rollout.threads_per_worker if on_cpu else rollout.tensor_parallel_size
    devices = rollout.num_workers * size
    if learner.device == rollout.device and (on_cpu or not cluster.colocate):
        devices += learner.num_learners * (learner.threads_per_learner if on_cpu else 1)
    found = devices // size
    if machine.is_known:
        # An engine lies within a node. Threads may be more than cores: pools that take turns share them.
        found = min(
            found, machine.num_nodes * ((machine.cpus_per_node if on_cpu else machine.gpus_per_node) // size)
        )
    elif size > 1:
        found = 0  # whether the learners' devices lie together is not known
    return max(found, rollout.num_workers)
