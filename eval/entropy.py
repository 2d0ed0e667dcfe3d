"""Entropy per token of the distribution that a model is sampled from, and the temperature that matches another's.

The mean of −log p over sampled tokens is an unbiased estimate of it: no logits are needed, only the
log-probabilities that the engine returns for what it sampled, at the temperature and top-p in use. A problem counts
once (its responses' tokens pooled), and the interval is over problems. Results lie beside the samples, in
``entropy.json``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from rlvr.errors import DataError
from rlvr.eval.bootstrap import NUM_RESAMPLES, draw_problems
from rlvr.eval.statistics import LEVEL, Interval
from rlvr.files import write_json
from rlvr.protocols import Renderer, RolloutEngine, SamplingSettings
from rlvr.records import Completion, Problem
from rlvr.run_folder import ENTROPY_FILE

NUM_RESPONSES = 4
"""Responses per problem: tokens are many, so few responses give a narrow interval."""


@dataclass(frozen=True, slots=True)
class Entropies:
    """One model at one temperature."""

    model_sha256: str
    temperature: float
    num_responses: int
    """Per problem."""
    values: dict[str, float]
    """By problem id, nats per token."""

    def mean(self, level: float = LEVEL) -> Interval:
        """Mean over problems with a bootstrap interval over problems."""
        values = np.array(list(self.values.values()))
        means = values @ draw_problems(len(values), NUM_RESAMPLES, np.random.default_rng(0)) / len(values)
        low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
        return Interval(float(values.mean()), float(low), float(high))


def measure(
    engine: RolloutEngine,
    renderer: Renderer,
    problems: Sequence[Problem],
    settings: SamplingSettings,
    num_responses: int,
) -> dict[str, float]:
    """Entropy per token by problem id; ``settings`` must ask for log-probabilities."""
    requests = [renderer.request(key, problem, num_responses) for key, problem in enumerate(problems)]
    found = {
        problems[key].id: token_entropy(completions)
        for key, completions in engine.generate(requests, settings)
    }
    return {problem.id: found[problem.id] for problem in problems}


def token_entropy(completions: Sequence[Completion]) -> float:
    """Minus the mean log-probability over all sampled tokens."""
    logprobs = [value for each in completions for value in each.logprobs or ()]
    return -sum(logprobs) / len(logprobs)


def matching_temperature(
    target: float, temperatures: Sequence[float], entropies: Sequence[float]
) -> float | None:
    """The temperature at which a model's entropy is ``target``, by straight lines between what was measured.

    None where the target lies outside; entropy grows with temperature.
    """
    pairs = sorted(zip(temperatures, entropies, strict=True))
    xs, ys = [x for x, _ in pairs], [y for _, y in pairs]
    if not min(ys) <= target <= max(ys):
        return None
    return float(np.interp(target, ys, xs))


def write_entropies(folder: Path, found: Entropies) -> None:
    """Keep the result beside the samples."""
    write_json(folder / ENTROPY_FILE, asdict(found))


def read_entropies(folder: Path) -> Entropies | None:
    """The result beside an evaluation's samples; None where there is none.

    Raises:
        DataError: the file is malformed.
    """
    path = folder / ENTROPY_FILE
    if not path.exists():
        return None
    try:
        return Entropies(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise DataError(
            f"malformed entropies: {error}", where=str(path), fix="delete it and run `rlvr entropy` again"
        ) from error
