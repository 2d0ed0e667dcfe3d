"""Intervals for pass@k: what a finite benchmark and finitely many samples can show.

The problem is the unit. One bootstrap serves every number of a report: problems are drawn
with replacement, the same ones for all models, and inside each drawn problem its n samples
are drawn again (:func:`resample`). Curves, paired differences, the crossing and the
sampling-efficiency gap are then read off the same replicates, so they agree with each other.

What the intervals cover: which problems the benchmark happens to hold, and which samples
were drawn. They do not cover training noise (another training seed gives another model),
errors of the verifier, or problems of another kind.

Two properties are worth knowing:

* *Centring.* Redrawing n samples from n observed ones is drawing with replacement, and the
  mean of the unbiased estimator over such redraws is the plug-in 1 − (1 − c/n)^k, not the
  estimate itself. Near k = n the two lie far apart: c = 1 gives 1 against 0.63. Left alone,
  the interval would slide down and might miss its own estimate. That mean is known in closed
  form, so each problem's redraw is shifted by (estimate − plug-in) and is unbiased for the
  estimate. Ends are clipped to possible values.
* *Width.* Differences between observed problems already contain their sampling noise, and
  the redraw adds it once more (Davison and Hinkley 1997, section 3.8). The intervals are
  therefore conservative: hardly wider where k is small against n, by a factor up to about √2
  at k = n/2, and by more near k = n, where one hit in n is redrawn as none a third of the
  time. ``nested=False`` leaves the redraw out.

For k > n/2 the estimate rests on few effectively independent draws; it is unbiased but of
high variance (:func:`is_high_variance`), and n >= 2k is the advice for a headline k. Where
all problems agree (each solved at k = n, say) a bootstrap has no width at all; that is a
limit of the method and no proof of certainty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlvr.errors import ConfigError
from rlvr.eval.pass_at_k import FloatArray, checked_counts, pass_at_k, pass_at_k_table, plug_in_pass_at_k

NUM_RESAMPLES = 10_000
LEVEL = 0.95
GAP_K = 256
"""The k at which the sampling-efficiency gap is defined (arXiv 2504.13837, section 4.3)."""
TOLERANCE = 1e-12
"""Differences smaller than this are ties: they come from rounding alone."""
CHUNK_CELLS = 2_000_000
"""Resamples × problems × ks held at once; bounds the memory to some tens of megabytes."""


@dataclass(frozen=True, slots=True)
class Replicates:
    """pass@k of M models on the benchmark and on B resamples of it."""

    ks: tuple[int, ...]
    estimate: FloatArray
    """(M, K) mean over problems of the unbiased estimator."""
    resampled: FloatArray
    """(M, B, K) the same on each resample; row b uses the same problems for every model."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its interval; the unit is that of the estimate."""

    estimate: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval tells the estimate from zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class Curve:
    """pass@k of one model over k, with pointwise percentile intervals; all (K,)."""

    ks: tuple[int, ...]
    estimate: FloatArray
    low: FloatArray
    high: FloatArray

    def at(self, k: int) -> Interval:
        """Estimate and interval at one k of the grid."""
        i = self.ks.index(k)
        return Interval(float(self.estimate[i]), float(self.low[i]), float(self.high[i]))


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """pass@k of a model minus that of the base, over the same problems; all (K,)."""

    ks: tuple[int, ...]
    estimate: FloatArray
    low: FloatArray
    """Pointwise percentile interval: right for one k chosen beforehand."""
    high: FloatArray
    band_low: FloatArray
    """Simultaneous band: holds for all k of the grid at once."""
    band_high: FloatArray

    def at(self, k: int) -> Interval:
        """Difference and pointwise interval at one k of the grid."""
        i = self.ks.index(k)
        return Interval(float(self.estimate[i]), float(self.low[i]), float(self.high[i]))

    def first_below(self) -> int | None:
        """The smallest k at which the simultaneous band lies wholly below zero."""
        return next((k for k, high in zip(self.ks, self.band_high, strict=True) if high < 0), None)


@dataclass(frozen=True, slots=True)
class Crossing:
    """Where a model that leads at small k falls behind the base (see :func:`crossing`)."""

    k: int | None
    """Of the estimates; None if they do not cross."""
    probability: float
    """Share of the resamples whose curves cross."""
    low: int | None
    """Ends of the interval over resamples; None means "not within the grid"."""
    high: int | None


