"""What is drawn, as plain data: one description serves the print figure, the page and the CSV."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from rlvr.eval.compare import Comparison, ModelResult, Trained
from rlvr.eval.coverage import HISTOGRAM_LABELS
from rlvr.eval.report.labels import GUESS_STYLE, crossing_words, label, percent, style_of
from rlvr.eval.statistics import Interval, is_high_variance

Values = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Meeting:
    """Where a line crosses the base's, with its interval."""

    x: float
    y: float
    low: float
    high: float
    words: str


@dataclass(frozen=True, slots=True)
class Series:
    """One line. Empty bounds mean no band."""

    name: str
    style: int
    """Index into the palette; 0 is the base."""
    x: Values
    y: Values
    low: Values = ()
    high: Values = ()
    inner_low: Values = ()
    """A second, narrower band."""
    inner_high: Values = ()
    dotted: bool = False
    faint: Values = ()
    """The unsmoothed values behind a smoothed line."""
    runs: tuple[Values, ...] = ()
    """The runs that this is the mean of, drawn thin."""
    meeting: Meeting | None = None
    quiet: bool = False
    """Show the band only where the line is singled out: many bands would cover one another."""


@dataclass(frozen=True, slots=True)
class LineChart:
    """Lines over k (log-2 axis) or over training steps (linear axis)."""

    slug: str
    """File name and anchor."""
    title: str
    caption: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    log2_x: bool = False
    y_range: tuple[float, float] | None = None
    zero_line: bool = False
    high_variance_from: float | None = None
    """Everything right of this x is marked as of high variance."""
    facets: bool = False
    """Draw every line in a panel of its own, on common axes."""


@dataclass(frozen=True, slots=True)
class DotChart:
    """One estimate with its interval per row."""

    slug: str
    title: str
    caption: str
    x_label: str
    rows: tuple[tuple[str, int, Interval], ...]
    """(name, style, value) from top to bottom."""
    digits: int = 1
    """Decimals of the numbers beside the points."""


@dataclass(frozen=True, slots=True)
class BarChart:
    """Groups of upright bars: one group per category, one bar per series."""

    slug: str
    title: str
    caption: str
    x_label: str
    y_label: str
    categories: tuple[str, ...]
    series: tuple[tuple[str, int, Values], ...]
    """(name, style, one value per category)."""


@dataclass(frozen=True, slots=True)
class StackChart:
    """One full-width bar per row, divided into parts."""

    slug: str
    title: str
    caption: str
    parts: tuple[str, ...]
    colours: tuple[str, ...]
    rows: tuple[tuple[str, Values], ...]
    unit: str


FEW_MODELS = 2
"""With more trained models than this, differences get a panel each and accuracies a bar each."""
MANY_POINTS = 24
"""Lines with more points than this carry no markers."""
CLEAR_BANDS = 3
"""With more lines than this most bands are quiet: among curves all but the base's, over steps all."""

Chart = LineChart | DotChart | BarChart | StackChart


def comparison_charts(comparison: Comparison, prefix: str = "") -> dict[str, Chart]:
    """The charts of the comparison; those without data are left out.

    Args:
        comparison: one benchmark.
        prefix: of the charts' own slugs, which name files and anchors; their keys stay without it.
    """
    charts: list[Chart] = [pass_at_k_chart(comparison)]
    if comparison.against_base:
        charts += [difference_chart(comparison), gap_chart(comparison), coverage_chart(comparison)]
    few = len(comparison.against_base) <= FEW_MODELS and not comparison.means
    charts.append(histogram_chart(comparison) if few else accuracy_chart(comparison))
    return {chart.slug: replace(chart, slug=prefix + chart.slug) for chart in charts}


def facets(chart: LineChart) -> tuple[LineChart, ...]:
    """One chart per line, on the axes of the whole."""
    common = y_limits(chart)
    return tuple(
        replace(chart, title=series.name, series=(series,), y_range=common, facets=False)
        for series in chart.series
    )


