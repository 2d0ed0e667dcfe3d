"""The same models at other temperatures: does RL do more than sharpen, and at equal entropy?

Sampling at a lower temperature raises pass@1 and narrows what is reached with many samples, as RL does. So the models are
measured over a range of temperatures, and a trained model also at the temperature at which its entropy is that
of the base (arXiv 2504.13837, section 5). These evaluations differ from the report's in nothing but the temperature, and
every one is compared with the base at the report's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rlvr.errors import ConfigError
from rlvr.eval.bootstrap import resample
from rlvr.eval.compare import Comparison
from rlvr.eval.entropy import Entropies
from rlvr.eval.statistics import Crossing, Curve, Interval, crossing, curve, paired_difference
from rlvr.eval.store import Evaluation, refuse_unlike

TEMPERATURE = "temperature"


@dataclass(frozen=True, slots=True)
class AtTemperature:
    """One model at one temperature."""

    name: str
    temperature: float
    own: bool
    """Whether this is the report's own temperature."""
    curve: Curve
    difference: Curve
    """Its pass@k less that of the base at the report's own temperature."""
    crossing: Crossing
    entropy: Interval | None
    """Nats per token; None where `rlvr entropy` has not measured it."""


def over_temperatures(
    models: Sequence[Evaluation],
    sweep: Sequence[Evaluation],
    whole: Comparison,
    entropies: Mapping[Path, Entropies],
) -> tuple[AtTemperature, ...]:
    """All models at all temperatures, sorted by model and temperature; empty without a sweep.

    Args:
        models: those of the report, the base first.
        sweep: the same models at other temperatures.
        whole: the report's comparison, for its grid and seed.
        entropies: by the folder of an evaluation, those that were measured.
    """
    if not sweep:
        return ()
    every = [*models, *sweep]
    replicates = resample(
        np.stack([each.num_samples for each in every]),
        np.stack([each.num_correct for each in every]),
        whole.ks,
        np.random.default_rng(whole.seed),
        num_resamples=whole.num_resamples,
    )
    rows = [
        AtTemperature(
            each.name,
            temperature_of(each),
            index < len(models),
            curve(replicates, index),
            paired_difference(replicates, 0, index),
            crossing(replicates, 0, index),
            entropies[each.folder].mean() if each.folder in entropies else None,
        )
        for index, each in enumerate(every)
    ]
    order = [each.name for each in models]
    return tuple(sorted(rows, key=lambda row: (order.index(row.name), row.temperature)))


def temperature_of(evaluation: Evaluation) -> float:
    """The temperature that it was sampled at."""
    return float(evaluation.spec.sampling[TEMPERATURE])


def sweep_of(models: Sequence[Evaluation], others: Sequence[Evaluation]) -> list[Evaluation]:
    """Evaluations at other temperatures, under their models' names in the report.

    Raises:
        ConfigError: a model that is not in the report, more than the temperature differs, or a
            temperature is there twice.
    """
    by_weights = {each.spec.model_sha256: each for each in models}
    taken = {(each.name, temperature_of(each)) for each in models}
    found = []
    for other in others:
        model = by_weights.get(other.spec.model_sha256)
        if model is None:
            raise ConfigError(
                f"the model {other.name!r} is not in the report",
                where=str(other.folder),
                fix="leave it out of sweep=, or name the folder where it is measured like the others",
            )
        temperature = temperature_of(other)
        like_the_others = {**other.spec.sampling, TEMPERATURE: model.spec.sampling[TEMPERATURE]}
        refuse_unlike(
            model.spec,
            replace(other.spec, sampling=like_the_others, model_name=model.name),
            f"{model.folder} and {other.folder}",
        )
        if (model.name, temperature) in taken:
            raise ConfigError(
                f"{model.name!r} is there twice at temperature {temperature:g}",
                where=str(other.folder),
                fix="leave one of them out of sweep=",
            )
        taken.add((model.name, temperature))
        found.append(replace(other, spec=replace(other.spec, model_name=model.name)))
    return found
