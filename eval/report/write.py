"""Write the report's files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rlvr.eval.bootstrap import NUM_RESAMPLES
from rlvr.eval.compare import Comparison
from rlvr.eval.report.analysis import analyse
from rlvr.eval.report.draw_print import write_figure
from rlvr.eval.report.page import page
from rlvr.eval.report.study_charts import study_charts
from rlvr.eval.report.summary import summary
from rlvr.eval.results import StudyResults
from rlvr.files import write_json
from rlvr.run_folder import FIGURES_FOLDER, REPORT_FILE, SUMMARY_FILE


@dataclass(frozen=True, slots=True)
class Report:
    """A report that has been written."""

    path: Path
    """Of ``report.html``."""
    comparisons: tuple[Comparison, ...]
    """Its statistics, one per benchmark: for the table on the terminal."""


def write_report(
    output: Path, study: StudyResults, *, seed: int = 0, num_resamples: int = NUM_RESAMPLES
) -> Report:
    """Write ``report.html``, ``summary.json`` and ``figures/`` into a folder.

    Args:
        output: the folder, made if it is missing.
        study: what the report is about.
        seed: of the bootstrap.
        num_resamples: of the bootstrap.

    Raises:
        ConfigError: the evaluations were made differently and cannot be compared.
    """
    analyses = analyse(study, seed=seed, num_resamples=num_resamples)
    charts = study_charts(study, analyses)
    output.mkdir(parents=True, exist_ok=True)
    for chart in charts:
        write_figure(chart, output / FIGURES_FOLDER)
    write_json(output / SUMMARY_FILE, summary(study, analyses))
    report = output / REPORT_FILE
    report.write_text(page(study, analyses, charts), encoding="utf-8")
    return Report(report, tuple(analysis.comparison for analysis in analyses))
