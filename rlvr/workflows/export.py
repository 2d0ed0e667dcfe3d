"""Evaluations in the log formats of other tools."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rlvr.config import ExportConfig
from rlvr.errors import ConfigError, did_you_mean
from rlvr.eval.export import FORMATS
from rlvr.eval.loading import load_measured


def export_logs(config: ExportConfig) -> Iterator[Path]:
    """What `rlvr export` does: a log for each evaluation, whose path is yielded once it is written.

    Raises:
        ConfigError: there is no such format, or no evaluation.
        DataError: an evaluation is damaged.
    """
    if config.format not in FORMATS:
        raise ConfigError(
            f"there is no format {config.format!r}", where="format", fix=did_you_mean(config.format, FORMATS)
        )
    for benchmark in load_measured(config.folders, config.benchmarks):
        for evaluation in benchmark.evaluations:
            yield FORMATS[config.format](evaluation, Path(config.output))
