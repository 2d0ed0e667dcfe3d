"""The page: head, navigation, sections, style and script in one file without outside loads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rlvr.eval.compare import Comparison
from rlvr.eval.report import reading, sections
from rlvr.eval.report.charts import Chart
from rlvr.eval.report.dynamics import zero_throughout
from rlvr.eval.report.findings import Findings
from rlvr.eval.report.html import Markup, element, join
from rlvr.eval.report.labels import moment
from rlvr.eval.report.results import StudyResults
from rlvr.eval.report.samples import examples

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
"""Content security policy: even a mistake in escaping could load nothing."""
NAVIGATION = {
    "summary": "Summary",
    "pass-at-k": "pass@k",
    "difference": "Difference",
    "gap": "Efficiency gap",
    "coverage": "Coverage",
    "accuracy": "Accuracy",
    "training": "Training",
    "samples": "Samples",
    "provenance": "Provenance",
}


def page(
    results: StudyResults,
    comparison: Comparison,
    found: Findings,
    charts: Mapping[str, Chart],
    training: Mapping[str, Chart],
) -> str:
    """The whole report as one HTML document."""
    built: dict[str, Markup | None] = {
        "summary": sections.summary_section(comparison, found),
        "pass-at-k": sections.curves_section(comparison, charts),
        "difference": sections.difference_section(comparison, charts),
        "gap": sections.gap_section(comparison, charts),
        "coverage": sections.coverage_section(comparison, charts),
        "accuracy": sections.histogram_section(comparison, charts, results.evaluations),
        "training": sections.dynamics_section(training, zero_throughout(results.metrics)),
        "samples": reading.samples_section(examples(results, comparison)),
        "provenance": reading.provenance_section(results, comparison),
    }
    present = {anchor: part for anchor, part in built.items() if part is not None}
    body = join(
        [
            header(results, comparison),
            navigation(list(present)),
            element("main", *present.values()),
            element("div", id="tip", role="tooltip", hidden=""),
            Markup(f"<script>{asset('page.js')}</script>"),
        ]
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"{element('title', results.title)}<style>{asset('page.css')}</style></head><body>{body}</body></html>\n"
    )


def header(results: StudyResults, comparison: Comparison) -> Markup:
    """Title, what was measured, and one table of all models."""
    spec = results.evaluations[0].spec
    facts = [
        spec.benchmark,
        f"{comparison.num_problems} problems",
        f"{comparison.num_samples} samples each",
        f"temperature {spec.sampling['temperature']:g}" if "temperature" in spec.sampling else "",
        f"seed {results.provenance['seed']}" if "seed" in results.provenance else "",
        moment(results.provenance.get("date", "")),
    ]
    line = element("p", " · ".join(fact for fact in facts if fact), css="facts")
    return element(
        "header", element("h1", results.title), line, sections.model_table(comparison, results.evaluations)
    )


def navigation(anchors: Sequence[str]) -> Markup:
    """Links to the sections that exist."""
    return element("nav", *(element("a", NAVIGATION[anchor], href=f"#{anchor}") for anchor in anchors))


def asset(name: str) -> str:
    """A file that lies beside this module."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
