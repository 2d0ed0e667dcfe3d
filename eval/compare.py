"""Compare models with their base: every statistic of the study, from counts per problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlvr.errors import ConfigError
from rlvr.eval.bootstrap import NUM_RESAMPLES, Replicates, resample
from rlvr.eval.coverage import Coverage, accuracy_histogram, coverage, rarely_solved
from rlvr.eval.pass_at_k import FloatArray, default_ks, guess_pass_at_k
from rlvr.eval.statistics import (
    LEVEL,
    Crossing,
    Curve,
    Interval,
    crossing,
    curve,
    gap_k,
    holm,
    mcnemar_exact,
    paired_difference,
    sampling_efficiency_gap,
)
from rlvr.eval.store import Evaluation, refuse_unlike
from rlvr.eval.training_runs import families, with_mean


@dataclass(frozen=True, slots=True)
class ModelResult:
    """One model by itself."""

    name: str
    curve: Curve
    histogram: NDArray[np.int64]
    """(12,) problems per accuracy bin."""
    rarely_solved: tuple[str, ...]
    """Ids of problems with one or two correct samples."""
    cut_off: float
    """Share of the samples that the length limit ended."""
    unanswered: float
    """Share of the samples that ended by themselves without an answer that could be read."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What was trained, one run or the mean of several, against the base over the same problems."""

    name: str
    curve: Curve
    difference: Curve
    """Its pass@k less that of the base."""
    crossing: Crossing
    gap: Interval
    """Sampling-efficiency gap, percentage points."""


@dataclass(frozen=True, slots=True)
class AgainstBase(Trained):
    """One run: its intervals do not cover the chance in training."""

    coverage: Coverage
    mcnemar_p: float
    """Exact, two-sided, on the problems solved at least once in n."""
    holm_p: float
    """The same, adjusted for all tests of the family (:func:`holm_across`)."""


@dataclass(frozen=True, slots=True)
class MeanOfRuns(Trained):
    """The mean of runs from several training seeds: its intervals cover the chance in training too."""

    family: str
    runs: tuple[str, ...]
    """Their names (:meth:`Comparison.runs_of`)."""
    between_runs: FloatArray
    """(K,) standard deviation of the runs' differences to the base."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything a report says about pass@k on one benchmark."""

    benchmark: str
    ks: tuple[int, ...]
    num_problems: int
    num_samples: int
    """n per problem: the fewest valid ones, which bounds k."""
    guess: FloatArray
    """(K,) pass@k of blind guessing."""
    models: tuple[ModelResult, ...]
    """The base first."""
    against_base: tuple[AgainstBase, ...]
    means: tuple[MeanOfRuns, ...]
    """Of the models that were trained from several seeds."""
    less_first: Mapping[str, Curve]
    """Of each of ``trained`` but the first, its pass@k less that of the first over the same problems, by name."""
    base_gap: Interval
    """pass@K(base) − pass@1(base), points: the gap of a model that learned nothing."""
    gap_k: int
    """K of the sampling-efficiency gap."""
    num_tests: int
    """Size of the family of tests that ``holm_p`` is adjusted for."""
    level: float
    num_resamples: int
    seed: int

    @property
    def base(self) -> ModelResult:
        """The model that the others are compared with."""
        return self.models[0]

    @property
    def trained(self) -> tuple[Trained, ...]:
        """What there is to conclude about: the mean in place of its runs, and the models trained once."""
        return in_place_of_runs(self.against_base, self.means)

    def runs_of(self, each: ModelResult | Trained) -> tuple[AgainstBase, ...]:
        """The runs of a mean; none for what is one run itself."""
        names = each.runs if isinstance(each, MeanOfRuns) else ()
        return tuple(each for each in self.against_base if each.name in names)


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
    rng = np.random.default_rng(seed)
    replicates = resample(samples_mp, correct_mp, grid, rng, num_resamples=num_resamples)
    models = tuple(
        ModelResult(
            evaluation.name,
            curve(replicates, m),
            accuracy_histogram(samples_mp[m], correct_mp[m]),
            rarely_solved(base.problem_ids, correct_mp[m]),
            evaluation.share(evaluation.num_cut_off),
            evaluation.share(evaluation.num_unanswered),
        )
        for m, evaluation in enumerate(evaluations)
    )
    coverages = [coverage(base.problem_ids, correct_mp[0], correct) for correct in correct_mp[1:]]
    p_values = [mcnemar_exact(len(each.base_only), len(each.rl_only)) for each in coverages]
    against_base = tuple(
        AgainstBase(
            **against(replicates, m),
            name=models[m].name,
            coverage=coverages[m - 1],
            mcnemar_p=p_values[m - 1],
            holm_p=adjusted,
        )
        for m, adjusted in enumerate(holm(p_values), start=1)
    )
    means, extended = means_of_runs(replicates, against_base, rng)
    return Comparison(
        benchmark=base.spec.benchmark,
        ks=grid,
        num_problems=len(base.problem_ids),
        num_samples=num_samples,
        guess=guess_pass_at_k(base.spec.chance_level, grid),
        models=models,
        against_base=against_base,
        means=means,
        less_first=less_first(extended, against_base, means),
        base_gap=sampling_efficiency_gap(replicates, 0, 0),
        gap_k=gap_k(grid),
        num_tests=len(p_values),
        level=LEVEL,
        num_resamples=num_resamples,
        seed=seed,
    )


