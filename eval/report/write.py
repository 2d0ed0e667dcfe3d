"""Write the report's files."""

from __future__ import annotations

from pathlib import Path

from rlvr.eval.compare import Comparison, compare
from rlvr.eval.report.charts import comparison_charts
from rlvr.eval.report.draw_print import write_figure
from rlvr.eval.report.dynamics import dynamics_charts
from rlvr.eval.report.findings import findings
from rlvr.eval.report.page import page
from rlvr.eval.report.results import StudyResults
from rlvr.eval.report.summary import summary
from rlvr.eval.store import write_json

REPORT_FILE, SUMMARY_FILE, FIGURES = "report.html", "summary.json", "figures"


def write_report(output: Path, study: StudyResults, comparison: Comparison | None = None) -> Path:
    """Write ``report.html``, ``summary.json`` and ``figures/`` into a folder.

    Args:
        output: the folder, made if it is missing.
        study: what the report is about.
        comparison: its statistics, if they have been computed already (``compare``).

    Returns:
        Path of ``report.html``.

    Raises:
        ConfigError: the evaluations were made differently and cannot be compared.
    """
    comparison = comparison if comparison is not None else compare(study.evaluations)
    found = findings(comparison, study.evaluations)
    charts, training = comparison_charts(comparison), dynamics_charts(study.metrics)
    output.mkdir(parents=True, exist_ok=True)
    for chart in (*charts.values(), *training.values()):
        write_figure(chart, output / FIGURES)
    write_json(output / SUMMARY_FILE, summary(study, comparison, found))
    report = output / REPORT_FILE
    report.write_text(page(study, comparison, found, charts, training), encoding="utf-8")
    return report
