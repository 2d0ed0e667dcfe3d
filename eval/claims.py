"""Claims about pass@k, decided by studies: supported, contradicted, or undecided.

A claim is a condition, such as ``base@n - each@n > 0``: one pass@k less another, above or below a margin, where
``each`` stands for every trained model and ``n`` for the largest k. It is decided by the bootstrap that the reports'
intervals come from. With d the difference less the margin, in the direction that the condition claims:

* *supported* if d > 0 for every model: the p value is the largest of the one-sided ones of the models, the share of
  the resamples with d ≤ 0 (an intersection-union test, which needs no correction for their number);
* *contradicted* if d < 0 for some model: the smallest of the other side's p values, times the number of models
  (Bonferroni);
* *undecided* otherwise.

Either side counts as half of a two-sided test, and the smaller p value, doubled, is adjusted by Holm over all claims
that are decided together. So under claims that are all just false, at most 5 % of such collections call any of them
supported, and the same for true ones called contradicted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from rlvr.errors import ConfigError
from rlvr.eval.bootstrap import NUM_RESAMPLES, Replicates, resample
from rlvr.eval.pass_at_k import FloatArray, default_ks
from rlvr.eval.statistics import LEVEL, Interval, holm
from rlvr.eval.store import Evaluation
from rlvr.eval.training_runs import families, family_of, with_mean

EACH, BASE, LARGEST = "each", "base", "n"
CONDITION = re.compile(
    r"(?P<more>[\w.-]+)@(?P<more_k>n|\d+) - (?P<less>[\w.-]+)@(?P<less_k>n|\d+) (?P<sign>[<>]) (?P<margin>-?[\d.]+)"
)


class Decision(StrEnum):
    """What the data say about a claim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Condition:
    """``more@more_k - less@less_k > margin``, or ``<``."""

    more: str
    more_k: str
    less: str
    less_k: str
    sign: str
    margin: float

    @classmethod
    def parse(cls, text: str, where: str) -> Condition:
        """Read a condition.

        Raises:
            ConfigError: it is none.
        """
        match = CONDITION.fullmatch(text)
        if match is None:
            raise ConfigError(
                f"{text!r} is no condition",
                where=where,
                fix="MODEL@K - MODEL@K > MARGIN: base@n - each@n > 0",
            )
        more, more_k, less, less_k, sign, margin = match.groups()
        return cls(more, more_k, less, less_k, sign, float(margin))

    @property
    def direction(self) -> int:
        """1 where more is claimed, −1 where less is."""
        return 1 if self.sign == ">" else -1


@dataclass(frozen=True, slots=True)
class Effect:
    """The difference that a condition is about, for one trained model."""

    model: str
    """Name of the trained model, or of the mean of its runs; or of two that are compared."""
    k: int
    """The larger of the condition's two k."""
    difference: Interval
    """Pointwise interval at 95 %, without the margin."""
    p_against: float
    """One-sided: how surprising the data were if the condition did not hold."""
    p_for: float
    """One-sided: how surprising they were if it held."""


@dataclass(frozen=True, slots=True)
class Decided:
    """A claim with its evidence."""

    decision: Decision
    p: float
    """Two-sided, adjusted by Holm over all claims that were decided together."""
    effects: tuple[Effect, ...]
    num_runs: int
    """Training runs behind a model: 1, or the seeds whose mean it is."""


