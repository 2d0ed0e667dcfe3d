"""Claims about what studies measure, decided: supported, contradicted, or undecided.

A claim is a condition, such as ``base@n - each@n > 0``: a quantity, or one less another, above or below a margin. ``MODEL@K``
is a pass@k, ``MODEL.FRACTION`` one of the fractions of problems in ``rlvr.eval.fractions``; ``each`` stands for every
trained model and ``n`` for the largest k. It is decided by the bootstrap that the reports' intervals come from. With d
the quantity less the margin, in the direction that the condition claims:

* *supported* if d > 0 for every model: the p value is the largest of the one-sided ones of the models, the share of
  the resamples with d ≤ 0 (an intersection-union test, which needs no correction for their number);
* *contradicted* if d < 0 for some model: the smallest of the other side's p values, times the number of models
  (Bonferroni);
* *undecided* otherwise.

The bootstrap knows the problems that were drawn and no others: where none of 45 problems is solved it says that none ever
will be, with an interval of no width. Where a problem counts as 0 or 1, as at the largest k and in fractions, or where all
resamples are the same, a p value is therefore at least the chance that these many problems hide the others that would make
the condition false, and the interval reaches as far as those that 2.5 % of samples would hide
(Clopper and Pearson's exact bound, if nothing was seen).

Either side counts as half of a two-sided test, and the smaller p value, doubled, is adjusted by Holm over all claims of
a family, those that nothing is known of yet included. So under claims that are all just false, at most 5 % of such
families call any of them supported, and the same for true ones called contradicted; and a decision does not hang on which
other claims happen to be decided with it: further evidence can only add decisions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from rlvr.errors import ConfigError, did_you_mean
from rlvr.eval.bootstrap import NUM_RESAMPLES, Replicates, draw_problems, resample
from rlvr.eval.fractions import FRACTIONS
from rlvr.eval.names import checkpoint_of, family_of
from rlvr.eval.pass_at_k import FloatArray, default_ks
from rlvr.eval.statistics import LEVEL, Interval, holm
from rlvr.eval.store import Evaluation
from rlvr.eval.training_runs import families, with_mean

EACH, BASE, LARGEST = "each", "base", "n"
TERM = r"[\w.-]+(?:@(?:n|\d+)|\.[a-z]+)"
CONDITION = re.compile(rf"(?P<more>{TERM})(?: - (?P<less>{TERM}))? (?P<sign>[<>]) (?P<margin>-?[\d.]+)")


class Decision(StrEnum):
    """What the data say about a claim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Term:
    """A quantity of one model: its pass@k, or a fraction of problems."""

    model: str
    k: str
    """A number or ``n``; empty where it is a fraction."""
    fraction: str
    """Its name in ``rlvr.eval.fractions``; empty where it is a pass@k."""

    @classmethod
    def parse(cls, text: str) -> Term:
        """Read ``MODEL@K`` or ``MODEL.FRACTION``."""
        model, at, k = text.rpartition("@")
        if at:
            return cls(model, k, "")
        model, _, fraction = text.rpartition(".")
        return cls(model, "", fraction)


@dataclass(frozen=True, slots=True)
class Condition:
    """``more - less > margin``, or ``<``; or ``more`` alone."""

    more: Term
    less: Term | None
    sign: str
    margin: float

    @classmethod
    def parse(cls, text: str, where: str) -> Condition:
        """Read a condition.

        Raises:
            ConfigError: it is none, or there is no such fraction.
        """
        match = CONDITION.fullmatch(text)
        if match is None:
            raise ConfigError(
                f"{text!r} is no condition",
                where=where,
                fix="MODEL@K - MODEL@K > MARGIN, MODEL.FRACTION > MARGIN: base@n - each@n > 0",
            )
        more, less = Term.parse(match["more"]), Term.parse(match["less"]) if match["less"] else None
        found = cls(more, less, match["sign"], float(match["margin"]))
        for term in found.terms:
            if term.fraction and term.fraction not in FRACTIONS:
                raise ConfigError(
                    f"there is no fraction of problems {term.fraction!r}",
                    where=where,
                    fix=did_you_mean(term.fraction, FRACTIONS),
                )
        if len({bool(term.fraction) for term in found.terms}) > 1:
            raise ConfigError(
                f"{text!r} compares a pass@k with a fraction of problems", where=where, fix="two of a kind"
            )
        return found

    @property
    def terms(self) -> tuple[Term, ...]:
        """One or two."""
        return (self.more,) if self.less is None else (self.more, self.less)

    @property
    def direction(self) -> int:
        """1 where more is claimed, −1 where less is."""
        return 1 if self.sign == ">" else -1


