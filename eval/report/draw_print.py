"""Charts as print figures (PNG and SVG, by matplotlib) and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rlvr.eval.report.charts import MANY_POINTS, BarChart, Chart, DotChart, LineChart, StackChart, facets
from rlvr.eval.report.labels import COLOURS, MARKERS, is_dashed, number, text_colour

STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9,
    "lines.linewidth": 1.6,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.labelcolor": "#333333",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "rlvr",
    "savefig.dpi": 200,
}
INSIDE_LEGEND = 4
"""A legend with more lines than this stands beside the chart."""
FACET_COLUMNS = 3


def write_figure(chart: Chart, folder: Path) -> None:
    """Write ``<slug>.png``, ``<slug>.svg`` and ``<slug>.csv``."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        drawn = draw_facets(chart) if isinstance(chart, LineChart) and chart.facets else draw_single(chart)
        drawn.savefig(folder / f"{chart.slug}.png")
        drawn.savefig(folder / f"{chart.slug}.svg", metadata={"Date": None, "Creator": None})
    with (folder / f"{chart.slug}.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(table(chart))


def draw_single(chart: Chart) -> Figure:
    """A chart on one pair of axes."""
    figure = Figure(figsize=(6.4, figure_height(chart)), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(chart.title)
    match chart:
        case LineChart():
            draw_lines(axes, chart)
        case DotChart():
            draw_dots(axes, chart)
        case BarChart():
            draw_bars(axes, chart)
        case StackChart():
            draw_stack(axes, chart)
    return figure


def draw_facets(chart: LineChart) -> Figure:
    """A chart with a panel per line."""
    panels = facets(chart)
    rows = -(-len(panels) // FACET_COLUMNS)
    figure = Figure(figsize=(7.6, 0.5 + 2.2 * rows), layout="constrained")
    grid = figure.subplots(rows, FACET_COLUMNS, sharex=True, sharey=True, squeeze=False).flat
    for axes, panel in zip(grid, panels, strict=False):
        axes.set_title(panel.title)
        draw_lines(axes, replace(panel, x_label="", y_label=""), note="")
        axes.tick_params(labelsize=7)
    for axes in list(grid)[len(panels) :]:
        axes.set_visible(False)
    figure.supxlabel(chart.x_label, fontsize=9)
    figure.supylabel(chart.y_label, fontsize=9)
    return figure


def figure_height(chart: Chart) -> float:
    """Inches: rows decide where there are rows."""
    match chart:
        case DotChart():
            return 1.1 + 0.34 * len(chart.rows)
        case StackChart():
            return 1.2 + 0.46 * len(chart.rows)
        case LineChart() if not chart.log2_x:
            return 2.9
        case _:
            return 3.9


def draw_lines(axes: Axes, chart: LineChart, note: str = "k > n/2: high variance") -> None:
    """Bands below, lines above, legend beside what it names; ``note`` stands over the shaded part."""
    for series in chart.series:
        colour = COLOURS[series.style % len(COLOURS)]
        if series.low and not series.quiet:
            axes.fill_between(series.x, series.low, series.high, color=colour, alpha=0.13, linewidth=0)
            for edge in (series.low, series.high):
                axes.plot(series.x, edge, color=colour, alpha=0.35, linewidth=0.5)
        if series.inner_low:
            axes.fill_between(
                series.x, series.inner_low, series.inner_high, color=colour, alpha=0.2, linewidth=0
            )
        for values in series.runs:
            axes.plot(series.x, values, color=colour, alpha=0.7, linewidth=0.6)
        if series.faint:
            axes.plot(series.x, series.faint, color=colour, alpha=0.3, linewidth=0.7)
        marker = "" if series.dotted or len(series.x) > MANY_POINTS else MARKERS[series.style % len(MARKERS)]
        stroke = ":" if series.dotted else "--" if is_dashed(series.style) else "-"
        axes.plot(series.x, series.y, stroke, color=colour, marker=marker, markersize=4, label=series.name)
    draw_meetings(axes, chart)
    if chart.zero_line:
        axes.axhline(0, color="#333333", linewidth=0.9)
    if chart.log2_x:
        axes.set_xscale("log", base=2)
        ticks = chart.series[0].x
        axes.set_xticks(ticks, [f"{x:g}" for x in ticks])
        axes.minorticks_off()
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    if chart.y_range:
        bottom, top = chart.y_range
        axes.set_ylim(bottom, top + 0.03 * (top - bottom))  # room for a marker that sits on the top
    if chart.high_variance_from is not None:
        shade_high_variance(axes, chart, note)
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    if len(chart.series) > INSIDE_LEGEND:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    elif len(chart.series) > 1:
        axes.legend(loc="best")


def draw_meetings(axes: Axes, chart: LineChart) -> None:
    """Bars above the axis: where lines cross the base's; left out where many would cover one another."""
    found = [
        (series, series.meeting) for series in chart.series if series.meeting is not None and not series.quiet
    ]
    for row, (series, meeting) in enumerate(found):
        colour, place = COLOURS[series.style % len(COLOURS)], 0.035 + 0.05 * row
        on_axis = axes.get_xaxis_transform()
        axes.plot([meeting.x, meeting.x], [0, meeting.y], ":", color=colour, linewidth=0.9)
        axes.plot([meeting.low, meeting.high], [place, place], color=colour, linewidth=1.8, transform=on_axis)
        marker = MARKERS[series.style % len(MARKERS)]
        axes.plot(meeting.x, place, marker, color=colour, markersize=4, transform=on_axis)
        axes.annotate(
            meeting.words,
            (meeting.high, place),
            (5, -3),
            xycoords=on_axis,
            textcoords="offset points",
            fontsize=7,
            color="#666666",
        )


def shade_high_variance(axes: Axes, chart: LineChart, note: str) -> None:
    """Mark k > n/2."""
    left = chart.high_variance_from or 0.0
    right = max(axes.get_xlim()[1], chart.series[0].x[-1])
    axes.axvspan(left, right, color="#000000", alpha=0.05, linewidth=0)
    axes.set_xlim(right=right)
    axes.text(
        right,
        1.0,
        note,
        transform=axes.get_xaxis_transform(),
        fontsize=7,
        color="#666666",
        ha="right",
        va="bottom",
    )


def draw_dots(axes: Axes, chart: DotChart) -> None:
    """Estimates with their intervals, first row on top."""
    for position, (_, style, value) in enumerate(chart.rows):
        colour = COLOURS[style % len(COLOURS)]
        axes.plot(
            [value.low, value.high], [position, position], color=colour, linewidth=2, solid_capstyle="butt"
        )
        axes.plot(value.estimate, position, MARKERS[style % len(MARKERS)], color=colour, markersize=6)
        axes.annotate(
            number(value.estimate, chart.digits),
            (value.estimate, position),
            (0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=colour,
        )
    axes.set_yticks(range(len(chart.rows)), [name for name, _, _ in chart.rows])
    axes.set_ylim(len(chart.rows) - 0.4, -0.7)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(chart.x_label)


def draw_bars(axes: Axes, chart: BarChart) -> None:
    """Groups of bars side by side."""
    width = 0.82 / len(chart.series)
    for j, (name, style, values) in enumerate(chart.series):
        left = [i - 0.41 + width * (j + 0.5) for i in range(len(values))]
        axes.bar(left, values, width, color=COLOURS[style % len(COLOURS)], label=name, linewidth=0)
    axes.set_xticks(range(len(chart.categories)), chart.categories, rotation=40, ha="right", fontsize=7.5)
    axes.grid(axis="x", visible=False)
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    axes.legend(loc="best")


def draw_stack(axes: Axes, chart: StackChart) -> None:
    """Full-width bars; every part is written on it where it fits, first row on top."""
    for position, (_, values) in enumerate(chart.rows):
        total, left = sum(values) or 1.0, 0.0
        for part, colour, value in zip(chart.parts, chart.colours, values, strict=True):
            share = 100 * value / total
            axes.barh(
                position,
                share,
                left=left,
                color=colour,
                height=0.66,
                linewidth=0,
                label=part if position == 0 else None,
            )
            if share > 5:
                axes.text(
                    left + share / 2,
                    position,
                    f"{value:.3g}",
                    ha="center",
                    va="center",
                    fontsize=8,
                    color=text_colour(colour),
                )
            left += share
    axes.set_yticks(range(len(chart.rows)), [name for name, _ in chart.rows])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.grid(visible=False)
    axes.set_xlabel(f"% of {chart.unit}" if chart.unit != "s" else "% of the step's time; labels in seconds")
    axes.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=min(6, len(chart.parts)),
        fontsize=8,
        handlelength=1,
    )
    axes.set_title("")


def table(chart: Chart) -> Iterator[list[str | float]]:
    """The chart's data in rows, a header first."""
    match chart:
        case LineChart():
            most_runs = max(len(series.runs) for series in chart.series)
            yield [
                "series",
                chart.x_label,
                chart.y_label,
                "low",
                "high",
                "inner_low",
                "inner_high",
                "unsmoothed",
                *(f"run {i + 1}" for i in range(most_runs)),
            ]
            for series in chart.series:
                columns = [series.low, series.high, series.inner_low, series.inner_high, series.faint]
                columns += [*series.runs, *[()] * (most_runs - len(series.runs))]
                for i, (x, y) in enumerate(zip(series.x, series.y, strict=True)):
                    yield [series.name, x, y, *(column[i] if column else "" for column in columns)]
        case DotChart():
            yield ["name", chart.x_label, "low", "high"]
            for name, _, value in chart.rows:
                yield [name, value.estimate, value.low, value.high]
        case BarChart():
            yield [chart.x_label, *(name for name, _, _ in chart.series)]
            for i, category in enumerate(chart.categories):
                yield [category, *(values[i] for _, _, values in chart.series)]
        case StackChart():
            yield ["name", *(f"{part} ({chart.unit})" for part in chart.parts)]
            for name, row in chart.rows:
                yield [name, *row]
