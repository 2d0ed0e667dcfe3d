"""The sections that ask how far the curves can be trusted: guessing, reasoning read, verdicts checked."""

from __future__ import annotations

from collections.abc import Sequence

from rlvr.eval.audit import BY_GRAPH, HARD, Audit, compounded, hardest, share_interval
from rlvr.eval.compare import Comparison
from rlvr.eval.guess import RARELY
from rlvr.eval.report.analysis import BenchmarkAnalysis, GuessFilter
from rlvr.eval.report.findings import crossing_words
from rlvr.eval.report.html import Cell, Markup, details, element, id_list, join, table
from rlvr.eval.report.labels import bracket, label, percent
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
    return two_comparisons((whole, "all problems"), (remaining, "without"))


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


def reasoning_section(part: Part) -> Markup | None:
    """What reading the right answers has shown."""
    found = part.analysis.reasoning
    if found is None:
        return None
    children = [element("p", reading_sentence(list(found.audits.values()))), audit_table(part.analysis)]
    if found.valid is not None:
        children += [
            figure(part.charts["cot_pass_at_k"]),
            two_comparisons((part.analysis.comparison, "right answer"), (found.valid, "and valid reasoning")),
        ]
    children += verifier_note(part.analysis)
    return part.section("reasoning", "Reasoning behind right answers", *children)


def reading_sentence(audits: Sequence[Audit]) -> str:
    """Who judged, and what."""
    total, valid = sum(len(a.rows) for a in audits), sum(row.chain for a in audits for row in a.rows)
    if all(audit.by == BY_GRAPH for audit in audits):
        how = "Every right answer was judged on its problem's solution graph: each step must be there and right."
    else:
        how = (
            f"People read right answers to the hardest problems (solved, but in under {percent(HARD)} of the samples), "
            "without knowing the model."
        )
    return f"{how} {valid:,} of {total:,} have valid reasoning."


def audit_table(analysis: BenchmarkAnalysis) -> Markup:
    """Per model: right answers judged, and the hardest problems with at least one valid chain."""
    assert analysis.reasoning is not None
    rows = []
    for evaluation in analysis.evaluations:
        audit = analysis.reasoning.audits.get(evaluation.name)
        if audit is None:
            continue
        hard = set(hardest(evaluation))
        read = {row.problem for row in audit.rows} & hard
        sound = {row.problem for row in audit.rows if row.chain} & hard
        share = share_interval(len(sound), len(read))
        valid = sum(row.chain for row in audit.rows)
        rows.append(
            [
                label(evaluation.name),
                Cell(f"{len(audit.rows)}", len(audit.rows)),
                Cell(f"{valid} ({percent(valid / len(audit.rows), 1)})" if audit.rows else "–", valid),
                Cell(f"{len(hard)}", len(hard)),
                Cell(f"{len(read)}", len(read)),
                Cell(f"{len(sound)}" + (f", share {bracket(share, 2)}" if read else ""), len(sound)),
            ]
        )
    headers = ["", "judged", "valid", "hardest problems", "of them read", "with a valid chain"]
    return table(headers, rows)


def verifier_note(analysis: BenchmarkAnalysis) -> list[Markup]:
    """How often the verifier accepted a wrong answer, by what the readers said."""
    assert analysis.reasoning is not None
    said = [
        row.answer for a in analysis.reasoning.audits.values() for row in a.rows if row.answer is not None
    ]
    if not said:
        return []
    wrong, largest = said.count(False), analysis.comparison.ks[-1]
    rate = share_interval(wrong, len(said))
    text = (
        f"Verifier: of {len(said)} accepted answers that were read, {wrong} are wrong, a share of {bracket(rate, 3)}. They "
        "come from hard problems, where mistakes gather: the share among all accepted answers is lower. Errors compound: "
        f"if one in 1,000 wrong answers passes, a problem nobody can solve counts as solved with a chance of "
        f"{percent(compounded(0.001, largest), 1)} at k = {largest}."
    )
    return [element("p", text, css="small")]
