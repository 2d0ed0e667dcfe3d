"""The problems whose accuracy training changed most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlvr.eval.store import Evaluation

LISTED = 5
"""Losses, and gains, of a model that are shown."""


@dataclass(frozen=True, slots=True)
class Change:
    """One problem and its accuracies."""

    problem: str
    base: float
    trained: float

    @property
    def difference(self) -> float:
        """Trained less base, in [−1, 1]."""
        return self.trained - self.base


def largest_changes(base: Evaluation, trained: Evaluation) -> tuple[list[Change], list[Change]]:
    """The largest losses and the largest gains in accuracy of one trained model, the largest first."""
    before, after = (each.num_correct / each.num_samples for each in (base, trained))
    order = np.argsort(after - before, kind="stable")
    found = [Change(base.problem_ids[i], float(before[i]), float(after[i])) for i in order]
    losses = [each for each in found if each.difference < 0]
    gains = [each for each in reversed(found) if each.difference > 0]
    return losses[:LISTED], gains[:LISTED]


def changed_problems(models: Sequence[Evaluation]) -> frozenset[str]:
    """Ids of the problems with the largest losses and gains of all trained models; the base comes first."""
    base, *trained = models
    found = [largest_changes(base, each) for each in trained]
    return frozenset(change.problem for sides in found for side in sides for change in side)
