"""Results as plain text, for a terminal: aligned, at most 100 columns wide."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rlvr.eval.compare import Comparison, ModelResult, Trained, few_ks
from rlvr.eval.statistics import Interval

WIDTH = 100
"""Columns of the terminal that a table has to fit into."""
FEW_MODELS = 2
"""Up to so many trained models on one benchmark, the differences have rows of their own."""
MENTIONED = 0.005
"""Share of a model's responses that were cut off from which on it is mentioned."""
SIGNS = {True: "▲", False: "▼"}


def table_lines(comparisons: Sequence[Comparison]) -> list[str]:
    """The results of a study: one benchmark over k, or several models and benchmarks side by side; none without any."""
    if not comparisons:
        return []
    [first, *others] = comparisons
    if not others and len(first.against_base) <= FEW_MODELS:
        return over_k_lines(first)
    lines = [line for each in comparisons for line in (*benchmark_lines(each), measured(each), "")]
    return [
        *lines,
        "▲ ▼ above or below the base, by the paired interval. ΔSE = pass@K(base) − pass@1, points.",
    ]


def over_k_lines(comparison: Comparison, ks: Sequence[int] | None = None) -> list[str]:
    """pass@k by model, estimate and interval, and below it the differences to the base.

    Args:
        comparison: what to print.
        ks: columns; by default both ends and as many between them as fit.
    """
    shown: list[ModelResult | Trained] = [*comparison.models, *comparison.means]
    trained: list[Trained] = [*comparison.against_base, *comparison.means]
    names = [model.name for model in shown]
    cut_off = {model.name: f"{model.cut_off:.0%}" for model in comparison.models}
    names += [f"{each.name} − {comparison.base.name}" for each in trained]
    fit = (WIDTH - max(map(len, names)) - len("  cut off")) // (2 + len("+0.000 [+0.000, +0.000]"))
    columns = tuple(ks) if ks is not None else few_ks(comparison.ks, min(5, max(2, fit)))
    header = ["", *(f"pass@{k}" for k in columns), "cut off"]
    models = [
        [model.name, *(cell(model.curve.at(k)) for k in columns), cut_off.get(model.name, "")]
        for model in shown
    ]
    differences = [
        [name, *(cell(each.difference.at(k), signed=True) for k in columns), ""]
        for name, each in zip(names[len(models) :], trained, strict=True)
    ]
    return [*aligned(header, models, differences), measured(comparison)]


def benchmark_lines(comparison: Comparison) -> list[str]:
    """One row per model: pass@1, pass@K and the sampling-efficiency gap, with their intervals."""
    large = comparison.gap_k
    header = [comparison.benchmark, "pass@1  ", f"pass@{large}  ", "ΔSE"]
    rows = []
    trained: list[Trained] = [*comparison.against_base, *comparison.means]
    shown: list[ModelResult | Trained] = [comparison.base, *trained]
    for model, against in zip(shown, [None, *trained], strict=True):
        signs = [sign(against.difference.at(k)) if against else " " for k in (1, large)]
        passes = [f"{cell(model.curve.at(k))} {mark}" for k, mark in zip((1, large), signs, strict=True)]
        rows.append([model.name, *passes, cell(against.gap if against else comparison.base_gap, digits=1)])
    return aligned(header, rows)


def sign(difference: Interval) -> str:
    """``▲`` or ``▼`` where a paired difference is told from zero."""
    return SIGNS[difference.estimate > 0] if difference.excludes_zero else " "


def measured(comparison: Comparison) -> str:
    """What the numbers rest on, and where responses were cut off how many of which model."""
    rest = (
        f"{comparison.num_problems} problems × {comparison.num_samples} samples; "
        f"{comparison.level:.0%} intervals, {comparison.num_resamples:,} resamples of problems"
    )
    cut = [
        f"{model.cut_off:.0%} of {model.name}" for model in comparison.models if model.cut_off >= MENTIONED
    ]
    if not cut:
        return rest
    words = f"Cut off by the length limit (evaluation.max_tokens), and so wrong: {', '.join(cut)}."
    return "\n".join([rest, *textwrap.wrap(words, WIDTH)])


def cell(value: Interval, signed: bool = False, digits: int = 3) -> str:
    """``0.551 [0.524, 0.578]`` with true minus signs."""
    form = f"{{:{'+' if signed else ''}.{digits}f}}"
    parts = [form.format(part) for part in (value.estimate, value.low, value.high)]
    return f"{parts[0]} [{parts[1]}, {parts[2]}]".replace("-", "−")


def aligned(header: Sequence[str], *blocks: Sequence[Sequence[str]]) -> list[str]:
    """A header and blocks of rows, each block under a rule; names to the left, numbers to the right."""
    rows = [header, *(row for block in blocks for row in block)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        cells = [row[0].ljust(widths[0])]
        cells += [text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True)]
        return "  ".join(cells)

    rule = "  ".join("─" * width for width in widths)
    lines = [line(header)]
    for block in blocks:
        if block:
            lines += [rule, *(line(row) for row in block)]
    return lines
