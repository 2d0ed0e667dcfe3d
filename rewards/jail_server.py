"""The clean process that jails are forked from: an interpreter that has started once and seen no program.

Started by jail_process.py. The first message on its standard input, a socket, says what every program may
read. For every message after that it forks; the new process is a jail (jail.py) on the three descriptors that
came with the message, and a descriptor of that process goes back. Requests and programs pass by here unread, so no run can leave anything to the next.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import shutil
import signal
import socket
import sys
import traceback

from rlvr.rewards import jail
from rlvr.rewards import jail_kernel as kernel


def serve() -> None:
    """Run the server, and end all that it leaves if it is killed.

    Where a program has the user of its jails (level rlimits, not as root), it can kill the server as well, by
    the number of its parent, and processes would be left to init. Then they come to this one instead.
    """
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    server = os.fork()
    if server == 0:
        try:
            fork_jails()
        finally:
            os._exit(0)
    os.close(0)  # the judge notices the end of the server by the end of this socket
    os.waitpid(server, 0)
    jail.sweep(set())


def fork_jails() -> None:
    """Make the rules that all programs share, and fork a jail for every message, until the judge has gone.

    A jail ends what its program started. Of a jail that was killed itself, the processes become children of
    this one, which ends them: nothing that a program starts has another ancestor before init.
    """
    sys.dont_write_bytecode = True  # our own modules are cached by now; no program shall cache any
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    deaths, wakeup = os.pipe()
    os.set_blocking(deaths, False)
    os.set_blocking(wakeup, False)
    signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    kernel.refusals()
    gc.freeze()
    control = socket.socket(fileno=0)
    with os.fdopen(socket.recv_fds(control, 16, 1)[1][0], encoding="utf-8") as file:
        shared = json.load(file)
    rules = rules_of_all(shared)
    jails: set[int] = set()
    while True:
        ready = select.select([control.fileno(), deaths], [], [])[0]
        if deaths in ready:
            os.read(deaths, 4096)
            bury(jails)
        if control.fileno() not in ready:
            continue
        message, descriptors, _, _ = socket.recv_fds(control, 16, 3)
        if message != b"jail":
            return end(shared, judge_died=not message)
        pid = os.fork()
        if pid == 0:
            become_jail(descriptors, rules)
        jails.add(pid)
        for descriptor in descriptors:
            os.close(descriptor)
        # It waits for its request, which comes after this answer, so its number is not another's yet.
        handle = os.pidfd_open(pid)
        try:
            socket.send_fds(control, [b"started"], [handle])
        except OSError:
            return end(shared, judge_died=True)
        os.close(handle)


def rules_of_all(shared: dict[str, list[str]]) -> int | OSError:
    """Landlock's rules that are the same for every program, or why there are none.

    They are some hundred files and folders, and opening them takes longer than a short program.
    """
    try:
        return kernel.ruleset(shared["readable"], shared["listable"], shared["writable"])
    except OSError as error:
        return error


def end(shared: dict[str, list[str]], judge_died: bool) -> None:
    """End all that is left; a judge that was killed could not remove the folders of its programs."""
    jail.sweep(set())
    if judge_died:
        for folder in shared["writable"]:
            shutil.rmtree(folder, ignore_errors=True)


def bury(jails: set[int]) -> None:
    """Take note of every jail that has ended; after one that did not end by itself, end what it held."""
    orphans = False
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            orphans |= status != 0 or pid not in jails
            jails.discard(pid)
    if orphans:
        jail.sweep(jails)


def become_jail(descriptors: list[int], rules: int | OSError) -> None:
    """Take the three descriptors as 0, 1 and 2, keep those and the rules, and run one request; never returns."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for place, descriptor in enumerate(descriptors):
            os.dup2(descriptor, place)
        kept = rules if isinstance(rules, int) else 3
        os.closerange(3, kept)
        os.closerange(kept + isinstance(rules, int), 1024)
        jail.main(rules)
        code = 0
    except BaseException:  # noqa: BLE001 - the judge reads it and says that the sandbox failed
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)
