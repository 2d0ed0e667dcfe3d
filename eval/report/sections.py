"""The sections of the page, each from its part of the results; None where there is no data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rlvr.eval.compare import AgainstBase, Comparison, few_ks
from rlvr.eval.coverage import HISTOGRAM_LABELS, cover_at
from rlvr.eval.report import reference
from rlvr.eval.report.charts import Chart, LineChart
from rlvr.eval.report.draw_web import draw
from rlvr.eval.report.findings import Findings, headline, headline_ks
from rlvr.eval.report.html import Cell, Markup, details, element, id_list, join, section, table
from rlvr.eval.report.labels import bracket, label, number, p_value, percent, style_of
from rlvr.eval.statistics import Interval
from rlvr.eval.store import Evaluation
from rlvr.records import Status

NO_VERDICT = (Status.UNPARSED.value, Status.TIMEOUT.value, Status.ERROR.value)
"""Ways for a sample to end without a readable answer, shown as shares where they occur."""
OPEN_CARDS = 2
"""With more models than this the sentences of each are folded."""
COVER_THRESHOLDS = (0.1, 0.25, 0.5, 0.75, 0.9)


def summary_section(comparison: Comparison, found: Findings) -> Markup:
    """What the data show and do not show, in words, with the key numbers of each model."""
    cards = [model_card(comparison, index, found) for index in range(1, len(comparison.models))]
    if not cards:
        cards = [element("p", " ".join(base_only(comparison)), css="lead")]
    notes = element("ul", *(element("li", line) for line in found.caveats))
    return section(
        "summary", "Summary", *cards, element("div", element("h3", "How far this goes"), notes, css="caveats")
    )


def base_only(comparison: Comparison) -> list[str]:
    """Sentences for an evaluation of a single model."""
    name = label(comparison.base.name)
    return [
        f"{name} reaches pass@{k} of {bracket(comparison.base.curve.at(k))}." for k in headline_ks(comparison)
    ]


def model_card(comparison: Comparison, index: int, found: Findings) -> Markup:
    """One trained model: four numbers and the sentences that qualify them."""
    each, largest = comparison.against_base[index - 1], comparison.ks[-1]
    tiles = [
        change_tile(comparison, index, 1),
        change_tile(comparison, index, largest),
        tile("curves cross at", crossing_value(each), crossing_note(each, largest)),
        tile(
            "ΔSE",
            number(each.gap.estimate, 1),
            f"points [{number(each.gap.low, 1)}, {number(each.gap.high, 1)}]",
        ),
    ]
    title = element("h3", element("span", css=f"swatch s{style_of(index)}"), headline(comparison, index))
    sentences = element("ul", *(element("li", line) for line in found.models[each.name]))
    words = sentences if len(comparison.against_base) <= OPEN_CARDS else details("In words", sentences)
    return element("article", title, element("div", *tiles, css="tiles"), words, css="card")


def tile(name: str, value: object, note: str, css: str = "") -> Markup:
    """A number worth a glance."""
    return element(
        "div",
        element("span", name, css="tile-name"),
        element("span", value, css="tile-value"),
        element("span", note, css="tile-note"),
        css=f"tile {css}".strip(),
    )


def change_tile(comparison: Comparison, index: int, k: int) -> Markup:
    """From the base's pass@k to the model's, and whether the difference is told from zero."""
    base, model = (comparison.models[i].curve.at(k).estimate for i in (0, index))
    difference = comparison.against_base[index - 1].difference.at(k)
    direction = "" if not difference.excludes_zero else "up" if difference.estimate > 0 else "down"
    value = join([element("span", number(base), css="from"), " → ", number(model)])
    return tile(f"pass@{k}", value, bracket(difference, signed=True), css=direction)


def crossing_value(each: AgainstBase) -> str:
    """The crossing k, or "none"."""
    return "none" if each.crossing.k is None else f"k = {each.crossing.k}"


def crossing_note(each: AgainstBase, largest: int) -> str:
    """The crossing's interval, or how often resamples cross at all."""
    if each.crossing.k is None:
        return f"up to k = {largest}; {percent(each.crossing.probability)} of resamples cross"
    return f"interval {each.crossing.low or f'> {largest}'} to {each.crossing.high or 'none'}"


