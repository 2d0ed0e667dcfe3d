"""Entropy per token of what each model samples, and the temperature at which a trained model has the base's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rlvr.cluster import rollout_pool
from rlvr.config import ClusterConfig, EntropyConfig, RolloutConfig
from rlvr.data.prompts import longest_prompt
from rlvr.eval.discovery import Store, stores_in
from rlvr.eval.entropy import (
    Entropies,
    matching_temperature,
    measure,
    read_entropies,
    write_entropies,
)
from rlvr.eval.loading import chosen
from rlvr.eval.store import read_problems
from rlvr.eval.tables import aligned, cell
from rlvr.protocols import RolloutEngine, SamplingSettings
from rlvr.run_folder import BASE, write_equal_entropy
from rlvr.tracking.progress import say
from rlvr.workflows.perplexity import check_model, same_prompts

Measured = tuple[Store, Entropies]
"""An evaluation, and its model at another temperature on the same problems."""


def measure_entropy(config: EntropyConfig) -> tuple[list[Store], list[Measured]]:
    """What `rlvr entropy` does: measure every evaluation at its own temperature, and models over a grid of others.

    The former is kept beside the samples, and is not measured again; so is the temperature that matches the base's entropy, where
    the grid has it.

    Returns:
        The evaluations, and what was measured at the temperatures of ``config.match``.

    Raises:
        ConfigError: no evaluation, or a model that is no longer the one that was evaluated.
        RlvrError: an engine failed.
    """
    found = [store for folder in config.folders for store in stores_in(Path(folder))]
    stores = chosen(found, config.benchmarks)
    for store in stores:
        check_model(store.spec)
    base, measured = base_name(stores), []
    for sha in dict.fromkeys(store.spec.model_sha256 for store in stores):
        own = [store for store in stores if store.spec.model_sha256 == sha]
        missing = [store for store in own if read_entropies(store.folder) is None]
        grid = config.match if own[0].name != base else []
        if missing or grid:
            measured += measure_all(
                missing, own if grid else [], grid, config.responses, config.rollout, config.cluster
            )
    for folder, (temperature, target) in matches(stores, measured).items():
        if temperature is not None:
            write_equal_entropy(folder, temperature, target)
    return stores, measured


def matches(stores: Sequence[Store], measured: Sequence[Measured]) -> dict[Path, tuple[float | None, float]]:
    """By the folder of an evaluation whose model was measured over the grid: where it has the base's entropy, and that entropy.

    The temperature is None where the base's entropy lies outside of what was measured.
    """
    bases = {store.spec.benchmark: store.folder for store in stores if store.name == base_name(stores)}
    found: dict[Path, tuple[float | None, float]] = {}
    for store in {store.folder: store for store, _ in measured}.values():
        place = bases.get(store.spec.benchmark)
        base, own = read_entropies(place) if place else None, read_entropies(store.folder)
        if base is not None:
            points = [own] if own else []
            points += [each for there, each in measured if there.folder == store.folder]
            target = base.mean().estimate
            at = matching_temperature(
                target,
                [each.temperature for each in points],
                [each.mean().estimate for each in points],
            )
            found[store.folder] = at, target
    return found


def base_name(stores: Sequence[Store]) -> str:
    """The model called base, or else the first one, as in the report."""
    names = [store.name for store in stores]
    return BASE if BASE in names else names[0]


def measure_all(
    missing: Sequence[Store],
    hotter: Sequence[Store],
    grid: Sequence[float],
    responses: int,
    rollout: RolloutConfig,
    cluster: ClusterConfig,
) -> list[Measured]:
    """Start a model once; measure it on its evaluations, and over the grid of temperatures."""
    spec = (*missing, *hotter)[0].spec
    renderer = same_prompts(spec)
    problems = {store.folder: read_problems(store.folder) for store in (*missing, *hotter)}
    asked = [problem for each in problems.values() for problem in each]
    longest, images = longest_prompt(renderer, asked), max(len(problem.images) for problem in asked)
    answer = max(int(store.spec.sampling["max_tokens"]) for store in (*missing, *hotter))
    sized = replace(rollout, max_prompt_tokens=longest, max_response_tokens=answer)
    say(f"entropy of {spec.model_name}: starting vLLM")
    with rollout_pool(spec.model_path, sized, cluster, seed=1, max_images=images) as engine:

        def measured(store: Store, temperature: float) -> Entropies:
            return measure_one(engine, store, temperature, responses)

        for store in missing:
            write_entropies(store.folder, measured(store, float(store.spec.sampling["temperature"])))
        return [(store, measured(store, temperature)) for store in hotter for temperature in grid]


def measure_one(engine: RolloutEngine, store: Store, temperature: float, responses: int) -> Entropies:
    """One model on one benchmark at one temperature, otherwise as it was evaluated."""
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


def lines(stores: Sequence[Store], measured: Sequence[Measured]) -> list[str]:
    """Tables for the terminal, and the temperatures that match."""
    found = []
    matched = matches(stores, measured)
    for benchmark in dict.fromkeys(store.spec.benchmark for store in stores):
        here = [store for store in stores if store.spec.benchmark == benchmark]
        own = [(store, each) for store in here if (each := read_entropies(store.folder)) is not None]
        hotter = [(store, each) for store, each in measured if store.spec.benchmark == benchmark]
        rows = [[store.name, f"{each.temperature:g}", cell(each.mean())] for store, each in (*own, *hotter)]
        found += [*aligned([benchmark, "temperature", "nats per token"], rows), ""]
        for store in {store.folder: store for store, _ in hotter}.values():
            if store.folder not in matched:
                continue
            at, _ = matched[store.folder]
            found.append(
                f"{store.name} has the entropy of the base at temperature {at:.3g}"
                if at is not None
                else f"{store.name}: the base's entropy lies outside of what was measured; widen match="
            )
    return [*found, "Mean over problems; 95 % intervals over problems."]
