"""``rlvr export``: evaluations in the log formats of other tools."""

from __future__ import annotations

from pathlib import Path

from rlvr.cli.words import folders_and_keys, listed_words
from rlvr.errors import ConfigError, did_you_mean

DEFAULT_OUTPUT = "runs/export"
KEYS = ("format", "output", "benchmarks")
EXAMPLES = f"""\
rlvr export: the samples of evaluations as inspect_ai or lm-eval log them.

Examples:
  rlvr export runs/tiny format=inspect                  then: inspect view --log-dir {DEFAULT_OUTPUT}
  rlvr export runs/evaluate/mine format=lm_eval output=logs benchmarks=math500

Folders are searched to any depth for evaluations of `rlvr study` and `rlvr evaluate`.

Keys:
  format      inspect: a log per model and benchmark, an epoch per sample; lm_eval: results_DATE.json and
              samples_TASK_DATE.jsonl per model, with accuracy (exact_match) and pass@k of every problem
  output      folder of the logs, {DEFAULT_OUTPUT} by default
  benchmarks  names of those to export, separated by commas; all by default
"""


def run(arguments: list[str]) -> None:
    """Run the command."""
    if "--help" in arguments or "-h" in arguments:
        print(EXAMPLES)
        return
    folders, keys = folders_and_keys(
        arguments, KEYS, nothing="there is nothing to export", example="rlvr export runs/tiny format=inspect"
    )
    # Late, so that --help and mistakes are answered at once.
    from rlvr.eval.export import FORMATS
    from rlvr.eval.loading import load_results

    name = keys["format"]
    if name not in FORMATS:
        raise ConfigError(
            f"there is no format {name!r}" if name else "no format is named",
            where="format",
            fix=did_you_mean(name or "", FORMATS),
        )
    for benchmark in load_results(folders, listed_words(keys["benchmarks"])).benchmarks:
        for evaluation in benchmark.evaluations:
            print(FORMATS[name](evaluation, Path(keys["output"] or DEFAULT_OUTPUT)))
