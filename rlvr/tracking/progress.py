"""Progress for people: live on a terminal, plain lines elsewhere; always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

PLAIN_INTERVAL = 10.0
"""Seconds between plain lines of one stage; its last line always appears."""


def console() -> Console:
    """A console on stderr; honours NO_COLOR."""
    return Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """One line of progress."""
    console().print(text, markup=False, soft_wrap=True)


class StageProgress:
    """One stage with a known number of units: a bar on a terminal, a line now and then elsewhere.

    The time left is told from the pace since the stage was entered, which is after whatever it waits for at first.
    """

    def __init__(self, title: str, total: int, done_before: int = 0) -> None:
        """Show nothing yet; ``done_before`` units were done by an earlier session."""
        self._title, self._total, self._done_before = title, total, done_before
        self._started = self._last_line = 0.0
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            # rich's own column for the time left forgets a unit after half a minute, and long ones have none.
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[detail]}"),
                console=console(),
            )
            self._task = self._bar.add_task(title, total=total, detail="")

    def __enter__(self) -> Self:
        """Start the display and the clock."""
        self._started = time.monotonic()
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last state on the screen."""
        if self._bar:
            self._bar.stop()

    def update(self, done: int, detail: str) -> None:
        """Show ``done`` of the total, a short detail, and the time left."""
        now = time.monotonic()
        rate = (now - self._started) / max(1, done - self._done_before)
        if done < self._total:
            detail += f"  left {duration((self._total - done) * rate)}"
        if self._bar:
            self._bar.update(self._task, completed=done, detail=detail)
        elif done >= self._total or now - self._last_line >= PLAIN_INTERVAL:
            self._last_line = now
            say(f"{self._title} {done}/{self._total}  {detail}")


class TrainingProgress:
    """A tracker that shows each step to a person."""

    def __init__(self, title: str, num_steps: int, last_step: int = 0) -> None:
        """Show nothing yet; an earlier session has done ``last_step`` steps."""
        self._stage = StageProgress(title, num_steps, last_step)

    def begin(self) -> None:
        """The first step begins: the engines, whose start says nothing of the pace, are ready."""
        self._stage.__enter__()

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """One update per step."""
        split = " ".join(
            f"{stage} {metrics[f'time/{stage}']:.1f}"
            for stage in ("rollout", "learn", "sync")
            if f"time/{stage}" in metrics
        )
        if "throughput/overlap_share" in metrics:
            split += f" overlap {metrics['throughput/overlap_share']:.0%}"
        # A step that trains the critic alone has no entropy.
        entropy = f"entropy {metrics['policy/entropy']:.3f}  " if "policy/entropy" in metrics else ""
        self._stage.update(
            step,
            f"reward {metrics['reward/mean']:.3f}  unparsed {metrics['verify/unparsed']:.0%}  "
            f"cut off {metrics['response/truncated_share']:.0%}  length {metrics['response/length_mean']:.0f}  "
            f"{entropy}{metrics['throughput/tokens_per_second']:,.0f} tok/s  "
            f"[{split} s, verify {metrics['time/verify']:.2f}]",
        )

    def log_samples(self, step: int, rows: Sequence[Mapping[str, object]]) -> None:
        """Samples are read elsewhere."""

    def close(self) -> None:
        """Leave the last state on the screen."""
        self._stage.__exit__(None, None, None)


def duration(seconds: float) -> str:
    """``95`` → ``1:35``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