@dataclass(frozen=True, slots=True)
class Effect:
    """What a condition is about, for one trained model."""

    model: str
    """Name of the trained model, or of the mean of its runs; or of two that are compared."""
    k: int | None
    """The larger of the condition's two k; None where it is about fractions of problems."""
    difference: Interval
    """Of the two quantities, or the one; pointwise interval at 95 %, without the margin."""
    p_against: float
    """One-sided: how surprising the data were if the condition did not hold."""
    p_for: float
    """One-sided: how surprising they were if it held."""


@dataclass(frozen=True, slots=True)
class Decided:
    """A claim with its evidence."""

    decision: Decision
    p: float
    """Two-sided, adjusted by Holm over all claims of the family."""
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
        ConfigError: the study has no such model, or has not measured what the condition is about.
    """
    names = [BASE, *(each.name for each in evaluations[1:])]
    fraction = condition.more.fraction
    replicates, known_m = _replicates(fraction, evaluations, seed, num_resamples)
    means = _means_of(names)
    replicates, places = _with_means(replicates, names, means, np.random.default_rng(seed + 1))
    known = dict(zip(names, known_m, strict=True))
    known |= {name: min(known_m[run] for run in runs) for name, runs in means.items()}
    trained = [name for name in places if name != BASE and "-step" not in name]
    wanted = trained if any(term.model == EACH for term in condition.terms) else [""]
    num_runs = max((len(members) for members in means.values()), default=1)
    return tuple(_effect(condition, replicates, places, known, name) for name in wanted), num_runs


def decide(
    found: Mapping[str, tuple[tuple[Effect, ...], int]], num_claims: int = 0, level: float = LEVEL
) -> dict[str, Decided]:
    """Decide all claims of a family together.

    Args:
        found: by the name of each claim, its effects and the number of runs behind a model.
        num_claims: in the family; those beyond ``found``, of which nothing is known yet, count as tests with p = 1.
        level: 1 less the chance of any wrong decision.
    """
    sides = {
        name: (max(e.p_against for e in effects), min(1.0, len(effects) * min(e.p_for for e in effects)))
        for name, (effects, _) in found.items()
    }
    known = [min(1.0, 2 * min(pair)) for pair in sides.values()]
    adjusted = holm([*known, *[1.0] * (num_claims - len(known))])[: len(known)]
    decided = {}
    for (name, (against, in_favour)), p in zip(sides.items(), adjusted, strict=True):
        decision = Decision.SUPPORTED if against < in_favour else Decision.CONTRADICTED
        decided[name] = Decided(decision if p <= 1 - level else Decision.UNDECIDED, p, *found[name])
    return decided


def _replicates(
    fraction: str, evaluations: Sequence[Evaluation], seed: int, num_resamples: int
) -> tuple[Replicates, Sequence[int]]:
    """A fraction of problems in one column, or pass@k in a column for each k; and of how many problems, for each evaluation."""
    rng = np.random.default_rng(seed)
    if not fraction:
        replicates = resample(
            np.stack([each.num_samples for each in evaluations]),
            np.stack([each.num_correct for each in evaluations]),
            default_ks(min(int(each.num_samples.min()) for each in evaluations)),
            rng,
            num_resamples=num_resamples,
        )
        return replicates, [len(each.num_samples) for each in evaluations]
    base, *_ = evaluations
    hits_mp = np.stack([FRACTIONS[fraction](base, each) for each in evaluations])
    known_mp = np.isfinite(hits_mp)
    hits_mp = np.where(known_mp, hits_mp, 0.0)
    times_pb = draw_problems(hits_mp.shape[1], num_resamples, rng)
    times_pb = np.concatenate([np.ones((len(times_pb), 1)), times_pb], axis=1)
    # A resample without any problem that the fraction is of says nothing for or against it.
    values_mb = (hits_mp @ times_pb) / np.maximum(known_mp @ times_pb, 1)
    return Replicates((1,), values_mb[:, :1], values_mb[:, 1:, None]), known_mp.sum(axis=1).tolist()


def _means_of(names: Sequence[str]) -> dict[str, list[int]]:
    """Places of the models behind each mean: of runs from several seeds, and of their checkpoints after as many steps."""
    means = families(names)
    checkpoints: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        run, step = checkpoint_of(name) or (name, None)
        if step is not None and family_of(run) in means:
            checkpoints.setdefault(f"{family_of(run)}-step{step}", []).append(place)
    return means | {name: found for name, found in checkpoints.items() if len(found) > 1}


def _with_means(
    replicates: Replicates, names: Sequence[str], means: Mapping[str, Sequence[int]], rng: np.random.Generator
) -> tuple[Replicates, dict[str, int]]:
    """Rows by name: every model, but for those behind a mean, which stands in their place."""
    behind = {place for places in means.values() for place in places}
    places = {name: place for place, name in enumerate(names) if place not in behind and name not in means}
    for name, members in means.items():
        replicates = with_mean(replicates, members, rng)
        places[name] = len(replicates.estimate) - 1
    return replicates, places


def _effect(
    condition: Condition,
    replicates: Replicates,
    places: Mapping[str, int],
    known: Mapping[str, int],
    each: str,
) -> Effect:
    values = [_values(term, replicates, places, each) for term in condition.terms]
    difference_b = values[0] if len(values) == 1 else values[0] - values[1]
    beyond_b = condition.direction * (difference_b - condition.margin)
    estimate, resampled_b = float(difference_b[0]), difference_b[1:]
    low, high = np.quantile(resampled_b, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    others = [term.model for term in condition.terms if term.model != BASE]
    ks = [_number(term, replicates) for term in condition.terms if not term.fraction]
    p_against, p_for = _share(beyond_b[1:] <= 0), _share(beyond_b[1:] >= 0)
    if all(k == replicates.ks[-1] for k in ks) or np.ptp(resampled_b) == 0:
        unseen = Unseen(
            estimate,
            (-1.0, 1.0) if condition.less else (0.0, 1.0),
            min(known[each if term.model == EACH else term.model] for term in condition.terms),
        )
        below, above = unseen.hides_down_to(condition.margin), unseen.hides_up_to(condition.margin)
        against, in_favour = (below, above) if condition.direction > 0 else (above, below)
        p_against, p_for = max(p_against, against), max(p_for, in_favour)
        low, high = min(low, unseen.low), max(high, unseen.high)
    return Effect(
        model=each or (" against ".join(dict.fromkeys(others)) if others else BASE),
        k=max(ks, default=None),
        difference=Interval(estimate, min(float(low), estimate), max(float(high), estimate)),
        p_against=p_against,
        p_for=p_for,
    )


@dataclass(frozen=True, slots=True)
class Unseen:
    """What a sample of problems may hide: others, at either end of the range, that would move the mean."""

    mean: float
    range: tuple[float, float]
    num_problems: int

    def hides_down_to(self, value: float) -> float:
        """The chance that none of these problems is of the share at the lower end with which the mean is that value."""
        return self._hides(value, self.range[0]) if self.mean > value else 0.0

    def hides_up_to(self, value: float) -> float:
        """The same at the upper end."""
        return self._hides(value, self.range[1]) if self.mean < value else 0.0

    def _hides(self, value: float, end: float) -> float:
        share = min(1.0, (value - self.mean) / (end - self.mean))
        return float((1 - share) ** self.num_problems)

    @property
    def low(self) -> float:
        """The smallest mean that a sample hides with a chance of 2.5 %."""
        return self.mean - self._hidden * (self.mean - self.range[0])

    @property
    def high(self) -> float:
        """The largest one."""
        return self.mean + self._hidden * (self.range[1] - self.mean)

    @property
    def _hidden(self) -> float:
        """The share of problems of which as many as were drawn show none with a chance of 2.5 %."""
        return 1.0 if self.num_problems == 0 else float(1 - ((1 - LEVEL) / 2) ** (1 / self.num_problems))


def _number(term: Term, replicates: Replicates) -> int:
    return replicates.ks[-1] if term.k == LARGEST else int(term.k)


def _values(term: Term, replicates: Replicates, places: Mapping[str, int], each: str) -> FloatArray:
    """(1 + B,) the estimate and the resamples of one quantity."""
    name = each if term.model == EACH else term.model
    if name not in places:
        raise ConfigError(
            f"the study has no model {name!r}", where="claims", fix=f"one of {', '.join(places)}, or each"
        )
    column = 0
    if not term.fraction:
        number = _number(term, replicates)
        if number not in replicates.ks:
            raise ConfigError(
                f"the study has no pass@{number}",
                where="claims",
                fix=f"one of {', '.join(map(str, replicates.ks))}, or n",
            )
        column = replicates.ks.index(number)
    row = places[name]
    return np.concatenate([replicates.estimate[row, column][None], replicates.resampled[row, :, column]])


def _share(hits: Any) -> float:
    """A p value from resamples: never 0, for they are finitely many."""
    return float((1 + hits.sum()) / (1 + len(hits)))
