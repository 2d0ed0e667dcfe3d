"""Ray: rollout and learner pools behind the protocols. The only file that imports ray.

The driver sees a :class:`~rlvr.protocols.RolloutEngine` and a
:class:`~rlvr.protocols.Learner`; behind them stand Ray actors, each a process of its own,
placed by one placement group per pool.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import ray
import torch
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from rlvr.algorithms.algorithm import Algorithm
from rlvr.algorithms.registry import PLUGINS
from rlvr.batch import Annotations, RolloutBatch, TrainBatch
from rlvr.config import ClusterConfig, LearnerConfig, RolloutConfig
from rlvr.errors import ConfigError, RlvrError, WeightUpdateError, WorkerError
from rlvr.learner.deepspeed_learner import DeepSpeedLearner, LearnerOptions
from rlvr.protocols import Probe, SampleRequest, SamplingSettings, SyncReport
from rlvr.records import Completion
from rlvr.rollout.proof import TOLERANCE, prove
from rlvr.rollout.vllm_engine import EngineOptions, VLLMEngine

PLACEMENT_TIMEOUT = 120.0
"""Seconds to wait for a pool's resources before saying that they are not there."""

SHARED_GPU = 0.5
"""A colocated worker's share of its GPU, as Ray counts; memory is divided by the engines' own settings."""

T = TypeVar("T")


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
    """Resources of resolved configs; a GPU worker takes one CPU beside its GPUs, and a pair shares a GPU."""
    rollout_bundle: dict[str, float] = {"CPU": rollout.threads_per_worker}
    if rollout.device == "cuda":
        rollout_bundle = {"CPU": 1, "GPU": SHARED_GPU if colocate else rollout.tensor_parallel_size}
    learner_bundle: dict[str, float] = {"CPU": 1}
    num_learners = 0
    if learner is not None:
        num_learners = learner.num_learners
        learner_bundle = {"CPU": learner.threads_per_learner}
        if learner.device == "cuda":
            learner_bundle = {"CPU": 1, "GPU": SHARED_GPU if colocate else 1}
    return Resources(rollout_bundle, rollout.num_workers, learner_bundle, num_learners)


def check_plan(rollout: RolloutConfig, learner: LearnerConfig | None, cluster: ClusterConfig) -> None:
    """Check the pools against this machine, without starting anything; a cluster is checked on joining.

    Raises:
        ConfigError: the pools ask for more GPUs than this machine has.
    """
    workers = resolve_rollout(rollout)
    learners = None if learner is None else resolve_learner(learner)
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
    if cluster.address is None:
        check_resources(cluster, plan_resources(workers, learners, cluster.colocate))


def check_resources(cluster: ClusterConfig, needed: Resources) -> None:
    """Refuse more GPUs than there are.

    Raises:
        ConfigError: the pools ask for more GPUs than this machine or cluster has.
    """
    if cluster.address is None:
        available, place = float(torch.cuda.device_count()), "this machine has"
    else:
        available, place = ray.cluster_resources().get("GPU", 0.0), "the Ray cluster has"
    if needed.num_gpus > available:
        raise ConfigError(
            f"the pools need {needed.num_gpus:g} GPUs, {place} {available:g}",
            where="rollout.num_workers × rollout.tensor_parallel_size + learner.num_learners",
            fix="fewer workers, cluster.address=… of a larger cluster, or rollout.device=cpu learner.device=cpu",
        )


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
def rollout_pool(
    model: str, rollout: RolloutConfig, cluster: ClusterConfig, seed: int
) -> Iterator[RolloutPool]:
    """A rollout pool alone, for evaluation."""
    rollout = replace(resolve_rollout(rollout), weight_transfer="host")  # nothing will be transferred
    needed = plan_resources(rollout, None)
    with (
        ray_session(cluster, needed),
        _placed(needed.rollout_bundle, rollout.num_workers, "rollout") as group,
    ):
        engines = _start_engines(model, rollout, group, needed.rollout_bundle, seed)
        _get([actor.ready.remote() for actor in engines], "rollout worker")
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
        _placed_pools(needed, cluster.colocate) as (rollout_group, learner_group),
    ):
        # Both pools load side by side; the wait for the engines comes last.
        engines = _start_engines(model, rollout, rollout_group, needed.rollout_bundle, seed)
        learners = _start_learners(
            model, learner, learner_group, needed.learner_bundle, algorithm, temperature, seed
        )
        _get([actor.ready.remote() for actor in engines], "rollout worker")
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


