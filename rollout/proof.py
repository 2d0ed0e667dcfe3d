"""The proof of a weight update: an engine holds the learner's weights, and computes what the learner computes.

A transfer that "succeeds" can still leave an engine with a mixture of old and new weights, which samples plausibly and
spoils everything after it. So after every update two things are compared, and the run stops unless they agree.

*The weights themselves*, bit by bit: a checksum of every tensor as the engine holds it (rollout/held_weights.py)
against one that the learner takes of its own tensor, apart from the sending. This is exact in every dtype, and sees a
single element that was left stale.

*The function*: the log-probabilities of the same tokens, for what checksums of weights cannot see, such as a kernel
that computes something else. Engine and learner round differently, in bfloat16 by up to half a nat on single rare
tokens, so the mean over all tokens is judged, by what it was after the first update. It is far too coarse for a stale
tensor at a learning rate of 1e-6; that is what the checksums are for.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from rlvr.errors import WeightUpdateError
from rlvr.rollout.checksums import Checksum

ROUNDING = {"float32": 1e-4, "bfloat16": 1e-2}
"""Mean |Δ log p| in nats that rounding alone may make, by the coarser dtype of engine and learner. On the tiny model
it is 2e-6 in float32 and 3e-3 in bfloat16."""
FACTOR = 10.0
"""So many times what rounding makes is more than rounding."""
REPORT = "report it with `rlvr doctor --json`; no response was sampled with these weights"

Held = Mapping[str, Sequence[Checksum | None]]
"""By the name of a tensor, a checksum of every copy of it that an engine has."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Between the log-probabilities of an engine and of the learner, over all probe tokens, in nats."""

    mean: float
    largest: float


def comparable(engines: Sequence[Held], learner: Mapping[str, Checksum]) -> frozenset[str]:
    """Tensors of which engines and learner hold the same numbers when both have just read the model's files.

    vLLM may lay a tensor out in a way that rollout/held_weights.py does not know, such as transposed. Such a tensor
    shows here, where nothing has been sent yet, and is left out of the proof.
    """
    return frozenset(
        name
        for name, expected in learner.items()
        if all(held.get(name) and all(copy == expected for copy in held[name]) for held in engines)
    )


def prove_weights(
    engines: Sequence[Held], learner: Mapping[str, Checksum], known: Collection[str], version: int
) -> float:
    """Accept an update if every engine holds the known tensors as the learner does, or stop the run.

    Args:
        engines: what each engine holds.
        learner: what the learner holds.
        known: names of the tensors to compare, from :func:`comparable`.
        version: the version that is being proved, for the message.

    Returns:
        The share of the learner's parameters that was compared.

    Raises:
        WeightUpdateError: an engine holds something else, or there is nothing to compare.
    """
    if not engines or not known:
        raise WeightUpdateError(
            f"no weights could be compared after weight update {version}", where="weight update", fix=REPORT
        )
    for index, held in enumerate(engines):
        wrong = [name for name in learner if name in known and set(held[name]) != {learner[name]}]
        if wrong:
            raise WeightUpdateError(
                f"after weight update {version} rollout engine {index} does not hold the learner's weights: "
                f"{len(wrong)} of {len(known)} tensors differ, the first is {wrong[0]}",
                where=f"rollout worker {index}",
                fix=REPORT,
            )
    return sum(learner[name].numel for name in known) / sum(each.numel for each in learner.values())


def difference(engine: Sequence[Sequence[float]], learner: Sequence[Sequence[float]]) -> Difference:
    """How far an engine's log-probabilities are from the learner's; NaN and infinity are infinitely far."""
    each = [
        abs(a - b) if math.isfinite(a) and math.isfinite(b) else math.inf
        for ours, theirs in zip(engine, learner, strict=True)
        for a, b in zip(ours, theirs, strict=True)
    ]
    return Difference(sum(each) / len(each), max(each)) if each else Difference(0.0, 0.0)


def prove_function(
    engines: Sequence[Sequence[Sequence[float]]],
    learner: Sequence[Sequence[float]],
    limit: float,
    version: int,
) -> Difference:
    """Accept an update if engines and learner compute the same function, or stop the run.

    Args:
        engines: per engine, per probe, the log-probability of each response token.
        learner: the same from the learner.
        limit: largest mean difference that is accepted, nats.
        version: the version that is being proved, for the message.

    Returns:
        That of the engine which is farthest off.

    Raises:
        WeightUpdateError: an engine is farther off than the limit, or nothing was compared.
    """
    if not engines or not any(len(tokens) for tokens in learner):
        raise WeightUpdateError(f"nothing was compared after weight update {version}", where="weight update")
    found = [difference(engine, learner) for engine in engines]
    index = max(range(len(found)), key=lambda engine: found[engine].mean)
    if found[index].mean > limit:
        raise WeightUpdateError(
            f"after weight update {version} rollout engine {index} does not compute what the learner computes: "
            f"log-probabilities of the probe tokens differ by {found[index].mean:.3g} nats on average "
            f"(limit {limit:.3g}), by {found[index].largest:.3g} at most",
            where=f"rollout worker {index}",
            fix=f"if both sides round differently (another dtype or kernel), raise rollout.probe_tolerance; else {REPORT}",
        )
    return Difference(found[index].mean, max(each.largest for each in found))


def function_limit(dtypes: Sequence[str], first: float = 0.0) -> float:
    """The limit of :func:`prove_function`, where the user gives none.

    Args:
        dtypes: of engine and learner.
        first: mean difference after the first update of the session, once it is known.
    """
    return FACTOR * max(first, *(ROUNDING[dtype] for dtype in dtypes))
