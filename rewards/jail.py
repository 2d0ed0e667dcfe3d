"""The jail: one process that holds one run of one program, and reports how it ended.

Forked from jail_server.py, or started inside bubblewrap, with an empty environment. It reads one request
from standard input, forks, lets the child lock itself in and run the program, waits, cleans up and writes one line of
JSON to standard error. The child's standard output goes straight to the judge. Expected outputs never
come here, so nothing in this process is worth stealing.

Order matters in the child: whatever needs privilege first, seccomp last, and then the program.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from rlvr.rewards import jail_kernel as kernel
from rlvr.rewards import jail_program

MAX_THREADS = 64
STACK_MIB = 64
"""Deep recursion is common in right solutions."""
POLL_SECONDS = 0.05
SWEEP_SECONDS = 0.002


def main(rules: int | OSError | None = None) -> None:
    """Run one request; ``rules`` are the server's for Landlock, or the reason why there are none."""
    sys.dont_write_bytecode = True  # our own modules are cached by now; the program shall cache none
    kernel.prctl(kernel.PR_SET_PDEATHSIG, kernel.SIGKILL)  # the judge's death is ours
    request = json.loads(sys.stdin.buffer.read())
    level = request["level"]
    report = os.dup(2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    stdin = _file_with(request.pop("stdin").encode("utf-8", "surrogatepass"))
    uid = kernel.unprivileged_uid() if os.geteuid() == 0 and level != "bubblewrap" else None
    try:
        if level == "namespaces":
            kernel.new_pid_namespace()
        elif level == "rlimits":
            kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        if uid is not None and level in ("landlock", "rlimits"):
            os.chown(request["folder"], uid, uid)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)  # closes this process's /proc entries to its own user
        ready, ready_child = os.pipe()
        started = time.monotonic()
        pid = os.fork()
    except OSError as error:
        _report(report, {"refused": str(error)})
        return
    if pid == 0:
        child(request, stdin, ready_child, uid, rules if level == "landlock" else None)
    os.close(ready_child)
    os.dup2(2, 1)  # the judge sees the end of the output when the child is gone
    refused = os.read(ready, 4096)
    if refused != b"ready":
        os.kill(pid, signal.SIGKILL)
        _report(report, {"refused": refused.decode() or "the child ended before it was ready"})
        return
    killed = watch(pid, request, started, report)
    status, usage = _reap(pid)
    if level == "rlimits":
        if uid is not None:
            kill_all_of(uid)
        sweep(set())
    _report(
        report,
        {
            "exit_code": os.waitstatus_to_exitcode(status),
            "cpu_seconds": usage.ru_utime + usage.ru_stime,
            "wall_seconds": time.monotonic() - started,
            "killed": killed,
        },
    )


def _report(descriptor: int, words: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):  # the judge has lost interest
        os.write(descriptor, json.dumps(words).encode() + b"\n")


