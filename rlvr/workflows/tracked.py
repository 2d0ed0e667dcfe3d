"""The curves of a report as points for the trackers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rlvr.config import TrackingConfig
from rlvr.eval.compare import Comparison
from rlvr.eval.report import Report
from rlvr.run_folder import SUMMARY_FILE
from rlvr.tracking.results import PassAtK, ResultTracker


def log_report(tracker: ResultTracker, report: Report) -> None:
    """Send a report's curves, and the report itself."""
    tracker.log(points(report.comparisons), [report.path, report.path.with_name(SUMMARY_FILE)])


def points(comparisons: Sequence[Comparison]) -> list[PassAtK]:
    """pass@k of every model on every benchmark, and of the means of runs from several seeds."""
    found = []
    for comparison in comparisons:
        curves = {model.name: model.curve for model in comparison.models}
        curves |= {mean.name: mean.curve for mean in comparison.means}
        for name, curve in curves.items():
            columns = (curve.estimate, curve.low, curve.high, curve.band_low, curve.band_high)
            found += [
                PassAtK(comparison.benchmark, name, k, *(float(column[i]) for column in columns))
                for i, k in enumerate(comparison.ks)
            ]
    return found


def in_group(config: TrackingConfig, folder: Path) -> TrackingConfig:
    """The runs of a study stand together in W&B, by the study's folder unless a group is named."""
    return replace(config, wandb_group=config.wandb_group or folder.name)
