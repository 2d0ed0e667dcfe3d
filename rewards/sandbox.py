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
import json
import os
import shutil
import signal
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr.errors import ConfigError
from rlvr.rewards.config import LEVELS, SandboxConfig
from rlvr.rewards.jail_process import (
    START_SECONDS,
    JailProcess,
    JailServer,
    SandboxError,
    start_bubblewrapped,
)
from rlvr.rewards.sandbox_paths import PACKAGES, surroundings

TRIED = ("namespaces", "bubblewrap", "landlock", "rlimits")
"""Strongest first; of the first two, which guarantee the same, the one that runs four times as many tests."""


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
        self._around = surroundings(tuple(self.config.packages))
        self._folders = tempfile.mkdtemp(prefix="jails-")
        weakref.finalize(self, shutil.rmtree, self._folders, ignore_errors=True)
        Path(self._folders).chmod(0o711)
        self._link_packages(Path(self._folders, "packages"))
        self._server = JailServer(self._around, self._folders)
        self.refusals: dict[str, str] = {}
        try:
            self.level = self._choose()
        except BaseException:
            self.close()
            raise

    def _choose(self) -> str:
        candidates = TRIED if self.config.level == "auto" else (self.config.level,)
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
        self,
        source: str,
        stdin: str = "",
        call: dict[str, Any] | None = None,
        preamble: str = "",
        any_exit_code: bool = False,
        *,
        level: str | None = None,
    ) -> Run:
        """Run a program once, in a jail of its own.

        Args:
            source: Python source text.
            stdin: its standard input.
            call: ``{"entry_point": name, "args": […]}`` in the encoding of plain.py; then the output is the
                result as JSON, and what it prints goes nowhere.
            preamble: source that runs before, in the same name space.
            any_exit_code: whether a ``SystemExit`` of the program is a normal end, whatever its code.
            level: another level than the chosen one.

        Raises:
            SandboxError: the jail could not be set up, or did not report.
        """
        level = level or self.level
        with tempfile.TemporaryDirectory(dir=self._folders, ignore_cleanup_errors=True) as folder:
            packages_path = self._packages_path(folder, level)
            request = {
                "source": source,
                "stdin": stdin,
                "call": call,
                "preamble": preamble,
                "any_exit_code": any_exit_code,
                "level": level,
                "folder": folder,
                "shown": self._around.shown,
                "hidden": self._around.hidden,
                "public": self._around.public,
                "packages_path": [packages_path],
                "cpu_seconds": self.config.cpu_seconds,
                "wall_seconds": self.config.wall_seconds,
                "memory_mib": self.config.memory_mib,
                "disk_mib": self.config.disk_mib,
            }
            process = self._start(level, folder)
            try:
                return self._supervise(process, json.dumps(request).encode())
            finally:
                process.close()
                make_removable(folder)
                if level == "rlimits":
                    shutil.rmtree(packages_path, ignore_errors=True)

    def _packages_path(self, folder: str, level: str) -> str:
        """Where a program finds its packages.

        At level rlimits each has links of its own: without root it could change those of all.
        """
        if level in ("bubblewrap", "namespaces"):
            return PACKAGES
        if level == "landlock":
            return str(Path(self._folders, "packages"))
        own = Path(f"{folder}-packages")
        self._link_packages(own)
        return str(own)

    def _link_packages(self, place: Path) -> None:
        """Links that do not say whence packages come."""
        place.mkdir()
        for name, target in self._around.packages.items():
            (place / name).symlink_to(target)
        place.chmod(0o755)

    def _start(self, level: str, folder: str) -> JailProcess:
        if level == "bubblewrap":
            return start_bubblewrapped(self._around, self.config.disk_mib, folder)
        return self._server.start()

    def _supervise(self, process: JailProcess, request: bytes) -> Run:
        """Feed the request, drain the pipes, and read the report."""
        limit = self.config.output_kib * 1024
        output, report, overflow = process.exchange(request, limit, self.config.wall_seconds + START_SECONDS)
        if overflow:
            return Run(output[:limit], -signal.SIGKILL, 0.0, 0.0, "output")
        line = report.decode(errors="replace").strip().rpartition("\n")[2]
        try:
            words = json.loads(line)
        except ValueError:
            if line.startswith("bwrap: "):  # nothing of ours has started
                raise SandboxError(
                    f"bubblewrap cannot shut a program in here: {line.removeprefix('bwrap: ')}"
                ) from None
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

    def close(self) -> None:
        """End the server that jails are forked from; the next run starts another."""
        self._server.close()


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


def make_removable(folder: str) -> None:
    """Open folders that a program made unreadable, so that its private folder can be removed."""
    for where, names, _ in os.walk(folder):
        for name in names:
            path = Path(where, name)
            if not path.is_symlink():
                with contextlib.suppress(OSError):
                    path.chmod(0o700)
