"""The sandbox against the attacks, on every level that this machine offers, as root and as nobody."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from rlvr.errors import ConfigError
from rlvr.records import Problem, Status
from rlvr.rewards import jail_kernel
from rlvr.rewards.code import CodeVerifier
from rlvr.rewards.config import LEVELS, SandboxConfig
from rlvr.rewards.jail_process import SandboxError
from rlvr.rewards.sandbox import Sandbox
from rlvr.rewards.sandbox_paths import import_root, installed
from tests.rewards.attacks import (
    CALL,
    DAEMONS,
    ENDINGS,
    GOOD_CALLS,
    GOOD_SCRIPTS,
    NOT_STOPPED_BY_RLIMITS,
    PASSING_ATTACKS,
    STDIO,
)

pytestmark = pytest.mark.xdist_group("sandbox")  # one at a time: they load the machine

LIMITS: dict[str, Any] = {
    "require": "rlimits",
    "cpu_seconds": 2,
    "wall_seconds": 20.0,
    "memory_mib": 768,
    "disk_mib": 8,
    "output_kib": 512,
}
ATTACK_LIMITS: dict[str, Any] = {**LIMITS, "cpu_seconds": 1, "wall_seconds": 4.0}
"""What spins or sleeps until it is stopped need not do so for long."""
NOBODY = 65534
SECRET = "a secret of the environment"


@functools.cache
def verifier(level: str, attacked: bool = False) -> CodeVerifier:
    """A verifier at one level; skips where the machine does not offer it."""
    try:
        return CodeVerifier(SandboxConfig(level=level, **(ATTACK_LIMITS if attacked else LIMITS)))
    except ConfigError as error:
        pytest.skip(f"{level} does not work here: {error.what.splitlines()[-1].strip()}")


def style_of(source: str) -> str:
    return CALL if "def f" in source else STDIO


def judge(judging: CodeVerifier, source: str, tests: str | None = None) -> Status:
    tests = tests or style_of(source)
    problem = Problem(tests, (), "attacks", tests, ability="code")
    return judging.verify(problem, source, "stop").status


def adopt_orphans() -> None:
    """From now on a process below this one that loses its parent becomes a child of this one."""
    jail_kernel.prctl(jail_kernel.PR_SET_CHILD_SUBREAPER, 1)


def descendants() -> set[int]:
    """Running processes below this one, wherever they have gone; of nobody else's."""
    found = set()
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                found.add(process.pid)
    return found


def server_of(judging: CodeVerifier) -> list[int]:
    """The process that jails are forked from, below the one that watches it; both stay."""
    process = judging.sandbox._server._process
    if process is None:
        return []
    return [process.pid, *(child.pid for child in psutil.Process(process.pid).children())]


@contextlib.contextmanager
def nothing_left(judging: CodeVerifier) -> Iterator[None]:
    """No process that was started within is there at the end, which is the verdict."""
    adopt_orphans()
    before = descendants()
    yield
    left = descendants() - before - set(server_of(judging))
    words = {pid: psutil.Process(pid).cmdline() for pid in left if psutil.pid_exists(pid)}
    assert words == {}


@pytest.fixture
def host(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Any]]:
    """A writable file, a listening server of three kinds, and a secret: none may be touched."""
    monkeypatch.setenv("RLVR_TEST_SECRET", SECRET)
    with host_things(tmp_path_factory.mktemp("host")) as things:
        yield things


@contextlib.contextmanager
def host_things(folder: Path) -> Iterator[dict[str, Any]]:
    folder.chmod(0o777)
    for place in (folder.parent, folder.parent.parent):
        if place.name.startswith("pytest"):
            place.chmod(0o755)
    bait = folder / "bait"
    bait.write_text("untouched")
    bait.chmod(0o666)
    os.utime(bait, (1e9, 1e9))
    with contextlib.ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = tcp.getsockname()[1]
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", port))
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
        abstract.bind(f"\0rlvr-attack-{port}")
        abstract.listen()
        for server in (tcp, udp, abstract):
            server.setblocking(False)
        yield {"bait": bait, "folder": folder, "port": port, "servers": (tcp, udp, abstract)}


