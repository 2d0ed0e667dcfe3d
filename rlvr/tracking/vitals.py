"""How a process and its host are doing: memory, open files, threads. Linux; nothing but /proc and psutil."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

GIB = float(2**30)
CGROUPS = Path("/sys/fs/cgroup")
RAY_MARKS = ("gcs_server", "raylet", "/ray/_private/", "/ray/dashboard/")
"""What the command lines of Ray's own processes hold; below the raylet run its helpers and our workers."""
WORKER_MARKS = ("EngineActor", "LearnerActor")


@dataclass(frozen=True, slots=True)
class Vitals:
    """One process together with those below it."""

    memory: int
    """Private memory in bytes (RssAnon): what is shared, such as Ray's object store, belongs to nobody."""
    open_files: int
    threads: int
    host: str
    host_memory_used: float
    """Share of the host's memory, or of the control group's limit if that is tighter, in [0, 1]."""


def own_vitals(host: str) -> Vitals:
    """Of this process and everything below it, except for what Ray has started."""
    me = psutil.Process()
    return measured([me, *_below(me)], host)


def ray_vitals(host: str) -> Vitals:
    """Of Ray's own processes below this one: control store, node manager and their helpers."""
    found = []
    for child in _children(psutil.Process()):
        if _is_ray(child):
            helpers = _children(child, recursive=True)
            found += [child, *(helper for helper in helpers if not _mentions(helper, WORKER_MARKS))]
    return measured(found, host)


def measured(processes: Iterable[psutil.Process], host: str) -> Vitals:
    """Summed over processes; one that has ended meanwhile counts nothing."""
    memory = open_files = threads = 0
    for process in processes:
        with suppress(psutil.Error, OSError):
            memory += private_memory(process.pid)
            open_files += process.num_fds()
            threads += process.num_threads()
    return Vitals(memory, open_files, threads, host, host_memory_used())


def private_memory(pid: int) -> int:
    """Anonymous resident memory of a process in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0  # a process that is ending has none


def host_memory_used() -> float:
    """Share of the memory that this process may use which is in use, by whatever process.

    In a container or a Slurm job the control group's limit rules, since the kernel kills at it. Page
    cache that the kernel would give back counts as free.
    """
    memory = psutil.virtual_memory()
    return max(1 - memory.available / memory.total, *(_group_used(folder) for folder in _control_groups()), 0)


def _control_groups() -> list[Path]:
    """Folders of this process's control group and of those around it (version 2)."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            if line.startswith("0::"):
                folder = CGROUPS / line[3:].lstrip("/")
                return [folder, *(above for above in folder.parents if above.is_relative_to(CGROUPS))]
    return [CGROUPS]


def _group_used(folder: Path) -> float:
    """0 where the group has no limit."""
    try:
        limit = (folder / "memory.max").read_text().strip()
        if limit == "max":
            return 0.0
        used = int((folder / "memory.current").read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return (used - int(stat.get("inactive_file", 0)) - int(stat.get("active_file", 0))) / int(limit)
    except (OSError, ValueError):
        return 0.0


def _below(process: psutil.Process) -> list[psutil.Process]:
    found = []
    for child in _children(process):
        if not _is_ray(child):
            found += [child, *_children(child, recursive=True)]
    return found


def _children(process: psutil.Process, recursive: bool = False) -> list[psutil.Process]:
    try:
        children: list[psutil.Process] = process.children(recursive=recursive)
    except psutil.Error:
        return []
    return children


def _is_ray(process: psutil.Process) -> bool:
    return _mentions(process, RAY_MARKS)


def _mentions(process: psutil.Process, marks: Sequence[str]) -> bool:
    """Whether the head of a command line holds one of some words."""
    try:
        return any(mark in " ".join(process.cmdline()[:4]) for mark in marks)
    except psutil.Error:
        return False
