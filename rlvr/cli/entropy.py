"""``rlvr entropy``: entropy per token as sampled, and the temperature at which a trained model has the base's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rlvr.cli.words import engine_settings, folders_and_keys, listed_words, positive
from rlvr.config import ClusterConfig, RolloutConfig
from rlvr.errors import ConfigError

if TYPE_CHECKING:
    from rlvr.eval.entropy import Entropies
    from rlvr.eval.homes import Store
    from rlvr.protocols import RolloutEngine

KEYS = ("responses", "match", "benchmarks")
EXAMPLES = """\
rlvr entropy: entropy per token of what each model samples, and the temperature that matches the base's.

Examples:
  rlvr entropy runs/tiny match=0.8,1.0,1.2,1.5,2.0      at which temperature has the trained model the base's entropy?
  rlvr evaluate model=runs/tiny/grpo evaluation.temperature=1.4 run.dir=runs/hot     measure it there
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
    responses, grid = positive(keys["responses"] or "4", "responses"), temperatures(keys["match"])
    # Late, so that --help and mistakes are answered at once.
    from rlvr.cli.perplexity import check_model
    from rlvr.eval.collect import chosen
    from rlvr.eval.entropy import read_entropies
    from rlvr.eval.homes import stores_in

    stores = chosen(
        [store for folder in folders for store in stores_in(folder)], listed_words(keys["benchmarks"])
    )
    for store in stores:
        check_model(store.spec)
    base, measured = base_name(stores), []
    for sha in dict.fromkeys(store.spec.model_sha256 for store in stores):
        own = [store for store in stores if store.spec.model_sha256 == sha]
        missing = [store for store in own if read_entropies(store.folder) is None]
        heat = grid if own[0].name != base else []
        if missing or heat:
            measured += measure_all(missing, own if heat else [], heat, responses, rollout, cluster)
    print("\n".join(lines(stores, measured)))


def base_name(stores: Sequence[Store]) -> str:
    """The model called base, or else the first one, as in the report."""
    from rlvr.eval.collect import BASE

    names = [store.name for store in stores]
    return BASE if BASE in names else names[0]


def temperatures(words: str) -> list[float]:
    """Temperatures between commas.

    Raises:
        ConfigError: not positive numbers.
    """
    try:
        found = [float(word) for word in listed_words(words)]
    except ValueError:
        found = [0.0]
    if any(not 0 < each < 10 for each in found):
        raise ConfigError(f"match is {words!r}", where="match", fix="temperatures, such as match=0.8,1.0,1.2")
    return found


def measure_all(
    missing: Sequence[Store],
    heated: Sequence[Store],
    grid: Sequence[float],
    responses: int,
    rollout: RolloutConfig,
    cluster: ClusterConfig,
) -> list[tuple[Store, Entropies]]:
    """Start a model once; measure it on its evaluations, and over the grid of temperatures."""
    from rlvr.cli.perplexity import same_prompts
    from rlvr.cluster import rollout_pool
    from rlvr.data.prompts import longest_prompt
    from rlvr.eval.entropy import write_entropies
    from rlvr.eval.store import read_problems
    from rlvr.tracking.progress import say

    spec = (*missing, *heated)[0].spec
    renderer = same_prompts(spec)
    problems = {store.folder: read_problems(store.folder) for store in (*missing, *heated)}
    asked = [problem for each in problems.values() for problem in each]
    longest, images = longest_prompt(renderer, asked), max(len(problem.images) for problem in asked)
    answer = max(int(store.spec.sampling["max_tokens"]) for store in (*missing, *heated))
    sized = replace(rollout, max_prompt_tokens=longest, max_response_tokens=answer)
    say(f"entropy of {spec.model_name}: starting vLLM")
    with rollout_pool(spec.model_path, sized, cluster, seed=1, max_images=images) as engine:

        def measured(store: Store, temperature: float) -> Entropies:
            return measure_one(engine, store, temperature, responses)

        for store in missing:
            write_entropies(store.folder, measured(store, float(store.spec.sampling["temperature"])))
        return [(store, measured(store, temperature)) for store in heated for temperature in grid]


def measure_one(engine: RolloutEngine, store: Store, temperature: float, responses: int) -> Entropies:
    """One model on one benchmark at one temperature, otherwise as it was evaluated."""
    from rlvr.cli.perplexity import same_prompts
    from rlvr.eval.entropy import Entropies, measure
    from rlvr.eval.store import read_problems
    from rlvr.protocols import SamplingSettings

    sampling, renderer = store.spec.sampling, same_prompts(store.spec)
    settings = SamplingSettings(
        temperature,
        int(sampling["max_tokens"]),
        float(sampling["top_p"]),
        int(sampling.get("top_k", -1)),
        logprobs=True,
        stop_token_ids=renderer.stop_token_ids,
    )
    values = measure(engine, renderer, read_problems(store.folder), settings, responses)
    return Entropies(store.spec.model_sha256, temperature, responses, values)


def lines(stores: Sequence[Store], measured: Sequence[tuple[Store, Entropies]]) -> list[str]:
    """Tables for the terminal, and the temperatures that match."""
    from rlvr.eval.entropy import matching_temperature, read_entropies
    from rlvr.eval.tables import aligned, cell

    found = []
    for benchmark in dict.fromkeys(store.spec.benchmark for store in stores):
        here = [store for store in stores if store.spec.benchmark == benchmark]
        own = [(store, each) for store in here if (each := read_entropies(store.folder)) is not None]
        heated = [(store, each) for store, each in measured if store.spec.benchmark == benchmark]
        rows = [[store.name, f"{each.temperature:g}", cell(each.mean())] for store, each in (*own, *heated)]
        found += [*aligned([benchmark, "temperature", "nats per token"], rows), ""]
        base = next((each for store, each in own if store.name == base_name(stores)), None)
        for name in dict.fromkeys(store.name for store, _ in heated) if base else ():
            points = [each for store, each in (*own, *heated) if store.name == name]
            at = matching_temperature(
                base.mean().estimate if base else 0.0,
                [each.temperature for each in points],
                [each.mean().estimate for each in points],
            )
            found.append(
                f"{name} has the entropy of the base at temperature {at:.3g}"
                if at is not None
                else f"{name}: the base's entropy lies outside of what was measured; widen match="
            )
    return [*found, "Mean over problems; 95 % intervals over problems."]
