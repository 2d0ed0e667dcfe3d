"""``rlvr entropy``: entropy per token as sampled, and the temperature at which a trained model has the base's."""

from __future__ import annotations

from rlvr.cli.words import WordsCommand
from rlvr.config import EntropyConfig

EXAMPLES = """\
rlvr entropy: entropy per token of what each model samples, and the temperature that matches the base's.

Examples:
  rlvr entropy runs/tiny match=0.8,1.0,1.2,1.5,2.0      at which temperature has the trained model the base's entropy?
  rlvr evaluate model=runs/tiny/grpo benchmark=skills temperature=1.4 run.dir=runs/hot     measure it there;
      'temperature=${rlvr_equal_entropy:runs/tiny/evaluation/skills/grpo}' is what match= has found
  rlvr entropy runs/hot
  rlvr report runs/tiny sweep=runs/hot                  and compare, at equal entropy

Every evaluation in the folders is measured at its own temperature and top-p, from a few new responses to its
problems. Results are kept beside the samples, in entropy.json; what is there already is not measured again. What match= finds
is kept in equal_entropy.json.
"""
COMMAND = WordsCommand("entropy", EntropyConfig, EXAMPLES, plain=("folders",))


def run(arguments: list[str]) -> None:
    """Run the command."""
    COMMAND.run(app, arguments)


def app(config: EntropyConfig) -> None:
    """Measure, and print the tables."""
    # Late, so that --help and mistakes are answered at once.
    from rlvr.workflows.entropy import lines, measure_entropy

    print("\n".join(lines(*measure_entropy(config))))
