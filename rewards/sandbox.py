"""The judge's side of the jail: choose an isolation that works here, run a program, bound everything.

A program gets one input and returns bytes; expected outputs stay with the caller. Levels, strongest first
(docs/rewards.md says what each guarantees):

``bubblewrap``  the ``bwrap`` tool: user, pid, network, mount namespaces; and seccomp
``namespaces``  the same by the kernel's own calls, without a tool
``landlock``    Landlock for files, seccomp for the rest: works inside containers that forbid namespaces
``rlimits``     limits and a private folder only

A level is never assumed from a version: it is tried with a good program, a bad one and an attack.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from rlvr.errors import ConfigError, RlvrError
from rlvr.rewards import jail
from rlvr.rewards.config import LEVELS, SandboxConfig

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
SYSTEM_LIBRARIES = (
    "/usr/lib",
    "/usr/lib64",
    "/lib",
    "/lib64",
    "/usr/local/lib",
    "/usr/share/zoneinfo",
    "/etc/ld.so.cache",
)


class SandboxError(RlvrError):
    """The sandbox itself failed: the program is not to blame, and gets no verdict."""

    exit_code = 5


@dataclass(frozen=True, slots=True)
class Run:
    """How one run of a program ended."""

    output: bytes
    """What it wrote on standard output, or its result; at most ``output_kib``."""
    exit_code: int
    """0 for a normal end; negative for a signal."""
    cpu_seconds: float
    wall_seconds: float
    stopped: str | None
    """The limit that ended it: ``cpu``, ``wall``, ``output`` or ``disk``; None if it ended by itself."""

    @property
    def ok(self) -> bool:
        """Whether it ended by itself and normally."""
        return self.exit_code == 0 and self.stopped is None


class Sandbox:
    """Runs programs at one level of isolation; may be used from several threads."""

    def __init__(self, config: SandboxConfig | None = None) -> None:
        """Find the strongest level that works here.

        Raises:
            ConfigError: nothing as strong as ``config.require`` works; the message says why for each.
        """
        self.config = config or SandboxConfig()
        self._readable, self._listable, self._packages = readable_paths(tuple(self.config.packages))
        self.refusals: dict[str, str] = {}
        self.level = self._choose()

    def _choose(self) -> str:
        candidates = LEVELS if self.config.level == "auto" else (self.config.level,)
        allowed = LEVELS[: LEVELS.index(self.config.require) + 1]
        for level in candidates:
            if level not in allowed:
                self.refusals[level] = f"weaker than rewards.sandbox.require={self.config.require}"
                continue
            reason = self.self_test(level)
            if reason is None:
                return level
            self.refusals[level] = reason
        raise ConfigError(
            "no isolation that is strong enough works on this machine:\n"
            + "\n".join(f"    {level}: {reason}" for level, reason in self.refusals.items()),
            where="rewards.sandbox",
            fix="docs/rewards.md says what each level needs; rewards.sandbox.require=rlimits gives up "
            "protection and is for models that you trust",
        )

    def self_test(self, level: str) -> str | None:
        """Try a good program, a bad one and an attack; the reason why the level cannot be used, or None."""
        try:
            good = self.run("import fractions; print(int(input()) + 1)", "41", level=level)
            bad = self.run("raise ValueError", "", level=level)
            with _bait() as path:
                attack = self.run(ATTACK.format(path=path), "", level=level)
                touched = Path(path).read_text() != BAIT
        except SandboxError as error:
            return error.what
        if not good.ok or good.output.strip() != b"42":
            return f"a right program failed (exit code {good.exit_code}, stopped by {good.stopped})"
        if bad.ok:
            return "a failing program passed"
        held = level != "rlimits" and (touched or attack.output != b"held")
        return f"the attack of the self-test got through: {attack.output[:200]!r}" if held else None

    def run(
        self, source: str, stdin: str = "", call: dict[str, Any] | None = None, *, level: str | None = None
    ) -> Run:
        """Run a program once, in a jail of its own.

        Args:
            source: Python source text.
            stdin: its standard input.
            call: ``{"entry_point": name, "args": […]}`` in the encoding of plain.py; then the output is the
                result as JSON, and what it prints goes nowhere.
            level: another level than the chosen one.

        Raises:
            SandboxError: the jail could not be set up, or did not report.
        """
        level = level or self.level
        with tempfile.TemporaryDirectory(prefix="rlvr-jail-", ignore_cleanup_errors=True) as folder:
            request = {
                "source": source,
                "stdin": stdin,
                "call": call,
                "level": level,
                "folder": folder,
                "readable": self._readable,
                "listable": self._listable,
                "packages_path": self._packages,
                "cpu_seconds": self.config.cpu_seconds,
                "wall_seconds": self.config.wall_seconds,
                "memory_mib": self.config.memory_mib,
                "disk_mib": self.config.disk_mib,
            }
            process = self._start(level, folder)
            try:
                return self._supervise(process, json.dumps(request).encode())
            finally:
                if process.poll() is None:
                    _kill_group(process)
                process.wait()
                for stream in (process.stdin, process.stdout, process.stderr):
                    if stream is not None:
                        with contextlib.suppress(OSError):
                            stream.close()
                make_removable(folder)

    def _start(self, level: str, folder: str) -> subprocess.Popen[bytes]:
        root = str(import_root())
        code = f"import sys; sys.path.insert(0, {root!r}); from {jail.__name__} import main; main()"
        command = [interpreter(), "-I", "-S", "-X", "utf8", "-c", code]
        if level == "bubblewrap":
            command = [*bubblewrap(self._readable, self.config.disk_mib), *command]
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=ENVIRONMENT,
                cwd=folder,
                start_new_session=True,
            )
        except OSError as error:
            raise SandboxError(f"the jail cannot be started: {error}", where=f"level {level}") from error

    def _supervise(self, process: subprocess.Popen[bytes], request: bytes) -> Run:
        """Feed the request, drain both pipes at once, and read the report."""
        limit = self.config.output_kib * 1024
        deadline = time.monotonic() + self.config.wall_seconds + START_SECONDS
        output, report, overflow = drain(process, request, limit, deadline)
        if overflow:
            return Run(output[:limit], -signal.SIGKILL, 0.0, 0.0, "output")
        line = report.decode(errors="replace").strip().rpartition("\n")[2]
        try:
            words = json.loads(line)
        except ValueError:
            raise SandboxError(
                f"the jail did not report: {report[-500:].decode(errors='replace')!r}"
            ) from None
        if "refused" in words:
            raise SandboxError(f"the jail could not be set up: {words['refused']}")
        stopped = words["killed"]
        # The kernel kills by a clock that runs ahead of the one it reports, by a tenth of a second or so.
        share = words["cpu_seconds"] / self.config.cpu_seconds
        if stopped is None and (share >= 1 or (words["exit_code"] == -signal.SIGKILL and share > 0.75)):
            stopped = "cpu"
        return Run(output, words["exit_code"], words["cpu_seconds"], words["wall_seconds"], stopped)


BAIT = "untouched"
ATTACK = """
import os, socket
held = True
for attempt in (lambda: open({path!r}, "w").write("touched"), lambda: open({path!r}).read(), lambda: os.fork(),
                lambda: socket.socket(), lambda: os.kill(-1, 0)):
    try:
        attempt()
        held = False
    except OSError:
        pass
