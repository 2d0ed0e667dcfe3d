"""Start the pools side by side, and end them together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray.util.placement_group import PlacementGroup

from rlvr.algorithms.algorithm import Algorithm
from rlvr.cluster.actors import EngineActor, LearnerActor
from rlvr.cluster.learner_pool import LearnerPool
from rlvr.cluster.pools import RolloutPool
from rlvr.cluster.resources import plan_resources, resolve_learner, resolve_rollout, resolve_transfer
from rlvr.cluster.session import actor_options, placed, placed_pools, ray_session, start_actor
from rlvr.cluster.watch import Watch, Worker
from rlvr.config import ClusterConfig, LearnerConfig, RolloutConfig
from rlvr.learner.deepspeed_learner import LearnerOptions
from rlvr.rollout.engine_options import EngineOptions
from rlvr.seeds import derive_seed

MAX_SEED = 2**32
"""numpy, which an engine seeds as well, takes no larger one."""


@contextmanager
def rollout_pool(
    model: str, rollout: RolloutConfig, cluster: ClusterConfig, seed: int, *, max_images: int = 0
) -> Iterator[RolloutPool]:
    """A rollout pool alone, for evaluation of prompts with up to ``max_images`` images each."""
    rollout = resolve_rollout(rollout)
    needed = plan_resources(rollout, None)
    with ray_session(cluster, needed):
        group = placed(needed.rollout_bundle, rollout.num_workers, "rollout")
        start = engine_starter(
            rollout, group, needed.rollout_bundle, seed, backend=None, max_images=max_images
        )
        watch = Watch(cluster)
        pool = RolloutPool(start, _absolute(model), rollout.num_workers, watch, rollout.max_num_seqs)
        pool.wait_until_loaded()
        yield pool


@contextmanager
def training_pools(
    model: str,
    rollout: RolloutConfig,
    learner: LearnerConfig,
    cluster: ClusterConfig,
    algorithm: Algorithm,
    temperature: float,
    seed: int,
    *,
    max_images: int = 0,
    in_flight: bool = False,
) -> Iterator[tuple[RolloutPool, LearnerPool]]:
    """Both pools, connected; ended together. They load side by side, or one after the other if they share GPUs.

    Prompts have up to ``max_images`` images each. With ``in_flight`` the engines take weights while they write responses.
    """
    rollout, learner = resolve_rollout(rollout), resolve_learner(learner)
    backend = resolve_transfer(rollout, learner, cluster)
    needed = plan_resources(rollout, learner, cluster.colocate)
    watch = Watch(cluster)
    with ray_session(cluster, needed):
        rollout_group, learner_group = placed_pools(needed, cluster.colocate)
        start = engine_starter(
            rollout,
            rollout_group,
            needed.rollout_bundle,
            seed,
            backend=backend,
            max_images=max_images,
            sleep=cluster.sleep,
            cache_at_update=rollout.cache_at_update if in_flight else None,
        )
        count = rollout.num_workers
        engine_pool = RolloutPool(start, _absolute(model), count, watch, rollout.max_num_seqs)
        if cluster.colocate:
            # An engine measures what is free on its GPU while it loads, and makes room before a learner needs it.
            engine_pool.wait_until_loaded()
            if cluster.sleep:
                engine_pool.sleep()
        start_learners(
            model, learner, watch, learner_group, needed.learner_bundle, algorithm, temperature, seed
        )
        engine_pool.wait_until_loaded()
        learner_pool = LearnerPool(
            engine_pool,
            watch,
            backend=backend,
            engine_ranks=rollout.tensor_parallel_size,
            dtypes=(rollout.dtype, learner.dtype),
            tolerance=rollout.probe_tolerance,
            algorithm=algorithm,
            sleep=cluster.sleep,
        )
        yield engine_pool, learner_pool


def engine_starter(
    rollout: RolloutConfig,
    group: PlacementGroup,
    bundle: dict[str, float],
    seed: int,
    *,
    backend: str | None,
    max_images: int = 0,
    sleep: bool = False,
    cache_at_update: str | None = None,
) -> Callable[[str, int, int], Any]:
    """A function from a model, a worker's index and the number of its replacements so far to its new process.

    The process loads while the caller goes on. ``backend`` is that of the weight transfer, if there is any.
    """

    def start(model: str, index: int, attempt: int) -> Any:
        options = EngineOptions(
            model=model,
            device=rollout.device,
            dtype=rollout.dtype,
            max_model_len=rollout.max_prompt_tokens + rollout.max_response_tokens,
            max_num_seqs=rollout.max_num_seqs,
            tensor_parallel_size=rollout.tensor_parallel_size,
            threads=rollout.threads_per_worker,
            kv_cache_gib=rollout.kv_cache_gib,
            gpu_memory_utilization=rollout.gpu_memory_utilization,
            enforce_eager=rollout.enforce_eager,
            weight_transfer=backend,
            # Workers must not draw the same samples, nor a new one those that the lost one has drawn.
            seed=derive_seed(seed, index, attempt) % MAX_SEED,
            max_images=max_images,
            sleep=sleep,
            cache_at_update=cache_at_update,
            engine_args=rollout.engine_args,
        )
        threads = rollout.threads_per_worker if rollout.device == "cpu" else None
        placed = actor_options(group, index, bundle, threads)
        return start_actor(EngineActor, placed, options)

    return start


def start_learners(
    model: str,
    learner: LearnerConfig,
    watch: Watch,
    group: PlacementGroup,
    bundle: dict[str, float],
    algorithm: Algorithm,
    temperature: float,
    seed: int,
) -> None:
    """Start a process per rank, give them to the watch, and load the models in all of them."""
    for rank in range(learner.num_learners):
        placed = actor_options(group, rank, bundle, learner.cpu_threads)
        watch.learners.append(Worker(f"learner {rank}", start_actor(LearnerActor, placed)))
    first = watch.learners[0]
    timeout = watch.limits.start_timeout
    [(address, port)] = watch.wait({first: first.actor.rendezvous.remote()}, timeout)
    calls = {
        worker: worker.actor.start.remote(
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
                timeout=watch.limits.call_timeout,
                settings=learner,
            ),
            algorithm,
        )
        for rank, worker in enumerate(watch.learners)
    }
    watch.wait(calls, timeout)
    for worker in watch.learners:
        worker.loaded = True


def _absolute(model: str) -> str:
    """A local folder by its absolute path, for workers that stand elsewhere; a hub name as it is."""
    return str(Path(model).resolve()) if Path(model).exists() else model