def figure(chart: Chart, *extra: object, small: bool = False, heading: bool = False) -> Markup:
    """A chart with its caption."""
    unit = chart.y_label if small and isinstance(chart, LineChart) else ""
    title = [element("h3", chart.title, element("span", unit, css="unit"))] if heading else []
    caption = element("figcaption", chart.caption)
    return element("figure", *title, Markup(draw(chart, small)), caption, *extra, id=f"figure-{chart.slug}")


def curves_section(comparison: Comparison, charts: Mapping[str, Chart]) -> Markup:
    """pass@k of all models."""
    rows = [
        [Cell(str(k), k), *(interval_cell(model.curve.at(k)) for model in comparison.models), number(guess)]
        for k, guess in zip(comparison.ks, comparison.guess, strict=True)
    ]
    numbers = table(["k", *(label(model.name) for model in comparison.models), "guessing"], rows)
    return section(
        "pass-at-k", "pass@k", figure(charts["pass_at_k"]), details("Numbers with intervals", numbers)
    )


def difference_section(comparison: Comparison, charts: Mapping[str, Chart]) -> Markup | None:
    """Paired differences."""
    if not comparison.against_base:
        return None
    tables = []
    for each in comparison.against_base:
        d = each.difference
        bands = [
            Interval(*(float(v[i]) for v in (d.estimate, d.band_low, d.band_high))) for i in range(len(d.ks))
        ]
        rows = [
            [
                Cell(str(k), k),
                interval_cell(d.at(k), signed=True),
                f"{number(band.low, signed=True)} to {number(band.high, signed=True)}",
                verdict(band),
            ]
            for k, band in zip(d.ks, bands, strict=True)
        ]
        headers = [
            "k",
            f"{label(each.name)} − {label(comparison.base.name)}, at this k alone",
            "for all k at once",
            "reading",
        ]
        tables.append(table(headers, rows))
    return section(
        "difference",
        "Paired difference",
        figure(charts["paired_difference"]),
        details("Numbers with intervals", *tables),
    )


def verdict(band: Interval) -> str:
    """What the simultaneous band says."""
    if not band.excludes_zero:
        return "not told from zero"
    return "above the base" if band.low > 0 else "below the base"


def interval_cell(value: Interval, signed: bool = False) -> Cell:
    """A number with its interval, ordered by the number."""
    return Cell(bracket(value, signed=signed), value.estimate)


def gap_section(comparison: Comparison, charts: Mapping[str, Chart]) -> Markup | None:
    """Sampling-efficiency gap, with what the paper reports."""
    if not comparison.against_base:
        return None
    headers = ["Qwen2.5-7B", *(name for benchmark in reference.BENCHMARKS for name in (benchmark, "ΔSE"))]
    rows = [
        [
            label(row.name),
            *(cell for i in range(len(reference.BENCHMARKS)) for cell in _reference_cells(row, i)),
        ]
        for row in reference.TABLE
    ]
    paper = details(
        "What the paper reports, for orientation",
        table(headers, rows),
        element(
            "p",
            f"{reference.SOURCE}; pass@1 / pass@256 in percent, ΔSE in points. Another model, other problems and another prompt: "
            f"not comparable with this run. {reference.NOTE}",
            css="small",
        ),
    )
    return section("gap", "Sampling-efficiency gap", figure(charts["sampling_efficiency_gap"]), paper)


def _reference_cells(row: reference.ReferenceRow, benchmark: int) -> list[Cell]:
    one, many = row.cells[benchmark]
    return [Cell(f"{one:.1f} / {many:.1f}", one), Cell(f"{row.gap(benchmark):.1f}", row.gap(benchmark))]


