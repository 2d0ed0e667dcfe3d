"""``rlvr report``: evaluations from any number of runs in one report."""

from __future__ import annotations

from pathlib import Path

from rlvr.cli.words import folders_and_keys, listed_words
from rlvr.errors import ConfigError

DEFAULT_OUTPUT = "runs/report"
KEYS = ("output", "benchmarks", "guess", "sweep")
EXAMPLES = f"""\
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
model called base, or else the first one; measured by several runs, it appears once. Runs of equal names
are told apart by their folders. All must have been measured alike: same problems, prompt, sampling,
number of samples and verifier. What is unfinished is named with the command that goes on with it, on the page too, and
is in none of the numbers; of a run that trains there are the curves so far. What `rlvr audit`, `rlvr perplexity` and `rlvr entropy` left beside the samples
is shown too.

Keys:
  output      folder of the report, {DEFAULT_OUTPUT} by default: report.html, summary.json, figures/
  benchmarks  names of those to keep, separated by commas; all by default
  sweep       folders, separated by commas, of evaluations of the same models at other temperatures
  guess       folder of an evaluation of the base model with prompt=direct: answers without reasoning; what it
              hits in under 5 % of the samples is left out in a second set of curves
"""


def run(arguments: list[str]) -> None:
    """Run the command."""
    if "--help" in arguments or "-h" in arguments:
        print(EXAMPLES)
        return
    folders, keys = folders_and_keys(
        arguments, KEYS, nothing="there is nothing to report on", example="rlvr report runs/tiny"
    )
    if "output=" in arguments:
        raise ConfigError("output is empty", where="output", fix=f"a folder, such as {DEFAULT_OUTPUT}")
    # Late, so that --help and mistakes are answered at once.
    from rlvr.eval.loading import load_results
    from rlvr.eval.report import write_report
    from rlvr.eval.tables import table_lines
    from rlvr.provenance import provenance
    from rlvr.tracking.progress import say

    study = load_results(
        folders,
        listed_words(keys["benchmarks"]),
        guesses=[Path(word) for word in listed_words(keys["guess"])],
        sweeps=[Path(word) for word in listed_words(keys["sweep"])],
    )
    own = provenance({key: value for key, value in keys.items() if value})
    for stage in study.unfinished:
        say(f"still to come: {stage}")
    for command in dict.fromkeys(stage.command for stage in study.unfinished):
        say(f"  {command}")
    report = write_report(Path(keys["output"] or DEFAULT_OUTPUT), study.with_provenance(own))
    lines = table_lines(report.comparisons)
    print("\n".join([*lines, *([""] if lines else []), f"report: {report.path}"]))
