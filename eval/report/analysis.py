"""From results to statistics: one analysis per benchmark, and the models over training steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlvr.errors import ConfigError
from rlvr.eval.audit import Audit, read_audit, with_valid_chains
from rlvr.eval.bootstrap import NUM_RESAMPLES
from rlvr.eval.compare import Comparison, compare, holm_across
from rlvr.eval.guess import guessable, without
from rlvr.eval.pass_at_k import default_ks
from rlvr.eval.perplexity import Scored, scored
from rlvr.eval.report.findings import Findings, findings
from rlvr.eval.results import BenchmarkResults, StudyResults, checkpoint_of
from rlvr.eval.statistics import Interval
from rlvr.eval.store import Evaluation
from rlvr.eval.temperature import Heated, heated
from rlvr.run_folder import MetricRow


@dataclass(frozen=True, slots=True)
class StepPoint:
    """One model of a run, by the step at which it was saved; K is that of the gap."""

    step: int
    pass_at_1: Interval
    pass_at_large: Interval
    """pass@K."""
    gap: Interval
    """pass@K(base) − pass@1, percentage points."""


@dataclass(frozen=True, slots=True)
class RunOverSteps:
    """A training run by its saved models: the base as step 0, checkpoints, the final model."""

    run: str
    points: tuple[StepPoint, ...]
    """Steps ascend."""


@dataclass(frozen=True, slots=True)
class GuessFilter:
    """The comparison without the problems that the base can guess."""

    guesses: Evaluation
    left_out: tuple[str, ...]
    remaining: Comparison | None
    """None where nothing is left out: it would be the comparison itself."""


@dataclass(frozen=True, slots=True)
class Reasoning:
    """The audits of the models, and the comparison that counts only valid reasoning."""

    audits: Mapping[str, Audit]
    """By model name, those that there are."""
    valid: Comparison | None
    """CoT-pass@k; None unless every right answer of every model has been judged."""


@dataclass(frozen=True, slots=True)
class BenchmarkAnalysis:
    """One benchmark: what came in, and every statistic of it."""

    results: BenchmarkResults
    evaluations: tuple[Evaluation, ...]
    """The base and the trained models, checkpoints left out."""
    comparison: Comparison
    """Of these."""
    findings: Findings
    steps: tuple[RunOverSteps, ...]
    """The runs that have checkpoints."""
    guess_filter: GuessFilter | None
    """None without an evaluation of the base's guesses."""
    reasoning: Reasoning | None
    """None where nobody has judged the reasoning behind right answers."""
    heated: tuple[Heated, ...]
    """The models at all temperatures; empty without a sweep."""
    perplexities: tuple[Scored, ...]
    """Whose responses were scored by which model, checkpoints included."""


def analyse(
    study: StudyResults, *, seed: int = 0, num_resamples: int = NUM_RESAMPLES
) -> tuple[BenchmarkAnalysis, ...]:
    """Compare the models of every benchmark; tests are adjusted over all of them.

    Raises:
        ConfigError: evaluations of one benchmark were made differently, or the benchmarks
            hold different models.
    """
    refuse_different_models(study.benchmarks)
    finals = [final_models(benchmark.evaluations) for benchmark in study.benchmarks]
    grids = [common_ks([*benchmark.evaluations, *benchmark.sweep]) for benchmark in study.benchmarks]
    comparisons = holm_across(
        [
            compare(models, ks=ks, seed=seed, num_resamples=num_resamples)
            for models, ks in zip(finals, grids, strict=True)
        ]
    )
    return tuple(
        BenchmarkAnalysis(
            benchmark,
            models,
            comparison,
            findings(comparison, models),
            over_steps(benchmark.evaluations, comparison, study.metrics),
            guess_filter(benchmark.guesses, models, comparison),
            reasoning(models, comparison),
            heated(models, benchmark.sweep, comparison),
            scored(benchmark.evaluations),
        )
        for benchmark, models, comparison in zip(study.benchmarks, finals, comparisons, strict=True)
    )


def guess_filter(
    guesses: Evaluation | None, models: Sequence[Evaluation], whole: Comparison
) -> GuessFilter | None:
    """Compare the models again on what cannot be guessed; None without guesses.

    Its tests are not part of the report's family: the filter is a check on the comparison, not another one.
    """
    if guesses is None:
        return None
    left_out = guessable(guesses)
    if not left_out:
        return GuessFilter(guesses, (), None)
    kept = without(models, left_out)
    remaining = compare(kept, ks=whole.ks, seed=whole.seed, num_resamples=whole.num_resamples)
    return GuessFilter(guesses, left_out, remaining)


def reasoning(models: Sequence[Evaluation], whole: Comparison) -> Reasoning | None:
    """What `rlvr audit` has left beside the samples."""
    audits = {each.name: audit for each in models if (audit := read_audit(each)) is not None}
    if not audits:
        return None
    counted = [with_valid_chains(each, audits[each.name]) for each in models if each.name in audits]
    complete = [each for each in counted if each is not None]
    valid = None
    if len(complete) == len(models):
        valid = compare(complete, ks=whole.ks, seed=whole.seed, num_resamples=whole.num_resamples)
    return Reasoning(audits, valid)


def final_models(evaluations: Sequence[Evaluation]) -> tuple[Evaluation, ...]:
    """The base, whatever its name, and all models that are not checkpoints."""
    base, *others = evaluations
    return (base, *(each for each in others if checkpoint_of(each.name) is None))


def common_ks(evaluations: Sequence[Evaluation]) -> tuple[int, ...]:
    """The grid of k that all models support, checkpoints and other temperatures included."""
    return default_ks(min(int(each.num_samples.min()) for each in evaluations))


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


def last_step(rows: Sequence[MetricRow]) -> int | None:
    """The last step that a run recorded; None without any."""
    return max((int(row["step"]) for row in rows if "step" in row), default=None)
