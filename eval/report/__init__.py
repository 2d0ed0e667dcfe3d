"""The report of a study: one offline HTML file, print figures with their data, summary.json.

Read in this order: ``rlvr.eval.results`` (what comes in), ``analysis`` (all that is read from disk, then the statistics),
``measurement`` and ``measurements`` (what a measurement is, and all of them: ``sections``, ``changes``, ``guess``,
``reasoning``, ``temperature``, ``perplexity``, ``problems``), ``findings`` (what the intervals say in words), ``charts``,
``step_charts`` and ``dynamics`` (what is drawn, as plain data), ``draw_print`` and ``draw_web`` (how), ``overview``,
``over_time`` and ``reading`` (the rest of the page), ``write`` (the files).
"""

from rlvr.eval.report.write import Report, write_report
from rlvr.eval.results import BenchmarkResults, StudyResults

__all__ = ["BenchmarkResults", "Report", "StudyResults", "write_report"]