def coverage_section(comparison: Comparison, charts: Mapping[str, Chart]) -> Markup | None:
    """Who solves what, with the ids."""
    if not comparison.against_base:
        return None
    test_names = ["McNemar, exact", "after Holm"][: len(comparison.against_base)]
    rows, folds = [], []
    for each in comparison.against_base:
        counts, name = each.coverage.counts, label(each.name)
        cells = [Cell(f"{n} ({percent(n / comparison.num_problems, 1)})", n) for n in counts.values()]
        tests = [Cell(p_value(p), p) for p in (each.mcnemar_p, each.holm_p)][: len(test_names)]
        rows.append([name, *cells, *tests])
        for kind, who in (
            ("base_only", f"the base, never by {name}"),
            ("rl_only", f"{name}, never by the base"),
        ):
            if ids := each.coverage.sets[kind]:
                folds.append(details(f"{len(ids)} solved by {who}", id_list(ids)))
    headers = ["", "both", "base only", "trained only", "neither", *test_names]
    return section("coverage", "Coverage", figure(charts["coverage"]), table(headers, rows), *folds)


def histogram_section(
    comparison: Comparison, charts: Mapping[str, Chart], evaluations: Sequence[Evaluation]
) -> Markup:
    """Accuracy per problem, Cover@τ, and the problems that hang on one or two verdicts."""
    total = comparison.num_problems
    bins = table(
        ["accuracy", *(label(model.name) for model in comparison.models)],
        [
            [
                Cell(name, i),
                *(
                    Cell(f"{m.histogram[i]} ({percent(m.histogram[i] / total, 1)})", float(m.histogram[i]))
                    for m in comparison.models
                ),
            ]
            for i, name in enumerate(HISTOGRAM_LABELS)
        ],
    )
    covers = table(
        ["Cover@τ", *(f"τ = {t:g}" for t in COVER_THRESHOLDS)],
        [
            [
                label(e.name),
                *(
                    Cell(number(v), float(v))
                    for v in cover_at(e.num_samples, e.num_correct, COVER_THRESHOLDS)
                ),
            ]
            for e in evaluations
        ],
    )
    rare = [
        details(f"{len(m.rarely_solved)} solved once or twice by {label(m.name)}", id_list(m.rarely_solved))
        for m in comparison.models
        if m.rarely_solved
    ]
    note = element(
        "p", "Cover@τ: share of problems whose accuracy is at least τ (arXiv 2510.08325).", css="small"
    )
    return section(
        "accuracy",
        "Accuracy per problem",
        figure(charts["accuracy_histogram"]),
        covers,
        note,
        details("Numbers per bin", bins),
        *rare,
    )


def dynamics_section(charts: Mapping[str, Chart], zeros: Sequence[str]) -> Markup | None:
    """The training runs over their steps."""
    lines = [chart for slug, chart in charts.items() if slug != "training_time"]
    if not charts:
        return None
    parts: list[Markup] = []
    if lines:
        note = element(
            "p",
            "Strong lines are centred means over a twentieth of the run, pale ones the steps themselves; long runs are thinned evenly.",
            css="small",
        )
        parts = [
            element("div", *(figure(chart, small=True, heading=True) for chart in lines), css="panels"),
            note,
        ]
    if "training_time" in charts:
        parts.append(figure(charts["training_time"], heading=True))
    if zeros:
        parts.append(element("p", f"Zero at every step: {', '.join(zeros)}.", css="small"))
    return section("training", "Training", *parts)


def model_table(comparison: Comparison, evaluations: Sequence[Evaluation]) -> Markup:
    """One row per model: headline pass@k and how its answers came out."""
    ks = few_ks(comparison.ks, 3)
    statuses = [s for s in NO_VERDICT if any(e.status_counts.get(s) for e in evaluations)]
    rows = []
    for model, evaluation in zip(comparison.models, evaluations, strict=True):
        total = sum(evaluation.status_counts.values()) or 1
        shares = [evaluation.status_counts.get(s, 0) / total for s in statuses]
        rows.append(
            [
                label(model.name),
                *(interval_cell(model.curve.at(k)) for k in ks),
                *(Cell(percent(s, 1), s) for s in shares),
                Cell(f"{evaluation.mean_num_tokens:.0f}", evaluation.mean_num_tokens),
            ]
        )
    return table(["", *(f"pass@{k}" for k in ks), *statuses, "tokens, mean"], rows)