def against(replicates: Replicates, model: int) -> dict[str, Any]:
    """The fields of :class:`Trained` that are read off the replicates."""
    return {
        "curve": curve(replicates, model),
        "difference": paired_difference(replicates, 0, model),
        "crossing": crossing(replicates, 0, model),
        "gap": sampling_efficiency_gap(replicates, 0, model),
    }


def means_of_runs(
    replicates: Replicates, against_base: Sequence[AgainstBase], rng: np.random.Generator
) -> tuple[tuple[MeanOfRuns, ...], Replicates]:
    """The mean of every family of runs, and the replicates with these as further models."""
    found = []
    for family, places in families([each.name for each in against_base]).items():
        runs = tuple(against_base[place] for place in places)
        replicates = with_mean(replicates, [place + 1 for place in places], rng)
        found.append(
            MeanOfRuns(
                **against(replicates, len(replicates.estimate) - 1),
                name=f"{family} (mean of {len(runs)} runs)",
                family=family,
                runs=tuple(run.name for run in runs),
                between_runs=np.std([run.difference.estimate for run in runs], axis=0, ddof=1),
            )
        )
    return tuple(found), replicates


def in_place_of_runs(against_base: Sequence[AgainstBase], means: Sequence[MeanOfRuns]) -> tuple[Trained, ...]:
    """Every mean in the place of its runs, and the models trained once."""
    mean_of = {name: mean for mean in means for name in mean.runs}
    found = (mean_of.get(run.name, run) for run in against_base)
    return tuple({each.name: each for each in found}.values())


def less_first(
    replicates: Replicates, against_base: Sequence[AgainstBase], means: Sequence[MeanOfRuns]
) -> dict[str, Curve]:
    """What was trained less the first of it; means are the last models of the replicates.

    The runs of two means are taken as independent, as if no seed were the same.
    """
    places = {each.name: place for place, each in enumerate((*against_base, *means), start=1)}
    names = [each.name for each in in_place_of_runs(against_base, means)]
    return {name: paired_difference(replicates, places[names[0]], places[name]) for name in names[1:]}


def holm_across(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """Adjust the McNemar tests of all benchmarks as one family: every model on every benchmark."""
    adjusted = iter(holm([each.mcnemar_p for c in comparisons for each in c.against_base]))
    num_tests = sum(len(c.against_base) for c in comparisons)
    return tuple(
        replace(
            c,
            against_base=tuple(replace(each, holm_p=next(adjusted)) for each in c.against_base),
            num_tests=num_tests,
        )
        for c in comparisons
    )


def refuse_mixed(evaluations: Sequence[Evaluation]) -> None:
    """Raise a ConfigError unless all evaluations measure different models in the same way."""
    base = evaluations[0]
    for evaluation in evaluations[1:]:
        refuse_unlike(base.spec, evaluation.spec, f"{base.folder} and {evaluation.folder}")
        if evaluation.problem_ids != base.problem_ids:
            raise ConfigError(
                f"{base.name!r} and {evaluation.name!r} cannot be compared: their problems or their order differ",
                where=f"{base.folder} and {evaluation.folder}",
                fix="evaluate both on the same benchmark",
            )
    names = [evaluation.name for evaluation in evaluations]
    if len(set(names)) < len(names):
        raise ConfigError(
            f"models need different names, got {names}", fix="set model_name of each evaluation"
        )


def few_ks(ks: Sequence[int], count: int = 5) -> tuple[int, ...]:
    """At most ``count`` values of the grid, evenly spread, with both ends."""
    picks = np.linspace(0, len(ks) - 1, min(count, len(ks))).round().astype(int)
    return tuple(ks[i] for i in picks)
