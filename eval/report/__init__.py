"""The report of a study: one offline HTML file, print figures with their data, summary.json.

Read in this order: ``results`` (what comes in), ``findings`` (what the intervals say in
words), ``charts`` (what is drawn, as plain data), ``draw_print`` and ``draw_web`` (how),
``sections`` (the page), ``write`` (the files).
"""

from rlvr.eval.report.results import StudyResults
from rlvr.eval.report.write import write_report

__all__ = ["StudyResults", "write_report"]
