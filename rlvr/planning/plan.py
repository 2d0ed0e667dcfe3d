"""A run's plan: who runs where, what every GPU and host holds, and whether that fits."""

from __future__ import annotations

from dataclasses import dataclass, field

import psutil
import torch

from rlvr.algorithms.algorithm import Algorithm
from rlvr.cluster.resources import check_layout, resolve_transfer
from rlvr.config import ClusterConfig, LearnerConfig, RolloutConfig
from rlvr.planning.memory import (
    BYTES,
    CUDA_CONTEXT,
    GIB,
    TOWER_ACTIVATIONS,
    Parts,
    checkpoint_bytes,
    engine_memory,
    engine_weights,
    kv_bytes_per_token,
    learner_device_memory,
    learner_host_memory,
)
from rlvr.planning.model_shape import ModelShape
from rlvr.rollout.engine_args import CPU_HEAD_SIZES

TRANSIENT = (
    "activations",
    TOWER_ACTIVATIONS,
    "log-probabilities",
    "gradients",
    "ZeRO buckets",
    "gathered weights",
    "optimizer step",
)
"""What a learner holds only while it works."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The hardware that a plan is for; memory in bytes."""

    num_nodes: int
    gpus_per_node: int
    gpu_memory: float
    cpus_per_node: int
    host_memory: float
    described: bool
    """Whether the config describes it, or it is the machine at hand."""
    is_known: bool = True
    """False of a running Ray cluster that the config does not describe: nothing can be said of what fits there."""


@dataclass(frozen=True, slots=True)
class Worker:
    """One process of a pool and its place."""

    pool: str
    index: int
    node: int
    gpus: tuple[int, ...]


@dataclass(slots=True)
class Plan:
    """What a dry run shows."""

    machine: Machine
    shape: ModelShape
    rollout: RolloutConfig
    """Resolved, as is ``learner``."""
    learner: LearnerConfig | None
    transfer: str | None
    workers: list[Worker]
    engine: Parts
    """Bytes on one device of an engine."""
    learner_device: Parts
    learner_host: Parts
    """Bytes in host memory of the rank that writes models; of the others without ``weights while saving``."""
    kv_tokens: int
    """Tokens that the KV cache of one engine holds."""
    row_tokens: int
    """Longest prompt and response together."""
    update_bytes: float
    """Of one weight update, to one engine; the same as a saved model."""
    checkpoint_bytes: float
    """Of one from which training goes on."""
    problems: list[str] = field(default_factory=list)
    """Why it cannot run, each with what to change."""
    misfits: list[str] = field(default_factory=list)
    """Why it would not fit into memory by estimates, which may err."""

    @property
    def sequences_at_once(self) -> float:
        """Sequences of full length that the KV cache of one engine holds."""
        return self.kv_tokens / self.row_tokens


def machine_of(cluster: ClusterConfig) -> Machine:
    """The described hardware, or this machine."""
    if cluster.num_nodes is not None:
        assert cluster.gpus_per_node is not None
        assert cluster.gpu_memory_gib is not None
        assert cluster.cpus_per_node is not None
        assert cluster.host_memory_gib is not None
        return Machine(
            cluster.num_nodes,
            cluster.gpus_per_node,
            cluster.gpu_memory_gib * GIB,
            cluster.cpus_per_node,
            cluster.host_memory_gib * GIB,
            described=True,
        )
    gpus = torch.cuda.device_count()
    memory = torch.cuda.get_device_properties(0).total_memory if gpus else 0
    return Machine(
        1,
        gpus,
        memory,
        psutil.cpu_count() or 1,
        psutil.virtual_memory().total,
        described=False,
        is_known=cluster.address is None,
    )


