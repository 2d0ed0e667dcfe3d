"""What is read off the bootstrap replicates: intervals, simultaneous bands, crossings; and exact tests.

A *pointwise* interval holds for one k chosen beforehand. A *simultaneous band* holds for all k of
the grid at once, so that a reader may look along the curve and pick what stands out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import atan, comb, cos, pi, sin, sqrt

import numpy as np
from numpy.typing import NDArray

from rlvr.eval.bootstrap import Replicates
from rlvr.eval.pass_at_k import FloatArray

LEVEL = 0.95
GAP_K = 256
"""The k at which the sampling-efficiency gap is defined (arXiv 2504.13837, section 4.3)."""
TOLERANCE = 1e-12
"""Differences smaller than this are ties: they come from rounding alone."""


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
    """pass@k over k, of one model or of a model less the base, with its uncertainty; all (K,)."""

    ks: tuple[int, ...]
    estimate: FloatArray
    low: FloatArray
    """Pointwise percentile interval: right for one k chosen beforehand."""
    high: FloatArray
    band_low: FloatArray
    """Simultaneous band: holds for all k of the grid at once."""
    band_high: FloatArray

    def at(self, k: int) -> Interval:
        """Estimate and pointwise interval at one k of the grid."""
        i = self.ks.index(k)
        return Interval(float(self.estimate[i]), float(self.low[i]), float(self.high[i]))

    def band_at(self, k: int) -> Interval:
        """Estimate and simultaneous band at one k of the grid."""
        i = self.ks.index(k)
        return Interval(float(self.estimate[i]), float(self.band_low[i]), float(self.band_high[i]))

    def first_below(self) -> int | None:
        """The smallest k at which the simultaneous band lies wholly below zero."""
        return next((k for k, high in zip(self.ks, self.band_high, strict=True) if high < 0), None)


@dataclass(frozen=True, slots=True)
class Crossing:
    """Where a model that leads at small k falls behind the base (see :func:`crossing`)."""

    k: int | None
    """The first k of the grid at which it is behind; None if the estimates do not cross."""
    at: float | None
    """Where the curves meet, between that k and the one before it."""
    probability: float
    """Share of the resamples whose curves cross."""
    low: float | None
    """Ends of the interval for ``at``; None means "not within the grid"."""
    high: float | None


def curve(replicates: Replicates, model: int, level: float = LEVEL) -> Curve:
    """pass@k of one model, within [0, 1]."""
    estimate, resampled_bk = replicates.estimate[model], replicates.resampled[model]
    return _curve(replicates.ks, estimate, resampled_bk, level, lowest=0.0)


def paired_difference(replicates: Replicates, base: int, model: int, level: float = LEVEL) -> Curve:
    """Model minus base on the same resampled problems, within [−1, 1]."""
    estimate = replicates.estimate[model] - replicates.estimate[base]
    resampled_bk = replicates.resampled[model] - replicates.resampled[base]
    return _curve(replicates.ks, estimate, resampled_bk, level, lowest=-1.0)


def _curve(
    ks: tuple[int, ...], estimate: FloatArray, resampled_bk: FloatArray, level: float, lowest: float
) -> Curve:
    low, high = np.clip(_interval(resampled_bk, estimate, level), lowest, 1.0)
    half = simultaneous_half_width(estimate, resampled_bk, level)
    band_low, band_high = np.clip([estimate - half, estimate + half], lowest, 1.0)
    return Curve(ks, estimate, low, high, band_low, band_high)


def simultaneous_half_width(estimate: FloatArray, resampled_bk: FloatArray, level: float) -> FloatArray:
    """(K,) half width of the studentised supremum (max-t) band.

    With s(k) the standard deviation of the resamples and q the ``level`` quantile of
    max_k |X*(k) − X(k)| / s(k), the band is X(k) ± q s(k).
    """
    deviation = resampled_bk.std(axis=0)
    safe = np.where(deviation > TOLERANCE, deviation, np.inf)
    largest = (np.abs(resampled_bk - estimate) / safe).max(axis=1)
    return np.asarray(np.quantile(largest, level) * deviation)


def crossing(replicates: Replicates, base: int, model: int, level: float = LEVEL) -> Crossing:
    """Where the model's curve falls below the base's.

    They cross if the model's pass@k is below the base's after having been above it at some
    smaller k; where they meet is read off a straight line over log k between the two
    neighbours. For the interval each resample is given its first such point; one in which the
    model never led counts from where it falls behind, and one in which it is never behind
    lies beyond the grid (None). The interval is for the meeting point and not for the k of the
    grid: that one jumps by doublings, and an interval with such ends would hold the true k
    more often than its level says (0.99 instead of 0.95 in ``performance/interval_coverage.py``).
    """
    # Clipped, so that two saturated curves tie: centring alone may lift one a hair above 1.
    base_bk, model_bk = np.clip(replicates.resampled[[base, model]], 0.0, 1.0)
    crossed, meets = crossing_points(model_bk - base_bk, replicates.ks)
    tail = (1 - level) / 2
    # A quantile that is one of the values: between a number and infinity there is nothing.
    low, high = np.quantile(meets, [tail, 1 - tail], method="inverted_cdf")
    estimate = (replicates.estimate[model] - replicates.estimate[base])[None]
    [first], [meet] = crossing_points(estimate, replicates.ks)
    return Crossing(
        k=replicates.ks[first] if first >= 0 else None,
        at=float(meet) if first >= 0 else None,
        probability=float((crossed >= 0).mean()),
        low=float(low) if np.isfinite(low) else None,
        high=float(high) if np.isfinite(high) else None,
    )


def crossing_points(difference_bk: FloatArray, ks: Sequence[int]) -> tuple[NDArray[np.int64], FloatArray]:
    """Where each row of differences crosses downwards.

    Returns:
        (B,) index of the first negative difference after a positive one, −1 where there is none; and (B,)
        the k at which the line through it and its left neighbour is zero, infinite where nothing is behind.
    """
    crossed = first_crossing(difference_bk)
    behind_bk = difference_bk < -TOLERANCE
    first = np.where(crossed >= 0, crossed, behind_bk.argmax(axis=1))
    rows, before = np.arange(len(difference_bk)), np.maximum(first - 1, 0)
    left, right = np.maximum(difference_bk[rows, before], 0.0), difference_bk[rows, first]
    log_ks = np.log2(np.asarray(ks, dtype=np.float64))
    behind = behind_bk.any(axis=1)
    share = left / np.where(behind, left - right, 1.0)
    meets = np.exp2(log_ks[before] + share * (log_ks[first] - log_ks[before]))
    return crossed, np.where(behind, meets, np.inf)


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


def student_t(freedom: int, level: float = LEVEL) -> float:
    """The t beyond which, to both sides, 1 − ``level`` of Student's distribution lies.

    Args:
        freedom: degrees of freedom, at least 1.
        level: of the interval that reaches to t.
    """
    low, high = 0.0, 1.0
    while _within(high, freedom) < level:
        high *= 2
    while high - low > TOLERANCE * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < level else (low, middle)
    return high


def _within(t: float, freedom: int) -> float:
    """Probability that Student's t lies within ±t (Abramowitz and Stegun 26.7.3 and 26.7.4)."""
    angle = atan(t / sqrt(freedom))
    odd = freedom % 2
    term = total = cos(angle) if odd else 1.0
    for i in range(2 + odd, freedom - 1, 2):
        term *= cos(angle) ** 2 * (i - 1) / i
        total += term
    if not odd:
        return sin(angle) * total
    return 2 / pi * (angle + (sin(angle) * total if freedom > 1 else 0.0))


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
