"""Compare models with their base: every statistic of the study, from counts per problem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlvr.errors import ConfigError
from rlvr.eval.coverage import Coverage, accuracy_histogram, coverage, rarely_solved
from rlvr.eval.pass_at_k import FloatArray, default_ks, guess_pass_at_k
from rlvr.eval.statistics import (
    LEVEL,
    NUM_RESAMPLES,
    Crossing,
    Curve,
    Interval,
    PairedDifference,
    crossing,
    curve,
    gap_k,
    holm,
    mcnemar_exact,
    paired_difference,
    resample,
    sampling_efficiency_gap,
)
from rlvr.eval.store import Evaluation, refuse_unlike


@dataclass(frozen=True, slots=True)
class ModelResult:
    """One model by itself."""

    name: str
    curve: Curve
    histogram: NDArray[np.int64]
    """(12,) problems per accuracy bin."""
    rarely_solved: tuple[str, ...]
    """Ids of problems with one or two correct samples."""


@dataclass(frozen=True, slots=True)
class AgainstBase:
    """One model against the base, over the same problems."""

    name: str
    difference: PairedDifference
    crossing: Crossing
    gap: Interval
    """Sampling-efficiency gap, percentage points."""
    coverage: Coverage
    mcnemar_p: float
    """Exact, two-sided, on the problems solved at least once in n."""
    holm_p: float
    """The same, adjusted for the number of models compared."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything a report says about pass@k."""

    ks: tuple[int, ...]
    num_problems: int
    num_samples: int
    """n per problem: the fewest valid ones, which bounds k."""
    guess: FloatArray
    """(K,) pass@k of blind guessing."""
    models: tuple[ModelResult, ...]
    """The base first."""
    against_base: tuple[AgainstBase, ...]
    base_gap: Interval
    """pass@K(base) − pass@1(base), points: the gap of a model that learned nothing."""
    gap_k: int
    """K of the sampling-efficiency gap."""
    level: float
    num_resamples: int
    seed: int

    @property
    def base(self) -> ModelResult:
        """The model that the others are compared with."""
        return self.models[0]


def compare(
    evaluations: Sequence[Evaluation],
    *,
    ks: Sequence[int] | None = None,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> Comparison:
    """Compare models with the first one.

    Args:
        evaluations: the base, then the models trained from it.
        ks: values of k, ascending and beginning with 1; powers of two up to n by default.
        seed: of the bootstrap.
        num_resamples: of the bootstrap.

    Raises:
        ConfigError: the evaluations were made differently, or share a name.
    """
    base = evaluations[0]
    refuse_mixed(evaluations)
    samples_mp = np.stack([evaluation.num_samples for evaluation in evaluations])
    correct_mp = np.stack([evaluation.num_correct for evaluation in evaluations])
    num_samples = int(samples_mp.min())
    grid = tuple(ks) if ks is not None else default_ks(num_samples)
    if grid[:1] != (1,) or list(grid) != sorted(set(grid)):
        raise ConfigError(
            f"the values of k must ascend from 1, got {list(grid)}", fix="for example 1, 2, 4, 8, …"
        )
    replicates = resample(
        samples_mp, correct_mp, grid, np.random.default_rng(seed), num_resamples=num_resamples
    )
    models = tuple(
        ModelResult(
            evaluation.name,
            curve(replicates, m),
            accuracy_histogram(samples_mp[m], correct_mp[m]),
            rarely_solved(base.problem_ids, correct_mp[m]),
        )
        for m, evaluation in enumerate(evaluations)
    )
    coverages = [coverage(base.problem_ids, correct_mp[0], correct) for correct in correct_mp[1:]]
    p_values = [mcnemar_exact(len(each.base_only), len(each.rl_only)) for each in coverages]
    against_base = tuple(
        AgainstBase(
            name=models[m].name,
            difference=paired_difference(replicates, 0, m),
            crossing=crossing(replicates, 0, m),
            gap=sampling_efficiency_gap(replicates, 0, m),
            coverage=coverages[m - 1],
            mcnemar_p=p_values[m - 1],
            holm_p=adjusted,
        )
        for m, adjusted in enumerate(holm(p_values), start=1)
    )
    return Comparison(
        ks=grid,
        num_problems=len(base.problem_ids),
        num_samples=num_samples,
        guess=guess_pass_at_k(base.spec.chance_level, grid),
        models=models,
        against_base=against_base,
        base_gap=sampling_efficiency_gap(replicates, 0, 0),
        gap_k=gap_k(grid),
        level=LEVEL,
        num_resamples=num_resamples,
        seed=seed,
    )


def refuse_mixed(evaluations: Sequence[Evaluation]) -> None:
    """Raise a ConfigError unless all evaluations measure different models in the same way."""
    base = evaluations[0]
    for evaluation in evaluations[1:]:
        refuse_unlike(base.spec, evaluation.spec)
        if evaluation.problem_ids != base.problem_ids:
            raise ConfigError(
                f"{base.name!r} and {evaluation.name!r} cannot be compared: their problems or their order differ",
                fix="evaluate both on the same benchmark",
            )
    names = [evaluation.name for evaluation in evaluations]
    if len(set(names)) < len(names):
        raise ConfigError(
            f"models need different names, got {names}", fix="set model_name of each evaluation"
        )


def table_lines(comparison: Comparison, ks: Sequence[int] | None = None) -> list[str]:
    """pass@k by model as plain text, for a terminal: estimate and interval per k.

    Args:
        comparison: what to print.
        ks: columns; by default first, last and about three between them.
    """
    columns = tuple(ks) if ks is not None else few_ks(comparison.ks)
    header = ["", *(f"pass@{k}" for k in columns)]
    rows = [[model.name, *(_cell(model.curve.at(k)) for k in columns)] for model in comparison.models] + [
        [
            f"{each.name} − {comparison.base.name}",
            *(_cell(each.difference.at(k), signed=True) for k in columns),
        ]
        for each in comparison.against_base
    ]
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = ["  ".join(_aligned(row, widths)).rstrip() for row in [header, *rows]]
    rule = "  ".join("─" * width for width in widths)
    first_difference = 1 + len(comparison.models)
    body = [lines[0], rule, *lines[1:first_difference]]
    if comparison.against_base:
        body += [rule, *lines[first_difference:]]
    note = (
        f"{comparison.num_problems} problems × {comparison.num_samples} samples; "
        f"{comparison.level:.0%} intervals, {comparison.num_resamples:,} resamples of problems"
    )
    return [*body, note]


def few_ks(ks: Sequence[int], count: int = 5) -> tuple[int, ...]:
    """At most ``count`` values of the grid, evenly spread, with both ends."""
    picks = np.linspace(0, len(ks) - 1, min(count, len(ks))).round().astype(int)
    return tuple(ks[i] for i in picks)


def _cell(value: Interval, signed: bool = False) -> str:
    form = "{:+.3f}" if signed else "{:.3f}"
    return f"{form.format(value.estimate)} [{form.format(value.low)}, {form.format(value.high)}]".replace(
        "-", "−"
    )


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        row[0].ljust(widths[0]),
        *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
    ]
