"""Jails as the judge holds them: three pipes and a handle to kill one.

At most levels they are forked from a server (jail_server.py), which saves the start of an interpreter.
Bubblewrap builds its namespaces before it starts anything, so there each jail starts an interpreter.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import selectors
import signal
import socket
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass

from rlvr.errors import RlvrError
from rlvr.rewards import jail, jail_server
from rlvr.rewards.sandbox_paths import Surroundings, bubblewrap, import_root, interpreter

ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "OPENBLAS_NUM_THREADS": "1",  # a thread of OpenBLAS reserves address space that the limit counts
    "OMP_NUM_THREADS": "1",
}
"""All that a program sees of the environment."""
START_SECONDS = 60.0
"""Wall time for the jail itself, beyond the program's, on a machine under any load."""
CLOSE_SECONDS = 10.0
"""Wall time in which a jail ends by itself once nobody listens."""
CHUNK = 1 << 16


class SandboxError(RlvrError):
    """The sandbox itself failed: the program is not to blame, and gets no verdict."""

    exit_code = 5


def command(module: str, function: str) -> list[str]:
    """An interpreter without site packages that runs one of our functions."""
    code = f"import sys; sys.path.insert(0, {str(import_root())!r}); from {module} import {function}; {function}()"
    return [interpreter(), "-I", "-S", "-X", "utf8", "-c", code]


@dataclass(slots=True)
class JailProcess:
    """One running jail; to be closed."""

    request: int
    """Pipe that the jail reads its request from; −1 once it is closed."""
    output: int
    """Pipe that the program writes to."""
    report: int
    """Pipe that the jail reports on."""
    handle: int
    """Process file descriptor."""
    child: subprocess.Popen[bytes] | None = None
    """Where it is a child of this process."""
    namespace: int = -1
    """Process file descriptor of the first process in a namespace, which ends after all others there."""

    def exchange(self, request: bytes, limit: int, seconds: float) -> tuple[bytes, bytes, bool]:
        """Write ``request`` and read both pipes until they end, or more than ``limit`` bytes have come.

        Returns:
            Output, the end of the report, and whether the output went over the limit.

        Raises:
            SandboxError: nothing happened until the deadline: the jail itself hangs.
        """
        deadline = time.monotonic() + seconds
        output, report, unsent = bytearray(), bytearray(), memoryview(request)
        os.set_blocking(self.request, False)
        with selectors.DefaultSelector() as selector:
            selector.register(self.request, selectors.EVENT_WRITE)
            selector.register(self.output, selectors.EVENT_READ, output)
            selector.register(self.report, selectors.EVENT_READ, report)
            while selector.get_map():
                events = selector.select(max(0.0, deadline - time.monotonic()))
                if not events:
                    raise SandboxError("the jail did not end in time", fix="is this machine overloaded?")
                for key, _ in events:
                    if key.fd == self.request:
                        unsent = self._send(unsent, selector)
                        continue
                    data = os.read(key.fd, CHUNK)
                    if not data:
                        selector.unregister(key.fd)
                        continue
                    key.data.extend(data)
                    if len(output) > limit:
                        return bytes(output), bytes(report), True
                    del report[:-4096]
        return bytes(output), bytes(report), False

    def _send(self, unsent: memoryview, selector: selectors.BaseSelector) -> memoryview:
        """Write what fits; close the pipe after the last byte."""
        try:
            unsent = unsent[os.write(self.request, unsent[:CHUNK]) :]
        except BlockingIOError:
            return unsent
        except BrokenPipeError:  # it ended early; its report says why
            unsent = unsent[:0]
        if not unsent:
            selector.unregister(self.request)
            os.close(self.request)
            self.request = -1
        return unsent

    def close(self) -> None:
        """End the jail and all that its program started, if it still runs.

        A jail that finds nobody reading its report kills its program. One that does not end by itself is
        killed, and its server, or the namespace, ends what it held.
        """
        for descriptor in (self.request, self.output, self.report):
            if descriptor >= 0:
                os.close(descriptor)
        if not select.select([self.handle], [], [], CLOSE_SECONDS)[0]:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.handle, signal.SIGKILL)
            select.select([self.handle], [], [])
        if self.child is not None:
            self.child.wait()
        os.close(self.handle)
        if self.namespace >= 0:
            select.select([self.namespace], [], [])
            os.close(self.namespace)