def effects_of(
    condition: Condition,
    evaluations: Sequence[Evaluation],
    *,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> tuple[tuple[Effect, ...], int]:
    """What a study's evaluations on one benchmark say about a condition.

    Args:
        condition: the claim's.
        evaluations: the base first; runs of several seeds are replaced by their mean.
        seed: of the bootstrap.
        num_resamples: of the bootstrap.

    Returns:
        An effect for each trained model that the condition speaks of, and the number of runs behind one.

    Raises:
        ConfigError: the study has no such model.
    """
    fewest = min(int(each.num_samples.min()) for each in evaluations)
    replicates = resample(
        np.stack([each.num_samples for each in evaluations]),
        np.stack([each.num_correct for each in evaluations]),
        default_ks(fewest),
        np.random.default_rng(seed),
        num_resamples=num_resamples,
    )
    names = [BASE, *(each.name for each in evaluations[1:])]
    replicates, places, num_runs = _with_means(replicates, names, np.random.default_rng(seed + 1))
    trained = [name for name in places if name != BASE and "-step" not in name]
    wanted = trained if EACH in (condition.more, condition.less) else [""]
    return tuple(_effect(condition, replicates, places, name) for name in wanted), num_runs


def decide(found: Mapping[str, tuple[tuple[Effect, ...], int]], level: float = LEVEL) -> dict[str, Decided]:
    """Decide all claims together.

    Args:
        found: by the name of each claim, its effects and the number of runs behind a model.
        level: 1 less the chance of any wrong decision.
    """
    sides = {
        name: (max(e.p_against for e in effects), min(1.0, len(effects) * min(e.p_for for e in effects)))
        for name, (effects, _) in found.items()
    }
    adjusted = holm([min(1.0, 2 * min(pair)) for pair in sides.values()])
    decided = {}
    for (name, (against, in_favour)), p in zip(sides.items(), adjusted, strict=True):
        decision = Decision.SUPPORTED if against < in_favour else Decision.CONTRADICTED
        decided[name] = Decided(decision if p <= 1 - level else Decision.UNDECIDED, p, *found[name])
    return decided


def _with_means(
    replicates: Replicates, names: Sequence[str], rng: np.random.Generator
) -> tuple[Replicates, dict[str, int], int]:
    """Rows by name: every model, but for runs of several seeds, whose mean stands in their place."""
    runs = families(names)
    places = {name: place for place, name in enumerate(names) if family_of(name) not in runs}
    for family, members in runs.items():
        replicates = with_mean(replicates, members, rng)
        places[family] = len(replicates.estimate) - 1
    return replicates, places, max((len(members) for members in runs.values()), default=1)


def _effect(condition: Condition, replicates: Replicates, places: Mapping[str, int], each: str) -> Effect:
    more, more_k = _values(condition.more, condition.more_k, replicates, places, each)
    less, less_k = _values(condition.less, condition.less_k, replicates, places, each)
    difference_b = more - less
    beyond_b = condition.direction * (difference_b - condition.margin)
    estimate, resampled_b = float(difference_b[0]), difference_b[1:]
    low, high = np.quantile(resampled_b, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Effect(
        model=each
        or (condition.more if condition.less == BASE else f"{condition.more} against {condition.less}"),
        k=max(more_k, less_k),
        difference=Interval(estimate, min(float(low), estimate), max(float(high), estimate)),
        p_against=_share(beyond_b[1:] <= 0),
        p_for=_share(beyond_b[1:] >= 0),
    )


def _values(
    model: str, k: str, replicates: Replicates, places: Mapping[str, int], each: str
) -> tuple[FloatArray, int]:
    """(1 + B,) the estimate and the resamples of one pass@k, and its k."""
    name = each if model == EACH else model
    if name not in places:
        raise ConfigError(
            f"the study has no model {name!r}", where="claims", fix=f"one of {', '.join(places)}, or each"
        )
    number = replicates.ks[-1] if k == LARGEST else int(k)
    if number not in replicates.ks:
        raise ConfigError(
            f"the study has no pass@{number}",
            where="claims",
            fix=f"one of {', '.join(map(str, replicates.ks))}, or n",
        )
    i = replicates.ks.index(number)
    row = places[name]
    return np.concatenate([replicates.estimate[row, i][None], replicates.resampled[row, :, i]]), number


def _share(hits: Any) -> float:
    """A p value from resamples: never 0, for they are finitely many."""
    return float((1 + hits.sum()) / (1 + len(hits)))
