"""``rlvr report``: evaluations from any number of runs in one report."""

from __future__ import annotations

from rlvr.cli.words import WordsCommand
from rlvr.config import ReportConfig

EXAMPLES = """\
rlvr report: the evaluations of any number of runs as one page.

Examples:
  rlvr report runs/tiny runs/tiny-seed1                 two studies
  rlvr report runs/kl output=runs/kl-report             all jobs of a multirun
  rlvr report runs/evaluate/base runs/evaluate/mine     two evaluations; the first one is the base
  rlvr report runs/tiny runs/old benchmarks=skills      leave out what only some have measured
  rlvr report runs/tiny/grpo                            the curves so far of a run that trains
  rlvr report runs/aime guess=runs/aime-guesses         and the curves without what can be guessed
  rlvr report runs/tiny sweep=runs/cold,runs/hot        and the same models at other temperatures

Folders are searched to any depth for evaluations of `rlvr study` and `rlvr evaluate`. The base is the
model called base, or else the one that was named first; measured by several runs, it appears once. Runs of equal names
are told apart by their folders. All must have been measured alike: same problems, prompt, sampling,
number of samples and verifier. What is unfinished is named with the command that goes on with it, on the page too, and
is in none of the numbers; of a run that trains there are the curves so far. What `rlvr audit`, `rlvr perplexity` and `rlvr entropy` left beside the samples
is shown too.
"""
COMMAND = WordsCommand("report", ReportConfig, EXAMPLES, plain=("folders",))


def run(arguments: list[str]) -> None:
    """Run the command."""
    COMMAND.run(app, arguments)


def app(config: ReportConfig) -> None:
    """Write the report; then the tables on stdout."""
    # Late, so that --help and mistakes are answered at once.
    from rlvr.eval.tables import table_lines
    from rlvr.workflows.report import report_runs

    report = report_runs(config)
    lines = table_lines(report.comparisons)
    print("\n".join([*lines, *([""] if lines else []), f"report: {report.path}"]))
