"""Whole commands under faults: what goes on, what ends, with which code, and that nothing stays behind."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from rlvr.checkpoint import Checkpoints
from rlvr.eval.samples import read_samples
from tests.commands import (
    TIMEOUT,
    assert_nothing_left,
    long_training,
    start,
    stderr,
    wait_for,
    workers,
)
from tests.tiny import TINY

pytestmark = pytest.mark.faults
SHARED_MEMORY = Path("/dev/shm")


@pytest.fixture
def shared_files() -> set[Path]:
    """What lies in shared memory before a test."""
    return set(SHARED_MEMORY.iterdir())


def assert_clean(tmp_path: Path, shared_files: set[Path], *, killed: bool = False) -> None:
    """Neither processes nor files in shared memory are left."""
    assert_nothing_left(tmp_path, killed=killed)
    assert set(SHARED_MEMORY.iterdir()) <= shared_files


def steps(tmp_path: Path) -> int:
    """Finished steps of the training run."""
    return (tmp_path / "run" / "metrics.jsonl").read_text().count("\n")


def message(tmp_path: Path) -> str:
    """The error that a training run ended with."""
    said = stderr(tmp_path)
    return said[said.rindex("rlvr train:") :]


def test_training_goes_on_without_a_worker_and_ends_without_a_learner(
    tmp_path: Path, shared_files: set[Path]
) -> None:
    command = long_training(
        tmp_path, "rollout.num_workers=2", "cluster.heartbeat_timeout=15", "tracking.process_every=1"
    )
    first, second = workers(tmp_path, "EngineActor")
    first.kill()
    done = steps(tmp_path)
    wait_for(lambda: steps(tmp_path) >= done + 3, command)
    second.suspend()
    done = steps(tmp_path)
    wait_for(lambda: steps(tmp_path) >= done + 3, command)
    assert stderr(tmp_path).count("; replaced (") == 2
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["process/restarts"] == 2
    assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
    assert all(row["sync/version"] == row["step"] and row["sync/proved_share"] == 1 for row in rows)

    [learner] = workers(tmp_path, "LearnerActor")
    learner.kill()
    command.communicate(timeout=120)
    assert command.returncode == 3
    assert "the learner's process died" in message(tmp_path).splitlines()[0]
    assert "learner 0" in message(tmp_path)
    assert "Traceback" not in message(tmp_path)
    assert_clean(tmp_path, shared_files)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing_behind(
    tmp_path: Path, number: signal.Signals, shared_files: set[Path]
) -> None:
    """A frozen process must not be in the way, whether it was sampling or is found in a weight update."""
    command = long_training(tmp_path, "cluster.heartbeat_timeout=15")
    workers(tmp_path, "EngineActor")[0].suspend()
    command.send_signal(number)
    command.communicate(timeout=240)
    assert command.returncode == 128 + number
    assert "Traceback" not in stderr(tmp_path)
    assert_clean(tmp_path, shared_files)


def test_a_killed_driver_leaves_nothing_behind(tmp_path: Path, shared_files: set[Path]) -> None:
    command = long_training(tmp_path)
    workers(tmp_path, "LearnerActor")[0].suspend()
    command.kill()
    command.communicate(timeout=60)
    assert_clean(tmp_path, shared_files, killed=True)


def test_a_disk_that_takes_no_more_ends_the_run_and_keeps_the_checkpoint_before(
    tmp_path: Path, shared_files: set[Path]
) -> None:
    """From some moment on, the system refuses what DeepSpeed writes beyond a few bytes per file."""
    command = long_training(tmp_path, "train.checkpoint_every=2")
    wait_for(lambda: bool(Checkpoints(tmp_path / "run").all()), command)
    [learner] = workers(tmp_path, "LearnerActor")
    learner.rlimit(psutil.RLIMIT_FSIZE, (100_000, 100_000))
    command.communicate(timeout=120)
    assert command.returncode == 7, stderr(tmp_path)
    assert "could not be written" in message(tmp_path)
    assert "the one before it is untouched" in message(tmp_path)
    assert "Traceback" not in message(tmp_path)
    checkpoints = Checkpoints(tmp_path / "run")
    newest = checkpoints.newest()
    assert newest is not None
    assert newest.progress().step == newest.step >= 2
    assert not list(checkpoints.folder.glob(".*"))
    assert_clean(tmp_path, shared_files)


def evaluation_under_way(tmp_path: Path) -> subprocess.Popen[str]:
    """An evaluation on two workers that has stored its first samples."""
    command = start(
        tmp_path, "evaluate", f"model={TINY}", "benchmark=skills", "num_samples=64", "data.skills.num_test=40",
        f"run.dir={tmp_path / 'run'}", "rollout.num_workers=2", "evaluation.chunk_size=8",
        "cluster.heartbeat_timeout=15",
    )  # fmt: skip
    wait_for(lambda: stored(tmp_path).exists() and stored(tmp_path).stat().st_size > 5_000, command)
    return command


def stored(tmp_path: Path) -> Path:
    """The evaluation's samples."""
    return tmp_path / "run" / "evaluation" / "skills" / "tiny" / "samples.jsonl.gz"


def test_a_terminated_evaluation_leaves_nothing_behind(tmp_path: Path, shared_files: set[Path]) -> None:
    command = evaluation_under_way(tmp_path)
    workers(tmp_path, "EngineActor")[1].suspend()
    command.send_signal(signal.SIGTERM)
    command.communicate(timeout=60)
    assert command.returncode == 128 + signal.SIGTERM
    assert list(read_samples(stored(tmp_path)))
    assert_clean(tmp_path, shared_files)


def test_an_evaluation_survives_its_workers(tmp_path: Path, shared_files: set[Path]) -> None:
    command = evaluation_under_way(tmp_path)
    first, second = workers(tmp_path, "EngineActor")
    first.kill()
    second.suspend()
    command.communicate(timeout=TIMEOUT)
    assert command.returncode == 0, stderr(tmp_path)
    assert stderr(tmp_path).count("; replaced (") == 2
    rows = list(read_samples(stored(tmp_path)))
    assert len({(row.problem, row.sample) for row in rows}) == len(rows) == 40 * 64
    assert_clean(tmp_path, shared_files)
