"""The sections that ask how far the curves can be trusted: guessing, reasoning read, verdicts checked."""

from __future__ import annotations

from rlvr.eval.compare import Comparison
from rlvr.eval.guess import RARELY
from rlvr.eval.report.analysis import GuessFilter
from rlvr.eval.report.findings import crossing_words
from rlvr.eval.report.html import Cell, Markup, details, element, id_list, join, table
from rlvr.eval.report.labels import label, percent
from rlvr.eval.report.sections import Part, figure, interval_cell


def guess_section(part: Part) -> Markup | None:
    """The comparison without the problems that the base can guess."""
    found = part.analysis.guess_filter
    if found is None:
        return None
    children: list[Markup] = [element("p", guess_sentence(found, part.analysis.comparison))]
    if found.remaining is not None:
        children += [
            figure(part.charts["guess_filter"]),
            guess_table(part.analysis.comparison, found.remaining),
            details(f"{len(found.left_out)} problems left out", id_list(found.left_out)),
        ]
    return part.section("guesses", "Guess filter", *children)


def guess_sentence(found: GuessFilter, comparison: Comparison) -> str:
    """What was left out, and by which rule."""
    spec = found.guesses.spec
    rule = (
        f"{label(comparison.base.name)} was asked {spec.num_samples} times for each answer without reasoning "
        f"(prompt {spec.prompt_template}). "
    )
    if not found.left_out:
        return (
            rule + f"It hits no problem now and then (in under {percent(RARELY)} of the samples): all remain."
        )
    return rule + (
        f"{len(found.left_out)} of {comparison.num_problems} problems it hits now and then, in under {percent(RARELY)} of "
        "the samples. They are left out here, for all models alike."
    )


def guess_table(whole: Comparison, remaining: Comparison) -> Markup:
    """Before and after, per model: pass@1, pass@K, the difference at K, and the crossing."""
    large = whole.ks[-1]
    rows = []
    for index, model in enumerate(whole.models):
        for comparison, which in ((whole, "all problems"), (remaining, "without")):
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
