"""The sections of one benchmark, each from its part of the analysis; None where there is no data."""

from __future__ import annotations

from rlvr.eval.compare import Comparison, ModelResult, Trained, few_ks
from rlvr.eval.coverage import HISTOGRAM_LABELS, cover_at
from rlvr.eval.report import reference
from rlvr.eval.report.charts import FEW_MODELS
from rlvr.eval.report.html import Cell, Markup, details, element, id_list, join, table
from rlvr.eval.report.labels import crossing_words, label, number, p_value, percent
from rlvr.eval.report.measurement import BenchmarkAnalysis, Measurement, Part, figure, interval_cell
from rlvr.eval.statistics import Interval
from rlvr.records import Status

NO_VERDICT = (Status.UNPARSED.value, Status.TIMEOUT.value, Status.ERROR.value)
"""Ways for a sample to end without a readable answer, shown as shares where they occur."""
COVER_THRESHOLDS = (0.1, 0.25, 0.5, 0.75, 0.9)


def curves_section(part: Part) -> Markup:
    """pass@k of all models."""
    comparison = part.analysis.comparison
    shown: list[ModelResult | Trained] = [*comparison.models, *comparison.means]
    rows = [
        [Cell(str(k), k), *(interval_cell(each.curve.at(k)) for each in shown), number(guess)]
        for k, guess in zip(comparison.ks, comparison.guess, strict=True)
    ]
    numbers = table(["k", *(label(each.name) for each in shown), "guessing"], rows)
    return part.section(
        "pass-at-k",
        "pass@k",
        figure(part.charts["pass_at_k"]),
        model_table(part.analysis),
        details("All k, with intervals", numbers),
    )


def difference_section(part: Part) -> Markup | None:
    """Paired differences."""
    comparison = part.analysis.comparison
    if not comparison.against_base:
        return None
    tables = []
    for each in (*comparison.means, *comparison.against_base):
        d = each.difference
        bands = [d.band_at(k) for k in d.ks]
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
    return part.section(
        "difference",
        "Paired difference",
        figure(part.charts["paired_difference"]),
        details("Numbers with intervals", *tables),
    )


def verdict(band: Interval) -> str:
    """What the simultaneous band says."""
    if not band.excludes_zero:
        return "not told from zero"
    return "above the base" if band.low > 0 else "below the base"


def gap_section(part: Part) -> Markup | None:
    """Sampling-efficiency gap, with what the paper reports."""
    if not part.analysis.comparison.against_base:
        return None
    headers = ["Qwen2.5-7B", *(name for benchmark in reference.BENCHMARKS for name in (benchmark, "ΔSE"))]
    rows = [
        [
            label(row.name),
            *(cell for i in range(len(reference.BENCHMARKS)) for cell in reference.reference_cells(row, i)),
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
    return part.section(
        "gap", "Sampling-efficiency gap", figure(part.charts["sampling_efficiency_gap"]), paper
    )


def coverage_section(part: Part) -> Markup | None:
    """Who solves what, with the ids."""
    comparison = part.analysis.comparison
    if not comparison.against_base:
        return None
    test_names = ["McNemar, exact", f"after Holm over {comparison.num_tests}"][: comparison.num_tests]
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
                links = (problem_link(problem_id, problem_id) for problem_id in ids)
                folds.append(details(f"{len(ids)} solved by {who}", element("p", *links, css="ids")))
    headers = ["", "both", "base only", "trained only", "neither", *test_names]
    if len(comparison.against_base) > FEW_MODELS:
        folds = [details("Ids of the problems that only one side solves", *folds)] if folds else []
    return part.section(
        "coverage",
        "Coverage",
        figure(part.charts["coverage"]),
        table(headers, rows),
        *folds,
        *([] if part.within else [paper_coverage()]),
    )


def paper_coverage() -> Markup:
    """The paper's coverage table."""
    headers = ["", "k", "both", "base only", "trained only", "neither"]
    rows = [
        [row.benchmark, Cell(f"{row.k:,}", row.k), *(Cell(f"{share:.1f} %", share) for share in row.shares)]
        for row in reference.COVERAGE
    ]
    note = f"{reference.COVERAGE_SOURCE} {reference.SOLVED_SETS} For orientation, not for comparison."
    return details(
        "What the paper reports, for orientation", table(headers, rows), element("p", note, css="small")
    )


def problem_link(problem_id: str, text: str) -> Markup:
    """A link to what the models wrote on a problem (``problems.js``)."""
    return element("a", text, href="#problems", data_problem=problem_id, css="id")


def histogram_section(part: Part) -> Markup:
    """Accuracy per problem, Cover@τ, and the problems that hang on one or two verdicts."""
    comparison = part.analysis.comparison
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
            for e in part.analysis.evaluations
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
    return part.section(
        "accuracy",
        "Accuracy per problem",
        figure(part.charts["accuracy_histogram"]),
        covers,
        note,
        details("Numbers per bin", bins),
        *rare,
    )


def model_table(analysis: BenchmarkAnalysis) -> Markup:
    """One row per model: headline pass@k and how its answers came out."""
    comparison, evaluations = analysis.comparison, analysis.evaluations
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
                Cell(percent(model.cut_off, 1), model.cut_off),
                *(Cell(percent(s, 1), s) for s in shares),
                Cell(f"{evaluation.mean_num_tokens:.0f}", evaluation.mean_num_tokens),
            ]
        )
    return table(["", *(f"pass@{k}" for k in ks), "cut off", *statuses, "tokens, mean"], rows)


def two_comparisons(*comparisons: tuple[Comparison, str]) -> Markup:
    """The same models counted in two ways, row beneath row."""
    whole = comparisons[0][0]
    large, rows = whole.ks[-1], []
    for index, model in enumerate(whole.models):
        for comparison, which in comparisons:
            curve = comparison.models[index].curve
            cells: list[object] = [
                join([label(model.name), element("small", f" {which}")]),
                interval_cell(curve.at(1)),
                interval_cell(curve.at(large)),
            ]
            if index:
                against = comparison.against_base[index - 1]
                cells += [
                    interval_cell(against.difference.at(large), signed=True),
                    Cell(crossing_words(against.crossing), against.crossing.at or float("inf")),
                ]
            elif whole.against_base:
                cells += ["", ""]
            rows.append(cells)
    headers = ["", "pass@1", f"pass@{large}"]
    if whole.against_base:
        headers += [f"difference at {large}", "curves cross at"]
    return table(headers, rows, sortable=False)


MEASUREMENTS = (
    Measurement("pass-at-k", "pass@k", curves_section),
    Measurement("difference", "Difference", difference_section),
    Measurement("gap", "Gap", gap_section, in_further=False),
    Measurement("coverage", "Coverage", coverage_section),
    Measurement("accuracy", "Accuracy", histogram_section, in_further=False),
)
"""Those that show the comparison itself."""
