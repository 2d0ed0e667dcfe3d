"""The few pieces of SVG that a chart needs; every text passes through ``escape``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

Scale = Callable[[float], float]
MARKER_SIZE = 3.6


@dataclass(frozen=True, slots=True)
class Frame:
    """The plotting area inside a drawing, in pixels."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float

    @property
    def x_end(self) -> float:
        """Right edge of the plotting area."""
        return self.width - self.right

    @property
    def y_end(self) -> float:
        """Lower edge of the plotting area."""
        return self.height - self.bottom


def linear(low: float, high: float, start: float, end: float) -> Scale:
    """Map [low, high] onto [start, end]."""
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def log2(low: float, high: float, start: float, end: float) -> Scale:
    """Map [low, high] onto [start, end] in doublings."""
    inner = linear(math.log2(low), math.log2(high), start, end)
    return lambda value: inner(math.log2(value))


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About ``count`` round numbers inside [low, high]."""
    if not high > low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.6)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def tick_text(value: float, ticks: Sequence[float]) -> str:
    """A tick's number with the decimals that its neighbours need."""
    step = min((b - a for a, b in pairwise(ticks)), default=abs(value) or 1.0)
    if abs(value) >= 1e5 or (0 < abs(step) < 1e-4):
        digits = next(
            d for d in (0, 1, 2) if d == 2 or len({f"{tick:.{d}e}" for tick in ticks}) == len(ticks)
        )
        return f"{value:.{digits}e}".replace("-", "−")
    scaled, digits = step, 0
    while digits < 5 and abs(scaled - round(scaled)) > 1e-6 * max(1.0, abs(scaled)):
        scaled, digits = scaled * 10, digits + 1
    return f"{value:,.{digits}f}".replace("-", "−")


def drawing(width: float, height: float, css: str, name: str, parts: Iterable[str]) -> str:
    """A complete ``<svg>`` that scales with its column."""
    return (
        f'<svg class="chart {css}" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(name)}">'
        f"{''.join(parts)}</svg>"
    )


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    """A straight line."""
    return f'<line class="{css}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def text(x: float, y: float, content: str, css: str, rotate: float | None = None) -> str:
    """A piece of text, anchored by its CSS class."""
    turn = f' transform="rotate({rotate:g} {x:.1f} {y:.1f})"' if rotate is not None else ""
    return f'<text class="{css}" x="{x:.1f}" y="{y:.1f}"{turn}>{escape(content)}</text>'


def rect(x: float, y: float, width: float, height: float, css: str, extra: str = "") -> str:
    """A rectangle; ``extra`` is markup for its attributes, escaped by the caller."""
    return (
        f'<rect class="{css}" x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" '
        f'height="{max(height, 0):.1f}"{extra}/>'
    )


def path(points: Iterable[tuple[float, float]], css: str, closed: bool = False) -> str:
    """A polyline, or a polygon."""
    data = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f'<path class="{css}" d="M{data}{"Z" if closed else ""}"/>'


def band(xs: Sequence[float], low: Sequence[float], high: Sequence[float], css: str) -> str:
    """The area between two lines."""
    outline = [*zip(xs, low, strict=True), *reversed(list(zip(xs, high, strict=True)))]
    return path(outline, css, closed=True)


def marker(x: float, y: float, style: int) -> str:
    """A data point; the shape repeats what the colour says."""
    r, css = MARKER_SIZE, f"marker s{style}"
    match style % 4:
        case 0:
            return f'<circle class="{css}" cx="{x:.1f}" cy="{y:.1f}" r="{r}"/>'
        case 1:
            return rect(x - r, y - r, 2 * r, 2 * r, css)
        case 2:
            return path([(x, y - 1.25 * r), (x + 1.15 * r, y + r), (x - 1.15 * r, y + r)], css, closed=True)
        case _:
            return path(
                [(x, y - 1.3 * r), (x + 1.3 * r, y), (x, y + 1.3 * r), (x - 1.3 * r, y)], css, closed=True
            )


def hover(
    x: float,
    y: float,
    width: float,
    height: float,
    lines: Sequence[str],
    rule_x: float | None = None,
    k: float | None = None,
) -> str:
    """An invisible zone that shows ``lines`` when pointed at, and a hairline at ``rule_x``.

    A zone with a ``k`` leads to the problems behind that point of the curve.

    Without scripts the browser's own tooltip shows the ``<title>``.
    """
    note = escape("\n".join(lines))
    rule = line(rule_x, y, rule_x, y + height, "rule") if rule_x is not None else ""
    leads = f' data-k="{k:g}"' if k is not None else ""
    zone = (
        f'<rect class="zone" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'data-tip="{note}"{leads}><title>{note}</title></rect>'
    )
    return f'<g class="hover">{rule}{zone}</g>'
