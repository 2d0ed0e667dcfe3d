"""What a measurement of the report is: how it is read, analysed, drawn, shown and summarised.

Every measurement is a module of its own with all of that in it, and ends with a :class:`Measurement`;
``measurements.py`` lists them. ``analysis.py``, ``study_charts.py``, ``page.py`` and ``summary.py`` go through the list
and know none of them by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlvr.eval.compare import Comparison
from rlvr.eval.report.charts import Chart, LineChart
from rlvr.eval.report.draw_web import FACET, NARROW, draw, keys_of, legend
from rlvr.eval.report.findings import Findings
from rlvr.eval.report.html import Cell, Markup, element, join, section
from rlvr.eval.report.labels import bracket, number
from rlvr.eval.report.responses import Responses
from rlvr.eval.results import BenchmarkResults
from rlvr.eval.statistics import Interval
from rlvr.eval.store import Evaluation

ARROWS = {True: "▲", False: "▼"}


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
class BenchmarkAnalysis:
    """One benchmark: what was read, and every statistic of it."""

    results: BenchmarkResults
    evaluations: tuple[Evaluation, ...]
    """The base and the trained models, checkpoints left out."""
    comparison: Comparison
    """Of these."""
    findings: Findings
    steps: tuple[RunOverSteps, ...]
    """The runs that have checkpoints."""
    prompt: str | None
    """The first problem's prompt as the base read it; None where it was not kept."""
    responses: Mapping[str, Sequence[Responses]]
    """By problem id, a correct and an incorrect response of every model."""
    found: Mapping[str, Any]
    """By the anchor of a measurement what it found; only of those that found something."""


@dataclass(frozen=True, slots=True)
class Part:
    """One benchmark on the page: sections of its own, or blocks within the one of its name."""

    analysis: BenchmarkAnalysis
    charts: Mapping[str, Chart]
    within: str = ""
    """Anchor of the section that the blocks stand in; empty for sections of their own."""

    def section(self, anchor: str, title: str, *children: object) -> Markup:
        """A headed piece of the page."""
        if not self.within:
            return section(anchor, title, *children)
        return element("div", element("h3", title), *children, id=f"{self.within}-{anchor}", css="block")


def figure(chart: Chart, *, width: float | None = None, heading: bool = False) -> Markup:
    """A chart with its caption; one of a given width is a panel among others."""
    unit = chart.y_label if width is not None and isinstance(chart, LineChart) else ""
    title = [element("h3", chart.title, element("span", unit, css="unit"))] if heading else []
    caption = element("figcaption", chart.caption)
    return element("figure", *title, Markup(draw(chart, width)), caption, id=f"figure-{chart.slug}")


def interval_cell(value: Interval, signed: bool = False) -> Cell:
    """A number with its interval, ordered by the number."""
    return Cell(bracket(value, signed=signed), value.estimate)


def two_lines(
    value: Interval, digits: int, difference: Interval | None = None, *, signed: bool = False
) -> Cell:
    """An estimate, its sign against the base, and below it the interval; ``signed`` is for what is itself a difference."""
    mark: list[Markup] = []
    if difference is not None and difference.excludes_zero:
        up = difference.estimate > 0
        mark = [element("span", ARROWS[up], css="right" if up else "wrong")]
    estimate, low, high = (number(part, digits, signed) for part in (value.estimate, value.low, value.high))
    text = join([element("strong", estimate), *mark, element("small", f"[{low}, {high}]")])
    return Cell(text, value.estimate)


def no_data(results: BenchmarkResults, models: Sequence[Evaluation]) -> Any:
    """Of a measurement that reads nothing beside the samples."""
    return None


def no_finding(data: Any, results: BenchmarkResults, models: Sequence[Evaluation], whole: Comparison) -> Any:
    """Of a measurement that shows the comparison itself."""
    return None


def no_charts(analysis: BenchmarkAnalysis, drawing: Drawing) -> Sequence[Chart]:
    """Of a measurement that draws nothing of its own."""
    return ()


def no_checks(analysis: BenchmarkAnalysis) -> Sequence[tuple[str, Comparison]]:
    """Of a measurement that does not compare the models under another condition."""
    return ()


@dataclass(frozen=True, slots=True)
class Drawing:
    """What charts have in common."""

    styles: Mapping[str, int]
    """Of models and runs, by name."""
    last_steps: Mapping[str, int | None]
    """By run, the step of its final model; None where it is not known."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measurement of a benchmark; where ``section`` finds nothing to show, the page leaves it out."""

    anchor: str
    """Of its section, and its key in ``BenchmarkAnalysis.found``."""
    navigation: str
    """Its name at the top of the page."""
    section: Callable[[Part], Markup | None]
    read: Callable[[BenchmarkResults, Sequence[Evaluation]], Any] = no_data
    """What lies beside the samples of all models, or of those final ones: the only place that reads the disk."""
    analyse: Callable[[Any, BenchmarkResults, Sequence[Evaluation], Comparison], Any] = no_finding
    """What follows from what was read, the results, the final models and their comparison; None or empty without any."""
    charts: Callable[[BenchmarkAnalysis, Drawing], Sequence[Chart]] = no_charts
    """Drawn from what was found; asked only where something was."""
    summary_key: str = ""
    """Its key in ``summary.json``; empty where ``summary.py`` has its numbers as those of the comparison."""
    summary: Callable[[Any], Any] = str
    """What was found, as plain data."""
    checks: Callable[[BenchmarkAnalysis], Sequence[tuple[str, Comparison]]] = no_checks
    """The models compared under another condition, each with its words, for the page's summary."""
    in_further: bool = True
    """Whether benchmarks after the first have it, too."""
    by_problem: bool = False
    """Whether it goes through the problems one by one: those come last in the section of a further benchmark."""


def panels(charts: Sequence[LineChart], columns: int = 2) -> Markup:
    """Small charts side by side under one legend, which singles a run out in all of them."""
    width, css = (FACET, "panels three") if columns > 2 else (NARROW, "panels")
    keys = {name: key for chart in charts for name, key in keys_of(chart).items()}
    drawn = element("div", *(figure(chart, width=width, heading=True) for chart in charts), css=css)
    return element("div", Markup(legend(keys)), drawn, css="shared")
