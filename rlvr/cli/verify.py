"""``rlvr verify``: judge responses from rows of JSON, with the code that training uses."""

from __future__ import annotations

import json

from rlvr.cli.words import WordsCommand
from rlvr.config import VerifyConfig

EXAMPLES = """\
rlvr verify: judge responses; rows of JSON in, rows of JSON out in the same order.

Examples:
  rlvr verify rows.jsonl > verdicts.jsonl
  echo '{"id": 1, "kind": "math", "ground_truth": "1/2", "response": "so \\\\\\\\boxed{0.5}"}' | rlvr verify
  rlvr verify rows.jsonl math.units=required math.decimal_tolerance=1e-3
  rlvr verify rows.jsonl function=mine.py:judge         a function of yours in place of the verifiers
  rlvr verify programs.jsonl sandbox.require=namespaces num_workers=8

A row has id, kind, response, and by kind:
  math     ground_truth: the answer in LaTeX or plain text
  choice   ground_truth: a letter or a number; choices (optional): the texts of the options
  process  ground_truth: a solution graph, as in extra_info.solution_graph of generated problems
  code     tests, of programs (livecodebench: the same, by its own grader's conventions):
           [{"stdin": "...", "stdout": "..."}, ...]
           or {"entry_point": "f", "cases": [{"args": [...], "expected": ...}, ...]}
finish_reason (optional) is "stop" or "length": a response that was cut off has not answered.

Writes {"id", "score", "status", "answer", "seconds"}; seconds run from the moment that a row was read. A ground
truth of kind math that has no meaning for the verifier is compared as text, and its row says "as_text": true.
Settings are key=value of the section `rewards` (rewards/config.py, docs/rewards.md).
A row that cannot be used ends the command with exit code 2 and names its line; the rows before it are judged.
"""
COMMAND = WordsCommand("verify", VerifyConfig, EXAMPLES, plain=("file",))


def run(arguments: list[str]) -> None:
    """Run the command."""
    COMMAND.run(app, arguments)


def app(config: VerifyConfig) -> None:
    """Print a row for each row."""
    # Late, so that --help and mistakes are answered at once.
    from rlvr.workflows.verify import judge_rows

    for row in judge_rows(config):
        print(json.dumps(row, ensure_ascii=False), flush=True)
