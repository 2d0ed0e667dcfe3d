"""One report from the evaluations of any number of runs."""

from __future__ import annotations

from pathlib import Path

from rlvr.config import ReportConfig
from rlvr.eval.loading import load_results
from rlvr.eval.report import Report, write_report
from rlvr.provenance import plain_data, provenance
from rlvr.run_folder import BASE
from rlvr.tracking.progress import say
from rlvr.workflows.ownership import refuse_not_for_reports


def report_runs(config: ReportConfig) -> Report:
    """What `rlvr report` does: find the evaluations in the folders, say what is still to come, and write the page.

    Raises:
        ConfigError: there is no evaluation, or two were measured differently; or the output is a training run's folder.
        DataError: an evaluation is damaged.
    """
    output = Path(config.output)
    refuse_not_for_reports(output)
    results = load_results(
        [Path(folder) for folder in config.folders],
        config.benchmarks,
        guesses=[Path(folder) for folder in config.guess],
        sweeps=[Path(folder) for folder in config.sweep],
    )
    for stage in results.unfinished:
        say(f"still to come: {stage}")
    for command in dict.fromkeys(stage.command for stage in results.unfinished):
        say(f"  {command}")
    base, *others = results.benchmarks[0].evaluations if results.benchmarks else [None]
    if base is not None and others and base.name != BASE:
        say(f"report: no model is called {BASE!r}, so the base is the first that was named, {base.name!r}")
    own = provenance(plain_data(config))
    return write_report(output, results.with_provenance(own))
