"""``rlvr perplexity``: how likely the base finds what the trained models write, and the other way round."""

from __future__ import annotations

from rlvr.cli.words import WordsCommand
from rlvr.config import PerplexityConfig

EXAMPLES = """\
rlvr perplexity: how likely each model finds what it and the others wrote.

Examples:
  rlvr perplexity runs/tiny                           base and trained models, all saved checkpoints
  rlvr perplexity runs/tiny responses=8               8 responses a problem instead of 32
  rlvr perplexity runs/aime reference=solutions.jsonl rollout.num_workers=4
  rlvr report runs/tiny                               shows it

Scored are, under the base: the responses of every model and checkpoint, and reference solutions; under each trained
model: its own responses, the base's, and the reference solutions. Generated problems bring their reference solutions;
for others give a file. The models must still lie where they were when they were evaluated. Results are kept beside the
samples, in perplexity.json; what is there already is not scored again.
"""
COMMAND = WordsCommand("perplexity", PerplexityConfig, EXAMPLES, plain=("folders",))


def run(arguments: list[str]) -> None:
    """Run the command."""
    COMMAND.run(app, arguments)


def app(config: PerplexityConfig) -> None:
    """Measure, and print the tables."""
    # Late, so that --help and mistakes are answered at once.
    from rlvr.workflows.perplexity import lines, measure_perplexity

    print("\n".join(lines(measure_perplexity(config))))