def y_limits(chart: LineChart) -> tuple[float, float]:
    """The y axis: as given, or the data with a small margin, not below zero without need."""
    if chart.y_range:
        return chart.y_range
    values = [
        v
        for s in chart.series
        for column in (s.y, s.low, s.high, s.inner_low, s.inner_high, s.faint, *s.runs)
        for v in column
    ]
    low, high = min(values), max(values)
    if chart.zero_line:
        low, high = min(low, 0.0), max(high, 0.0)
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return (max(0.0, low - margin) if low >= 0 else low - margin), high + margin


def pass_at_k_chart(comparison: Comparison) -> LineChart:
    """pass@k of all models with intervals, and the guess baseline."""
    ks = tuple(float(k) for k in comparison.ks)
    shown: list[ModelResult | Trained] = [comparison.base, *comparison.trained]
    many = len(shown) > CLEAR_BANDS
    series = [
        Series(
            label(each.name),
            style_of(i),
            ks,
            _t(each.curve.estimate),
            _t(each.curve.band_low),
            _t(each.curve.band_high),
            runs=tuple(_t(run.curve.estimate) for run in comparison.runs_of(each)),
            meeting=meeting(comparison, each),
            quiet=many and i > 0,
        )
        for i, each in enumerate(shown)
    ]
    if comparison.guess[-1] > 0:
        series.append(Series("Blind guessing", GUESS_STYLE, ks, _t(comparison.guess), dotted=True))
    bands = "Band (the base's; point at another name for its own)" if many else "Bands"
    return LineChart(
        "pass_at_k",
        "pass@k",
        f"Share of the {comparison.num_problems} problems solved by at least one of k samples (unbiased estimate "
        f"from n = {comparison.num_samples}). {bands}: {percent(comparison.level)} for all k at once, from "
        "resampling problems and the samples within them." + runs_note(comparison) + meeting_note(series),
        "k, samples per problem",
        "pass@k",
        tuple(series),
        log2_x=True,
        y_range=(0.0, 1.0),
        high_variance_from=_high_variance_from(comparison),
    )


def meeting(comparison: Comparison, each: ModelResult | Trained) -> Meeting | None:
    """Where a trained model falls behind the base; None for the base, and where they do not cross."""
    cross = each.crossing if isinstance(each, Trained) else None
    if cross is None or cross.at is None:
        return None
    ks = comparison.ks
    y = float(np.interp(np.log2(cross.at), np.log2(ks), each.curve.estimate))
    # An end beyond the grid is drawn at its end; the words say that it is not there.
    low, high = (float(ks[-1]) if end is None else end for end in (cross.low, cross.high))
    return Meeting(cross.at, y, low, high, crossing_words(cross))


def meeting_note(series: Iterable[Series]) -> str:
    """What the bars on the axis are, where there are some."""
    if not any(each.meeting for each in series):
        return ""
    return " The bar above the axis: where the curves cross, with its interval."


def runs_note(comparison: Comparison) -> str:
    """What the thin lines are, where there are some."""
    if not comparison.means:
        return ""
    return " Thin: single runs; the band of their mean covers the chance in training as well."


def difference_chart(comparison: Comparison) -> LineChart:
    """Model minus base per k, with the simultaneous and the pointwise band."""
    ks = tuple(float(k) for k in comparison.ks)
    few = len(comparison.trained) <= FEW_MODELS
    series = tuple(
        Series(
            f"{label(each.name)} − {label(comparison.base.name)}",
            style_of(i),
            ks,
            _t(each.difference.estimate),
            _t(each.difference.band_low),
            _t(each.difference.band_high),
            _t(each.difference.low),
            _t(each.difference.high),
            runs=tuple(_t(run.difference.estimate) for run in comparison.runs_of(each)),
        )
        for i, each in enumerate(comparison.trained, start=1)
    )
    level = percent(comparison.level)
    return LineChart(
        "paired_difference",
        "Paired difference to the base",
        "pass@k of the trained model minus that of the base on the same problems. Where the band lies wholly on one "
        f"side of zero, the data show a difference. Pale: {level} for all k at once; darker: {level} at each k alone."
        + runs_note(comparison)
        + ("" if few else " All panels have the same axes."),
        "k, samples per problem",
        "difference in pass@k",
        series,
        log2_x=True,
        zero_line=True,
        high_variance_from=_high_variance_from(comparison),
        facets=not few,
    )


