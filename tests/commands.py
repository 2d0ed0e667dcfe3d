"""The command line run as a user runs it, and the processes that it starts."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

TIMEOUT = 900
"""Seconds that any of these commands may take; they end in 30 to 90."""
MARK = "RLVR_TEST_RUN"
"""Environment variable by which a command's processes are found, wherever they hang in the tree."""


def start(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start ``rlvr`` in a session of its own, marked."""
    return subprocess.Popen(
        [sys.executable, "-m", "rlvr.cli.main", *arguments],
        env={**os.environ, MARK: str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=(tmp_path / "stderr.txt").open("w"),
        text=True,
        start_new_session=True,
    )


def stderr(tmp_path: Path) -> str:
    """What the command has said so far."""
    return (tmp_path / "stderr.txt").read_text()


def processes(tmp_path: Path) -> list[psutil.Process]:
    """Living processes that the command started, by their inherited environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(tmp_path) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = TIMEOUT) -> None:
    """Wait until the condition holds; fail when the process ends or time runs out first."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the command ended early"
        assert time.monotonic() < deadline, "time ran out"
        time.sleep(0.1)


def assert_nothing_left(tmp_path: Path, *, killed: bool = False) -> None:
    """No process of the command may outlive it by more than a few seconds.

    A command that was ``killed`` cannot end Ray's agents. They compute nothing, and give up by
    themselves when they have not reached their head for a minute or two.
    """
    deadline = time.monotonic() + 15
    while left := [each for each in processes(tmp_path) if not (killed and is_agent(each))]:
        assert time.monotonic() < deadline, [process.cmdline()[:3] for process in left]
        time.sleep(0.2)


def is_agent(process: psutil.Process) -> bool:
    """Whether this is one of the helpers that Ray starts on every node."""
    try:
        return "Agent" in process.name() or "Agent" in " ".join(process.cmdline())
    except psutil.Error:
        return True  # it has ended meanwhile


def long_training(tmp_path: Path, *overrides: str) -> subprocess.Popen[str]:
    """A training run that is well under way when this returns."""
    command = start(
        tmp_path,
        "train",
        "recipe=tiny",
        f"run.dir={tmp_path / 'run'}",
        "train.num_steps=500",
        "learner.threads_per_learner=1",
        *overrides,
    )
    metrics = tmp_path / "run" / "metrics.jsonl"
    wait_for(lambda: metrics.exists() and metrics.read_text().count("\n") >= 2, command)
    return command


def end_all(tmp_path: Path) -> None:
    """Kill what a failed test has left, so that it does not slow down the others."""
    for process in processes(tmp_path):
        with suppress(psutil.Error):
            process.kill()


def workers(tmp_path: Path, actor: str) -> list[psutil.Process]:
    """Worker processes of a command by the name of their actor, such as ``EngineActor``."""
    return [process for process in processes(tmp_path) if actor in " ".join(process.cmdline())]
