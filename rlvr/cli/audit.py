"""``rlvr audit``: is the reasoning behind right answers valid?"""

from __future__ import annotations

import json
from pathlib import Path

from rlvr.cli.words import folders_and_keys, listed_words
from rlvr.errors import ConfigError

KEYS = ("export", "import", "benchmarks")
EXAMPLES = """\
rlvr audit: is the reasoning behind right answers valid?

Examples:
  rlvr audit runs/tiny                          generated problems: judge every right answer's steps
  rlvr audit runs/aime export=to_read.jsonl     other problems: let people read
  rlvr audit runs/aime import=to_read.jsonl     and take over what they say
  rlvr report runs/aime                         shows it

For people, every right answer to a model's hardest solvable problems is exported (solved, but in under 5 % of
the samples), in random order and without the model's name. They fill in, row by row:
  "chain"   "valid" or "invalid": whether the reasoning leads to the answer
  "answer"  "right" or "wrong": whether the verifier was right to accept it (may stay null)
  "note"    anything
Rows with "chain": null count as unread. Verdicts are kept beside the samples, in audit.json.

Keys:
  export      file to write
  import      file to read
  benchmarks  names of those to audit, separated by commas; all by default
"""


def run(arguments: list[str]) -> None:
    """Run the command."""
    if "--help" in arguments or "-h" in arguments:
        print(EXAMPLES)
        return
    folders, keys = folders_and_keys(
        arguments, KEYS, nothing="there is nothing to audit", example="rlvr audit runs/tiny"
    )
    if keys["export"] and keys["import"]:
        raise ConfigError(
            "export and import exclude each other", where="command line", fix="export, read, import"
        )
    # Late, so that --help and mistakes are answered at once.
    from rlvr.eval import audit
    from rlvr.eval.loading import load_results

    benchmarks = load_results(folders, listed_words(keys["benchmarks"])).benchmarks
    evaluations = [evaluation for each in benchmarks for evaluation in each.evaluations]
    if keys["export"]:
        rows = [
            row for each in benchmarks for row in audit.rows_to_read(each.evaluations, list(each.problems))
        ]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        Path(keys["export"]).write_text(text, encoding="utf-8")
        print(f"{len(rows)} responses to read: {keys['export']}")
        return
    if keys["import"]:
        path = Path(keys["import"])
        if not path.is_file():
            raise ConfigError("there is no such file", where=str(path), fix="check the path")
        found = audit.take_over(evaluations, audit.read_rows(path))
    else:
        found = [
            audit.judge_by_graph(evaluation, each.problems)
            for each in benchmarks
            for evaluation in each.evaluations
        ]
    for evaluation, verdicts in zip(evaluations, found, strict=True):
        audit.write_audit(evaluation.folder, verdicts)
        valid = sum(row.chain for row in verdicts.rows)
        print(
            f"{evaluation.spec.benchmark}, {evaluation.name}: {valid} of {len(verdicts.rows)} right answers "
            "have valid reasoning"
        )
        hardest = set(audit.hardest(evaluation))
        chains = [(row.problem, row.chain) for row in verdicts.rows if row.problem in hardest]
        print(
            f"  on the {len(hardest)} problems solved in under {audit.HARD:.0%} of the samples: "
            f"{sum(chain for _, chain in chains)} of {len(chains)}, "
            f"on {len({problem for problem, chain in chains if chain})} of these problems"
        )
