"""What the generated problem families have in common; each gives these functions (families.py)."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rlvr.errors import ConfigError

Drawn = TypeVar("Drawn")


@dataclass(frozen=True, slots=True)
class Worked:
    """A problem with a worked solution: one document of a pre-training corpus."""

    problem: str
    solution: str
    entropy: float
    """Nats of noise in the solution: no model can predict it with a smaller loss."""
    picture: NDArray[np.uint8] | None = None
    """(height, width, 3) that the problem is about, if it is about one."""


def draw_rate(
    rng: random.Random, known_fraction: float, known_rates: Sequence[float], rare_rates: Sequence[float]
) -> float:
    """Probability that an author reads something rightly: uniform if most know it, else log-uniform."""
    if rng.random() < known_fraction:
        return rng.uniform(*known_rates)
    low, high = rare_rates
    rate: float = high * (low / high) ** rng.random()
    return rate


def mistake_entropy(noise: float, num_alternatives: int) -> float:
    """Entropy of a step in nats: right with 1 − noise, else any of the alternatives."""
    entropy = sum(-chance * math.log(chance) for chance in (noise, 1 - noise) if chance)
    return entropy + noise * math.log(num_alternatives)


def distinct(
    size: int,
    draw: Callable[[int], Drawn],
    key: Callable[[Drawn], str],
    exclude: frozenset[str],
    what: str,
) -> Iterator[Drawn]:
    """Draw until ``size`` problems with different keys have been found.

    Args:
        size: number of problems.
        draw: makes a problem for the place that it gets.
        key: two problems with the same key are the same.
        exclude: keys that must not occur.
        what: words for the error, such as ``operations [1, 2]``.

    Raises:
        ConfigError: the family has too few problems.
    """
    seen = set(exclude)
    found = 0
    for _ in range(50 * size + 1000):
        if found == size:
            return
        drawn = draw(found)
        name = key(drawn)
        if name not in seen:
            seen.add(name)
            found += 1
            yield drawn
    if found < size:
        raise ConfigError(
            f"found only {found} of {size} distinct problems with {what}",
            fix="ask for fewer problems or for more operations",
        )