print("held" if held else "escaped", end="")
"""
"""Files of the host, processes, the network, signals."""


@contextlib.contextmanager
def _bait() -> Any:
    """A file that a program must neither read nor change, although its permissions would let it."""
    with tempfile.TemporaryDirectory(prefix="rlvr-bait-") as folder:
        Path(folder).chmod(0o777)
        path = Path(folder, "bait")
        path.write_text(BAIT)
        path.chmod(0o666)
        yield str(path)


def drain(
    process: subprocess.Popen[bytes], request: bytes, limit: int, deadline: float
) -> tuple[bytes, bytes, bool]:
    """Write ``request``, read standard output and error until both end, the limit or the deadline.

    Returns:
        Output, report, and whether the output went over the limit.

    Raises:
        SandboxError: the deadline passed: the jail itself hangs.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    output, report, unsent = bytearray(), bytearray(), memoryview(request)
    os.set_blocking(process.stdin.fileno(), False)
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdin, selectors.EVENT_WRITE)
        selector.register(process.stdout, selectors.EVENT_READ, output)
        selector.register(process.stderr, selectors.EVENT_READ, report)
        while selector.get_map():
            events = selector.select(max(0.0, deadline - time.monotonic()))
            if not events:
                raise SandboxError("the jail did not end in time", fix="is this machine overloaded?")
            for key, _ in events:
                if key.fileobj is process.stdin:
                    unsent = _send(process, unsent, selector)
                    continue
                data = os.read(key.fd, 1 << 16)
                if not data:
                    selector.unregister(key.fileobj)
                    continue
                key.data.extend(data)
                if len(output) > limit:
                    return bytes(output), bytes(report), True
                del report[:-4096]
    return bytes(output), bytes(report), False


