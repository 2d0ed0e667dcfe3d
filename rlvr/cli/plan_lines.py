"""A plan in lines for people: where each value comes from, who runs where, and what each device holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from rlvr.cli.origins import DEFAULT, origin_of
from rlvr.config import ClusterConfig
from rlvr.planning.memory import GIB, Parts
from rlvr.planning.plan import Machine, Plan, Worker, host_bytes


def config_lines(resolved: dict[str, Any], found: dict[str, str]) -> list[str]:
    """Every value with its origin."""
    rows = [(key, repr(value), origin_of(key, found)) for key, value in _flat(resolved)]
    wide = max(len(key) for key, _, _ in rows)
    return [
        f"  {key.ljust(wide)}  {value}" + ("" if origin == DEFAULT else f"   ← {origin}")
        for key, value, origin in rows
    ]


def _flat(data: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in data.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def machine_line(machine: Machine) -> str:
    """The hardware in a line."""
    if not machine.is_known:
        return "hardware: a Ray cluster that is not described (cluster.num_nodes, …), so that memory and places are not judged"
    gpus = "no GPU"
    if machine.gpus_per_node:
        gpus = f"{machine.gpus_per_node} GPU(s) of {machine.gpu_memory / GIB:.0f} GiB"
    what = "described by the config" if machine.described else "this machine"
    return (
        f"hardware ({what}): {machine.num_nodes} node(s) with {gpus}, {machine.cpus_per_node} CPUs, "
        f"{machine.host_memory / GIB:.0f} GiB"
    )


def model_line(plan: Plan) -> str:
    """The model in a line."""
    shape = plan.shape
    positions = "any number of" if shape.max_positions is None else f"{shape.max_positions:,}"
    return (
        f"model: {shape.name}, {shape.num_parameters / 1e6:,.1f} M parameters, {shape.layers} layers, "
        f"vocabulary {shape.vocabulary:,}, {positions} positions ({shape.source})"
    )


def placement_lines(workers: Sequence[Worker]) -> list[str]:
    """A line per worker, by node."""
    lines = []
    for node, members in groupby(sorted(workers, key=lambda each: each.node), key=lambda each: each.node):
        lines.append("  no place" if node < 0 else f"  node {node}")
        for worker in members:
            where = f"GPU {','.join(map(str, worker.gpus))}" if worker.gpus else "CPU"
            lines.append(f"    {worker.pool} {worker.index}: {'-' if node < 0 else where}")
    return lines


def memory_lines(plan: Plan, cluster: ClusterConfig) -> list[str]:
    """GiB per device and host, by what holds them."""
    lines = [_parts_line(f"engine ({plan.rollout.device}, {plan.rollout.dtype})", plan.engine)]
    lines.append(
        f"    KV cache: {plan.kv_tokens:,} tokens, {plan.sequences_at_once:,.1f} sequences of full length at once "
        f"(of {plan.rollout.max_num_seqs})"
    )
    if plan.learner is not None:
        title = f"learner ({plan.learner.device}, {plan.learner.dtype}, ZeRO {plan.learner.zero_stage})"
        lines.append(_parts_line(title, plan.learner_device))
    used = sorted({worker.node for worker in plan.workers if worker.node >= 0})
    for node in used:
        held = host_bytes(plan, node, cluster) / GIB
        lines.append(f"  host memory of node {node}: {held:.1f} of {plan.machine.host_memory / GIB:.0f} GiB")
    return lines


def _parts_line(title: str, parts: Parts) -> str:
    inner = ", ".join(f"{name} {held / GIB:.2f}" for name, held in parts.items())
    return f"  {title}: {sum(parts.values()) / GIB:.2f} GiB = {inner}"