@contextmanager
def _placed(bundle: dict[str, float], count: int, pool: str) -> Iterator[PlacementGroup]:
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
def _placed_pools(needed: Resources, colocate: bool) -> Iterator[tuple[PlacementGroup, PlacementGroup]]:
    """A placement group per pool, or one whose every bundle holds a worker and a learner."""
    if colocate:
        pair = {
            name: needed.rollout_bundle[name] + needed.learner_bundle[name] for name in needed.rollout_bundle
        }
        with _placed(pair, needed.num_learners, "shared") as group:
            yield group, group
        return
    with (
        _placed(needed.rollout_bundle, needed.num_rollout_workers, "rollout") as rollout_group,
        _placed(needed.learner_bundle, needed.num_learners, "learner") as learner_group,
    ):
        yield rollout_group, learner_group


def _actor_options(
    group: PlacementGroup, index: int, bundle: dict[str, float], device: str, threads: int
) -> dict[str, Any]:
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


def _start_engines(
    model: str, rollout: RolloutConfig, group: PlacementGroup, bundle: dict[str, float], seed: int
) -> list[Any]:
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
        placed = _actor_options(group, index, bundle, rollout.device, rollout.threads_per_worker)
        actors.append(_remote(_EngineActor, placed, options))
    return actors


def _start_learners(
    model: str,
    learner: LearnerConfig,
    group: PlacementGroup,
    bundle: dict[str, float],
    algorithm: Algorithm,
    temperature: float,
    seed: int,
) -> list[Any]:
    actors = [
        _remote(
            _LearnerActor, _actor_options(group, rank, bundle, learner.device, learner.threads_per_learner)
        )
        for rank in range(learner.num_learners)
    ]
    [(address, port)] = _get([actors[0].rendezvous.remote()], "learner")
    _get(
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


def _remote(actor: Any, options: dict[str, Any], *arguments: Any) -> Any:
    """Start an actor; a ray class is untyped where it is used."""
    return ray.remote(actor).options(**options).remote(*arguments)


def _get(refs: Sequence[Any], role: str) -> list[Any]:
    """Wait for all; the first failure is raised at once, by its root cause."""
    pending = {ref: index for index, ref in enumerate(refs)}
    while pending:
        [ready], _ = ray.wait(list(pending), num_returns=1)
        index = pending.pop(ready)
        _checked(partial(ray.get, ready), f"{role} {index}")
    return [ray.get(ref) for ref in refs]


def _checked(call: Callable[[], T], worker: str) -> T:
    """Turn Ray's errors into ours: the root cause first, without the traces of the way there."""
    try:
        return call()
    except ray.exceptions.RayTaskError as error:
        cause = error.cause if isinstance(error.cause, BaseException) else error
        while cause.__cause__ is not None and not isinstance(cause, RlvrError):
            cause = cause.__cause__
        if isinstance(cause, RlvrError):
            raise cause from error
        raise WorkerError(f"{type(cause).__name__}: {cause}", where=worker) from error
    except ray.exceptions.ActorDiedError as error:
        cause = re.search(r"(?m)^(\w*(?:Error|Exception|Interrupt): .*)$", str(error))
        if cause:  # the constructor raised: its last line is the root cause
            raise WorkerError(cause.group(1), where=worker) from error
        raise WorkerError(
            f"the worker's process died: {_first_line(error)}",
            where=worker,
            fix="often out of memory: see `dmesg`, and Ray's logs under /tmp/ray/session_latest/logs",
        ) from error
    except ray.exceptions.RayError as error:
        raise WorkerError(_first_line(error), where=worker) from error


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


class _EngineActor:
    """One vLLM engine in a process of its own."""

    def __init__(self, options: EngineOptions) -> None:
        self._engine = VLLMEngine(options)

    def ready(self) -> None:
        """Return once the engine has started."""

    def generate(
        self, requests: Sequence[SampleRequest], settings: SamplingSettings
    ) -> Iterator[list[tuple[int, list[Completion]]]]:
        yield from self._engine.generate(requests, settings)

    def probe(self, probes: Sequence[Probe]) -> list[list[float]]:
        return self._engine.probe(probes)

    def call(self, method: str, *args: Any) -> None:
        """One call of vLLM's weight-transfer protocol."""
        getattr(self._engine, method)(*args)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        self._engine.update_weights(update_info)

    def commit_version(self, version: int) -> int:
        self._engine.commit_version(version)
        return self._engine.version


class _SyncClient:
    """vLLM's weight-sync control plane over Ray: every call goes to all engines at once."""

    def __init__(self, engines: Sequence[Any], engine_ranks: int) -> None:
        self._engines = engines
        self._engine_ranks = engine_ranks
        self.num_bytes = 0

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Engines take consecutive ranks of the transfer group where the backend has one."""
        refs = []
        for index, engine in enumerate(self._engines):
            info = dict(init_info)
            if "rank_offset" in info:
                info["rank_offset"] += index * self._engine_ranks
            refs.append(engine.call.remote("init_weight_transfer_engine", info))
        ray.get(refs)

    def start_weight_update(self) -> None:
        """Begin an update on all engines."""
        self.num_bytes = 0
        ray.get([engine.call.remote("start_weight_update") for engine in self._engines])

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Send one chunk; the object store holds it once, however many engines read it."""
        self.num_bytes += getattr(update_info.get("buffer"), "nbytes", 0)
        shared = ray.put(update_info)
        ray.get([engine.update_weights.remote(shared) for engine in self._engines])

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """End the update; the version is committed later, once it is proved."""
        ray.get([engine.call.remote("finish_weight_update") for engine in self._engines])


class _LearnerActor:
    """One DeepSpeed rank in a process of its own."""

    def rendezvous(self) -> tuple[str, int]:
        """This node's address and a free port on it."""
        import socket

        with socket.socket() as probe:
            probe.bind(("", 0))
            return ray.util.get_node_ip_address(), probe.getsockname()[1]

    def start(self, options: LearnerOptions, algorithm: Algorithm) -> None:
        self._learner = DeepSpeedLearner(options, algorithm)
        self._rank = options.rank

    def connect(
        self, backend: str, engines: Sequence[Any], engine_ranks: int, address: str, port: int
    ) -> None:
        from rlvr.rollout.weight_transfer import connect

        self._client = _SyncClient(engines, engine_ranks)
        self._transfer = connect(
            backend,
            rank=self._rank,
            client=self._client,
            metadata=self._learner.weight_metadata(),
            weights=self._learner.weights,
            num_engine_ranks=engine_ranks * len(engines),
            address=address,
            port=port,
        )

    def send_weights(self) -> int:
        """Returns the bytes that the host backend sent (0 for the backends of vLLM)."""
        self._transfer.send_weights()
        return self._client.num_bytes

    def update(self, minibatches: Sequence[TrainBatch], value_only: bool) -> dict[str, float]:
        return self._learner.update(minibatches, value_only)

    def annotate(self, batch: RolloutBatch, old_logprobs: bool) -> Annotations | None:
        annotations = self._learner.annotate(batch, old_logprobs)
        return annotations if self._rank == 0 else None

    def logprobs(self, *args: Any) -> torch.Tensor | None:
        logprobs = self._learner.logprobs(*args)
        return logprobs if self._rank == 0 else None

    def save(self, folder: str) -> None:
        self._learner.save(Path(folder))


class RolloutPool:
    """The rollout workers as one :class:`~rlvr.protocols.RolloutEngine`."""

    def __init__(self, actors: Sequence[Any]) -> None:
        self.actors = actors
        self._version = 0

    @property
    def version(self) -> int:
        """Version of the weights that sample now."""
        return self._version

    def generate(
        self, requests: Sequence[SampleRequest], settings: SamplingSettings
    ) -> Iterator[tuple[int, list[Completion]]]:
        """Deal the requests out to the workers; yield results in the order in which they finish."""
        streams = {}
        for index, actor in enumerate(self.actors):
            share = requests[index :: len(self.actors)]
            if share:
                streams[actor.generate.options(num_returns="streaming").remote(share, settings)] = index
        while streams:
            [stream], _ = ray.wait(list(streams), num_returns=1, fetch_local=False)
            worker = f"rollout worker {streams[stream]}"
            try:
                ref = next(stream)
            except StopIteration:
                del streams[stream]
                continue
            yield from _checked(partial(ray.get, ref), worker)

    def probe(self, probes: Sequence[Probe]) -> list[list[list[float]]]:
        """Log-probabilities of the probes on every worker."""
        return _get([actor.probe.remote(probes) for actor in self.actors], "rollout worker")

    def commit_version(self, version: int) -> None:
        """Label what is sampled from now on."""
        versions = _get([actor.commit_version.remote(version) for actor in self.actors], "rollout worker")
        if set(versions) != {version}:
            raise WeightUpdateError(f"engines report versions {versions} after update {version}")
        self._version = version


class LearnerPool:
    """The learner ranks as one :class:`~rlvr.protocols.Learner`."""

    def __init__(
        self,
        actors: Sequence[Any],
        engines: RolloutPool,
        *,
        backend: str,
        num_engine_ranks: int,
        tolerance: float,
        algorithm: Algorithm,
    ) -> None:
        """Connect every rank to the engines."""
        self._actors = actors
        self._engines = engines
        self._tolerance = tolerance
        self._algorithm = algorithm
        [(address, port)] = _get([actors[0].rendezvous.remote()], "learner")
        engine_ranks = num_engine_ranks // len(engines.actors)
        self._all("connect", backend, engines.actors, engine_ranks, address, port)

    def _all(self, method: str, *args: Any) -> list[Any]:
        return _get([getattr(actor, method).remote(*args) for actor in self._actors], "learner")

    def annotate(self, batch: RolloutBatch, *, old_logprobs: bool) -> Annotations:
        """What the learner's models say about the batch; no call at all if nothing is needed."""
        if not (old_logprobs or self._algorithm.needs_reference or self._algorithm.critic):
            return Annotations()
        annotations: Annotations = self._all("annotate", ray.put(batch), old_logprobs)[0]
        return annotations

    def update(self, minibatches: Sequence[TrainBatch], *, value_only: bool = False) -> dict[str, float]:
        """One optimizer step per minibatch; the batch is put into the object store once."""
        metrics: dict[str, float] = self._all("update", ray.put(list(minibatches)), value_only)[0]
        return metrics

    def publish(self, version: int, probes: Sequence[Probe]) -> SyncReport:
        """Send the weights, prove that they arrived, then label them."""
        num_bytes = self._all("send_weights")[0]
        worst = prove(self._engines.probe(probes), self._probe(probes), self._tolerance, version)
        self._engines.commit_version(version)
        return SyncReport(version, worst, num_bytes)

    def _probe(self, probes: Sequence[Probe]) -> list[list[float]]:
        lengths = [len(probe.tokens) - probe.prompt_length for probe in probes]
        tokens = torch.zeros(len(probes), max(len(probe.tokens) for probe in probes), dtype=torch.int64)
        for row, probe in enumerate(probes):
            tokens[row, : len(probe.tokens)] = torch.tensor(list(probe.tokens))
        mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).float()
        prompt_lengths = torch.tensor([probe.prompt_length for probe in probes])
        logprobs = self._all("logprobs", tokens, prompt_lengths, mask, 1.0)[0]
        return [logprobs[row, :length].tolist() for row, length in enumerate(lengths)]

    def save(self, folder: Path) -> None:
        """Write a Hugging Face folder."""
        self._all("save", str(folder.resolve()))