def _send(
    process: subprocess.Popen[bytes], unsent: memoryview, selector: selectors.BaseSelector
) -> memoryview:
    """Write what fits; close the pipe after the last byte."""
    assert process.stdin is not None
    try:
        unsent = unsent[os.write(process.stdin.fileno(), unsent[: 1 << 16]) :]
    except BlockingIOError:
        return unsent
    except BrokenPipeError:  # it ended early; its report says why
        unsent = unsent[:0]
    if not unsent:
        selector.unregister(process.stdin)
        process.stdin.close()
    return unsent


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the jail; the kernel then kills the program, whose parent it is."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def make_removable(folder: str) -> None:
    """Open folders that a program made unreadable, so that its private folder can be removed."""
    for where, names, _ in os.walk(folder):
        for name in names:
            path = Path(where, name)
            if not path.is_symlink():
                with contextlib.suppress(OSError):
                    path.chmod(0o700)


# ------------------------------------------------------------------------------- what a program may read


@lru_cache(maxsize=1)
def interpreter() -> str:
    """The interpreter behind a virtual environment: the jail uses none of its packages by default."""
    return str(Path(sys.executable).resolve())


@lru_cache(maxsize=1)
def import_root() -> Path:
    """Where ``rlvr`` is imported from."""
    import rlvr

    return Path(rlvr.__file__).resolve().parent.parent


@lru_cache(maxsize=8)
def readable_paths(packages: tuple[str, ...]) -> tuple[list[str], list[str], list[str]]:
    """Files that a program may read, folders that it may list, and its import path beside the library.

    Raises:
        ConfigError: a package is not installed.
    """
    readable = [path for path in SYSTEM_LIBRARIES if Path(path).exists()]
    readable += [str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "platstdlib")]
    readable += [str(Path(sys.base_prefix).resolve() / "lib")]
    folders = []
    for package in packages:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise ConfigError(
                f"package {package!r} is not installed",
                where="rewards.sandbox.packages",
                fix=f"install it, or leave it out: rewards.sandbox.packages={[p for p in packages if p != package]}",
            )
        place = Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin)
        folders.append(str(place.parent))
        readable += [str(place), *(str(path) for path in [place.parent / f"{package}.libs"] if path.exists())]
    unique = list(dict.fromkeys(readable))
    inner = [p for p in unique if any(p != q and Path(p).is_relative_to(q) for q in unique)]
    return [path for path in unique if path not in inner], sorted(set(folders)), sorted(set(folders))


JAIL_MODULES = ("__init__", "jail", "jail_kernel", "jail_program", "plain")
"""All of this package that is needed inside; the rest, and data beside it, stay out of sight."""


def bubblewrap(readable: list[str], disk_mib: int) -> list[str]:
    """The ``bwrap`` command line in front of the interpreter.

    Raises:
        SandboxError: the tool is not installed.
    """
    tool = shutil.which("bwrap")
    if tool is None:
        raise SandboxError("the tool bwrap is not installed", fix="apt-get install bubblewrap")
    own = [import_root() / "rlvr" / "__init__.py"]
    own += [import_root() / "rlvr" / "rewards" / f"{name}.py" for name in JAIL_MODULES]
    binds = [word for path in [*readable, interpreter()] for word in ("--ro-bind", path, path)]
    binds += [word for path in own for word in ("--ro-bind", str(path.resolve()), str(path))]
    devices = [
        word
        for name in ("null", "zero", "urandom", "random")
        for word in ("--dev-bind", f"/dev/{name}", f"/dev/{name}")
    ]
    return [
        tool, "--unshare-all", "--die-with-parent", "--new-session", "--clearenv",
        *(word for name, value in ENVIRONMENT.items() for word in ("--setenv", name, value)),
        "--size", str(disk_mib * 2**20), "--tmpfs", "/tmp", *binds, *devices, "--chdir", "/tmp", "--",
    ]  # fmt: skip