def untouched(host: dict[str, Any]) -> None:
    """Nothing of the host has changed and no packet has arrived."""
    bait, folder = host["bait"], host["folder"]
    status = bait.stat()
    assert (bait.read_text(), status.st_mode & 0o777, status.st_mtime) == ("untouched", 0o666, 1e9)
    assert [path.name for path in folder.iterdir()] == ["bait"]
    assert folder.stat().st_mode & 0o777 == 0o777
    tcp, udp, abstract = host["servers"]
    for server in (tcp, abstract):
        with pytest.raises(BlockingIOError):
            server.accept()
    with pytest.raises(BlockingIOError):
        udp.recv(100)


def prepared(source: str, host: dict[str, Any]) -> str:
    """The attack with the names of the host's things in it."""
    for name in ("bait", "folder", "port"):
        source = source.replace("{" + name + "}", str(host[name]))
    return source.replace("{{", "{").replace("}}", "}")


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", PASSING_ATTACKS)
def test_an_attack_never_passes_and_leaves_nothing(level: str, name: str, host: dict[str, Any]) -> None:
    if level == "rlimits" and name in NOT_STOPPED_BY_RLIMITS:
        pytest.skip("limits alone do not stop this, and say so")
    source = prepared(PASSING_ATTACKS[name], host)
    attacked = verifier(level, attacked=True)
    with nothing_left(attacked):
        assert judge(attacked, source) in (Status.INCORRECT, Status.TIMEOUT, Status.UNPARSED)
    untouched(host)
    assert judge(attacked, GOOD_CALLS["plain"]) is Status.CORRECT


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("kind", "name"), [*(("call", n) for n in GOOD_CALLS), *(("script", n) for n in GOOD_SCRIPTS)]
)
def test_a_right_program_passes(level: str, kind: str, name: str) -> None:
    source = (GOOD_CALLS if kind == "call" else GOOD_SCRIPTS)[name]
    assert judge(verifier(level), source, CALL if kind == "call" else STDIO) is Status.CORRECT


@pytest.mark.parametrize("level", LEVELS)
def test_a_program_sees_neither_the_judge_nor_its_surroundings(level: str) -> None:
    run = verifier(level).sandbox.run(
        "import os, sys, gc, numpy\n"
        "print(sorted(os.environ), sorted(sys.modules), sys.path, sys.argv, sys.orig_argv, os.listdir('.'),"
        " sys.prefix, sys.executable, numpy.__file__, list(sys.path_importer_cache))\n"
        f"for place in ('/proc/1/cmdline', '/etc/passwd', {str(import_root() / 'pyproject.toml')!r}):\n"
        "    try: print('read', open(place).readline())\n    except OSError: pass"
    )
    assert run.ok, run
    words = run.output.decode()
    assert "RLVR_TEST_SECRET" not in words
    seen = words.splitlines()[0] if level == "rlimits" else words
    assert level == "rlimits" or "read " not in words
    assert "'rlvr" not in seen  # a module; the folder may have any name
    for place in (import_root(), Path(np.__file__).resolve().parent.parent, Path(sys.prefix)):
        assert str(place) not in seen


@pytest.mark.parametrize("level", LEVELS)
def test_a_program_imports_and_reads_the_packages_that_it_may_and_no_others(level: str) -> None:
    others = Path(pytest.__file__).parent, Path(psutil.__file__).parent
    run = verifier(level).sandbox.run(
        "import numpy, sys\n"
        "for name in ('pytest', 'psutil', 'pip', 'torch', 'rlvr', 'setuptools'):\n"
        "    try: __import__(name); print('imported', name)\n    except ImportError: pass\n"
        f"for place in {[str(place / '__init__.py') for place in others]!r}:\n"
        "    try: open(place).read(); print('read', place)\n    except OSError: pass\n"
        "import inspect\n"
        "def outer(): return inspect.stack()\n"
        "print(numpy.arange(4).sum(), len(outer()) > 1)"
    )
    assert run.ok, run
    words = run.output.decode()
    assert "imported" not in words
    assert level == "rlimits" or "read" not in words
    assert words.splitlines()[-1] == "6 True"