def make_plan(
    shape: ModelShape,
    rollout: RolloutConfig,
    learner: LearnerConfig | None,
    cluster: ClusterConfig,
    algorithm: Algorithm | None,
    *,
    images: bool = False,
) -> Plan:
    """Lay a run out on its machine; nothing is started.

    Args:
        shape: of the model.
        rollout: with the longest response that will be asked for.
        learner: None for an evaluation, as is ``algorithm``.
        cluster: placement, and the hardware where it is described.
        algorithm: says which models a learner holds.
        images: whether prompts have some.

    Raises:
        ConfigError: the pools contradict each other, whatever the machine.
    """
    machine = machine_of(cluster)
    workers, learners = check_layout(rollout, learner, cluster)
    row_tokens = workers.max_prompt_tokens + workers.max_response_tokens
    engine = engine_memory(shape, workers, machine.gpu_memory)
    per_token = kv_bytes_per_token(shape, workers)
    plan = Plan(
        machine=machine,
        shape=shape,
        rollout=workers,
        learner=learners,
        transfer=None if learners is None else resolve_transfer(workers, learners, cluster),
        workers=place(machine, workers, learners, cluster.colocate),
        engine=engine,
        learner_device={},
        learner_host={},
        kv_tokens=max(0, int(engine["KV cache"] / per_token)),
        row_tokens=row_tokens,
        update_bytes=shape.num_parameters * BYTES[learners.dtype] if learners else 0.0,
        checkpoint_bytes=0.0,
    )
    if learners is not None and algorithm is not None:
        plan.learner_device = learner_device_memory(shape, learners, algorithm, row_tokens, images=images)
        plan.learner_host = learner_host_memory(shape, learners, algorithm, writes=True)
        plan.checkpoint_bytes = checkpoint_bytes(shape, learners, algorithm)
    plan.problems = _model_problems(plan)
    if machine.is_known:
        plan.problems += _placement_problems(plan)
        certain, estimated = _engine_problems(plan)
        plan.problems += certain
        plan.misfits = [*estimated, *_learner_problems(plan, cluster), *_host_problems(plan, cluster)]
    return plan


def place(
    machine: Machine, rollout: RolloutConfig, learner: LearnerConfig | None, colocate: bool
) -> list[Worker]:
    """Every worker's node and GPUs, as Ray's PACK strategy fills them; node −1 where there is no room."""
    free = [list(range(machine.gpus_per_node)) for _ in range(machine.num_nodes)]

    def put(pool: str, index: int, device: str, num_gpus: int) -> Worker:
        if device == "cpu":
            return Worker(pool, index, 0, ())
        for node, gpus in enumerate(free):
            if len(gpus) >= num_gpus:
                taken, free[node] = tuple(gpus[:num_gpus]), gpus[num_gpus:]
                return Worker(pool, index, node, taken)
        return Worker(pool, index, -1, ())

    placed = [
        put("rollout", index, rollout.device, rollout.tensor_parallel_size)
        for index in range(rollout.num_workers)
    ]
    for index in range(learner.num_learners if learner else 0):
        assert learner is not None
        if colocate:
            partner = placed[index]
            placed.append(Worker("learner", index, partner.node, partner.gpus))
        else:
            placed.append(put("learner", index, learner.device, 1))
    return placed


def _model_problems(plan: Plan) -> list[str]:
    """What the model cannot do, wherever it runs."""
    rollout = plan.rollout
    found = []
    if plan.shape.heads % rollout.tensor_parallel_size:
        found.append(
            f"{plan.shape.heads} attention heads cannot be divided by "
            f"rollout.tensor_parallel_size={rollout.tensor_parallel_size}: a divisor of {plan.shape.heads}"
        )
    if plan.shape.max_positions is not None and plan.row_tokens > plan.shape.max_positions:
        found.append(
            f"prompt and response may take {plan.row_tokens:,} tokens, the model has {plan.shape.max_positions:,} "
            "positions: rollout.max_response_tokens or evaluation.max_tokens smaller"
        )
    if rollout.device == "cpu" and plan.shape.head_dim not in CPU_HEAD_SIZES:
        found.append(
            f"the model's attention heads are {plan.shape.head_dim} numbers wide (head_dim), and vLLM on a CPU computes "
            f"those of {', '.join(map(str, CPU_HEAD_SIZES))}: a model with one of these, or rollout.device=cuda"
        )
    return found


def _placement_problems(plan: Plan) -> list[str]:
    machine, rollout = plan.machine, plan.rollout
    found = []
    if rollout.device == "cuda" and rollout.tensor_parallel_size > machine.gpus_per_node > 0:
        found.append(
            f"an engine of {rollout.tensor_parallel_size} GPUs does not fit a node of {machine.gpus_per_node}: "
            f"rollout.tensor_parallel_size={machine.gpus_per_node} at most"
        )
    lost = [worker for worker in plan.workers if worker.node < 0]
    if lost:
        total = machine.num_nodes * machine.gpus_per_node
        found.append(
            f"{len(lost)} of {len(plan.workers)} workers find no GPU: {total} there "
            f"({machine.num_nodes} × {machine.gpus_per_node}); {fewer_workers(plan.learner)}, a larger cluster=…"
            + ("" if plan.learner is None else ", or cluster.colocate=true")
        )
    return found


