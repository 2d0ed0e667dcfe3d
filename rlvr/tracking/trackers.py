"""Trackers: each takes rows of ``stage/name`` metrics."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rlvr.config import TrackingConfig
from rlvr.errors import ConfigError
from rlvr.files import write_text
from rlvr.protocols import Tracker
from rlvr.run_folder import METRICS_FILE, ROLLOUTS_FILE
from rlvr.tracking.progress import say

WANDB_ID_FILE = "wandb-id.txt"
"""Names the W&B run, so that a run that goes on logs to the same one."""
WANDB_START_SECONDS, WANDB_END_SECONDS = 30.0, 60.0
"""How long W&B's server is waited for before training, and to take the last rows after it."""
NO_ANSWER = ("Timed out", "deadline exceeded", "dial tcp")
"""Words of W&B's errors by which a network that fails differs from a server that refuses."""


class JsonlTracker:
    """``metrics.jsonl`` and ``rollouts.jsonl`` in the run's folder; the complete record."""

    def __init__(self, folder: Path, last_step: int = 0) -> None:
        """Go on after ``last_step``: rows of later steps, which will be done again, are cut off."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in (METRICS_FILE, ROLLOUTS_FILE):
            cut_after(folder / name, last_step)
        self._metrics = (folder / METRICS_FILE).open("a", encoding="utf-8")
        self._samples = (folder / ROLLOUTS_FILE).open("a", encoding="utf-8")

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """One line, on the disk itself when the call returns: a checkpoint of this step may follow."""
        self._metrics.write(json.dumps({"step": step, **metrics}) + "\n")
        self._metrics.flush()
        os.fsync(self._metrics.fileno())

    def log_samples(self, step: int, rows: Sequence[Mapping[str, object]]) -> None:
        """One line per rollout."""
        for row in rows:
            self._samples.write(json.dumps({"step": step, **row}, ensure_ascii=False) + "\n")
        self._samples.flush()

    def close(self) -> None:
        """Close both files."""
        self._metrics.close()
        self._samples.close()


def cut_after(path: Path, last_step: int) -> None:
    """Cut a file of rows off after the last whole row of ``last_step``."""
    if not path.exists():
        return
    end = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n") or json.loads(line)["step"] > last_step:
                break
            end += len(line)
    os.truncate(path, end)


class TensorBoardTracker:
    """Scalars under the same names, in ``tensorboard/``."""

    def __init__(self, folder: Path, last_step: int = 0) -> None:
        """Open an event file; TensorBoard hides what earlier ones have after ``last_step``."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(
            str(folder / "tensorboard"), purge_step=last_step + 1 if last_step else None
        )

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """One scalar per metric."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def log_samples(self, step: int, rows: Sequence[Mapping[str, object]]) -> None:
        """The rollouts as text."""
        for index, row in enumerate(rows):
            self._writer.add_text(f"rollouts/{index}", f"```\n{json.dumps(row, indent=1)}\n```", step)

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()


class WandbTracker:
    """Weights & Biases, online or offline (synchronise later with ``wandb sync``).

    Its own process sends what is logged: a server that is lost meanwhile holds up nothing but the end of the run,
    by ``WANDB_END_SECONDS``.
    """

    def __init__(self, folder: Path, config: TrackingConfig, resolved: dict[str, Any]) -> None:
        """Start a W&B run that carries the resolved config, or go on with the one that the folder names."""
        import wandb

        self._wandb = wandb
        self._run = start_wandb(folder, config, resolved)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """One row at this step."""
        self._run.log(dict(metrics), step=step)

    def log_samples(self, step: int, rows: Sequence[Mapping[str, object]]) -> None:
        """A table of rollouts, at the step that the next call of :meth:`log` completes."""
        if rows:
            columns = list(rows[0])
            table = self._wandb.Table(columns=columns, data=[[row[c] for c in columns] for row in rows])
            self._run.log({"rollouts/samples": table}, step=step, commit=False)

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


def start_wandb(folder: Path, config: TrackingConfig, resolved: dict[str, Any]) -> Any:
    """Start the W&B run of a folder, or go on with the one that the folder names; it carries the resolved config.

    Raises:
        ConfigError: W&B refuses, such as the credentials found. That it cannot be reached is no error.
    """
    try:
        return _start_wandb(folder, config, resolved)
    except Exception as error:  # wandb raises many types; all of them mean the same to the user
        raise ConfigError(
            f"W&B could not start: {str(error).splitlines()[0]}",
            where="tracking.wandb",
            fix="`wandb login`, or tracking.wandb=offline and `wandb sync` later",
        ) from error


def _start_wandb(folder: Path, config: TrackingConfig, resolved: dict[str, Any]) -> Any:
    import wandb

    name = folder / WANDB_ID_FILE
    if not name.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_text(name, f"{secrets.token_hex(4)}\n")
    start: Any = partial(
        wandb.init,
        id=name.read_text(encoding="utf-8").strip(),
        resume="allow",
        project=config.wandb_project,
        group=config.wandb_group,
        tags=config.wandb_tags,
        name=folder.name,
        dir=str(folder),
        config=resolved,
        settings={"init_timeout": WANDB_START_SECONDS, "finish_timeout": WANDB_END_SECONDS},
    )
    try:
        return start(mode=config.wandb)
    except Exception as error:
        # A server that cannot be reached, unlike wrong credentials, is nobody's mistake, and no reason to wait.
        if not any(words in str(error) for words in NO_ANSWER):
            raise
        say(f"W&B cannot be reached; `wandb sync {folder / 'wandb' / 'offline-run-*'}` sends this run later")
        wandb.teardown()  # its process still has a run of this name
        return start(mode="offline")


class Trackers:
    """Several trackers as one."""

    def __init__(self, trackers: Sequence[Tracker], last_step: int = 0) -> None:
        """Log to each in turn what comes after ``last_step``."""
        self._trackers = trackers
        self._last_step = last_step

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """One row to each; steps only ever grow."""
        if step <= self._last_step:
            raise ValueError(f"metrics of step {step} after those of step {self._last_step}")
        self._last_step = step
        for tracker in self._trackers:
            tracker.log(step, metrics)

    def log_samples(self, step: int, rows: Sequence[Mapping[str, object]]) -> None:
        """The rows to each."""
        for tracker in self._trackers:
            tracker.log_samples(step, rows)

    def close(self) -> None:
        """Close each."""
        for tracker in self._trackers:
            tracker.close()


class ProcessTracker:
    """Adds the state of the run's processes to every n-th row of another tracker."""

    def __init__(self, tracker: Tracker, measure: Callable[[], Mapping[str, float]], every: int) -> None:
        """Log to ``tracker``, with what ``measure`` returns at steps that ``every`` divides; 0 is never."""
        self._tracker, self._measure, self._every = tracker, measure, every

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """One row."""
        due = self._every and step % self._every == 0
        self._tracker.log(step, {**metrics, **self._measure()} if due else metrics)

    def log_samples(self, step: int, rows: Sequence[Mapping[str, object]]) -> None:
        """The rows as they are."""
        self._tracker.log_samples(step, rows)

    def close(self) -> None:
        """Close the other."""
        self._tracker.close()


def make_trackers(
    folder: Path, config: TrackingConfig, resolved: dict[str, Any], *extra: Tracker, last_step: int = 0
) -> Trackers:
    """JSONL always, and what the config asks for.

    Args:
        folder: of the run.
        config: which trackers.
        resolved: the run's config, for W&B.
        extra: more of them, such as the progress display.
        last_step: the step after which a run goes on.

    Raises:
        ConfigError: W&B refuses, such as the credentials found. That it cannot be reached is no error.
    """
    trackers: list[Tracker] = [JsonlTracker(folder, last_step)]
    if config.tensorboard:
        trackers.append(TensorBoardTracker(folder, last_step))
    if config.wandb != "off":
        trackers.append(WandbTracker(folder, config, resolved))
    return Trackers([*trackers, *extra], last_step)
