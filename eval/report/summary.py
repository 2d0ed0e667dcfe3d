"""``summary.json``: every number of the report, for programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rlvr.eval.compare import MeanOfRuns, ModelResult
from rlvr.eval.coverage import HISTOGRAM_LABELS
from rlvr.eval.report.cost import cost_summary, costs
from rlvr.eval.report.measurement import BenchmarkAnalysis, StepPoint
from rlvr.eval.report.measurements import MEASUREMENTS
from rlvr.eval.report.rounding import DIGITS, difference, ends, plain_difference, rounded, rounded_list
from rlvr.eval.report.settings import settings_of
from rlvr.eval.results import StudyResults
from rlvr.eval.statistics import Curve, Interval
from rlvr.eval.store import Evaluation


def summary(study: StudyResults, analyses: Sequence[BenchmarkAnalysis]) -> dict[str, Any]:
    """The summary as plain data: the first benchmark's numbers on top, all of them below ``benchmarks``.

    Probabilities are in [0, 1], gaps in percentage points.
    """
    provenance = dict(study.provenance)
    return {
        **(benchmark_summary(analyses[0]) if analyses else {}),
        "benchmarks": {analysis.results.name: benchmark_summary(analysis) for analysis in analyses},
        "unfinished": [
            {"stage": each.title, "done": each.done, "total": each.total, "unit": each.unit}
            for each in study.unfinished
        ],
        "training": {run: settings_of(config) for run, config in study.configs.items()},
        "training_cost": cost_summary(costs(study.metrics)),
        "wall_seconds": provenance.pop("wall_seconds", {}),
        "seed": provenance.pop("seed", None),
        "versions": provenance.pop("versions", {}),
        "date": provenance.pop("date", None),
        "provenance": provenance,
    }


def benchmark_summary(analysis: BenchmarkAnalysis) -> dict[str, Any]:
    """Every number of one benchmark; ``steps`` only where there are checkpoints."""
    comparison, found = analysis.comparison, analysis.findings
    against = {each.name: each for each in comparison.against_base}
    numbers = {
        "k": list(comparison.ks),
        "models": {
            model.name: _model(model, evaluation)
            for model, evaluation in zip(comparison.models, analysis.evaluations, strict=True)
        },
        "paired_difference": {name: difference(each) for name, each in against.items()},
        "difference_to_first": {
            name: plain_difference(curve) for name, curve in comparison.less_first.items()
        },
        "sampling_efficiency_gap": {name: round(each.gap.estimate, DIGITS) for name, each in against.items()},
        "sampling_efficiency_gap_interval": {name: ends(each.gap) for name, each in against.items()},
        "sampling_efficiency_gap_k": comparison.gap_k,
        "mean_of_runs": {mean.family: _mean(mean) for mean in comparison.means},
        "crossing_k": {name: each.crossing.k for name, each in against.items()},
        "crossing_at": {name: rounded(each.crossing.at) for name, each in against.items()},
        "crossing_at_interval": {
            name: [rounded(each.crossing.low), rounded(each.crossing.high)] for name, each in against.items()
        },
        "crossing_probability": {name: each.crossing.probability for name, each in against.items()},
        "coverage": {name: each.coverage.counts for name, each in against.items()},
        "coverage_ids": {
            name: {kind: list(each.coverage.sets[kind]) for kind in ("base_only", "rl_only", "neither")}
            for name, each in against.items()
        },
        "mcnemar_p": {name: each.mcnemar_p for name, each in against.items()},
        "mcnemar_p_holm": {name: each.holm_p for name, each in against.items()},
        "mcnemar_tests": comparison.num_tests,
        "guess_pass_at_k": rounded_list(comparison.guess),
        "num_problems": comparison.num_problems,
        "num_samples": comparison.num_samples,
        "bootstrap": {
            "level": comparison.level,
            "num_resamples": comparison.num_resamples,
            "seed": comparison.seed,
            "unit": "problem, samples redrawn within",
        },
        "findings": found.models,
        "caveats": found.caveats,
        "evaluation": _evaluation(analysis),
    }
    if analysis.steps:
        numbers["steps"] = _steps(analysis)
    for each in MEASUREMENTS:
        if each.summary_key and each.anchor in analysis.found:
            numbers[each.summary_key] = each.summary(analysis.found[each.anchor])
    return numbers


def _model(model: ModelResult, evaluation: Evaluation) -> dict[str, Any]:
    return {
        **_curve(model.curve),
        "accuracy_histogram": dict(zip(HISTOGRAM_LABELS, model.histogram.tolist(), strict=True)),
        "rarely_solved": list(model.rarely_solved),
        "mean_num_tokens": round(evaluation.mean_num_tokens, 3),
        "status_counts": evaluation.status_counts,
        "cut_off": rounded(model.cut_off),
        "unanswered": rounded(model.unanswered),
        "model_sha256": evaluation.spec.model_sha256,
    }


def _evaluation(analysis: BenchmarkAnalysis) -> dict[str, Any]:
    spec = analysis.evaluations[0].spec
    return {
        "benchmark": spec.benchmark,
        "out_of_domain": analysis.results.out_of_domain,
        "problems_sha256": spec.problems_sha256,
        "prompt_template": spec.prompt_template,
        "rendered_prompt": analysis.prompt,
        "sampling": spec.sampling,
        "verifier": spec.verifier,
        "seed": spec.seed,
        "chance_level": spec.chance_level,
    }


def _steps(analysis: BenchmarkAnalysis) -> dict[str, Any]:
    values: dict[str, Callable[[StepPoint], Interval]] = {
        "pass_at_1": lambda point: point.pass_at_1,
        f"pass_at_{analysis.comparison.gap_k}": lambda point: point.pass_at_large,
        "sampling_efficiency_gap": lambda point: point.gap,
    }
    return {
        run.run: {
            "step": [point.step for point in run.points],
            **{
                name: {
                    "estimate": [round(value(point).estimate, DIGITS) for point in run.points],
                    "ci_low": [round(value(point).low, DIGITS) for point in run.points],
                    "ci_high": [round(value(point).high, DIGITS) for point in run.points],
                }
                for name, value in values.items()
            },
        }
        for run in analysis.steps
    }


def _mean(mean: MeanOfRuns) -> dict[str, Any]:
    return {
        "runs": list(mean.runs),
        "between_runs": rounded_list(mean.between_runs),
        **_curve(mean.curve),
        "paired_difference": difference(mean),
        "sampling_efficiency_gap": round(mean.gap.estimate, DIGITS),
        "sampling_efficiency_gap_interval": ends(mean.gap),
        "crossing_k": mean.crossing.k,
        "crossing_at": rounded(mean.crossing.at),
        "crossing_at_interval": [rounded(mean.crossing.low), rounded(mean.crossing.high)],
        "crossing_probability": mean.crossing.probability,
    }


def _curve(curve: Curve) -> dict[str, list[float]]:
    return {
        "pass_at_k": rounded_list(curve.estimate),
        "ci_low": rounded_list(curve.low),
        "ci_high": rounded_list(curve.high),
        "band_low": rounded_list(curve.band_low),
        "band_high": rounded_list(curve.band_high),
    }