class JailServer:
    """Starts jails by forking a clean process; may be used from several threads."""

    def __init__(self, around: Surroundings, folder: str) -> None:
        """Nothing is started before the first jail.

        Args:
            around: what every program may read.
            folder: below it lie the private folders of all programs.
        """
        words = {"readable": around.readable, "listable": around.listable, "writable": [folder]}
        self._shared = json.dumps(words).encode()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def start(self) -> JailProcess:
        """Fork a jail; a server that has died is replaced.

        Raises:
            SandboxError: the server did not answer.
        """
        pipes = [os.pipe() for _ in range(3)]
        (request_in, request), (output, output_in), (report, report_in) = pipes
        try:
            with self._lock:
                handle = self._fork([request_in, output_in, report_in])
        except OSError as error:
            for descriptor in (request, output, report):
                os.close(descriptor)
            raise SandboxError(f"the jail cannot be started: {error}") from error
        finally:
            for descriptor in (request_in, output_in, report_in):
                os.close(descriptor)
        return JailProcess(request, output, report, handle)

    def _fork(self, descriptors: list[int]) -> int:
        try:
            if self._control is None:
                self._launch()
            assert self._control is not None
            socket.send_fds(self._control, [b"jail"], descriptors)
            _, handles, _, _ = socket.recv_fds(self._control, 16, 1)
            if not handles:
                raise OSError("the server of the sandbox ended")
        except OSError:
            self._end()
            raise
        return handles[0]

    def _launch(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(START_SECONDS)
        with theirs:
            self._process = subprocess.Popen(
                command(jail_server.__name__, jail_server.serve.__name__),
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )
        self._control = ours
        with tempfile.TemporaryFile() as shared:  # a message may be too long for it
            shared.write(self._shared)
            shared.seek(0)
            socket.send_fds(ours, [b"shared"], [shared.fileno()])

    def close(self) -> None:
        """End the server and every jail of it."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._control is not None:
            with contextlib.suppress(OSError):
                self._control.send(b"close")
            self._control.close()
        if self._process is not None:
            try:
                self._process.wait(CLOSE_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._control = self._process = None


def start_bubblewrapped(around: Surroundings, disk_mib: int, folder: str) -> JailProcess:
    """A jail inside bubblewrap.

    Raises:
        SandboxError: the tool is not installed, or cannot be started.
    """
    info, info_in = os.pipe()
    try:
        child = subprocess.Popen(
            [
                *bubblewrap(around, disk_mib, ENVIRONMENT, info_in),
                *command(jail.__name__, jail.main.__name__),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            cwd=folder,
            start_new_session=True,
            pass_fds=[info_in],
        )
    except OSError as error:
        os.close(info)
        raise SandboxError(f"bubblewrap cannot be started: {error}") from error
    finally:
        os.close(info_in)
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    with child.stdin, child.stdout, child.stderr:
        request, output, report = (
            os.dup(stream.fileno()) for stream in (child.stdin, child.stdout, child.stderr)
        )
    handle = os.pidfd_open(child.pid)
    with os.fdopen(info, encoding="utf-8") as words:
        return JailProcess(request, output, report, handle, child, first_in_namespace(words.read()))


def first_in_namespace(info: str) -> int:
    """A process file descriptor of the first process inside, from bubblewrap's own words; −1 if it is not there.

    Bubblewrap itself ends a moment earlier than what it started. The number cannot be another's yet: inside,
    the jail still waits for its request.
    """
    try:
        return os.pidfd_open(json.loads(info)["child-pid"])
    except (ValueError, ProcessLookupError):  # it has failed, and its report says why
        return -1
