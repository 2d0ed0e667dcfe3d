"""The report of a study: one offline HTML file, print figures with their data, summary.json.

Read in this order: ``results`` (what comes in), ``analysis`` (its statistics), ``findings``
(what the intervals say in words), ``charts``, ``step_charts`` and ``dynamics`` (what is drawn,
as plain data), ``draw_print`` and ``draw_web`` (how), ``overview``, ``sections``, ``over_time``
and ``reading`` (the parts of the page), ``write`` (the files).
"""

from rlvr.eval.report.write import Report, write_report
from rlvr.eval.results import BenchmarkResults, StudyResults

__all__ = ["BenchmarkResults", "Report", "StudyResults", "write_report"]
