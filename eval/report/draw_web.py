"""Charts as inline SVG for the page: drawn twice, for a wide and for a narrow screen.

Colours come from the page's style sheet (``.s0`` … ``.s7``), so that they follow the
reader's light or dark setting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from itertools import pairwise

from rlvr.eval.report import svg
from rlvr.eval.report.charts import (
    MANY_POINTS,
    BarChart,
    Chart,
    DotChart,
    LineChart,
    Series,
    StackChart,
    facets,
    y_limits,
)
from rlvr.eval.report.labels import is_dashed, number, significant, text_colour

WIDE, NARROW, FACET = 760.0, 360.0, 280.0
"""Widths of a drawing: a whole column, a phone or half a column, a third of it."""
MANY_POWERS = 7
LETTER = 6.6
"""Width of a letter, on average."""


def draw(chart: Chart, width: float | None = None) -> str:
    """Drawings of a chart: for both screens under a legend; or of one width, for panels that share theirs."""
    if isinstance(chart, LineChart) and chart.facets:
        panels = (
            f"<div><h4>{escape(each.title)}</h4>{draw_lines(replace(each, y_label=''), FACET, 'only')}</div>"
            for each in facets(chart)
        )
        return f'<div class="panels three">{"".join(panels)}</div>'
    if width is not None:
        return _draw(chart, width, "only")
    return legend(keys_of(chart)) + _draw(chart, WIDE, "wide") + _draw(chart, NARROW, "narrow")


def _draw(chart: Chart, width: float, css: str) -> str:
    match chart:
        case LineChart():
            return draw_lines(chart, width, css)
        case DotChart():
            return draw_dots(chart, width, css)
        case BarChart():
            return draw_bars(chart, width, css)
        case StackChart():
            return draw_stack(chart, width, css)


def keys_of(chart: Chart) -> dict[str, str]:
    """Names of what a chart tells apart, each with the sign that stands for it."""
    match chart:
        case LineChart():
            return {series.name: _line_key(series) for series in chart.series}
        case BarChart():
            return {name: f'<span class="swatch s{style}"></span>' for name, style, _ in chart.series}
        case StackChart():
            return {
                part: f'<span class="swatch" style="background:{colour}"></span>'
                for part, colour in zip(chart.parts, chart.colours, strict=True)
            }
        case DotChart():
            return {}


def legend(keys: Mapping[str, str]) -> str:
    """What the colours mean, where there is more than one."""
    if len(keys) < 2:
        return ""
    names = (f'<span data-series="{escape(name)}">{key}{escape(name)}</span>' for name, key in keys.items())
    return f'<div class="legend">{"".join(names)}</div>'


def _line_key(series: Series) -> str:
    dotted = " dotted" if series.dotted else ""
    shape = "" if series.dotted or len(series.x) > MANY_POINTS else svg.marker(13, 6, series.style)
    stroke = svg.line(0, 6, 26, 6, f"line s{series.style}{dotted or dashes(series.style)}")
    return f'<svg class="key" viewBox="0 0 26 12" aria-hidden="true">{stroke}{shape}</svg>'


def draw_lines(chart: LineChart, width: float, css: str) -> str:
    """Lines with bands, on a log-2 or a linear axis."""
    height = 0.54 * width if width == WIDE else 270.0 if chart.log2_x and width == NARROW else 210.0
    unit = chart.y_label if chart.log2_x else ""  # training panels carry their unit in the heading
    frame = svg.Frame(
        width, height, 62 if unit else 48, 12, 20 if chart.high_variance_from is not None else 10, 40
    )
    low, high = y_limits(chart)
    y_ticks = svg.nice_ticks(low, high, 5 if width == WIDE else 4)
    xs = sorted({x for series in chart.series for x in series.x})
    pad = 14.0
    scale = svg.log2 if chart.log2_x else svg.linear
    x_at = scale(xs[0], xs[-1], frame.left + pad, frame.x_end - pad)
    y_at = svg.linear(low, high, frame.y_end, frame.top)
    # Powers of two stand closely in a small panel: every second one there, the largest among them.
    powers = xs[(len(xs) + 1) % 2 :: 2] if width == FACET and len(xs) > MANY_POWERS else xs
    x_ticks = powers if chart.log2_x else svg.nice_ticks(xs[0], xs[-1], 7 if width == WIDE else 4)
    if all(float(x).is_integer() for x in xs):  # steps: there is none between two
        x_ticks = [tick for tick in x_ticks if float(tick).is_integer()]
    parts = [_shade(chart, frame, x_at)]
    parts += _axes(frame, x_at, y_at, x_ticks, y_ticks, chart.x_label, unit)
    if chart.zero_line:
        parts.append(svg.line(frame.left, y_at(0), frame.x_end, y_at(0), "zero"))
    for layer, css_layer in ((_bands, "bands"), (_strokes, "strokes")):
        parts += [
            f'<g class="{css_layer}{" quiet" if series.quiet and layer is _bands else ""}" '
            f'data-series="{escape(series.name)}">{layer(series, x_at, y_at)}</g>'
            for series in chart.series
        ]
    parts += _meetings(chart, frame, x_at, y_at)
    parts += _hover_zones(chart, frame, xs, x_at)
    return svg.drawing(width, height, css, f"{chart.title}: {chart.y_label} over {chart.x_label}", parts)


def _shade(chart: LineChart, frame: svg.Frame, x_at: svg.Scale) -> str:
    if chart.high_variance_from is None:
        return ""
    left = x_at(chart.high_variance_from)
    return svg.rect(left, frame.top, frame.x_end - left, frame.y_end - frame.top, "shade") + svg.text(
        frame.x_end, frame.top - 6, "k > n/2: high variance", "note end"
    )


def _axes(
    frame: svg.Frame,
    x_at: svg.Scale,
    y_at: svg.Scale,
    x_ticks: Sequence[float],
    y_ticks: Sequence[float],
    x_label: str,
    y_label: str,
) -> list[str]:
    parts = []
    for tick in y_ticks:
        parts.append(svg.line(frame.left, y_at(tick), frame.x_end, y_at(tick), "grid"))
        parts.append(svg.text(frame.left - 8, y_at(tick) + 4, svg.tick_text(tick, y_ticks), "tick end"))
    for tick in x_ticks:
        parts.append(svg.line(x_at(tick), frame.y_end, x_at(tick), frame.y_end + 4, "axis"))
        parts.append(svg.text(x_at(tick), frame.y_end + 17, f"{tick:,g}", "tick middle"))
    parts.append(svg.line(frame.left, frame.y_end, frame.x_end, frame.y_end, "axis"))
    parts.append(svg.text((frame.left + frame.x_end) / 2, frame.height - 5, x_label, "axis-label middle"))
    parts.append(svg.text(12, (frame.top + frame.y_end) / 2, y_label, "axis-label middle", rotate=-90))
    return parts


def _bands(series: Series, x_at: svg.Scale, y_at: svg.Scale) -> str:
    xs = [x_at(x) for x in series.x]
    parts = ""
    for low, high in ((series.low, series.high), (series.inner_low, series.inner_high)):
        if low:
            parts += svg.band(xs, [y_at(v) for v in low], [y_at(v) for v in high], f"band s{series.style}")
    if series.faint:
        parts += svg.path(zip(xs, (y_at(v) for v in series.faint), strict=True), f"faint s{series.style}")
    return parts


def _strokes(series: Series, x_at: svg.Scale, y_at: svg.Scale) -> str:
    points = [(x_at(x), y_at(y)) for x, y in zip(series.x, series.y, strict=True)]
    pattern = " dotted" if series.dotted else dashes(series.style)
    stroke = "".join(
        svg.path([(x_at(x), y_at(y)) for x, y in zip(series.x, run, strict=True)], f"run s{series.style}")
        for run in series.runs
    )
    stroke += svg.path(points, f"line s{series.style}{pattern}")
    if series.dotted or len(points) > MANY_POINTS:
        return stroke
    return stroke + "".join(svg.marker(x, y, series.style) for x, y in points)


def _meetings(chart: LineChart, frame: svg.Frame, x_at: svg.Scale, y_at: svg.Scale) -> list[str]:
    """Bars above the axis, one above the other: where lines cross the base's; of many, each when singled out."""
    parts = []
    found = [(series, series.meeting) for series in chart.series if series.meeting is not None]
    for row, (series, meeting) in enumerate(found):
        y = frame.y_end - 9 - (0 if series.quiet else 22 * row)
        x, low, high = (x_at(value) for value in (meeting.x, meeting.low, meeting.high))
        css = f"s{series.style}"
        left = x < (frame.left + frame.x_end) / 2
        words = svg.text(x + (7 if left else -7), y - 6, meeting.words, "note" if left else "note end")
        drawn = [
            svg.line(x, y_at(meeting.y), x, frame.y_end, f"meeting {css}"),
            svg.line(low, y, high, y, f"interval {css}"),
            svg.marker(x, y, series.style),
            words,
        ]
        quiet = " quiet" if series.quiet else ""
        parts.append(f'<g class="meetings{quiet}" data-series="{escape(series.name)}">{"".join(drawn)}</g>')
    return parts