def resample(
    num_samples: ArrayLike,
    num_correct: ArrayLike,
    ks: Sequence[int],
    rng: np.random.Generator,
    *,
    num_resamples: int = NUM_RESAMPLES,
    nested: bool = True,
) -> Replicates:
    """Bootstrap pass@k of M models over the same P problems.

    Args:
        num_samples: (M, P) samples of each problem.
        num_correct: (M, P) correct ones among them.
        ks: (K,) values of k, none above the fewest samples of a problem.
        rng: source of all randomness.
        num_resamples: B.
        nested: redraw the samples inside each drawn problem (module docstring).

    Returns:
        Replicates with (M, K) estimates and (M, B, K) resamples.
    """
    samples_mp, correct_mp = np.atleast_2d(num_samples), np.atleast_2d(num_correct)
    if samples_mp.shape != correct_mp.shape:
        raise ConfigError(
            f"counts of samples {samples_mp.shape} and of correct ones {correct_mp.shape} differ"
        )
    num_models, num_problems = correct_mp.shape
    models = [_Model.of(samples_mp[m], correct_mp[m], ks) for m in range(num_models)]
    resampled_mbk = np.empty((num_models, num_resamples, len(ks)))
    chunk = max(1, CHUNK_CELLS // (num_problems * len(ks)))
    for start in range(0, num_resamples, chunk):
        rows = slice(start, min(start + chunk, num_resamples))
        drawn_bp = rng.integers(num_problems, size=(rows.stop - rows.start, num_problems))
        for m, model in enumerate(models):
            resampled_mbk[m, rows] = (
                model.redrawn(drawn_bp, rng) if nested else model.estimate_pk[drawn_bp].mean(1)
            )
    estimate_mk = np.stack([model.estimate_pk.mean(axis=0) for model in models])
    return Replicates(tuple(ks), estimate_mk, resampled_mbk)


@dataclass(frozen=True, slots=True)
class _Model:
    """What resampling needs of one model, computed once."""

    samples: NDArray[np.int64]
    accuracy: FloatArray
    estimate_pk: FloatArray
    centring_pk: FloatArray
    """Estimate less the mean of its redraws."""
    table_tk: FloatArray
    """Tables of pass@k for every distinct n, one under the other."""
    offset: NDArray[np.int64]
    """Row of ``table_tk`` at which a problem's table begins."""

    @classmethod
    def of(cls, num_samples: ArrayLike, num_correct: ArrayLike, ks: Sequence[int]) -> _Model:
        samples, correct = checked_counts(num_samples, num_correct, ks)
        distinct, which = np.unique(samples, return_inverse=True)
        starts = np.concatenate([[0], np.cumsum(distinct + 1)[:-1]])
        estimate_pk = pass_at_k(samples, correct, ks)
        return cls(
            samples=samples,
            accuracy=correct / samples,
            estimate_pk=estimate_pk,
            centring_pk=estimate_pk - plug_in_pass_at_k(samples, correct, ks),
            table_tk=np.concatenate([pass_at_k_table(int(n), ks) for n in distinct]),
            offset=starts[which],
        )

    def redrawn(self, drawn_bp: NDArray[np.int64], rng: np.random.Generator) -> FloatArray:
        """(B, K) pass@k of the drawn problems, their samples drawn anew and centred."""
        correct_bp = rng.binomial(self.samples[drawn_bp], self.accuracy[drawn_bp])
        value_bpk = self.table_tk[self.offset[drawn_bp] + correct_bp]
        value_bpk += self.centring_pk[drawn_bp]
        return np.asarray(value_bpk.mean(axis=1))


def curve(replicates: Replicates, model: int, level: float = LEVEL) -> Curve:
    """pass@k of one model with pointwise percentile intervals, in [0, 1]."""
    estimate = replicates.estimate[model]
    low, high = np.clip(_interval(replicates.resampled[model], estimate, level), 0.0, 1.0)
    return Curve(replicates.ks, replicates.estimate[model], low, high)


def paired_difference(
    replicates: Replicates, base: int, model: int, level: float = LEVEL
) -> PairedDifference:
    """Model minus base on the same resampled problems, per k and simultaneously over k.

    The simultaneous band is the studentised supremum (max-t): with s(k) the standard
    deviation of the resampled differences and q the ``level`` quantile of
    max_k |D*(k) − D(k)| / s(k), it is D(k) ± q s(k).
    """
    estimate = replicates.estimate[model] - replicates.estimate[base]
    resampled_bk = replicates.resampled[model] - replicates.resampled[base]
    low, high = np.clip(_interval(resampled_bk, estimate, level), -1.0, 1.0)
    deviation = resampled_bk.std(axis=0)
    safe = np.where(deviation > TOLERANCE, deviation, np.inf)
    largest = (np.abs(resampled_bk - estimate) / safe).max(axis=1)
    half = np.quantile(largest, level) * deviation
    band_low, band_high = np.clip([estimate - half, estimate + half], -1.0, 1.0)
    return PairedDifference(replicates.ks, estimate, low, high, band_low, band_high)


def crossing(replicates: Replicates, base: int, model: int, level: float = LEVEL) -> Crossing:
    """Where the model's curve falls below the base's.

    The crossing k is the smallest k of the grid at which the model's pass@k is below the
    base's after having been above it at some smaller k; None if that does not happen (the
    model stays level or ahead, or never led). For the interval each resample is given its
    first such k; one in which the model never led counts from the k at which it is first
    behind, and one in which it is never behind lies beyond the grid (None).
    """
    # Clipped, so that two saturated curves tie: centring alone may lift one a hair above 1.
    base_bk, model_bk = np.clip(replicates.resampled[[base, model]], 0.0, 1.0)
    resampled_bk = model_bk - base_bk
    crossed = first_crossing(resampled_bk)
    behind_bk = resampled_bk < -TOLERANCE
    beyond = len(replicates.ks)
    first_behind = np.where(behind_bk.any(axis=1), behind_bk.argmax(axis=1), beyond)
    position = np.where(crossed >= 0, crossed, first_behind)
    tail = (1 - level) / 2
    ends = np.quantile(position, [tail, 1 - tail], method="inverted_cdf").astype(int)
    point = int(first_crossing((replicates.estimate[model] - replicates.estimate[base])[None])[0])
    grid: tuple[int | None, ...] = (*replicates.ks, None)
    return Crossing(
        k=replicates.ks[point] if point >= 0 else None,
        probability=float((crossed >= 0).mean()),
        low=grid[ends[0]],
        high=grid[ends[1]],
    )


def first_crossing(difference_bk: FloatArray) -> NDArray[np.int64]:
    """(B,) index of the first negative difference after a positive one; −1 where there is none."""
    led_before_bk = np.zeros(difference_bk.shape, dtype=bool)
    led_before_bk[:, 1:] = np.logical_or.accumulate(difference_bk > TOLERANCE, axis=1)[:, :-1]
    crosses_bk = led_before_bk & (difference_bk < -TOLERANCE)
    return np.where(crosses_bk.any(axis=1), crosses_bk.argmax(axis=1), -1)


def gap_k(ks: Sequence[int]) -> int:
    """The k of the sampling-efficiency gap: 256, or the largest k of a smaller grid."""
    return GAP_K if GAP_K in ks else max(ks)


def sampling_efficiency_gap(replicates: Replicates, base: int, model: int, level: float = LEVEL) -> Interval:
    """ΔSE = pass@K(base) − pass@1(model) in percentage points, K from :func:`gap_k`.

    How much of what the base reaches with K samples the model still misses with one; lower
    is better (arXiv 2504.13837, section 4.3).
    """
    i, one = replicates.ks.index(gap_k(replicates.ks)), replicates.ks.index(1)
    resampled = replicates.resampled[base, :, i] - replicates.resampled[model, :, one]
    estimate = replicates.estimate[base, i] - replicates.estimate[model, one]
    low, high = np.clip(100 * _interval(resampled[:, None], np.array([estimate]), level)[:, 0], -100, 100)
    return Interval(float(100 * estimate), float(low), float(high))


def is_high_variance(k: int, num_samples: int) -> bool:
    """Whether n samples are few for this k: k > n / 2."""
    return 2 * k > num_samples


def mcnemar_exact(base_only: int, model_only: int) -> float:
    """Two-sided exact McNemar test on the problems that only one side solved.

    Under the hypothesis that both solve equally many, each of the discordant problems falls
    to either side with probability 1/2 (McNemar 1947; the binomial test on discordant pairs).

    Returns:
        The p value; 1.0 where no problem is discordant.
    """
    discordant = base_only + model_only
    tail = sum(comb(discordant, i) for i in range(min(base_only, model_only) + 1))
    return float(min(1.0, 2 * tail / 2**discordant))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of p values for testing all of them (Holm 1979)."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = running
    return adjusted


def _interval(resampled_bk: FloatArray, estimate_k: FloatArray, level: float) -> FloatArray:
    """(2, K) lower and upper percentile of the resamples, widened to hold the estimate.

    Where nearly all problems are solved, the centred redraws are skewed and may all lie on one
    side of the estimate by a hair; an interval without its own estimate would claim a
    difference where there is none.
    """
    tail = (1 - level) / 2
    low, high = np.quantile(resampled_bk, [tail, 1 - tail], axis=0)
    return np.stack([np.minimum(low, estimate_k), np.maximum(high, estimate_k)])