@pytest.mark.parametrize("level", [level for level in LEVELS if level != "rlimits"])
def test_a_program_does_not_come_to_the_folder_of_another(level: str) -> None:
    sandbox = verifier(level).sandbox
    other = Path(sandbox._folders, "other", "work")
    other.mkdir(parents=True, exist_ok=True)
    (other / "file").write_text("untouched")
    for place in (other, other.parent, other / "file"):
        place.chmod(0o777)
    run = sandbox.run(
        "import os\n"
        f"others = [{str(other)!r}, {sandbox._folders!r}, '..', '../..']\n"
        f"attempts = [lambda: open({str(other / 'file')!r}).read(), lambda: open({str(other / 'file')!r}, 'w'),\n"
        f"            lambda: open({str(other / 'new')!r}, 'w'), lambda: os.remove({str(other / 'file')!r}),\n"
        f"            lambda: os.rename({str(other / 'file')!r}, 'mine')]\n"
        "for place in others:\n"
        "    try: names = os.listdir(place)\n    except OSError: continue\n"
        "    if {'other', 'file'} & set(names): print('listed', place, names)\n"
        "for number, attempt in enumerate(attempts):\n"
        "    try: attempt(); print('did', number)\n    except OSError: pass"
    )
    assert run.ok, run
    assert run.output == b""
    assert [path.name for path in other.iterdir()] == ["file"]
    assert (other / "file").read_text() == "untouched"


def test_a_package_brings_what_it_requires_and_nothing_else() -> None:
    names = set(installed(("pandas",)))
    assert {"pandas", "numpy", "dateutil"} <= names
    assert names.isdisjoint({"torch", "pytest", "ray", "sympy"})


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("name", DAEMONS)
def test_no_program_survives_its_verdict(level: str, name: str, ending: str) -> None:
    if level == "rlimits" and "getppid" in ending and os.geteuid() != 0:
        expected = {*Status}  # without root it may kill its jail: then there is no verdict but our error
    else:
        expected = {Status.INCORRECT, Status.TIMEOUT}
    attacked = verifier(level, attacked=True)
    with nothing_left(attacked):
        assert judge(attacked, DAEMONS[name] + ending, STDIO) in expected


@pytest.mark.parametrize("level", [level for level in LEVELS if level != "bubblewrap"])
def test_no_program_survives_its_server(level: str) -> None:
    """A program may have the user of the server, and kill it; here the test does."""
    attacked = verifier(level, attacked=True)
    assert judge(attacked, GOOD_SCRIPTS["plain"], STDIO) is Status.CORRECT
    _, server = server_of(attacked)
    with nothing_left(attacked), ThreadPoolExecutor(1) as pool:
        running = pool.submit(judge, attacked, DAEMONS["sessions of their own"] + "\ntime.sleep(99)", STDIO)
        while len(psutil.Process(server).children(recursive=True)) < 2:  # its jail and the program
            assert not running.done()
            time.sleep(0.01)
        os.kill(server, signal.SIGKILL)
        with contextlib.suppress(SandboxError):
            running.result()
    assert judge(attacked, GOOD_SCRIPTS["plain"], STDIO) is Status.CORRECT


@pytest.mark.parametrize("level", LEVELS)
def test_a_sleeper_is_ended_by_the_wall_and_a_worker_by_its_cpu_time(level: str) -> None:
    verifier(level)
    sandbox = Sandbox(SandboxConfig(level=level, **{**LIMITS, "cpu_seconds": 1, "wall_seconds": 3.0}))
    assert sandbox.run("import time\ntime.sleep(1000)").stopped == "wall"
    sandbox = Sandbox(SandboxConfig(level=level, **{**LIMITS, "cpu_seconds": 1, "wall_seconds": 120.0}))
    spun = sandbox.run("while True: pass")
    assert spun.stopped == "cpu"
    assert spun.cpu_seconds < 2


def test_a_level_that_does_not_work_is_refused_and_never_replaced_by_a_weaker_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.which", lambda tool: None)
    with pytest.raises(ConfigError, match="bwrap is not installed") as caught:
        Sandbox(SandboxConfig(require="bubblewrap"))
    assert "weaker than rewards.sandbox.require=bubblewrap" in caught.value.what


def test_a_bubblewrap_that_the_machine_forbids_is_refused_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbidden = tmp_path / "bwrap"
    forbidden.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    forbidden.chmod(0o755)
    monkeypatch.setattr("shutil.which", lambda tool: str(forbidden))
    with pytest.raises(
        ConfigError, match="bubblewrap cannot shut a program in here: No permissions to create"
    ):
        Sandbox(SandboxConfig(level="bubblewrap"))


def test_the_self_test_notices_a_jail_that_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    verifier("landlock")
    monkeypatch.setattr("rlvr.rewards.sandbox.ATTACK", "print('escaped', end='')")
    with pytest.raises(ConfigError, match="attack of the self-test got through"):
        Sandbox(SandboxConfig(level="landlock"))
