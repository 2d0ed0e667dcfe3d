"""``rlvr audit``: is the reasoning behind right answers valid?"""

from __future__ import annotations

from rlvr.cli.words import WordsCommand
from rlvr.config import AuditConfig

EXAMPLES = """\
rlvr audit: is the reasoning behind right answers valid?

Examples:
  rlvr audit runs/tiny                          generated problems: judge every right answer's steps
  rlvr audit runs/aime write=to_read.jsonl      other problems: let people read
  rlvr audit runs/aime read=to_read.jsonl       and take over what they say
  rlvr report runs/aime                         shows it

For people, every right answer to a model's hardest solvable problems is written (solved, but in under 5 % of
the samples), in random order and without the model's name. They fill in, row by row:
  "chain"   "valid" or "invalid": whether the reasoning leads to the answer
  "answer"  "right" or "wrong": whether the verifier was right to accept it (may stay null)
  "note"    anything
Rows with "chain": null count as unread. Verdicts are kept beside the samples, in audit.json.
"""
COMMAND = WordsCommand("audit", AuditConfig, EXAMPLES, plain=("folders",))


def run(arguments: list[str]) -> None:
    """Run the command."""
    COMMAND.run(app, arguments)


def app(config: AuditConfig) -> None:
    """Judge, or hand over to people, or take over from them."""
    # Late, so that --help and mistakes are answered at once.
    from rlvr.eval.audit import HARD
    from rlvr.workflows.audit import audit_reasoning, write_for_people

    if config.write:
        print(f"{write_for_people(config)} responses to read: {config.write}")
        return
    for each in audit_reasoning(config):
        print(
            f"{each.evaluation.spec.benchmark}, {each.evaluation.name}: {each.num_valid} of {each.num_judged} right answers "
            "have valid reasoning"
        )
        print(
            f"  on the {each.num_hardest} problems solved in under {HARD:.0%} of the samples: "
            f"{each.num_valid_on_hardest} of {each.num_judged_on_hardest}, on {each.num_hardest_with_valid} of these problems"
        )
