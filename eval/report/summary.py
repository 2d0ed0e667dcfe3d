"""``summary.json``: every number of the report, for programs."""

from __future__ import annotations

from typing import Any

import numpy as np

from rlvr.eval.compare import AgainstBase, Comparison
from rlvr.eval.coverage import HISTOGRAM_LABELS
from rlvr.eval.pass_at_k import FloatArray
from rlvr.eval.report.findings import Findings
from rlvr.eval.report.results import StudyResults
from rlvr.eval.statistics import Interval

DIGITS = 9
"""Decimal places kept: far below any sampling error, and free of rounding noise."""


def summary(results: StudyResults, comparison: Comparison, found: Findings) -> dict[str, Any]:
    """The summary as plain data. Probabilities are in [0, 1], the gap is in percentage points."""
    provenance = dict(results.provenance)
    against = {each.name: each for each in comparison.against_base}
    return {
        "k": list(comparison.ks),
        "models": {
            model.name: {
                "pass_at_k": _list(model.curve.estimate),
                "ci_low": _list(model.curve.low),
                "ci_high": _list(model.curve.high),
                "accuracy_histogram": dict(zip(HISTOGRAM_LABELS, model.histogram.tolist(), strict=True)),
                "rarely_solved": list(model.rarely_solved),
                "mean_num_tokens": round(evaluation.mean_num_tokens, 3),
                "status_counts": evaluation.status_counts,
                "model_sha256": evaluation.spec.model_sha256,
            }
            for model, evaluation in zip(comparison.models, results.evaluations, strict=True)
        },
        "paired_difference": {name: _difference(each) for name, each in against.items()},
        "sampling_efficiency_gap": {name: round(each.gap.estimate, DIGITS) for name, each in against.items()},
        "sampling_efficiency_gap_interval": {name: _ends(each.gap) for name, each in against.items()},
        "sampling_efficiency_gap_k": comparison.gap_k,
        "crossing_k": {name: each.crossing.k for name, each in against.items()},
        "crossing_k_interval": {
            name: [each.crossing.low, each.crossing.high] for name, each in against.items()
        },
        "crossing_probability": {name: each.crossing.probability for name, each in against.items()},
        "coverage": {name: each.coverage.counts for name, each in against.items()},
        "coverage_ids": {
            name: {kind: list(each.coverage.sets[kind]) for kind in ("base_only", "rl_only", "neither")}
            for name, each in against.items()
        },
        "mcnemar_p": {name: each.mcnemar_p for name, each in against.items()},
        "mcnemar_p_holm": {name: each.holm_p for name, each in against.items()},
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
        "evaluation": _evaluation(results),
        "wall_seconds": provenance.pop("wall_seconds", {}),
        "seed": provenance.pop("seed", None),
        "versions": provenance.pop("versions", {}),
        "date": provenance.pop("date", None),
        "provenance": provenance,
    }


def _evaluation(results: StudyResults) -> dict[str, Any]:
    spec = results.evaluations[0].spec
    return {
        "benchmark": spec.benchmark,
        "problems_sha256": spec.problems_sha256,
        "prompt_template": spec.prompt_template,
        "sampling": spec.sampling,
        "verifier": spec.verifier,
        "seed": spec.seed,
        "chance_level": spec.chance_level,
    }


def _difference(each: AgainstBase) -> dict[str, Any]:
    return {
        "estimate": _list(each.difference.estimate),
        "ci_low": _list(each.difference.low),
        "ci_high": _list(each.difference.high),
        "band_low": _list(each.difference.band_low),
        "band_high": _list(each.difference.band_high),
    }


def _ends(value: Interval) -> list[float]:
    return [round(value.low, DIGITS), round(value.high, DIGITS)]


def _list(values: FloatArray) -> list[float]:
    rounded: list[float] = np.round(values, DIGITS).tolist()
    return rounded
