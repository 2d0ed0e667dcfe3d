"""``rlvr report``: evaluations from any number of runs in one report."""

from __future__ import annotations

from pathlib import Path

from rlvr.errors import ConfigError, did_you_mean

DEFAULT_OUTPUT = "runs/report"
KEYS = ("output", "benchmarks", "guess")
EXAMPLES = f"""\
rlvr report: the evaluations of any number of runs as one page.

Examples:
  rlvr report runs/tiny runs/tiny-seed1                 two studies
  rlvr report runs/kl output=runs/kl-report             all jobs of a multirun
  rlvr report runs/evaluate/base runs/evaluate/mine     two evaluations; the first one is the base
  rlvr report runs/tiny runs/old benchmarks=chains      leave out what only some have measured
  rlvr report runs/aime guess=runs/aime-guesses         and the curves without what can be guessed

Folders are searched to any depth for evaluations of `rlvr study` and `rlvr evaluate`. The base is the
model called base, or else the first one; measured by several runs, it appears once. Runs of equal names
are told apart by their folders. All must have been measured alike: same problems, prompt, sampling,
number of samples and verifier. What `rlvr audit` and `rlvr perplexity` left beside the samples is shown too.

Keys:
  output      folder of the report, {DEFAULT_OUTPUT} by default: report.html, summary.json, figures/
  benchmarks  names of those to keep, separated by commas; all by default
  guess       folder of an evaluation of the base model that was asked to answer without reasoning; what it
              hits in under 5 % of the samples is left out in a second set of curves
"""


def run(arguments: list[str]) -> None:
    """Run the command."""
    if "--help" in arguments or "-h" in arguments:
        print(EXAMPLES)
        return
    folders, keys = parse(arguments)
    # Late, so that --help and mistakes are answered at once.
    from rlvr.eval.collect import collect
    from rlvr.eval.report import write_report
    from rlvr.eval.tables import table_lines
    from rlvr.provenance import provenance

    study = collect(folders, names(keys["benchmarks"]), guesses=[Path(f) for f in names(keys["guess"])])
    own = provenance({key: value for key, value in keys.items() if value})
    report = write_report(Path(keys["output"]), study.with_provenance(own))
    print("\n".join(table_lines(report.comparisons)))
    print(f"\nreport: {report.path}")


def names(words: str) -> list[str]:
    """Words between commas."""
    return [word for word in words.split(",") if word]


def parse(arguments: list[str]) -> tuple[list[Path], dict[str, str]]:
    """Folders and keys from the words on the command line.

    Raises:
        ConfigError: an unknown key or flag, or no folder.
    """
    folders: list[Path] = []
    keys = dict.fromkeys(KEYS, "") | {"output": DEFAULT_OUTPUT}
    for word in arguments:
        key, equals, value = word.partition("=")
        if key in KEYS and equals:
            keys[key] = value
        elif Path(word).exists() or not (equals or word.startswith("-")):
            folders.append(Path(word))
        else:
            kind = "key" if equals else "flag"
            raise ConfigError(f"unknown {kind} {key!r}", where="command line", fix=did_you_mean(key, KEYS))
    if not folders:
        raise ConfigError(
            "there is nothing to report on",
            where="command line",
            fix="name the folders of runs: rlvr report runs/tiny",
        )
    if not keys["output"]:
        raise ConfigError("output is empty", where="output", fix=f"a folder, such as {DEFAULT_OUTPUT}")
    return folders, keys
