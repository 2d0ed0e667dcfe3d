"""The bootstrap behind every interval: which problems the benchmark holds, and which samples were drawn.

The problem is the unit. Problems are drawn with replacement, the same ones for all models, and
inside each drawn problem its n samples are drawn again. Curves, paired differences, the crossing
and the sampling-efficiency gap are all read off the same replicates (``rlvr.eval.statistics``),
so they agree with each other.

What the intervals cover: which problems the benchmark happens to hold, and which samples were
drawn. They do not cover training noise (another training seed gives another model; the mean of several
runs is the matter of ``rlvr.eval.training_runs``), errors of the verifier, or problems of another kind.

Two properties are worth knowing:

* *Centring.* Redrawing n samples from n observed ones is drawing with replacement, and the
  mean of the unbiased estimator over such redraws is the plug-in 1 − (1 − c/n)^k, not the
  estimate itself. Near k = n the two lie far apart: c = 1 gives 1 against 0.63. Left alone,
  the interval would slide down and might miss its own estimate. That mean is known in closed
  form, so each problem's redraw is shifted by (estimate − plug-in) and is unbiased for the
  estimate. Ends are clipped to possible values.
* *Width.* Differences between observed problems already contain their sampling noise, and
  the redraw adds it once more (Davison and Hinkley 1997, section 3.8). The intervals are
  therefore a little conservative where problems differ little: hardly wider where k is small
  against n, by a factor up to about √2 at k = n/2, and by more near k = n, where one hit in n
  is redrawn as none a third of the time. ``nested=False`` leaves the redraw out. How often the
  intervals hold the truth is measured by ``python -m performance interval_coverage``.

For k > n/2 the estimate rests on few effectively independent draws; it is unbiased but of
high variance (:func:`rlvr.eval.statistics.is_high_variance`), and n >= 2k is the advice for a
headline k. Where all problems agree (each solved at k = n, say) a bootstrap has no width at
all; that is a limit of the method and no proof of certainty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlvr.errors import ConfigError
from rlvr.eval.pass_at_k import FloatArray, checked_counts, pass_at_k, pass_at_k_table, plug_in_pass_at_k

NUM_RESAMPLES = 10_000
CHUNK_CELLS = 8_000_000
"""Redraws × ks, or resamples × problems, held at once; bounds the memory to some 100 MB."""


@dataclass(frozen=True, slots=True)
class Replicates:
    """pass@k of M models on the benchmark and on B resamples of it."""

    ks: tuple[int, ...]
    estimate: FloatArray
    """(M, K) mean over problems of the unbiased estimator."""
    resampled: FloatArray
    """(M, B, K) the same on each resample; row b uses the same problems for every model."""


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
    redraws = max(model.largest_group for model in models) * len(ks) if nested else 1
    chunk = max(1, CHUNK_CELLS // max(num_problems, redraws))
    for start in range(0, num_resamples, chunk):
        rows = slice(start, min(start + chunk, num_resamples))
        times_pb = draw_problems(num_problems, rows.stop - rows.start, rng)
        for m, model in enumerate(models):
            total_bk = times_pb.T @ model.estimate_pk
            if nested:
                model.add_redraws(total_bk, times_pb, rng)
            resampled_mbk[m, rows] = total_bk / num_problems
    estimate_mk = np.stack([model.estimate_pk.mean(axis=0) for model in models])
    return Replicates(tuple(ks), estimate_mk, resampled_mbk)


def draw_problems(num_problems: int, num_resamples: int, rng: np.random.Generator) -> FloatArray:
    """(P, B) how often each problem is among the P drawn with replacement for each resample."""
    drawn_bp = rng.integers(num_problems, size=(num_resamples, num_problems))
    drawn_bp += num_problems * np.arange(num_resamples)[:, None]
    times_bp = np.bincount(drawn_bp.ravel(), minlength=num_resamples * num_problems)
    return np.ascontiguousarray(times_bp.reshape(num_resamples, num_problems).T, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class _Group:
    """Problems with the same counts: their samples are redrawn from one distribution."""

    problems: NDArray[np.intp]
    num_samples: int
    accuracy: float
    deviation_ck: FloatArray
    """(n + 1, K) pass@k after redrawing c correct ones, less its mean over redraws."""


@dataclass(frozen=True, slots=True)
class _Model:
    """What resampling needs of one model, computed once."""

    estimate_pk: FloatArray
    groups: tuple[_Group, ...]
    """Of the problems whose redraws can differ: solved sometimes, and not always."""

    @classmethod
    def of(cls, num_samples: ArrayLike, num_correct: ArrayLike, ks: Sequence[int]) -> _Model:
        samples, correct = checked_counts(num_samples, num_correct, ks)
        mixed = np.flatnonzero((correct > 0) & (correct < samples))
        pairs, which = np.unique(
            np.stack([samples[mixed], correct[mixed]], axis=1), axis=0, return_inverse=True
        )
        tables = {n: pass_at_k_table(n, ks) for n in {int(n) for n, _ in pairs}}
        groups = tuple(
            _Group(mixed[which.ravel() == g], int(n), c / n, tables[int(n)] - plug_in_pass_at_k(n, c, ks))
            for g, (n, c) in enumerate(pairs)
        )
        return cls(pass_at_k(samples, correct, ks), groups)

    @property
    def largest_group(self) -> int:
        return max((len(group.problems) for group in self.groups), default=1)

    def add_redraws(self, total_bk: FloatArray, times_pb: FloatArray, rng: np.random.Generator) -> None:
        """Add to the (B, K) sums over drawn problems what redrawing their samples changes, on average nothing."""
        for group in self.groups:
            times_b = times_pb[group.problems].sum(axis=0).astype(np.int64)
            rows = np.flatnonzero(times_b)
            ends = np.cumsum(times_b[rows])
            if not len(rows):
                continue
            correct = rng.binomial(group.num_samples, group.accuracy, size=ends[-1])
            changes = np.add.reduceat(group.deviation_ck[correct], ends - times_b[rows], axis=0)
            total_bk[rows] += changes
