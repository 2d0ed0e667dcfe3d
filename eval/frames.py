"""Results on disk as pandas tables, for notebooks.

Every function takes the folders of studies, evaluations or multiruns, as ``rlvr report`` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rlvr.eval.bootstrap import NUM_RESAMPLES, resample
from rlvr.eval.loading import load_results
from rlvr.eval.results import common_ks
from rlvr.eval.statistics import LEVEL, curve, paired_difference
from rlvr.eval.store import Evaluation, read_problems

Folder = str | Path


def samples(*folders: Folder) -> pd.DataFrame:
    """All samples, a row each.

    Returns:
        benchmark, model, problem, sample, score, status, answer, text, num_tokens and finish_reason.

    Raises:
        ConfigError: there is no evaluation, or the evaluations cannot stand side by side.
        DataError: something is unfinished, or a file is malformed.
    """
    rows = [
        {"benchmark": each.spec.benchmark, "model": each.name, **asdict(sample)}
        for each in _evaluations(folders)
        for sample in each.samples()
    ]
    return pd.DataFrame(rows).astype({"status": str})


def problems(*folders: Folder) -> pd.DataFrame:
    """All problems of all models, a row each.

    Returns:
        benchmark, model, problem, question (the last message of its prompt), gold (the ground truth), num_correct,
        num_samples (those that could be judged) and accuracy.

    Raises:
        ConfigError: as for :func:`samples`.
        DataError: likewise.
    """
    parts = []
    for each in _evaluations(folders):
        asked = read_problems(each.folder)
        parts.append(
            pd.DataFrame(
                {
                    "benchmark": each.spec.benchmark,
                    "model": each.name,
                    "problem": each.problem_ids,
                    "question": [problem.prompt[-1]["content"] for problem in asked],
                    "gold": [problem.ground_truth for problem in asked],
                    "num_correct": each.num_correct,
                    "num_samples": each.num_samples,
                    "accuracy": each.num_correct / np.maximum(each.num_samples, 1),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def pass_at_k(
    *folders: Folder, level: float = LEVEL, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """Unbiased pass@k of all models with their intervals, and the paired differences to the base.

    Args:
        folders: studies or evaluations.
        level: of the intervals.
        num_resamples: of the bootstrap over problems, samples drawn anew within.
        seed: of the bootstrap.

    Returns:
        benchmark, model, k, pass_at_k, low, high, difference, difference_low and difference_high; the last three are
        NaN for the base. Intervals are pointwise, and do not cover the chance in training.

    Raises:
        ConfigError: as for :func:`samples`.
        DataError: likewise.
    """
    rows: list[dict[str, Any]] = []
    for benchmark in load_results([Path(folder) for folder in folders]).benchmarks:
        models = list(benchmark.evaluations)
        replicates = resample(
            np.stack([each.num_samples for each in models]),
            np.stack([each.num_correct for each in models]),
            common_ks(models),
            np.random.default_rng(seed),
            num_resamples=num_resamples,
        )
        for index, each in enumerate(models):
            own = curve(replicates, index, level)
            against = paired_difference(replicates, 0, index, level) if index else None
            for i, k in enumerate(own.ks):
                difference = (
                    (np.nan,) * 3
                    if against is None
                    else (against.estimate[i], against.low[i], against.high[i])
                )
                rows.append(
                    {
                        "benchmark": benchmark.name,
                        "model": each.name,
                        "k": k,
                        "pass_at_k": own.estimate[i],
                        "low": own.low[i],
                        "high": own.high[i],
                        **dict(
                            zip(("difference", "difference_low", "difference_high"), difference, strict=True)
                        ),
                    }
                )
    return pd.DataFrame(rows)


def metrics(*folders: Folder) -> pd.DataFrame:
    """Metrics over training: a row per run and step, a column per metric (docs/metrics.md).

    Raises:
        ConfigError: as for :func:`samples`.
        DataError: likewise.
    """
    found = load_results([Path(folder) for folder in folders]).metrics
    return pd.DataFrame([{"run": run, **row} for run, rows in found.items() for row in rows])


def _evaluations(folders: tuple[Folder, ...]) -> Iterator[Evaluation]:
    for benchmark in load_results([Path(folder) for folder in folders]).benchmarks:
        yield from benchmark.evaluations
