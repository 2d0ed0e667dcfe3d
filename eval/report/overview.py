"""What stands at the top of the page: all models on all benchmarks, and what the data show in words."""

from __future__ import annotations

from collections.abc import Sequence

from rlvr.eval.compare import Comparison, Trained
from rlvr.eval.report import reference
from rlvr.eval.report.charts import FEW_MODELS
from rlvr.eval.report.findings import Findings, headline, headline_ks, tally
from rlvr.eval.report.html import Cell, Markup, details, element, join, section, table
from rlvr.eval.report.labels import bracket, crossing_words, k_text, label, number, percent, style_of
from rlvr.eval.report.measurement import BenchmarkAnalysis, Part, two_lines
from rlvr.eval.report.measurements import MEASUREMENTS


def overview_table(analyses: Sequence[BenchmarkAnalysis]) -> Markup:
    """One row per model: pass@1, pass@K and the gap on every benchmark, and the paper's own numbers."""
    comparisons = [analysis.comparison for analysis in analyses]
    columns = reference_columns(analyses)
    groups, headers = [("", 1)], [""]
    for analysis in analyses:
        large = analysis.comparison.gap_k
        headers += ["pass@1", f"pass@{large}", "ΔSE"] if large > 1 else ["pass@1"]
        groups.append((domain(analysis, analyses) if len(analyses) > 1 else "", 3 if large > 1 else 1))
    if columns:
        groups.append((f"paper, {reference.MODEL}", len(columns)))
        headers += [reference.BENCHMARKS[column] for column in columns]
    rows = [
        [
            join([element("span", css=f"swatch s{style}"), label(name)]),
            *(cell for comparison in comparisons for cell in model_cells(comparison, name)),
            *(paper_cell(name, column) for column in columns),
        ]
        for name, style in overview_rows(comparisons[0])
    ]
    level = percent(comparisons[0].level)
    lines = [f"In brackets: {level} intervals."]
    if comparisons[0].against_base:
        lines.append("▲ ▼: above or below the base, the paired interval excludes zero.")
        lines.append("ΔSE = pass@K of the base − pass@1, in points; lower is better.")
        lines.append(training_note(comparisons[0]))
    if columns:
        lines.append(
            f"The paper's numbers, pass@1 / pass@256 and ΔSE, are of another model and other problems, for orientation "
            f"only ({reference.SOURCE})."
        )
    head = any(name for name, _ in groups)
    return element(
        "div",
        table(headers, rows, groups=groups if head else ()),
        element("p", " ".join(lines), css="small"),
        css="overview",
    )


def overview_rows(comparison: Comparison) -> list[tuple[str, int]]:
    """Names and styles, the base first, and every mean before its runs."""
    trained = [
        (shown.name, style_of(i))
        for i, each in enumerate(comparison.trained, start=1)
        for shown in (each, *comparison.runs_of(each))
    ]
    return [(comparison.base.name, 0), *trained]


def training_note(comparison: Comparison) -> str:
    """Whether the intervals cover training chance."""
    if comparison.means:
        return "The intervals of a mean cover the chance in training; those of one run do not."
    return "Each trained model is one run: the chance in training is not covered."


def domain(analysis: BenchmarkAnalysis, analyses: Sequence[BenchmarkAnalysis]) -> str:
    """A benchmark's name, and its part in a study that has several."""
    if not any(each.results.out_of_domain for each in analyses):
        return analysis.results.name
    return f"{analysis.results.name}, {'out of' if analysis.results.out_of_domain else 'in'} domain"


def model_cells(comparison: Comparison, name: str) -> list[Cell]:
    """pass@1, pass@K and the gap of the model, or mean of runs, of this name on one benchmark."""
    large = comparison.gap_k
    trained: dict[str, Trained] = {each.name: each for each in (*comparison.means, *comparison.against_base)}
    against = trained.get(name)
    curve = against.curve if against else comparison.base.curve
    cells = [
        two_lines(curve.at(k), 3, against.difference.at(k) if against else None) for k in sorted({1, large})
    ]
    if large > 1:
        cells.append(two_lines(against.gap if against else comparison.base_gap, 1))
    return cells


def reference_columns(analyses: Sequence[BenchmarkAnalysis]) -> tuple[int, ...]:
    """The paper's benchmarks worth showing: none where it reports none of the trained models."""
    if not any(reference.row_of(each.name) for each in analyses[0].comparison.trained):
        return ()
    outside = any(analysis.results.out_of_domain for analysis in analyses)
    return (reference.IN_DOMAIN, reference.OUT_OF_DOMAIN) if outside else (reference.IN_DOMAIN,)


def paper_cell(name: str, column: int) -> Cell:
    """The paper's numbers for a model of this name, as shares like the run's own."""
    row = reference.row_of(name)
    if row is None:
        return Cell("–", -1.0)
    one, many = row.cells[column]
    rest = element("small", f"/ {many / 100:.3f}, ΔSE {row.gap(column):.1f}")
    return Cell(join([f"{one / 100:.3f}", rest]), one)


def summary_section(analyses: Sequence[BenchmarkAnalysis]) -> Markup:
    """What the data show and do not show, in words, with the key numbers of each model."""
    first = analyses[0]
    parts = tallies(analyses) if len(analyses) > 1 or len(first.comparison.trained) > FEW_MODELS else []
    cards = model_cards(first.comparison, first.findings)
    if not cards:
        cards = [element("p", " ".join(base_only(first.comparison)), css="lead")]
    return section(
        "summary", "Summary", *parts, *cards, *checks(analyses), caveats_list(first.findings.caveats)
    )


