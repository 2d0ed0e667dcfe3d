"""``rlvr paper`` under signals: the command that it runs ends in its own time, and never goes on alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rlvr.signals import SIGNALS
from rlvr.workflows import paper_run

COMMAND = """\
#!/bin/sh
trap 'echo first >> got; sleep 0.5; echo ended >> got; exit 143' TERM
echo begun > begun
while :; do sleep 0.05; done
"""
"""Stands in for a training run, which takes its time to leave a checkpoint."""


@pytest.fixture
def command(cwd: Path) -> Path:
    path = cwd / "command.sh"
    path.write_text(COMMAND)
    path.chmod(0o755)
    return path


def until(path: Path, text: str) -> None:
    end = time.monotonic() + 60
    while not path.exists() or text not in path.read_text():
        assert time.monotonic() < end, f"{path} never had {text!r}"
        time.sleep(0.05)


def test_a_signal_is_passed_on_and_waited_for(
    cwd: Path, command: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paper_run.sys, "executable", str(command))
    interrupt = signal.getsignal(signal.SIGINT)
    SIGNALS.install()

    def terminate() -> None:
        until(cwd / "begun", "begun")
        os.kill(os.getpid(), signal.SIGTERM)

    sender = threading.Thread(target=terminate)
    sender.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            paper_run.call(["study"])
    finally:
        sender.join()
        signal.signal(signal.SIGINT, interrupt)
    assert (cwd / "got").read_text() == "first\nended\n"
    assert SIGNALS.exit_code == 143


def test_a_killed_command_takes_its_study_along(cwd: Path, command: Path) -> None:
    program = f"import sys; from rlvr.workflows import paper_run; sys.executable = {str(command)!r}; paper_run.call(['study'])"
    paper = subprocess.Popen([sys.executable, "-c", program])
    until(cwd / "begun", "begun")
    paper.kill()
    assert paper.wait() == -signal.SIGKILL
    until(cwd / "got", "ended")
