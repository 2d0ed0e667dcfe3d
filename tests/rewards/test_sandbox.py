"""The sandbox against the attacks, on every level that this machine offers, as root and as nobody."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlvr.errors import ConfigError
from rlvr.records import Problem, Status
from rlvr.rewards import jail_kernel
from rlvr.rewards.code import CodeVerifier
from rlvr.rewards.config import LEVELS, SandboxConfig
from rlvr.rewards.sandbox import Sandbox
from rlvr.rewards.sandbox_paths import import_root
from tests.rewards.attacks import (
    CALL,
    GOOD_CALLS,
    GOOD_SCRIPTS,
    NOT_STOPPED_BY_RLIMITS,
    PASSING_ATTACKS,
    STDIO,
)

pytestmark = pytest.mark.xdist_group("sandbox")  # one at a time: they count the processes that are left

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


def leftovers() -> list[str]:
    """Processes that came out of a jail and still run; not the servers that they are forked from.

    A jail shows its server's command line. Its parent is a server, or init once that one is gone.
    """
    mine = f"insert(0, {str(import_root())!r})"
    lines: dict[int, str] = {}
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state != "Z":
                    words = (entry / "cmdline").read_bytes().decode(errors="replace")
                    lines[int(entry.name)] = words.replace("\0", " ")
                    parents[int(entry.name)] = int(parent)
    return [
        f"{pid} {line}"
        for pid, line in lines.items()
        if (mine in line or "98765" in line)
        and not ("serve()" in line and parents[pid] != 1 and "serve()" not in lines.get(parents[pid], ""))
    ]


def wait_until_gone(seconds: float = 20.0) -> list[str]:
    """The kernel may take a moment to take a namespace down."""
    deadline = time.monotonic() + seconds
    while (left := leftovers()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


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
    assert judge(attacked, source) in (Status.INCORRECT, Status.TIMEOUT, Status.UNPARSED)
    assert wait_until_gone() == []
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
        "import os, sys\nprint(sorted(os.environ), [m for m in sys.modules if 'rlvr' in m], sys.path, os.listdir('.'))\n"
        "for place in ('/proc/1/cmdline', '/etc/passwd', "
        + repr(str(import_root() / "pyproject.toml"))
        + "):\n"
        "    try: print('read', open(place).readline())\n    except OSError: pass"
    )
    assert run.ok, run
    words = run.output.decode()
    assert "RLVR_TEST_SECRET" not in words
    assert level == "rlimits" or "read" not in words
    assert "rlvr" not in words.splitlines()[0]


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


def test_the_self_test_notices_a_jail_that_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    verifier("landlock")
    monkeypatch.setattr("rlvr.rewards.sandbox.ATTACK", "print('escaped', end='')")
    with pytest.raises(ConfigError, match="attack of the self-test got through"):
        Sandbox(SandboxConfig(level="landlock"))


# ------------------------------------------------------------------------------------ without root


def become_nobody() -> None:
    """In a child of root: make a private interpreter readable in a mount namespace, then drop root."""
    prefix = Path(sys.base_prefix).resolve()
    closed = [place for place in (prefix, *prefix.parents) if not place.stat().st_mode & 0o005]
    if closed:
        jail_kernel.unshare(jail_kernel.CLONE_NEWNS)
        jail_kernel.mount("none", "/", "", jail_kernel.MS_REC | jail_kernel.MS_PRIVATE)
        descriptor = os.open(prefix, os.O_RDONLY)
        jail_kernel.mount("tmpfs", str(closed[-1]), "tmpfs", 0, "mode=755")
        prefix.mkdir(parents=True)
        jail_kernel.mount(f"/proc/self/fd/{descriptor}", str(prefix), "", jail_kernel.MS_BIND)
        os.close(descriptor)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


@pytest.mark.skipif(os.geteuid() != 0, reason="this run is unprivileged already: the other tests say it all")
@pytest.mark.parametrize("level", LEVELS)
def test_an_unprivileged_user_gets_the_same_verdicts(level: str) -> None:
    done = subprocess.run(
        [sys.executable, "-B", "-m", "tests.rewards.test_sandbox", level],
        preexec_fn=become_nobody,
        cwd=import_root(),
        env={
            "PATH": os.environ["PATH"],
            "HOME": "/tmp",
            "PYTHONPATH": os.pathsep.join([str(import_root()), *sys.path]),
        },
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    if "refused" in found:
        pytest.skip(f"{level} does not work here without root: {found['refused']}")
    assert found.pop("good") == dict.fromkeys(GOOD_CALLS, "correct")
    assert found.pop("left") == []
    assert {name for name, status in found["attacks"].items() if status in ("correct", "error")} == set()


def main(level: str) -> None:
    """The attacks and the right programs in this process; the verdicts as JSON."""
    import tempfile

    try:
        attacked = verifier(level, attacked=True)
    except BaseException as refusal:  # noqa: BLE001 - pytest's Skipped is one
        print(json.dumps({"refused": str(refusal)}))
        return
    attacks = {}
    with tempfile.TemporaryDirectory() as folder, host_things(Path(folder)) as host:
        Path(folder).chmod(0o777)
        for name, source in PASSING_ATTACKS.items():
            if level != "rlimits" or name not in NOT_STOPPED_BY_RLIMITS:
                attacks[name] = judge(attacked, prepared(source, host)).value
        untouched(host)
    good = {name: judge(verifier(level), source).value for name, source in GOOD_CALLS.items()}
    print(json.dumps({"attacks": attacks, "good": good, "left": wait_until_gone()}))


if __name__ == "__main__":
    main(sys.argv[1])