def dashes(style: int) -> str:
    """CSS class of the second style of a colour."""
    return " dashed" if is_dashed(style) else ""


def _hover_zones(chart: LineChart, frame: svg.Frame, xs: Sequence[float], x_at: svg.Scale) -> list[str]:
    at = [x_at(x) for x in xs]
    edges = [frame.left, *((a + b) / 2 for a, b in pairwise(at)), frame.x_end]
    name = "k" if chart.log2_x else chart.x_label
    zones = []
    for i, x in enumerate(xs):
        lines = [
            f"{name} = {x:g}",
            *(_reading(series, x, chart.log2_x) for series in chart.series if x in series.x),
        ]
        box = (edges[i], frame.top, edges[i + 1] - edges[i], frame.y_end - frame.top)
        zones.append(svg.hover(*box, lines, rule_x=at[i], k=x if chart.log2_x else None))
    return zones


def _reading(series: Series, x: float, probability: bool) -> str:
    i = series.x.index(x)
    show = number if probability else significant
    ends = f" [{show(series.low[i])}, {show(series.high[i])}]" if series.low else ""
    return f"{series.name}: {show(series.y[i])}{ends}"


def name_room(names: Sequence[str], width: float) -> float:
    """Pixels to the left of rows for their names, at most two fifths of the drawing."""
    wanted = 20 + LETTER * max(map(len, names))
    return min(max(wanted, 118.0 if width == WIDE else 82.0), 0.4 * width)


