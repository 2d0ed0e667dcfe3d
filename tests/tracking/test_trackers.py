"""Trackers: complete rows, growing steps, files that the usual tools read."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest

from rlvr.config import TrackingConfig
from rlvr.errors import ConfigError
from rlvr.tracking.trackers import JsonlTracker, ProcessTracker, TensorBoardTracker, Trackers, make_trackers
from tests.fakes import FakeTracker

METRICS = {"reward/mean": 0.25, "time/step": 1.5}
SAMPLE = {"problem": "fake/0", "response": "答え # 1", "score": 1.0}


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_jsonl_holds_every_row_and_sample(tmp_path: Path) -> None:
    tracker = JsonlTracker(tmp_path / "run")
    for step in (1, 2):
        tracker.log_samples(step, [SAMPLE, SAMPLE])
        tracker.log(step, METRICS)
    assert lines(tmp_path / "run" / "metrics.jsonl") == [{"step": step, **METRICS} for step in (1, 2)]
    assert lines(tmp_path / "run" / "rollouts.jsonl") == [{"step": step, **SAMPLE} for step in (1, 1, 2, 2)]
    tracker.close()


def test_a_row_is_on_disk_before_the_tracker_is_closed(tmp_path: Path) -> None:
    tracker = JsonlTracker(tmp_path)
    tracker.log(1, METRICS)
    assert len(lines(tmp_path / "metrics.jsonl")) == 1
    tracker.close()


@pytest.mark.parametrize(("every", "expected"), [(2, [2, 4]), (1, [1, 2, 3, 4]), (0, [])])
def test_processes_are_measured_at_some_steps(every: int, expected: list[int]) -> None:
    inner = FakeTracker()
    tracker = ProcessTracker(inner, lambda: {"process/restarts": 1.0}, every)
    for step in (1, 2, 3, 4):
        tracker.log(step, METRICS)
    assert [step for step, row in inner.rows if "process/restarts" in row] == expected
    assert all(row.items() >= METRICS.items() for _, row in inner.rows)


@pytest.mark.parametrize("end", ["", '{"step": 3, "rew', "\n"])
def test_jsonl_goes_on_after_a_step(tmp_path: Path, end: str) -> None:
    """Rows of steps that are done again, and a row that was never finished, are cut off."""
    tracker = JsonlTracker(tmp_path)
    for step in (1, 2, 3):
        tracker.log_samples(step, [SAMPLE, SAMPLE])
        tracker.log(step, METRICS)
    tracker.close()
    for name in ("metrics.jsonl", "rollouts.jsonl"):
        with (tmp_path / name).open("a") as file:
            file.write(end)
    tracker = JsonlTracker(tmp_path, last_step=2)
    tracker.log(3, METRICS)
    tracker.close()
    assert [row["step"] for row in lines(tmp_path / "metrics.jsonl")] == [1, 2, 3]
    assert [row["step"] for row in lines(tmp_path / "rollouts.jsonl")] == [1, 1, 2, 2]


def test_a_run_that_starts_anew_begins_with_empty_files(tmp_path: Path) -> None:
    for _ in range(2):
        tracker = JsonlTracker(tmp_path)
        tracker.log(1, METRICS)
        tracker.close()
    assert len(lines(tmp_path / "metrics.jsonl")) == 1


@pytest.mark.parametrize("step", [0, 1, 2])
def test_steps_only_grow(step: int) -> None:
    inner = FakeTracker()
    trackers = Trackers([inner])
    trackers.log(2, METRICS)
    with pytest.raises(ValueError, match=f"step {step} after"):
        trackers.log(step, METRICS)
    assert inner.rows == [(2, METRICS)]


def test_each_tracker_receives_everything() -> None:
    inner = [FakeTracker(), FakeTracker()]
    trackers = Trackers(inner)
    trackers.log_samples(1, [SAMPLE])
    trackers.log(1, METRICS)
    trackers.close()
    for tracker in inner:
        assert tracker.rows == [(1, METRICS)]
        assert tracker.samples == [(1, [SAMPLE])]
        assert tracker.closed == 1


def test_tensorboard_reads_the_same_names(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracker = TensorBoardTracker(tmp_path)
    tracker.log_samples(1, [SAMPLE])
    tracker.log(1, METRICS)
    tracker.log(2, METRICS)
    tracker.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == set(METRICS)
    assert [(event.step, event.value) for event in events.Scalars("reward/mean")] == [(1, 0.25), (2, 0.25)]


def assert_recorded(folder: Path, run: str = "offline-run-*", words: bytes = b"reward/mean") -> None:
    """The words are in the file that ``wandb sync`` reads."""
    [recorded] = folder.glob(f"wandb/{run}/*.wandb")
    # W&B writes in a process of its own, which a loaded machine may delay.
    deadline = time.monotonic() + 60
    while words not in recorded.read_bytes():
        assert time.monotonic() < deadline, recorded.read_bytes()[:200]
        time.sleep(0.2)


@pytest.mark.usefixtures("wandb_folders")
def test_wandb_writes_offline(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    trackers = make_trackers(folder, TrackingConfig(wandb="offline"), {"seed": 0})
    trackers.log_samples(1, [SAMPLE])
    trackers.log(1, METRICS)
    trackers.close()
    assert_recorded(folder)
    assert (folder / "metrics.jsonl").exists()


@pytest.mark.usefixtures("wandb_folders")
def test_training_goes_on_where_wandb_cannot_be_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as deaf:  # bound, and nobody listens
        deaf.bind(("127.0.0.1", 0))
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{deaf.getsockname()[1]}")
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        monkeypatch.setattr("rlvr.tracking.trackers.WANDB_START_SECONDS", 3.0)
        folder = tmp_path / "run"
        trackers = make_trackers(folder, TrackingConfig(wandb="online"), {"seed": 0})
        trackers.log(1, METRICS)
        trackers.close()
    assert "W&B cannot be reached" in capfd.readouterr().err
    assert_recorded(folder)
    assert lines(folder / "metrics.jsonl") == [{"step": 1, **METRICS}]


class WandbServer(BaseHTTPRequestHandler):
    """As much of W&B's server as its client needs to start a run; then it is gone."""

    PROJECT: ClassVar = {"id": "p", "name": "rlvr", "entity": {"id": "e", "name": "e"}}
    DATA: ClassVar = {
        "viewer": {"id": "u", "entity": "e", "flags": "{}", "teams": {"edges": []}},
        "serverInfo": {"features": [], "cliVersionInfo": {}, "latestLocalVersionInfo": None},
        "model": {"id": "p", "bucket": None},
        "upsertBucket": {"inserted": True, "bucket": {"id": "b", "project": PROJECT, "config": "{}"}},
    }

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = json.dumps({"data": self.DATA} if "graphql" in self.path else {}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.usefixtures("wandb_folders")
def test_training_goes_on_when_wandb_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), WandbServer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setattr("rlvr.tracking.trackers.WANDB_END_SECONDS", 2.0)
    folder = tmp_path / "run"
    trackers = make_trackers(folder, TrackingConfig(wandb="online"), {"seed": 0})
    server.shutdown()
    server.server_close()
    started = time.monotonic()
    for step in range(1, 6):
        trackers.log(step, METRICS)
    trackers.close()
    assert 2 <= time.monotonic() - started < 60  # by itself, W&B's client would wait for days
    assert [row["step"] for row in lines(folder / "metrics.jsonl")] == [1, 2, 3, 4, 5]
    assert_recorded(folder, "run-*")


def test_what_the_config_does_not_ask_for_is_not_written(tmp_path: Path) -> None:
    extra = FakeTracker()
    trackers = make_trackers(tmp_path, TrackingConfig(), {}, extra)
    trackers.log(1, METRICS)
    trackers.close()
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.jsonl", "rollouts.jsonl"}
    assert extra.rows == [(1, METRICS)]


def test_tensorboard_is_written_when_asked_for(tmp_path: Path) -> None:
    make_trackers(tmp_path, TrackingConfig(tensorboard=True), {}).close()
    assert list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))


def test_wandb_that_cannot_start_is_a_configuration_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def init(**_: object) -> None:
        raise RuntimeError("api_key not configured\nand more")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    with pytest.raises(ConfigError, match="api_key not configured") as caught:
        make_trackers(tmp_path, TrackingConfig(wandb="online"), {})
    assert caught.value.where == "tracking.wandb"
    assert "offline" in str(caught.value.fix)
