"""Progress on a stream that is no terminal: plain lines, on stderr, now and then."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from rlvr.tracking import progress
from rlvr.tracking.progress import StageProgress, TrainingProgress, duration
from tests.fakes import LEARNER_METRICS


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that stands still until it is set."""
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


def test_lines_come_now_and_then_and_the_last_one_always(clock, capsys) -> None:
    with StageProgress("evaluate base", 100) as stage:
        for done in range(1, 101):
            clock.seconds += 1
            stage.update(done, "detail")
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert 8 <= len(lines) <= 12
    assert lines[-1].startswith("evaluate base 100/100  detail")


def test_the_time_left_is_told_from_the_pace(clock, capsys) -> None:
    with StageProgress("evaluate", 1000) as stage:
        clock.seconds += 10
        stage.update(100, "")  # a hundred at once: one per tenth of a second
    assert re.search(r"left 1:30$", capsys.readouterr().err.strip())


def test_a_training_step_is_one_line(clock, capsys) -> None:
    metrics = dict.fromkeys(
        [
            *LEARNER_METRICS,
            "reward/mean",
            "response/length_mean",
            "throughput/tokens_per_second",
            "time/verify",
        ],
        0.5,
    ) | {"time/rollout": 1.0, "time/learn": 2.0, "time/sync": 0.25}
    tracker = TrainingProgress("train grpo", 3)
    clock.seconds += 60
    tracker.log(1, metrics)
    tracker.log_samples(1, [{}])
    tracker.close()
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("train grpo 1/3  reward 0.500")
    assert "[rollout 1.0 learn 2.0 sync 0.2 s, verify 0.50]" in line
    assert "left 2:00" in line


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (95, "1:35"), (3599.6, "1:00:00"), (7322, "2:02:02")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