def checks(analyses: Sequence[BenchmarkAnalysis]) -> list[Markup]:
    """Whether the picture changes under other conditions, such as without guesses; nothing where none was looked at."""
    lines = []
    for analysis in analyses:
        name = f"{domain(analysis, analyses)}: " if len(analyses) > 1 else ""
        for each in MEASUREMENTS:
            if each.anchor in analysis.found:
                for condition, comparison in each.checks(analysis):
                    lines += again(comparison, name + condition)
    if not lines:
        return []
    return [element("h3", "Checks"), element("ul", *(element("li", line) for line in lines))]


def again(comparison: Comparison, condition: str) -> list[str]:
    """One sentence per model: the comparison under another condition."""
    k = comparison.ks[-1]
    return [
        f"{condition}, {label(each.name)} differs from the base by {bracket(each.difference.at(k), signed=True)} at k = {k}; the "
        f"curves cross: {crossing_words(each.crossing)}."
        for each in comparison.trained
    ]


def tallies(analyses: Sequence[BenchmarkAnalysis]) -> list[Markup]:
    """Per benchmark, which models stand above or below the base at 1 and at K samples."""
    lines = []
    for analysis in analyses:
        comparison = analysis.comparison
        if comparison.against_base:
            told = " ".join(tally(comparison, k) for k in sorted({1, comparison.gap_k}))
            lines.append(element("li", element("strong", f"{domain(analysis, analyses)}: "), told))
    return [element("ul", *lines)] if lines else []


def caveats_list(lines: Sequence[str]) -> Markup:
    """What a reader must know before quoting a number."""
    notes = element("ul", *(element("li", line) for line in lines))
    return element("div", element("h3", "How far this goes"), notes, css="caveats")


def model_cards(comparison: Comparison, found: Findings) -> list[Markup]:
    """One card per trained model, in a fold where there are many; below a mean its runs, in a fold."""
    cards = []
    for i, each in enumerate(comparison.trained, start=1):
        runs = [model_card(comparison, run, style_of(i), found) for run in comparison.runs_of(each)]
        cards.append(model_card(comparison, each, style_of(i), found))
        cards += [details("Run by run, in words", *runs)] if runs else []
    many = len(comparison.trained) > FEW_MODELS
    return [details("Model by model, in words", *cards)] if many else cards


def base_only(comparison: Comparison) -> list[str]:
    """Sentences for an evaluation of a single model."""
    name = label(comparison.base.name)
    return [
        f"{name} reaches pass@{k} of {bracket(comparison.base.curve.at(k))}." for k in headline_ks(comparison)
    ]


def model_card(comparison: Comparison, each: Trained, style: int, found: Findings) -> Markup:
    """One trained model: four numbers and the sentences that qualify them."""
    largest = comparison.ks[-1]
    tiles = [
        change_tile(comparison, each, 1),
        change_tile(comparison, each, largest),
        tile("curves cross at", crossing_value(each), crossing_note(each, largest)),
        tile(
            "ΔSE",
            number(each.gap.estimate, 1),
            f"points [{number(each.gap.low, 1)}, {number(each.gap.high, 1)}]",
        ),
    ]
    title = element("h3", element("span", css=f"swatch s{style}"), headline(comparison, each))
    sentences = element("ul", *(element("li", line) for line in found.models[each.name]))
    return element("article", title, element("div", *tiles, css="tiles"), sentences, css="card")


def tile(name: str, value: object, note: str, css: str = "") -> Markup:
    """A number worth a glance."""
    return element(
        "div",
        element("span", name, css="tile-name"),
        element("span", value, css="tile-value"),
        element("span", note, css="tile-note"),
        css=f"tile {css}".strip(),
    )


def change_tile(comparison: Comparison, each: Trained, k: int) -> Markup:
    """From the base's pass@k to the model's, and whether the difference is told from zero."""
    base, model = (found.curve.at(k).estimate for found in (comparison.base, each))
    difference = each.difference.at(k)
    direction = "" if not difference.excludes_zero else "up" if difference.estimate > 0 else "down"
    value = join([element("span", number(base), css="from"), " → ", number(model)])
    return tile(f"pass@{k}", value, bracket(difference, signed=True), css=direction)


def crossing_value(each: Trained) -> str:
    """The crossing k, or "none"."""
    return "none" if each.crossing.at is None else f"k ≈ {k_text(each.crossing.at)}"


def crossing_note(each: Trained, largest: int) -> str:
    """The crossing's interval, or how often resamples cross at all."""
    if each.crossing.k is None:
        return f"up to k = {largest}; {percent(each.crossing.probability)} of resamples cross"
    return f"interval {k_text(each.crossing.low, f'> {largest}')} to {k_text(each.crossing.high)}"


def further_benchmark(part: Part, first: BenchmarkAnalysis) -> Markup:
    """A benchmark after the first: its cards and measurements in one section."""
    comparison, found, name = part.analysis.comparison, part.analysis.findings, part.analysis.results.name
    title = f"Out of domain: {name}" if part.analysis.results.out_of_domain else name
    shown = sorted((each for each in MEASUREMENTS if each.in_further), key=lambda each: each.by_problem)
    blocks = [each.section(part) for each in shown]
    own = [line for line in found.caveats if line not in first.findings.caveats]
    return section(
        part.within,
        title,
        element("div", *model_cards(comparison, found)),
        *(block for block in blocks if block is not None),
        *([caveats_list(own)] if own else []),
    )
