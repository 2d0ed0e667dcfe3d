"""``rlvr data``: list the benchmarks and prompts, show a benchmark or a file, check a file of one's own."""

from __future__ import annotations

from rlvr.cli.words import WordsCommand
from rlvr.config import InspectDataConfig

EXAMPLES = """\
rlvr data: what can be trained on and measured, and whether a file of your own can be.

Examples:
  rlvr data show                                    all registered benchmarks and prompt templates
  rlvr data show math500 data.folder=sets           one of them: size, source, sampling, a rendered prompt
  rlvr data show aime24 prompt=qwen_boxed model=Qwen/Qwen2.5-7B      prompts as this model reads them
  rlvr data show own.jsonl                          a file in verl's columns
  rlvr data validate own.jsonl                      every row and every ground truth; all faults at once
  rlvr data validate rows.jsonl family=gsm8k        a file in the columns of a registered benchmark
  rlvr data validate rows.parquet columns.question=problem columns.answer=solution columns.answer_in=boxed

Exit codes: 0 fine, 2 the file has faults or cannot be read.
"""
COMMAND = WordsCommand("data", InspectDataConfig, EXAMPLES, plain=("action", "subject"))


def run(arguments: list[str]) -> None:
    """Run the command."""
    COMMAND.run(app, arguments or ["--help"])


def app(config: InspectDataConfig) -> None:
    """Show, or check."""
    # Late, so that --help and mistakes are answered at once.
    from rlvr.cli.data_lines import listing, shown, validate_file

    if config.action == "validate":
        validate_file(config)
    else:
        print("\n".join(listing() if config.subject is None else shown(config, config.subject)))