def fitted(name: str, room: float) -> str:
    """A name as far as there is room for it; its end tells runs apart, so the middle is left out."""
    letters = int((room - 20) / LETTER)
    if len(name) <= letters:
        return name
    return f"{name[: letters // 3]}…{name[len(name) - (letters - letters // 3 - 1) :]}"


def draw_dots(chart: DotChart, width: float, css: str) -> str:
    """One interval per row, named on the left."""
    pitch, left = 38.0, name_room([name for name, _, _ in chart.rows], width)
    frame = svg.Frame(width, 58 + pitch * len(chart.rows), left, 22, 10, 42)
    low, high = min(v.low for _, _, v in chart.rows), max(v.high for _, _, v in chart.rows)
    margin = 0.05 * (high - low) or 1.0
    x_at = svg.linear(low - margin, high + margin, frame.left, frame.x_end)
    ticks = svg.nice_ticks(low - margin, high + margin, 7 if width == WIDE else 4)
    parts = []
    for tick in ticks:
        parts.append(svg.line(x_at(tick), frame.top, x_at(tick), frame.y_end, "grid"))
        parts.append(svg.text(x_at(tick), frame.y_end + 17, svg.tick_text(tick, ticks), "tick middle"))
    parts.append(svg.line(frame.left, frame.y_end, frame.x_end, frame.y_end, "axis"))
    parts.append(
        svg.text((frame.left + frame.x_end) / 2, frame.height - 5, chart.x_label, "axis-label middle")
    )
    for i, (name, style, value) in enumerate(chart.rows):
        y = frame.top + pitch * (i + 0.6)
        parts.append(svg.text(frame.left - 12, y + 4, fitted(name, left), "row end"))
        parts.append(svg.line(x_at(value.low), y, x_at(value.high), y, f"interval s{style}"))
        parts.append(svg.marker(x_at(value.estimate), y, style))
        parts.append(
            svg.text(x_at(value.estimate), y - 9, number(value.estimate, chart.digits), "value middle")
        )
        ends = f"[{number(value.low, chart.digits)}, {number(value.high, chart.digits)}]"
        reading = [name, f"{number(value.estimate, chart.digits)} {ends} {chart.x_label}"]
        parts.append(svg.hover(frame.left, y - pitch / 2, frame.x_end - frame.left, pitch, reading))
    return svg.drawing(width, frame.height, css, chart.title, parts)


