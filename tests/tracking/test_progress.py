"""Progress on a stream that is no terminal: plain lines, on stderr, now and then."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace

import pytest
from rich.console import Console

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
            "response/truncated_share",
            "verify/unparsed",
            "throughput/tokens_per_second",
            "time/verify",
        ],
        0.5,
    ) | {"time/rollout": 1.0, "time/learn": 2.0, "time/sync": 0.25}
    tracker = TrainingProgress("train grpo", 3)
    clock.seconds += 600  # the engines start
    tracker.begin()
    clock.seconds += 60
    tracker.log(1, metrics)
    tracker.log_samples(1, [{}])
    tracker.close()
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("train grpo 1/3  reward 0.500  unparsed 50%  cut off 50%  length 0")
    assert "[rollout 1.0 learn 2.0 sync 0.2 s, verify 0.50]" in line
    assert "left 2:00" in line


def test_a_bar_tells_the_time_left_of_long_steps(clock, monkeypatch) -> None:
    """rich's own column knows nothing of steps that take longer than half a minute."""
    screen = io.StringIO()
    monkeypatch.setattr(progress.sys, "stderr", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(
        progress, "console", lambda: Console(file=screen, force_terminal=True, width=200, highlight=False)
    )
    with StageProgress("train", 4) as stage:
        for step in (1, 2):
            clock.seconds += 90
            stage.update(step, "reward 0.5")
    assert "reward 0.5  left 3:00" in screen.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (95, "1:35"), (3599.6, "1:00:00"), (7322, "2:02:02")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
