"""``rlvr entropy``: entropy per token as sampled, and the temperature at which a trained model has the base's."""

from __future__ import annotations

from rlvr.cli.words import engine_settings, folders_and_keys, listed_words, positive
from rlvr.config import EntropyConfig
from rlvr.errors import ConfigError

KEYS = ("responses", "match", "benchmarks")
EXAMPLES = """\
rlvr entropy: entropy per token of what each model samples, and the temperature that matches the base's.

Examples:
  rlvr entropy runs/tiny match=0.8,1.0,1.2,1.5,2.0      at which temperature has the trained model the base's entropy?
  rlvr evaluate model=runs/tiny/grpo benchmark=skills temperature=1.4 run.dir=runs/hot     measure it there
  rlvr entropy runs/hot
  rlvr report runs/tiny sweep=runs/hot                  and compare, at equal entropy

Every evaluation in the folders is measured at its own temperature and top-p, from a few new responses to its
problems. Results are kept beside the samples, in entropy.json; what is there already is not measured again.

Keys:
  responses   per problem; 4 by default
  match       temperatures at which all models but the base are measured too, to find the one that matches
  benchmarks  names of those to measure on, separated by commas; all by default
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
        nothing="there is nothing to measure",
        example="rlvr entropy runs/tiny",
    )
    config = EntropyConfig(
        [str(folder) for folder in folders],
        responses=positive(keys["responses"] or str(EntropyConfig.responses), "responses"),
        match=temperatures(keys["match"]),
        benchmarks=listed_words(keys["benchmarks"]),
        rollout=rollout,
        cluster=cluster,
    )
    # Late, so that --help and mistakes are answered at once.
    from rlvr.workflows.entropy import lines, measure_entropy

    print("\n".join(lines(*measure_entropy(config))))


def temperatures(words: str) -> list[float]:
    """Temperatures between commas.

    Raises:
        ConfigError: not numbers.
    """
    try:
        return [float(word) for word in listed_words(words)]
    except ValueError as error:
        raise ConfigError(
            f"match is {words!r}", where="match", fix="temperatures, such as match=0.8,1.0,1.2"
        ) from error
