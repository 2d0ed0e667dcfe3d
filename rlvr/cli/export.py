"""``rlvr export``: evaluations in the log formats of other tools."""

from __future__ import annotations

from rlvr.cli.words import WordsCommand
from rlvr.config import ExportConfig

EXAMPLES = """\
rlvr export: the samples of evaluations as inspect_ai or lm-eval log them.

Examples:
  rlvr export runs/tiny format=inspect                  then: inspect view --log-dir runs/export
  rlvr export runs/evaluate/mine format=lm_eval output=logs benchmarks=math500

Folders are searched to any depth for evaluations of `rlvr study` and `rlvr evaluate`.
"""
COMMAND = WordsCommand("export", ExportConfig, EXAMPLES, plain=("folders",))


def run(arguments: list[str]) -> None:
    """Run the command."""
    COMMAND.run(app, arguments)


def app(config: ExportConfig) -> None:
    """Write the logs, and print the name of each."""
    # Late, so that --help and mistakes are answered at once.
    from rlvr.workflows.export import export_logs

    for path in export_logs(config):
        print(path)
