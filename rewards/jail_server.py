"""The clean process that jails are forked from: an interpreter that has started once and seen no program.

Started by jail_process.py. For every message on its standard input, a socket, it forks; the new process is
a jail (jail.py) on the three descriptors that came with the message, and a descriptor of that process goes
back. Requests and programs pass by here unread, so no run can leave anything to the next.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
import traceback

from rlvr.rewards import jail
from rlvr.rewards import jail_kernel as kernel


def serve() -> None:
    """Fork a jail for every message, until the judge closes the socket; then end all that is left.

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
    jails: set[int] = set()
    while True:
        ready = select.select([control.fileno(), deaths], [], [])[0]
        if deaths in ready:
            os.read(deaths, 4096)
            bury(jails)
        if control.fileno() not in ready:
            continue
        message, descriptors, _, _ = socket.recv_fds(control, 16, 3)
        if not message:
            jail.sweep(set())
            return
        pid = os.fork()
        if pid == 0:
            become_jail(descriptors)
        jails.add(pid)
        for descriptor in descriptors:
            os.close(descriptor)
        # It waits for its request, which comes after this answer, so its number is not another's yet.
        handle = os.pidfd_open(pid)
        try:
            socket.send_fds(control, [b"started"], [handle])
        except OSError:  # the judge is gone
            jail.sweep(set())
            return
        os.close(handle)


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


def become_jail(descriptors: list[int]) -> None:
    """Take the three descriptors as 0, 1 and 2, keep nothing else, and run one request; never returns."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for place, descriptor in enumerate(descriptors):
            os.dup2(descriptor, place)
        os.closerange(3, 1024)
        jail.main()
        code = 0
    except BaseException:  # noqa: BLE001 - the judge reads it and says that the sandbox failed
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)
