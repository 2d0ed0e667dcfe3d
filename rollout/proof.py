"""The proof of a weight update: engine and learner must agree on real tokens.

A transfer that "succeeds" can still leave an engine with a mixture of old and new weights,
which samples plausibly and spoils everything after it. So after every update the engines
and the learner compute the log-probabilities of the same tokens, and the run stops unless
they are equal to within rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rlvr.errors import WeightUpdateError

TOLERANCE = {"float32": 5e-4, "bfloat16": 0.1}
"""Largest |Δ log p| in nats on any probe token, by the engine's dtype. In float32 the two
implementations were at most 7e-5 apart on any token (benchmarks/weight_update.py; three training runs), a
tensor left stale moves some token by far more; bfloat16 rounds logits to about 0.03."""


def largest_difference(
    engines: Sequence[Sequence[Sequence[float]]], learner: Sequence[Sequence[float]]
) -> tuple[float, int]:
    """Largest absolute difference in nats over engines, probes and tokens, and the engine it is on.

    NaN counts as infinitely different.
    """
    worst, where = 0.0, 0
    for index, engine in enumerate(engines):
        for ours, theirs in zip(engine, learner, strict=True):
            for a, b in zip(ours, theirs, strict=True):
                difference = abs(a - b)
                difference = math.inf if math.isnan(difference) else difference
                if difference > worst:
                    worst, where = difference, index
    return worst, where


def prove(
    engines: Sequence[Sequence[Sequence[float]]],
    learner: Sequence[Sequence[float]],
    tolerance: float,
    version: int,
) -> float:
    """Accept an update, or stop the run.

    Args:
        engines: per engine, per probe, the log-probability of each response token.
        learner: the same from the learner.
        tolerance: largest difference accepted, nats.
        version: the version that is being proved, for the message.

    Returns:
        The largest difference.

    Raises:
        WeightUpdateError: an engine differs by more than the tolerance.
    """
    if not engines or not any(len(tokens) for tokens in learner):
        raise WeightUpdateError(f"nothing was compared after weight update {version}", where="weight update")
    worst, engine = largest_difference(engines, learner)
    if worst > tolerance:
        raise WeightUpdateError(
            f"after weight update {version} rollout engine {engine} does not hold the learner's weights: "
            f"a probe token's log-probability differs by {worst:.3g} nats (tolerance {tolerance:.3g})",
            where=f"rollout worker {engine}",
            fix="no response was sampled with these weights; if both sides round differently (another dtype "
            "or kernel), raise rollout.probe_tolerance, otherwise report it with `rlvr doctor --json`",
        )
    return worst