def draw_bars(chart: BarChart, width: float, css: str) -> str:
    """Groups of upright bars."""
    wide = width == WIDE
    frame = svg.Frame(width, 330 if wide else 285, 46, 8, 10, 52 if wide else 80)
    top = max(v for _, _, values in chart.series for v in values) * 1.06 or 1.0
    y_at = svg.linear(0, top, frame.y_end, frame.top)
    ticks = svg.nice_ticks(0, top, 5)
    pitch = (frame.x_end - frame.left) / len(chart.categories)
    bar = 0.8 * pitch / len(chart.series)
    parts = []
    for tick in ticks:
        parts.append(svg.line(frame.left, y_at(tick), frame.x_end, y_at(tick), "grid"))
        parts.append(svg.text(frame.left - 8, y_at(tick) + 4, svg.tick_text(tick, ticks), "tick end"))
    for i, category in enumerate(chart.categories):
        start = frame.left + pitch * i
        if wide:
            parts.append(svg.text(start + pitch / 2, frame.y_end + 17, category, "tick fine middle"))
        else:
            parts.append(
                svg.text(start + pitch / 2 + 4, frame.y_end + 12, category, "tick fine end", rotate=-55)
            )
        for j, (_, style, values) in enumerate(chart.series):
            x, y = start + 0.1 * pitch + bar * j, y_at(values[i])
            parts.append(svg.rect(x, y, bar - 0.6, frame.y_end - y, f"bar s{style}"))
        reading = [f"accuracy {category}", *(f"{name}: {number(v[i], 1)} %" for name, _, v in chart.series)]
        parts.append(svg.hover(start, frame.top, pitch, frame.y_end - frame.top, reading))
    parts.append(svg.line(frame.left, frame.y_end, frame.x_end, frame.y_end, "axis"))
    parts.append(
        svg.text((frame.left + frame.x_end) / 2, frame.height - 5, chart.x_label, "axis-label middle")
    )
    parts.append(svg.text(12, (frame.top + frame.y_end) / 2, chart.y_label, "axis-label middle", rotate=-90))
    return svg.drawing(width, frame.height, css, chart.title, parts)


def draw_stack(chart: StackChart, width: float, css: str) -> str:
    """One divided bar per row."""
    pitch, left = 46.0, name_room([name for name, _ in chart.rows], width)
    height = 8 + pitch * len(chart.rows)
    parts = []
    for i, (name, values) in enumerate(chart.rows):
        y, x, total = 6 + pitch * i, left, sum(values) or 1.0
        parts.append(svg.text(left - 12, y + 20, fitted(name, left), "row end"))
        for part, colour, value in zip(chart.parts, chart.colours, values, strict=True):
            length = (width - left - 4) * value / total
            parts.append(svg.rect(x, y, length, 30, "part", f' fill="{colour}"'))
            written = significant(value)
            if length > 9 * len(written) + 6:
                css_text = "inside dark-text" if text_colour(colour) == "#111111" else "inside light-text"
                parts.append(svg.text(x + length / 2, y + 20, written, f"{css_text} middle"))
            reading = [f"{name}, {part.lower()}", f"{written} {chart.unit} ({100 * value / total:.1f} %)"]
            if value:
                parts.append(svg.hover(x, y, length, 30, reading))
            x += length
    return svg.drawing(width, height, css, chart.title, parts)