def _engine_problems(plan: Plan) -> tuple[list[str], list[str]]:
    """Why an engine cannot hold a sequence: (certain, by estimates of what it takes beside weights and cache)."""
    rollout, weights = plan.rollout, engine_weights(plan.shape, plan.rollout)
    if rollout.device == "cuda" and plan.machine.gpus_per_node and plan.engine["KV cache"] <= 0:
        reason = (
            f"an engine's weights take {weights / GIB:.1f} GiB on each GPU and leave nothing for the KV cache: "
            "a larger rollout.tensor_parallel_size or rollout.gpu_memory_utilization"
        )
    elif plan.kv_tokens < plan.row_tokens and (rollout.device == "cpu" or plan.machine.gpus_per_node):
        larger = "rollout.kv_cache_gib" if rollout.device == "cpu" else "rollout.gpu_memory_utilization"
        reason = (
            f"the KV cache holds {plan.kv_tokens:,} tokens, one sequence may take {plan.row_tokens:,}: "
            f"a larger {larger} or rollout.tensor_parallel_size, or shorter responses"
        )
    else:
        return [], []
    return ([reason], []) if rollout.device == "cpu" else ([], [reason])


def _learner_problems(plan: Plan, cluster: ClusterConfig) -> list[str]:
    if plan.learner is None or plan.learner.device == "cpu" or not plan.machine.gpus_per_node:
        return []
    needed, there = sum(plan.learner_device.values()), plan.machine.gpu_memory
    if not cluster.colocate:
        if needed <= there:
            return []
        return [f"a learner needs {needed / GIB:.0f} GiB of a GPU's {there / GIB:.0f}: {remedies(plan)}"]
    engine = plan.rollout.gpu_memory_utilization * there
    kept = sum(held for name, held in plan.learner_device.items() if name not in TRANSIENT)
    working = needed + (CUDA_CONTEXT if cluster.sleep else engine)
    sampling = engine + (kept if cluster.sleep else needed)
    if max(working, sampling) <= there:
        return []
    moment = "while learning" if working >= sampling else "while sampling"
    return [
        f"engine and learner together need {max(working, sampling) / GIB:.0f} GiB of a GPU's {there / GIB:.0f} "
        f"{moment}: a smaller rollout.gpu_memory_utilization, "
        + ("" if cluster.sleep else "cluster.sleep=true, ")
        + remedies(plan)
    ]


def fewer_workers(learner: LearnerConfig | None) -> str:
    """Which keys make the pools smaller: those of a training, or of an evaluation."""
    pools = "learner.num_learners" if learner else "evaluation.num_workers"
    return f"fewer rollout.num_workers or {pools}"


def remedies(plan: Plan) -> str:
    """What would make a learner smaller, the cheapest first."""
    assert plan.learner is not None
    settings, parts = plan.learner, plan.learner_device
    offers = [
        (not settings.gradient_checkpointing, "learner.gradient_checkpointing=true"),
        (
            settings.micro_batch_tokens > plan.row_tokens,
            f"learner.micro_batch_tokens={plan.row_tokens} (of {settings.micro_batch_tokens})",
        ),
        (settings.zero_stage < 3, "learner.zero_stage=3"),
        (settings.zero_stage > 0 and not settings.offload_optimizer, "learner.offload_optimizer=true"),
        (settings.zero_stage > 0, "more learner.num_learners"),
    ]
    largest = max(parts, key=lambda name: parts[name])
    words = ", ".join(text for wanted, text in offers if wanted)
    return f"most of it is {largest} ({parts[largest] / GIB:.0f} GiB): {words}"


def _host_problems(plan: Plan, cluster: ClusterConfig) -> list[str]:
    needed, node = max((host_bytes(plan, node, cluster), node) for node in range(plan.machine.num_nodes))
    if needed <= plan.machine.host_memory:
        return []
    return [
        f"node {node} needs {needed / GIB:.0f} GiB of host memory and has {plan.machine.host_memory / GIB:.0f}: "
        f"{fewer_workers(plan.learner)}, "
        + ("" if plan.learner is None else "learner.offload_optimizer=false, ")
        + "or nodes with more memory"
    ]


def host_bytes(plan: Plan, node: int, cluster: ClusterConfig) -> float:
    """Memory that the workers of a node take from their host at most."""
    total = 0.0
    for worker in plan.workers:
        if worker.node != node:
            continue
        if worker.pool == "learner" and plan.learner is not None:
            on_host = dict(plan.learner_host)
            if worker.index:
                del on_host["weights while saving"]
            if plan.learner.device == "cpu":  # the host is the device: the process counts once
                on_host = {**plan.learner_device}
            total += sum(on_host.values())
        elif plan.rollout.device == "cpu":
            total += sum(plan.engine.values())
        else:
            asleep = engine_weights(plan.shape, plan.rollout) if cluster.sleep else 0.0
            total += 2 * GIB + asleep
    return total