def gap_chart(comparison: Comparison) -> DotChart:
    """Sampling-efficiency gap per model."""
    rows = [(f"{label(comparison.base.name)} itself", 0, comparison.base_gap)]
    rows += [
        (label(shown.name), style_of(i), shown.gap)
        for i, each in enumerate(comparison.trained, start=1)
        for shown in (each, *comparison.runs_of(each))
    ]
    return DotChart(
        "sampling_efficiency_gap",
        "Sampling-efficiency gap",
        f"ΔSE = pass@{comparison.gap_k} of the base − pass@1 of the model: what the base reaches with "
        f"{comparison.gap_k} samples and the model still misses with one. Lower is better. Bars: "
        f"{percent(comparison.level)} intervals.",
        "percentage points",
        tuple(rows),
    )


COVERAGE_PARTS = ("Solved by both", "Trained model only", "Base only", "Neither")
COVERAGE_COLOURS = ("#a9c7de", "#e69f00", "#59636b", "#dcdcdc")
"""Dark grey is the base, as everywhere; no other colour here stands for a model elsewhere."""


def coverage_chart(comparison: Comparison) -> StackChart:
    """Problems by who solves them."""
    rows = tuple(
        (
            label(each.name),
            tuple(float(each.coverage.counts[s]) for s in ("both", "rl_only", "base_only", "neither")),
        )
        for each in comparison.against_base
    )
    return StackChart(
        "coverage",
        "Coverage of solved problems",
        f"A problem counts as solved if at least one of {comparison.num_samples} samples is correct.",
        COVERAGE_PARTS,
        COVERAGE_COLOURS,
        rows,
        "problems",
    )


def histogram_chart(comparison: Comparison) -> BarChart:
    """Share of problems per accuracy bin, base and trained models side by side."""
    series = tuple(
        (label(model.name), style_of(i), _t(100 * model.histogram / comparison.num_problems))
        for i, model in enumerate(comparison.models)
    )
    return BarChart(
        "accuracy_histogram",
        "Accuracy per problem",
        "How often a problem is solved, over all its samples. The outer bins are the problems never solved and "
        "always solved.",
        "share of correct samples, c / n",
        "problems, %",
        HISTOGRAM_LABELS,
        series,
    )


ACCURACY_COLOURS = (
    *("#59636b", "#e3e9ef", "#d2deea", "#bfd2e5", "#a9c5df", "#8fb5d8", "#73a4cf", "#5692c5", "#3c7fb6"),
    *("#286ca3", "#18588c", "#0b3f69"),
)
"""One per bin of the histogram: grey for never, then darker the more often a problem is solved."""


def accuracy_chart(comparison: Comparison) -> StackChart:
    """The same as :func:`histogram_chart`, a bar per model: for models too many to stand side by side."""
    rows = tuple((label(model.name), _t(model.histogram)) for model in comparison.models)
    return StackChart(
        "accuracy_histogram",
        "Accuracy per problem",
        f"How the {comparison.num_problems} problems divide by the share of samples that solve them, from never "
        "(grey, left) to always (right).",
        HISTOGRAM_LABELS,
        ACCURACY_COLOURS,
        rows,
        "problems",
    )


def _high_variance_from(comparison: Comparison) -> float | None:
    noisy = any(is_high_variance(k, comparison.num_samples) for k in comparison.ks)
    return comparison.num_samples / 2 if noisy and len(comparison.ks) > 1 else None


def _t(values: Iterable[float]) -> Values:
    return tuple(float(value) for value in values)