def _file_with(data: bytes) -> int:
    """An anonymous file that holds ``data``: a program may read it at its own pace, without a writer."""
    descriptor = os.memfd_create("stdin", os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _reap(pid: int) -> tuple[int, resource.struct_rusage]:
    _, status, usage = os.wait4(pid, 0)
    return status, usage


def watch(pid: int, request: dict[str, Any], started: float, report: int) -> str | None:
    """Wait for the child; kill it at a limit, or when the judge no longer listens. What it was killed for."""
    deadline = started + request["wall_seconds"]
    counted = request["level"] in ("landlock", "rlimits")  # elsewhere its folder is a file system of its own
    descriptor = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    poll.register(report, 0)  # an error there: nobody reads the report
    try:
        while True:
            left = max(0.0, deadline - time.monotonic())
            events = dict(poll.poll(1000 * (min(left, POLL_SECONDS) if counted else left)))
            if descriptor in events:
                return None
            if events:
                reason = "judge"
            elif time.monotonic() >= deadline:
                reason = "wall"
            elif disk_usage(Path(request["folder"])) > request["disk_mib"] * 2**20:
                reason = "disk"
            else:
                continue
            os.kill(pid, signal.SIGKILL)
            return reason
    finally:
        os.close(descriptor)


def disk_usage(folder: Path) -> int:
    """Bytes on disk below ``folder``; links are not followed, unreadable folders not entered."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(where, name)).st_blocks * 512  # noqa: PTH118 - walked fast
    return total


def kill_all_of(uid: int) -> None:
    """Kill every process of a jail's own user id, which the kernel does in one step."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(OSError):
            os.setresuid(uid, uid, uid)
            os.kill(-1, signal.SIGKILL)
        os._exit(0)
    os.waitpid(pid, 0)


def sweep(spared: set[int]) -> None:
    """Kill and bury all processes below this one, but for the children ``spared`` and what is below those.

    This process is their subreaper: whatever loses its parent becomes its child. A look at /proc is not
    taken at one instant and may miss a process whose parent ends meanwhile, so the end is not that no
    descendant is seen, but that the kernel knows no child. Descendants are stopped until no new one appears
    (a stopped process cannot fork, so a fork bomb comes to rest), and then killed. Children in ``spared``
    that end meanwhile are taken from it.
    """
    while True:
        try:
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                spared.discard(pid)
        except ChildProcessError:
            return
        stopped: set[int] = set()
        while fresh := descendants(spared) - stopped:
            _signal(fresh, signal.SIGSTOP)
            stopped |= fresh
        if spared and not stopped:
            return  # one that this look has missed has lost its parent since, and that death calls again
        _signal(stopped, signal.SIGKILL)
        time.sleep(SWEEP_SECONDS)


def _signal(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def descendants(spared: Collection[int]) -> set[int]:
    """Processes below this one, at any depth; without those of ``spared`` and below them."""
    parent: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found: set[int] = set()
    generation = {os.getpid()}
    while generation:
        generation = {pid for pid, above in parent.items() if above in generation} - found
        generation.difference_update(spared)
        found |= generation
    return found


# -------------------------------------------------------------------------------------- in the child


def child(
    request: dict[str, Any], stdin: int, ready: int, uid: int | None, rules: int | OSError | None
) -> None:
    """Lock this process in and run the program; never returns."""
    try:
        if isinstance(rules, OSError):
            raise rules
        output = arrange_descriptors(stdin, ready, rules, request["call"] is not None)
        lock_in(request, uid)
        for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
    except BaseException as error:  # noqa: BLE001 - whatever went wrong, the program must not start
        os.write(READY, f"{type(error).__name__}: {error}"[:1000].encode())
        os._exit(1)
    os.write(READY, b"ready")
    os.close(READY)
    jail_program.run(request, output)


RESULT, READY, RULES = 3, 4, 5


def arrange_descriptors(stdin: int, ready: int, rules: int | None, is_call: bool) -> int:
    """0 input, 1 output, 2 nowhere, and for a call 3 for its result with 1 going nowhere; nothing else.

    ``READY``, and ``RULES`` where there are any, are closed before the program starts. Returns the descriptor
    of the judge's pipe.
    """
    given = [stdin, 1, ready] + ([] if rules is None else [rules])
    safe = [_above(descriptor) for descriptor in given]
    os.dup2(safe[0], 0)
    os.dup2(safe[2], READY)
    if is_call:
        os.dup2(safe[1], RESULT)
        os.dup2(2, 1)
    else:
        os.dup2(safe[1], 1)
        os.dup2(2, RESULT)
    if rules is not None:
        os.dup2(safe[3], RULES)
    kernel.syscall("close_range", READY + 1 if rules is None else RULES + 1, 2**31 - 1, 0)
    return RESULT if is_call else 1


def _above(descriptor: int) -> int:
    """A copy with a number that none of ours will overwrite."""
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD, 64)


def lock_in(request: dict[str, Any], uid: int | None) -> None:
    """Isolation of one level, then limits, then privileges, then the filters that cannot be undone."""
    level, folder = request["level"], request["folder"]
    os.setsid()
    if level == "namespaces":
        kernel.new_root(request["shown"], request["hidden"], folder, request["disk_mib"])
    elif level == "bubblewrap":
        os.chdir("/tmp")
    else:
        os.chdir(folder)
    kernel.limit("AS", request["memory_mib"] * 2**20)
    kernel.limit("CPU", request["cpu_seconds"])
    kernel.limit("FSIZE", request["disk_mib"] * 2**20)
    kernel.limit("NOFILE", 64)
    kernel.limit("CORE", 0)
    with contextlib.suppress(ValueError, OSError):
        kernel.limit("STACK", STACK_MIB * 2**20)
    if uid is not None or level == "namespaces":
        kernel.limit("NPROC", MAX_THREADS)
    elif level == "rlimits":
        kernel.limit("NPROC", num_tasks(os.getuid()) + MAX_THREADS)
    keep = 0
    if uid is not None:
        reads_as_root = level != "namespaces" and not request["public"]
        if reads_as_root and level == "rlimits":
            raise OSError("the interpreter or a package lies where an unprivileged user may not read")
        kernel.become(uid, read_everything=reads_as_root)
        keep = 1 << kernel.CAP_DAC_READ_SEARCH if reads_as_root else 0
    kernel.drop_capabilities(keep)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, kernel.SIGKILL)
    if level == "landlock":
        # First what all programs may read, file by file and made once; then, of their folders, this one's.
        own = kernel.ruleset(list(request["shown"].values()), request["packages_path"], [folder])
        kernel.landlock(RULES)
        kernel.landlock(own)
    if level != "rlimits":
        kernel.seccomp()


def num_tasks(uid: int) -> int:
    """Threads of all processes of a user, which is what RLIMIT_NPROC counts."""
    count = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if entry.stat().st_uid == uid:
                    count += len(list((entry / "task").iterdir()))
    return count
