"""``summary.json``: every number of the report, for programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rlvr.eval.compare import MeanOfRuns, ModelResult, Trained
from rlvr.eval.coverage import HISTOGRAM_LABELS
from rlvr.eval.pass_at_k import FloatArray
from rlvr.eval.perplexity import Scored
from rlvr.eval.report.analysis import BenchmarkAnalysis, GuessFilter, Reasoning, StepPoint
from rlvr.eval.report.settings import settings_of
from rlvr.eval.results import StudyResults
from rlvr.eval.statistics import Curve, Interval
from rlvr.eval.store import Evaluation, read_prompt
from rlvr.eval.temperature import Heated

DIGITS = 9
"""Decimal places kept: far below any sampling error, and free of rounding noise."""


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
        "paired_difference": {name: _difference(each) for name, each in against.items()},
        "sampling_efficiency_gap": {name: round(each.gap.estimate, DIGITS) for name, each in against.items()},
        "sampling_efficiency_gap_interval": {name: _ends(each.gap) for name, each in against.items()},
        "sampling_efficiency_gap_k": comparison.gap_k,
        "mean_of_runs": {mean.family: _mean(mean) for mean in comparison.means},
        "crossing_k": {name: each.crossing.k for name, each in against.items()},
        "crossing_at": {name: _rounded(each.crossing.at) for name, each in against.items()},
        "crossing_at_interval": {
            name: [_rounded(each.crossing.low), _rounded(each.crossing.high)]
            for name, each in against.items()
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
        "guess_pass_at_k": _list(comparison.guess),
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
    if analysis.guess_filter is not None:
        numbers["guess_filter"] = _guess_filter(analysis.guess_filter)
    if analysis.reasoning is not None:
        numbers["reasoning"] = _reasoning(analysis.reasoning)
    if analysis.heated:
        numbers["temperature"] = [_heated(each) for each in analysis.heated]
    if analysis.perplexities:
        numbers["perplexity"] = [_perplexity(each) for each in analysis.perplexities]
    return numbers


def _heated(row: Heated) -> dict[str, Any]:
    return {
        "model": row.name,
        "temperature": row.temperature,
        "pass_at_k": _list(row.curve.estimate),
        "difference_to_base": _list(row.difference.estimate),
        "difference_band_low": _list(row.difference.band_low),
        "difference_band_high": _list(row.difference.band_high),
        "crossing_at": _rounded(row.crossing.at),
        "entropy": round(row.entropy.estimate, DIGITS) if row.entropy else None,
    }


def _perplexity(row: Scored) -> dict[str, Any]:
    return {
        "written_by": row.written_by,
        "scored_by": row.found.scorer,
        "mean": round(row.mean.estimate, DIGITS),
        "interval": _ends(row.mean),
        "median": round(row.quartiles.estimate, DIGITS),
        "quartiles": _ends(row.quartiles),
        "responses_per_problem": row.found.num_responses,
    }


def _reasoning(found: Reasoning) -> dict[str, Any]:
    valid = found.valid
    return {
        "judged": {name: len(audit.rows) for name, audit in found.audits.items()},
        "valid": {name: sum(row.chain for row in audit.rows) for name, audit in found.audits.items()},
        "by": {name: audit.by for name, audit in found.audits.items()},
        "problems_with_a_valid_chain": {
            name: sorted({row.problem for row in audit.rows if row.chain})
            for name, audit in found.audits.items()
        },
        "cot_pass_at_k": {m.name: _list(m.curve.estimate) for m in valid.models} if valid else {},
        "cot_paired_difference": {a.name: _difference(a) for a in valid.against_base} if valid else {},
    }


def _guess_filter(found: GuessFilter) -> dict[str, Any]:
    remaining = found.remaining
    return {
        "left_out": list(found.left_out),
        "num_samples": found.guesses.spec.num_samples,
        "prompt_template": found.guesses.spec.prompt_template,
        "pass_at_k": {m.name: _list(m.curve.estimate) for m in remaining.models} if remaining else {},
        "paired_difference": {a.name: _difference(a) for a in remaining.against_base} if remaining else {},
        "crossing_at": {a.name: _rounded(a.crossing.at) for a in remaining.against_base} if remaining else {},
    }


def _model(model: ModelResult, evaluation: Evaluation) -> dict[str, Any]:
    return {
        **_curve(model.curve),
        "accuracy_histogram": dict(zip(HISTOGRAM_LABELS, model.histogram.tolist(), strict=True)),
        "rarely_solved": list(model.rarely_solved),
        "mean_num_tokens": round(evaluation.mean_num_tokens, 3),
        "status_counts": evaluation.status_counts,
        "cut_off": _rounded(model.cut_off),
        "unanswered": _rounded(model.unanswered),
        "model_sha256": evaluation.spec.model_sha256,
    }


def _evaluation(analysis: BenchmarkAnalysis) -> dict[str, Any]:
    spec = analysis.evaluations[0].spec
    return {
        "benchmark": spec.benchmark,
        "out_of_domain": analysis.results.out_of_domain,
        "problems_sha256": spec.problems_sha256,
        "prompt_template": spec.prompt_template,
        "rendered_prompt": read_prompt(analysis.evaluations[0].folder),
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


def _difference(each: Trained) -> dict[str, Any]:
    return {
        "estimate": _list(each.difference.estimate),
        "ci_low": _list(each.difference.low),
        "ci_high": _list(each.difference.high),
        "band_low": _list(each.difference.band_low),
        "band_high": _list(each.difference.band_high),
    }


def _mean(mean: MeanOfRuns) -> dict[str, Any]:
    return {
        "runs": list(mean.runs),
        "between_runs": _list(mean.between_runs),
        **_curve(mean.curve),
        "paired_difference": _difference(mean),
        "sampling_efficiency_gap": round(mean.gap.estimate, DIGITS),
        "sampling_efficiency_gap_interval": _ends(mean.gap),
        "crossing_k": mean.crossing.k,
        "crossing_at": _rounded(mean.crossing.at),
        "crossing_at_interval": [_rounded(mean.crossing.low), _rounded(mean.crossing.high)],
        "crossing_probability": mean.crossing.probability,
    }


def _curve(curve: Curve) -> dict[str, list[float]]:
    return {
        "pass_at_k": _list(curve.estimate),
        "ci_low": _list(curve.low),
        "ci_high": _list(curve.high),
        "band_low": _list(curve.band_low),
        "band_high": _list(curve.band_high),
    }


def _ends(value: Interval) -> list[float]:
    return [round(value.low, DIGITS), round(value.high, DIGITS)]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)


def _list(values: FloatArray) -> list[float]:
    rounded: list[float] = np.round(values, DIGITS).tolist()
    return rounded
