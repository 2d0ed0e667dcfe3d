"""``rlvr perplexity``: how likely the base finds what the trained models write, and the other way round."""

from __future__ import annotations

from rlvr.cli.words import engine_settings, folders_and_keys, listed_words, positive
from rlvr.config import PerplexityConfig

KEYS = ("responses", "reference", "benchmarks")
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

Keys:
  responses   per problem, the first ones by sample index
  reference   JSONL file with "problem" (an id) and "response" in each row
  benchmarks  names of those to score, separated by commas; all by default
  rollout.*   the engines, as for `rlvr evaluate`: rollout.num_workers, rollout.device, …
  cluster.*   where they run
"""


def run(arguments: list[str]) -> None:
    """Run the command."""
    if "--help" in arguments or "-h" in arguments:
        print(EXAMPLES)
        return
    rollout, cluster, others = engine_settings(arguments)
    folders, keys = folders_and_keys(
        others,
        KEYS,
        nothing="there is nothing to score",
        example="rlvr perplexity runs/tiny",
    )
    config = PerplexityConfig(
        [str(folder) for folder in folders],
        responses=positive(keys["responses"] or str(PerplexityConfig.responses), "responses"),
        reference=keys["reference"] or None,
        benchmarks=listed_words(keys["benchmarks"]),
        rollout=rollout,
        cluster=cluster,
    )
    # Late, so that --help and mistakes are answered at once.
    from rlvr.workflows.perplexity import lines, measure_perplexity

    print("\n".join(lines(measure_perplexity(config))))
