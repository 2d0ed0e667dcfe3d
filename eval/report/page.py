"""The page: head, navigation, sections, style and script in one file without outside loads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rlvr.eval.report import over_time, overview, reading
from rlvr.eval.report.cost import cost_section, costs
from rlvr.eval.report.dynamics import undrawn_sentences
from rlvr.eval.report.examples import examples
from rlvr.eval.report.html import Markup, element, join, section, table
from rlvr.eval.report.labels import label, moment
from rlvr.eval.report.measurement import BenchmarkAnalysis, Part
from rlvr.eval.report.measurements import MEASUREMENTS
from rlvr.eval.report.study_charts import StudyCharts
from rlvr.eval.results import Stage, StudyResults, last_step

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
"""Content security policy: even a mistake in escaping could load nothing."""
NAVIGATION = {
    "unfinished": "Still to come",
    "summary": "Summary",
    **{each.anchor: each.navigation for each in MEASUREMENTS},
    "steps": "Over steps",
    "cost": "Cost",
    "training": "Training",
    "samples": "Samples",
    "provenance": "Provenance",
}
"""Titles of the sections by their anchors."""


def page(study: StudyResults, analyses: Sequence[BenchmarkAnalysis], charts: StudyCharts) -> str:
    """The whole report as one HTML document."""
    titles = dict(NAVIGATION)
    built: dict[str, Markup | None] = {"unfinished": unfinished_section(study.unfinished)}
    if analyses:
        built |= measured_sections(study, analyses, charts, titles)
    else:
        built |= {
            "cost": cost_section(costs(study.metrics), charts.cost, charts.styles, None),
            "training": over_time.dynamics_section(charts.training, undrawn_sentences(study.metrics)),
            "provenance": reading.provenance_section(study, analyses),
        }
    present = {anchor: part for anchor, part in built.items() if part is not None}
    body = join(
        [
            header(study, analyses),
            element("nav", *(element("a", titles[anchor], href=f"#{anchor}") for anchor in present)),
            element("main", *present.values()),
            element("div", id="tip", role="tooltip", hidden=""),
            Markup(f"<script>{asset('page.js')}{asset('problems.js')}</script>"),
        ]
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"{element('title', study.title)}<style>{asset('page.css')}</style></head><body>{body}</body></html>\n"
    )


def measured_sections(
    study: StudyResults, analyses: Sequence[BenchmarkAnalysis], charts: StudyCharts, titles: dict[str, str]
) -> dict[str, Markup | None]:
    """Everything but the head of a report with evaluations; ``titles`` gets those of further benchmarks."""
    [first, *others] = analyses
    part = Part(first, charts.benchmarks[0])
    shown = {each.anchor: each.section(part) for each in MEASUREMENTS}
    problems = shown.pop("problems")
    built: dict[str, Markup | None] = {"summary": overview.summary_section(analyses), **shown}
    for number, (analysis, drawn) in enumerate(zip(others, charts.benchmarks[1:], strict=True), start=2):
        anchor = f"benchmark-{number}"
        titles[anchor] = "Out of domain" if analysis.results.out_of_domain else analysis.results.name
        built[anchor] = overview.further_benchmark(Part(analysis, drawn, within=anchor), first)
    built |= {
        "steps": over_time.steps_section(analyses, charts.steps),
        "cost": cost_section(costs(study.metrics), charts.cost, charts.styles, first.comparison),
        "training": over_time.dynamics_section(charts.training, undrawn_sentences(study.metrics)),
        "problems": problems,
        "samples": reading.samples_section(examples(first)),
        "provenance": reading.provenance_section(study, analyses),
    }
    return built


def header(study: StudyResults, analyses: Sequence[BenchmarkAnalysis]) -> Markup:
    """Title, what was measured, and one table of all models on all benchmarks."""
    seed, date = study.provenance.get("seed"), moment(study.provenance.get("date", ""))
    if not analyses:
        facts = [f"{label(run)}: step {last_step(rows)}" for run, rows in study.metrics.items()]
        line = element("p", " · ".join([*facts, date]), css="facts")
        return element("header", element("h1", study.title), line)
    spec = analyses[0].evaluations[0].spec
    facts = [
        *(measured(analysis) for analysis in analyses),
        f"temperature {spec.sampling['temperature']:g}" if "temperature" in spec.sampling else "",
        f"seed {seed}" if seed is not None else "",
        date,
    ]
    line = element("p", " · ".join(fact for fact in facts if fact), css="facts")
    return element("header", element("h1", study.title), line, overview.overview_table(analyses))


def unfinished_section(stages: Sequence[Stage]) -> Markup | None:
    """What is in none of the numbers yet, and how to go on with it."""
    if not stages:
        return None
    lead = element(
        "p",
        "The curves of training runs are shown as far as they go. What is not measured to its end is in none of the "
        "numbers below. Make the report again for what has come since.",
    )
    found = table(["", "so far"], [[each.title, each.progress] for each in stages], sortable=False)
    commands = dict.fromkeys(each.command for each in stages)
    return section(
        "unfinished", "Still to come", lead, found, *(element("pre", command) for command in commands)
    )


def measured(analysis: BenchmarkAnalysis) -> str:
    """A benchmark and its size."""
    comparison = analysis.comparison
    return f"{comparison.benchmark}: {comparison.num_problems} problems × {comparison.num_samples} samples"


def asset(name: str) -> str:
    """A file that lies beside this module."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
