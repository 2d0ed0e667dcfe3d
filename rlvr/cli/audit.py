"""``rlvr audit``: is the reasoning behind right answers valid?"""

from __future__ import annotations

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
    from rlvr.eval.audit import HARD
    from rlvr.workflows.audit import audit_reasoning, export_to_people, take_over_from_people

    benchmarks = listed_words(keys["benchmarks"])
    if keys["export"]:
        count = export_to_people(folders, Path(keys["export"]), benchmarks)
        print(f"{count} responses to read: {keys['export']}")
        return
    if keys["import"]:
        found = take_over_from_people(folders, Path(keys["import"]), benchmarks)
    else:
        found = audit_reasoning(folders, benchmarks)
    for each in found:
        print(
            f"{each.evaluation.spec.benchmark}, {each.evaluation.name}: {each.num_valid} of {each.num_judged} right answers "
            "have valid reasoning"
        )
        print(
            f"  on the {each.num_hardest} problems solved in under {HARD:.0%} of the samples: "
            f"{each.num_valid_on_hardest} of {each.num_judged_on_hardest}, on {each.num_hardest_with_valid} of these problems"
        )
