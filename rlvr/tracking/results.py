"""pass@k of an evaluation or a study in W&B and TensorBoard: curves over k, a table, and the report itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rlvr.config import TrackingConfig
from rlvr.tracking.trackers import start_wandb

ARTEFACT = "report"
"""Type of the W&B artefact that holds the report's files."""


@dataclass(frozen=True, slots=True)
class PassAtK:
    """One point of a curve: pass@k of a model on a benchmark, with its intervals; all in [0, 1]."""

    benchmark: str
    model: str
    k: int
    pass_at_k: float
    ci_low: float
    """95 % at this k alone."""
    ci_high: float
    band_low: float
    """95 % at all k at once."""
    band_high: float

    @property
    def curve(self) -> str:
        """Name of the curve, such as ``pass_at_k/chains/base``."""
        return f"pass_at_k/{self.benchmark}/{self.model}"


class ResultTracker:
    """Where results go besides the run's folder; does nothing where ``tracking`` asks for nothing."""

    def __init__(self, folder: Path, config: TrackingConfig, resolved: dict[str, Any]) -> None:
        """Start nothing yet.

        Args:
            folder: of the evaluation or study.
            config: which trackers.
            resolved: the config, for W&B.
        """
        self._folder, self._config, self._resolved = folder, config, resolved
        self._run: Any = None

    def start(self) -> None:
        """Start the W&B run, so that what is wrong with it is known before anything is measured.

        Raises:
            ConfigError: W&B refuses, such as the credentials found.
        """
        if self._config.wandb != "off" and self._run is None:
            self._run = start_wandb(self._folder, self._config, self._resolved)

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the W&B run; as a failed one where an error ends it."""
        if self._run is not None:
            self._run.finish(exit_code=0 if error is None else 1)

    def log(self, points: Sequence[PassAtK], files: Sequence[Path]) -> None:
        """Log curves over k and a table, and keep the report's files as an artefact.

        Args:
            points: of all curves.
            files: the report and what belongs to it.
        """
        self.start()
        if self._config.tensorboard:
            write_tensorboard(self._folder, points)
        if self._run is not None:
            log_to_wandb(self._run, points, files)


def write_tensorboard(folder: Path, points: Sequence[PassAtK]) -> None:
    """A scalar per curve, whose step is k, in ``tensorboard/``; earlier ones of this folder are replaced."""
    from torch.utils.tensorboard import SummaryWriter

    for earlier in (folder / "tensorboard").glob("events.out.*.results"):
        earlier.unlink()
    writer = SummaryWriter(str(folder / "tensorboard"), filename_suffix=".results")
    for point in points:
        writer.add_scalar(point.curve, point.pass_at_k, point.k)
    writer.close()


def log_to_wandb(run: Any, points: Sequence[PassAtK], files: Sequence[Path]) -> None:
    """Curves whose axis is k, the table ``pass_at_k/table`` and an artefact of the report."""
    import wandb

    run.define_metric("k")
    run.define_metric("pass_at_k/*", step_metric="k")
    for k in sorted({point.k for point in points}):
        run.log({"k": k} | {point.curve: point.pass_at_k for point in points if point.k == k})
    columns = [field.name for field in fields(PassAtK)]
    run.log(
        {"pass_at_k/table": wandb.Table(columns=columns, data=[list(astuple(point)) for point in points])}
    )
    artefact = wandb.Artifact(f"report-{run.id}", type=ARTEFACT)
    for file in files:
        artefact.add_file(str(file), name=file.name)
    run.log_artifact(artefact)
