"""Which problems are solved, by whom, and how often: coverage and the accuracy histogram.

A problem counts as solved if at least one of its n samples is correct. A single correct
sample may be luck or a mistake of the verifier, so :func:`rarely_solved` lists them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlvr.errors import ConfigError

HISTOGRAM_LABELS = ("0", *(f"({i / 10:g}, {(i + 1) / 10:g}]" for i in range(9)), "(0.9, 1)", "1")
"""The twelve bins of arXiv 2504.13837: never, nine tenths open below, almost always, always."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """Problem ids by who solved them; together they are the benchmark, in its order."""

    both: tuple[str, ...]
    base_only: tuple[str, ...]
    rl_only: tuple[str, ...]
    neither: tuple[str, ...]

    @property
    def sets(self) -> dict[str, tuple[str, ...]]:
        """The four sets by name."""
        return {
            "both": self.both,
            "base_only": self.base_only,
            "rl_only": self.rl_only,
            "neither": self.neither,
        }

    @property
    def counts(self) -> dict[str, int]:
        """Their sizes by name."""
        return {name: len(ids) for name, ids in self.sets.items()}


def coverage(problem_ids: Sequence[str], base_correct: ArrayLike, model_correct: ArrayLike) -> Coverage:
    """Sort the problems into solved by both, one or neither.

    Args:
        problem_ids: (P,) ids.
        base_correct: (P,) correct samples of the base model.
        model_correct: (P,) correct samples of the other model.
    """
    base, model = np.asarray(base_correct) > 0, np.asarray(model_correct) > 0
    if not len(problem_ids) == len(base) == len(model):
        raise ConfigError(f"coverage of {len(problem_ids)} problems, but {len(base)} and {len(model)} counts")

    def chosen(mask: NDArray[np.bool_]) -> tuple[str, ...]:
        return tuple(problem_id for problem_id, kept in zip(problem_ids, mask, strict=True) if kept)

    return Coverage(
        chosen(base & model),
        chosen(base & ~model),
        chosen(~base & model),
        chosen(~base & ~model),
    )


def rarely_solved(problem_ids: Sequence[str], num_correct: ArrayLike, at_most: int = 2) -> tuple[str, ...]:
    """Ids of the problems solved at least once and at most ``at_most`` times, out of n."""
    return tuple(p for p, c in zip(problem_ids, np.asarray(num_correct), strict=True) if 0 < c <= at_most)


def accuracy_histogram(num_samples: ArrayLike, num_correct: ArrayLike) -> NDArray[np.int64]:
    """Problems per accuracy bin of :data:`HISTOGRAM_LABELS`.

    Args:
        num_samples: (P,) samples of each problem, n >= 1.
        num_correct: (P,) correct ones, c.

    Returns:
        (12,) counts; divide by P for shares. Bins are told apart in integers, so that
        3 of 10 lies in (0.2, 0.3] whatever 0.3 is in binary.
    """
    samples, correct = np.asarray(num_samples, dtype=np.int64), np.asarray(num_correct, dtype=np.int64)
    upwards = -(-10 * correct // samples)
    bins = np.where(correct == samples, 11, upwards)
    return np.bincount(bins, minlength=len(HISTOGRAM_LABELS))


def cover_at(
    num_samples: ArrayLike, num_correct: ArrayLike, thresholds: Sequence[float]
) -> NDArray[np.float64]:
    """Cover@τ: share of problems whose accuracy c/n is at least τ (arXiv 2510.08325).

    Args:
        num_samples: (P,) samples of each problem.
        num_correct: (P,) correct ones.
        thresholds: (T,) values of τ in (0, 1].

    Returns:
        (T,) shares in [0, 1].
    """
    accuracy = (np.asarray(num_correct) / np.asarray(num_samples))[:, None]
    return np.asarray((accuracy >= np.asarray(thresholds) - 1e-12).mean(axis=0))
