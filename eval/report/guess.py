"""The guess filter: the comparison without the problems that the base can guess."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rlvr.eval.compare import Comparison, compare
from rlvr.eval.guess import RARELY, guessable, without
from rlvr.eval.report.charts import Chart, LineChart, pass_at_k_chart
from rlvr.eval.report.html import Markup, details, element, id_list
from rlvr.eval.report.labels import label, percent
from rlvr.eval.report.measurement import BenchmarkAnalysis, Drawing, Measurement, Part, figure
from rlvr.eval.report.rounding import difference, rounded, rounded_list
from rlvr.eval.report.sections import two_comparisons
from rlvr.eval.results import BenchmarkResults
from rlvr.eval.store import Evaluation

ANCHOR = "guesses"


@dataclass(frozen=True, slots=True)
class GuessFilter:
    """The comparison without the problems that the base can guess."""

    guesses: Evaluation
    left_out: tuple[str, ...]
    remaining: Comparison | None
    """None where nothing is left out: it would be the comparison itself."""


def guess_filter(
    data: None, results: BenchmarkResults, models: Sequence[Evaluation], whole: Comparison
) -> GuessFilter | None:
    """Compare the models again on what cannot be guessed; None without guesses.

    Its tests are not part of the report's family: the filter is a check on the comparison, not another one.
    """
    guesses = results.guesses
    if guesses is None:
        return None
    left_out = guessable(guesses)
    if not left_out:
        return GuessFilter(guesses, (), None)
    kept = without(models, left_out)
    remaining = compare(kept, ks=whole.ks, seed=whole.seed, num_resamples=whole.num_resamples)
    return GuessFilter(guesses, left_out, remaining)


def charts(analysis: BenchmarkAnalysis, drawing: Drawing) -> list[Chart]:
    """The curves of what remains."""
    found: GuessFilter = analysis.found[ANCHOR]
    return [] if found.remaining is None else [filtered_chart(found.remaining, len(found.left_out))]


def filtered_chart(comparison: Comparison, left_out: int) -> LineChart:
    """The curves without what can be guessed."""
    return replace(
        pass_at_k_chart(comparison),
        slug="guess_filter",
        title="pass@k without what can be guessed",
        caption=f"The {comparison.num_problems} problems that remain without the {left_out} that the base hits now and then "
        f"without reasoning. Bands: {percent(comparison.level)} for all k at once.",
    )


def guess_section(part: Part) -> Markup | None:
    """The comparison without the problems that the base can guess."""
    found: GuessFilter | None = part.analysis.found.get(ANCHOR)
    if found is None:
        return None
    children: list[Markup] = [element("p", guess_sentence(found, part.analysis.comparison))]
    if found.remaining is not None:
        children += [
            figure(part.charts["guess_filter"]),
            guess_table(part.analysis.comparison, found.remaining),
            details(f"{len(found.left_out)} problems left out", id_list(found.left_out)),
        ]
    return part.section(ANCHOR, "Guess filter", *children)


def guess_sentence(found: GuessFilter, comparison: Comparison) -> str:
    """What was left out, and by which rule."""
    spec = found.guesses.spec
    rule = (
        f"{label(comparison.base.name)} was asked {spec.num_samples} times for each answer without reasoning "
        f"(prompt {spec.prompt_template}). "
    )
    if not found.left_out:
        return (
            rule + f"It hits no problem now and then (in under {percent(RARELY)} of the samples): all remain."
        )
    return rule + (
        f"{len(found.left_out)} of {comparison.num_problems} problems it hits now and then, in under {percent(RARELY)} of "
        "the samples. They are left out here, for all models alike."
    )


def guess_table(whole: Comparison, remaining: Comparison) -> Markup:
    """Before and after, per model: pass@1, pass@K, the difference at K, and the crossing."""
    return two_comparisons((whole, "all problems"), (remaining, "without"))


def checks(analysis: BenchmarkAnalysis) -> list[tuple[str, Comparison]]:
    """Whether the picture changes without guesses."""
    found: GuessFilter = analysis.found[ANCHOR]
    if found.remaining is None:
        return []
    return [(f"Without {len(found.left_out)} problems that can be guessed", found.remaining)]


def summary(found: GuessFilter) -> dict[str, Any]:
    """For ``summary.json``."""
    remaining = found.remaining
    return {
        "left_out": list(found.left_out),
        "num_samples": found.guesses.spec.num_samples,
        "prompt_template": found.guesses.spec.prompt_template,
        "pass_at_k": {m.name: rounded_list(m.curve.estimate) for m in remaining.models} if remaining else {},
        "paired_difference": {a.name: difference(a) for a in remaining.against_base} if remaining else {},
        "crossing_at": {a.name: rounded(a.crossing.at) for a in remaining.against_base} if remaining else {},
    }


MEASUREMENT = Measurement(
    ANCHOR,
    "Guessing",
    guess_section,
    analyse=guess_filter,
    charts=charts,
    summary_key="guess_filter",
    summary=summary,
    checks=checks,
)
