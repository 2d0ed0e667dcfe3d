"""The clean process that jails are forked from: an interpreter that has started once and seen no program.

Started by jail_process.py. For every message on its standard input, a socket, it forks; the new process is
a jail (jail.py) on the three descriptors that came with the message, and a descriptor of that process goes
back. Requests and programs pass by here unread, so no run can leave anything to the next.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys
import traceback
from types import FrameType

from rlvr.rewards import jail


def serve() -> None:
    """Fork a jail for every message, until the judge closes the socket."""
    sys.dont_write_bytecode = True  # our own modules are cached by now; no program shall cache any
    signal.signal(signal.SIGCHLD, bury)
    gc.freeze()
    control = socket.socket(fileno=0)
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 16, 3)
        if not message:
            return
        pid = os.fork()
        if pid == 0:
            become_jail(descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        # It waits for its request, which comes after this answer, so its number is not another's yet.
        handle = os.pidfd_open(pid)
        socket.send_fds(control, [b"started"], [handle])
        os.close(handle)


def bury(signal_number: int, frame: FrameType | None) -> None:
    """Take note of every jail that has ended; their CPU time then counts as this process's."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def become_jail(descriptors: list[int]) -> None:
    """Take the three descriptors as 0, 1 and 2, keep nothing else, and run one request; never returns."""
    code = 1
    try:
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
