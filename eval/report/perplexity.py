"""Perplexity: whose responses a model finds likely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlvr.eval.compare import Comparison
from rlvr.eval.names import checkpoint_of
from rlvr.eval.perplexity import OWN, REFERENCE, Perplexities, Scored, read_perplexities, scored
from rlvr.eval.report.charts import Chart, DotChart, LineChart, Series
from rlvr.eval.report.html import Cell, Markup, details, element, table
from rlvr.eval.report.labels import bracket, label, number, percent
from rlvr.eval.report.measurement import BenchmarkAnalysis, Drawing, Measurement, Part, figure
from rlvr.eval.report.rounding import DIGITS, ends
from rlvr.eval.results import BenchmarkResults
from rlvr.eval.statistics import LEVEL, Interval
from rlvr.eval.store import Evaluation

ANCHOR = "perplexity"


def read(results: BenchmarkResults, models: Sequence[Evaluation]) -> list[tuple[str, list[Perplexities]]]:
    """What `rlvr perplexity` has left beside the samples of each model, checkpoints included, by its name."""
    return [(each.name, read_perplexities(each.folder)) for each in results.evaluations]


def analyse(
    written: Sequence[tuple[str, Sequence[Perplexities]]],
    results: BenchmarkResults,
    models: Sequence[Evaluation],
    whole: Comparison,
) -> tuple[Scored, ...]:
    """Whose responses were scored by which model."""
    return scored(written)


def charts(analysis: BenchmarkAnalysis, drawing: Drawing) -> list[Chart]:
    """The distributions, and the base's perplexity of what is written over training."""
    base = analysis.comparison.base.name
    return perplexity_charts(analysis.found[ANCHOR], base, drawing.styles, drawing.last_steps)


def perplexity_charts(
    rows: Sequence[Scored], base: str, styles: Mapping[str, int], last_steps: Mapping[str, int | None]
) -> list[Chart]:
    """The distributions, and the base's perplexity of the checkpoints' responses; empty without any.

    Args:
        rows: what was scored.
        base: name of the base model.
        styles: of the models.
        last_steps: by run, the step of its final model, None where it is not known.
    """
    finals = [row for row in rows if checkpoint_of(row.written_by) is None]
    if not finals:
        return []
    charts: list[Chart] = [
        DotChart(
            "perplexity",
            "Perplexity",
            "Median over problems of each problem's median response, with the quartiles. A low perplexity under the base "
            "means that the base could have written it.",
            "perplexity",
            tuple((title(row), styles.get(row.written_by, 0), row.quartiles) for row in finals),
            digits=2,
        )
    ]
    if lines := checkpoint_lines(rows, base, styles, last_steps):
        steps = LineChart(
            "perplexity_steps",
            "The base's perplexity of what is written over training",
            f"Mean over problems of each problem's median response, scored by the base. Bands: {percent(LEVEL)} at each step "
            "alone, over problems. Step 0 is the base's own.",
            "step",
            "perplexity under the base",
            lines,
        )
        charts.append(steps)
    return charts


def title(row: Scored) -> str:
    """``GRPO under Base``."""
    writer = "Reference" if row.written_by == REFERENCE else label(row.written_by)
    return f"{writer} under {label(row.found.scorer)}"


def checkpoint_lines(
    rows: Sequence[Scored], base: str, styles: Mapping[str, int], last_steps: Mapping[str, int | None]
) -> tuple[Series, ...]:
    """One line per run that has checkpoints."""
    under_base = {
        row.written_by: row.mean for row in rows if row.found.scorer == base and row.found.of == OWN
    }
    points: dict[str, dict[int, Interval]] = {}
    for name, mean in under_base.items():
        if (found := checkpoint_of(name)) is not None:
            run, step = found
            points.setdefault(run, {0: under_base[base]} if base in under_base else {})[step] = mean
    for run, at in points.items():
        if (last := last_steps.get(run)) is not None and run in under_base:
            at[last] = under_base[run]
    return tuple(
        Series(
            label(run),
            styles.get(run, 1),
            x=tuple(float(step) for step in sorted(at)),
            y=tuple(at[step].estimate for step in sorted(at)),
            low=tuple(at[step].low for step in sorted(at)),
            high=tuple(at[step].high for step in sorted(at)),
        )
        for run, at in points.items()
    )


def perplexity_section(part: Part) -> Markup | None:
    """Whose responses each model finds likely."""
    rows: Sequence[Scored] = part.analysis.found.get(ANCHOR, ())
    if "perplexity" not in part.charts:
        return None
    numbers = [
        [
            title(row),
            Cell(bracket(row.mean, 2), row.mean.estimate),
            Cell(number(row.quartiles.estimate, 2), row.quartiles.estimate),
            Cell(f"{number(row.quartiles.low, 2)} to {number(row.quartiles.high, 2)}", row.quartiles.low),
            Cell(f"{sum(map(len, row.found.values.values())):,}", len(row.found.values)),
        ]
        for row in rows
    ]
    headers = ["responses of, under", "mean over problems", "median", "quartiles", "responses"]
    drawn = [
        figure(part.charts[key], heading=key != "perplexity")
        for key in ("perplexity", "perplexity_steps")
        if key in part.charts
    ]
    note = element(
        "p",
        "exp of the mean negative log-probability of a response's tokens at temperature 1; per problem the median over its "
        f"responses. In brackets: {percent(LEVEL)} intervals over problems. Responses are kept as text and were tokenized anew.",
        css="small",
    )
    return part.section(ANCHOR, "Perplexity", *drawn, note, details("Numbers", table(headers, numbers)))


def summary_row(row: Scored) -> dict[str, Any]:
    """Whose responses under which model, for ``summary.json``."""
    return {
        "written_by": row.written_by,
        "scored_by": row.found.scorer,
        "mean": round(row.mean.estimate, DIGITS),
        "interval": ends(row.mean),
        "median": round(row.quartiles.estimate, DIGITS),
        "quartiles": ends(row.quartiles),
        "responses_per_problem": row.found.num_responses,
    }


def summary(rows: Sequence[Scored]) -> list[dict[str, Any]]:
    """For ``summary.json``."""
    return [summary_row(row) for row in rows]


MEASUREMENT = Measurement(
    ANCHOR,
    "Perplexity",
    perplexity_section,
    read=read,
    analyse=analyse,
    charts=charts,
    summary_key="perplexity",
    summary=summary,
)
