"""Reasoning behind right answers: what reading them has shown, and the curves that count valid reasoning alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rlvr.eval.audit import (
    BY_GRAPH,
    HARD,
    Audit,
    compounded,
    hardest,
    read_audit,
    share_interval,
    with_valid_chains,
)
from rlvr.eval.compare import Comparison, compare
from rlvr.eval.report.charts import Chart, LineChart, pass_at_k_chart
from rlvr.eval.report.html import Cell, Markup, element, table
from rlvr.eval.report.labels import GUESS_STYLE, bracket, label, percent
from rlvr.eval.report.measurement import BenchmarkAnalysis, Drawing, Measurement, Part, figure
from rlvr.eval.report.rounding import difference, rounded_list
from rlvr.eval.report.sections import two_comparisons
from rlvr.eval.results import BenchmarkResults
from rlvr.eval.store import Evaluation

ANCHOR = "reasoning"


@dataclass(frozen=True, slots=True)
class Reasoning:
    """The audits of the models, and the comparison that counts only valid reasoning."""

    audits: Mapping[str, Audit]
    """By model name, those that there are."""
    valid: Comparison | None
    """CoT-pass@k; None unless every right answer of every model has been judged."""


def read(results: BenchmarkResults, models: Sequence[Evaluation]) -> dict[str, Audit]:
    """What `rlvr audit` has left beside the samples, by model."""
    return {each.name: audit for each in models if (audit := read_audit(each)) is not None}


def reasoning(
    audits: Mapping[str, Audit], results: BenchmarkResults, models: Sequence[Evaluation], whole: Comparison
) -> Reasoning | None:
    """The comparison that counts only valid reasoning, where every right answer was judged; None without audits."""
    if not audits:
        return None
    counted = [with_valid_chains(each, audits[each.name]) for each in models if each.name in audits]
    complete = [each for each in counted if each is not None]
    valid = None
    if len(complete) == len(models):
        valid = compare(complete, ks=whole.ks, seed=whole.seed, num_resamples=whole.num_resamples)
    return Reasoning(audits, valid)


def charts(analysis: BenchmarkAnalysis, drawing: Drawing) -> list[Chart]:
    """The curves that count valid reasoning alone."""
    found: Reasoning = analysis.found[ANCHOR]
    return [] if found.valid is None else [reasoning_chart(found.valid)]


def reasoning_chart(comparison: Comparison) -> LineChart:
    """pass@k that counts a sample only if its reasoning is valid as well."""
    chart = pass_at_k_chart(comparison)
    return replace(
        chart,
        slug="cot_pass_at_k",
        title="CoT-pass@k",
        caption=f"Share of the {comparison.num_problems} problems on which at least one of k samples has the right answer and "
        f"valid reasoning behind it. Bands: {percent(comparison.level)} for all k at once.",
        y_label="CoT-pass@k",
        series=tuple(each for each in chart.series if each.style != GUESS_STYLE),
    )


def reasoning_section(part: Part) -> Markup | None:
    """What reading the right answers has shown."""
    found: Reasoning | None = part.analysis.found.get(ANCHOR)
    if found is None:
        return None
    children = [
        element("p", reading_sentence(list(found.audits.values()))),
        audit_table(part.analysis, found),
    ]
    if found.valid is not None:
        children += [
            figure(part.charts["cot_pass_at_k"]),
            two_comparisons((part.analysis.comparison, "right answer"), (found.valid, "and valid reasoning")),
        ]
    children += verifier_note(part.analysis, found)
    return part.section(ANCHOR, "Reasoning behind right answers", *children)


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


def audit_table(analysis: BenchmarkAnalysis, found: Reasoning) -> Markup:
    """Per model: right answers judged, and the hardest problems with at least one valid chain."""
    rows = []
    for evaluation in analysis.evaluations:
        audit = found.audits.get(evaluation.name)
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


def verifier_note(analysis: BenchmarkAnalysis, found: Reasoning) -> list[Markup]:
    """How often the verifier accepted a wrong answer, by what the readers said."""
    said = [row.answer for a in found.audits.values() for row in a.rows if row.answer is not None]
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


def checks(analysis: BenchmarkAnalysis) -> list[tuple[str, Comparison]]:
    """Whether the picture changes without invalid reasoning."""
    found: Reasoning = analysis.found[ANCHOR]
    if found.valid is None:
        return []
    return [("Counting right answers only where the reasoning is valid", found.valid)]


def summary(found: Reasoning) -> dict[str, Any]:
    """For ``summary.json``."""
    valid = found.valid
    return {
        "judged": {name: len(audit.rows) for name, audit in found.audits.items()},
        "valid": {name: sum(row.chain for row in audit.rows) for name, audit in found.audits.items()},
        "by": {name: audit.by for name, audit in found.audits.items()},
        "problems_with_a_valid_chain": {
            name: sorted({row.problem for row in audit.rows if row.chain})
            for name, audit in found.audits.items()
        },
        "cot_pass_at_k": {m.name: rounded_list(m.curve.estimate) for m in valid.models} if valid else {},
        "cot_paired_difference": {a.name: difference(a) for a in valid.against_base} if valid else {},
    }


MEASUREMENT = Measurement(
    ANCHOR,
    "Reasoning",
    reasoning_section,
    read=read,
    analyse=reasoning,
    charts=charts,
    summary_key="reasoning",
    summary=summary,
    checks=checks,
)
