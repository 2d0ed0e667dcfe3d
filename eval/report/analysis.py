"""From results to statistics: one analysis per benchmark, and the models over training steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlvr.errors import ConfigError
from rlvr.eval.bootstrap import NUM_RESAMPLES
from rlvr.eval.changes import changed_problems
from rlvr.eval.compare import Comparison, compare, holm_across
from rlvr.eval.names import checkpoint_of
from rlvr.eval.report.findings import findings
from rlvr.eval.report.measurement import BenchmarkAnalysis, RunOverSteps, StepPoint
from rlvr.eval.report.measurements import MEASUREMENTS
from rlvr.eval.report.responses import Responses, read_responses
from rlvr.eval.results import BenchmarkResults, StudyResults, common_ks, final_models, last_step
from rlvr.eval.store import Evaluation, read_prompt, refuse_unlike
from rlvr.run_folder import MetricRow


@dataclass(frozen=True, slots=True)
class Read:
    """One benchmark with all that lies beside its samples: what comes after this reads nothing from disk."""

    results: BenchmarkResults
    models: tuple[Evaluation, ...]
    """The base and the trained models, checkpoints left out."""
    prompt: str | None
    responses: Mapping[str, Sequence[Responses]]
    beside: Mapping[str, Any]
    """What each measurement has read, by its anchor."""


def read(results: BenchmarkResults) -> Read:
    """Complete the results of a benchmark from the disk.

    Raises:
        ConfigError: two models were measured differently.
        DataError: a file is damaged.
    """
    models = final_models(results.evaluations)
    for other in models[1:]:
        refuse_unlike(models[0].spec, other.spec, f"{models[0].folder} and {other.folder}")
    return Read(
        results,
        models,
        read_prompt(models[0].folder),
        read_responses(models, changed_problems(models)),
        {each.anchor: each.read(results, models) for each in MEASUREMENTS},
    )


def analyse(
    study: StudyResults, *, seed: int = 0, num_resamples: int = NUM_RESAMPLES
) -> tuple[BenchmarkAnalysis, ...]:
    """Compare the models of every benchmark; tests are adjusted over all of them.

    Raises:
        ConfigError: evaluations of one benchmark were made differently, or the benchmarks
            hold different models.
    """
    refuse_different_models(study.benchmarks)
    benchmarks = [read(each) for each in study.benchmarks]
    comparisons = holm_across(
        [
            compare(
                each.models,
                ks=common_ks([*each.results.evaluations, *each.results.sweep]),
                seed=seed,
                num_resamples=num_resamples,
            )
            for each in benchmarks
        ]
    )
    return tuple(
        analysed(each, comparison, study.metrics)
        for each, comparison in zip(benchmarks, comparisons, strict=True)
    )


def analysed(
    benchmark: Read, comparison: Comparison, metrics: Mapping[str, Sequence[MetricRow]]
) -> BenchmarkAnalysis:
    """Every statistic of one benchmark."""
    results, models = benchmark.results, benchmark.models
    found = {
        each.anchor: each.analyse(benchmark.beside[each.anchor], results, models, comparison)
        for each in MEASUREMENTS
    }
    return BenchmarkAnalysis(
        results,
        models,
        comparison,
        findings(comparison, models),
        over_steps(results.evaluations, comparison, metrics),
        benchmark.prompt,
        benchmark.responses,
        {anchor: each for anchor, each in found.items() if each},
    )


def refuse_different_models(benchmarks: Sequence[BenchmarkResults]) -> None:
    """Raise a ConfigError unless all benchmarks hold the same models in the same order."""
    if not benchmarks:
        return
    first, *others = benchmarks
    names = [each.name for each in first.evaluations]
    for other in others:
        theirs = [each.name for each in other.evaluations]
        if theirs != names:
            raise ConfigError(
                f"{first.name!r} holds the models {', '.join(names)}, but {other.name!r} holds {', '.join(theirs)}",
                fix="evaluate the same models on every benchmark",
            )


def over_steps(
    evaluations: Sequence[Evaluation], final: Comparison, metrics: Mapping[str, Sequence[MetricRow]]
) -> tuple[RunOverSteps, ...]:
    """The runs that have checkpoints, each from the base to its final model.

    The final model is placed at the last step of the run's metrics; without metrics it is left out.
    """
    checkpoints: dict[str, list[tuple[int, Evaluation]]] = {}
    for evaluation in evaluations[1:]:
        if (found := checkpoint_of(evaluation.name)) is not None:
            run, step = found
            checkpoints.setdefault(run, []).append((step, evaluation))
    order = [model.name for model in final.models if model.name in checkpoints]
    return tuple(
        RunOverSteps(
            run, run_points(evaluations[0], checkpoints[run], final, run, last_step(metrics.get(run, ())))
        )
        for run in dict.fromkeys([*order, *checkpoints])
    )


def run_points(
    base: Evaluation,
    saved: Sequence[tuple[int, Evaluation]],
    final: Comparison,
    run: str,
    final_step: int | None,
) -> tuple[StepPoint, ...]:
    """The points of one run. A checkpoint at or after the final model's step is the final model."""
    kept = sorted(
        (pair for pair in saved if final_step is None or pair[0] < final_step), key=lambda pair: pair[0]
    )
    between = compare(
        [base, *(evaluation for _, evaluation in kept)],
        ks=final.ks,
        seed=final.seed,
        num_resamples=final.num_resamples,
    )
    points = [point(final, 0, 0)]
    points += [point(between, i, step) for i, (step, _) in enumerate(kept, start=1)]
    names = [model.name for model in final.models]
    if final_step is not None and run in names:
        points.append(point(final, names.index(run), final_step))
    return tuple(points)


def point(comparison: Comparison, index: int, step: int) -> StepPoint:
    """A model of a comparison as a point over the steps."""
    curve = comparison.models[index].curve
    gap = comparison.against_base[index - 1].gap if index else comparison.base_gap
    return StepPoint(step, curve.at(1), curve.at(comparison.gap_k), gap)
