"""The server that jails are forked from: replaced when it dies, gone with its judge, nothing piles up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlvr.errors import ConfigError
from rlvr.records import Problem, Status
from rlvr.rewards.code import CodeVerifier
from rlvr.rewards.config import SandboxConfig
from rlvr.rewards.jail_process import SandboxError
from rlvr.rewards.pool import VerifierPool
from rlvr.rewards.sandbox_paths import import_root

pytestmark = pytest.mark.xdist_group("sandbox")  # one at a time: they load the machine

TESTS = json.dumps([{"stdin": f"{number}\n", "stdout": f"{number * number}\n"} for number in range(3)])
SQUARE = Problem("square", (), "d", TESTS, ability="code")
SOLUTION = "print(int(input()) ** 2)"


@pytest.fixture
def verifier() -> Iterator[CodeVerifier]:
    try:
        made = CodeVerifier(SandboxConfig(packages=[]))
    except ConfigError as error:
        pytest.skip(error.what)
    if made.sandbox.level == "bubblewrap":
        pytest.skip("bubblewrap has no server")
    yield made
    made.close()


def server(verifier: CodeVerifier) -> int:
    """The process that forks jails: the child of the one that watches it."""
    process = verifier.sandbox._server._process
    assert process is not None
    [child] = children(process.pid)
    return child


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 20
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(pid)


def test_a_server_that_was_killed_is_replaced_and_costs_no_verdict(verifier: CodeVerifier) -> None:
    verifier.sandbox.run(SOLUTION, "2")
    first = server(verifier)
    os.kill(first, signal.SIGKILL)
    with pytest.raises(SandboxError):
        verifier.sandbox.run(SOLUTION, "2")
    assert verifier.sandbox.run(SOLUTION, "2").output == b"4\n"
    os.kill(server(verifier), signal.SIGKILL)
    assert verifier.verify(SQUARE, SOLUTION, "stop").status is Status.CORRECT
    assert server(verifier) != first


def test_closing_ends_the_server_and_the_next_run_starts_another(verifier: CodeVerifier) -> None:
    first = server(verifier)
    verifier.close()
    assert not alive(first)
    assert verifier.verify(SQUARE, SOLUTION, "stop").status is Status.CORRECT


def test_neither_descriptors_nor_processes_pile_up(verifier: CodeVerifier) -> None:
    def counts() -> tuple[int, int, list[int]]:
        pid = server(verifier)
        deadline = time.monotonic() + 20
        while (jails := children(pid)) and time.monotonic() < deadline:
            time.sleep(0.01)  # a jail that has ended is buried a moment later
        open_here, open_there = (len(list(Path(f"/proc/{p}/fd").iterdir())) for p in ("self", pid))
        return open_here, open_there, jails

    verifier.sandbox.run(SOLUTION, "2")
    before = counts()
    for number in range(30):
        source = ("print(1)", "raise ValueError", "print('x' * 10**8)")[number % 3]
        verifier.sandbox.run(source)
    assert counts() == before
    assert before[2] == []


def test_one_run_leaves_nothing_to_the_next(verifier: CodeVerifier) -> None:
    verifier.sandbox.run(
        "import builtins, sys\nbuiltins.left = 1\nsys.left = 1\nopen('left', 'w').write('x')"
    )
    run = verifier.sandbox.run(
        "import builtins, os, sys\nprint(hasattr(builtins, 'left'), hasattr(sys, 'left'), os.path.exists('left'))"
    )
    assert run.output == b"False False False\n"


def test_a_server_ends_with_its_judge_and_removes_its_folders() -> None:
    code = (
        "import time\nfrom rlvr.rewards.sandbox import Sandbox\nsandbox = Sandbox()\n"
        "print(sandbox._server._process.pid if sandbox._server._process else 0, sandbox._folders, flush=True)\n"
        "time.sleep(600)"
    )
    judge = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=import_root(),
        env={**os.environ, "PYTHONPATH": str(import_root())},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert judge.stdout is not None
    try:
        words = judge.stdout.readline().split()
        pid = int(words[0]) if words else 0
        if not pid:
            pytest.skip("no sandbox here, or one without a server")
        assert alive(pid)
        assert Path(words[1]).is_dir()
    finally:
        judge.kill()
        judge.communicate()
    wait_until_gone(pid)
    assert not Path(words[1]).exists()


def test_right_programs_pass_while_all_cores_are_busy(verifier: CodeVerifier) -> None:
    """A hundred of a hundred: the verdict goes by CPU time, which other work does not use up."""
    work = "sum(range(300_000)); "
    busy = [
        subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"])
        for _ in range(2 * len(os.sched_getaffinity(0)))
    ]
    try:
        with VerifierPool(verifier, 4) as pool:
            waiting = [pool.submit(SQUARE, work + SOLUTION, "stop") for _ in range(100)]
            assert [future.result().status for future in waiting] == [Status.CORRECT] * 100
    finally:
        for process in busy:
            process.kill()
            process.wait()
