"""The unbiased pass@k estimator of Chen et al. (2021), over many problems at once.

With c correct answers among n samples of a problem, the chance that k samples drawn from
them without replacement hold at least one correct answer is

    pass@k = 1 − C(n − c, k) / C(n, k) = 1 − ∏_{i = n−c+1}^{n} (1 − k / i)        (1)

and its expectation over the n samples is exactly 1 − (1 − p)^k, p being the problem's true
accuracy. It is not best@k with replacement, 1 − (1 − c/n)^k, which is biased downwards
(see :func:`plug_in_pass_at_k`).

Source: "Evaluating Large Language Models Trained on Code", arXiv 2107.03374, equation 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlvr.errors import ConfigError

FloatArray = NDArray[np.float64]


def default_ks(num_samples: int) -> tuple[int, ...]:
    """Powers of two up to ``num_samples``: the grid of the log axis."""
    if num_samples < 1:
        raise ConfigError(f"pass@k needs at least one sample per problem, got {num_samples}")
    return tuple(2**power for power in range(num_samples.bit_length()))


def pass_at_k(num_samples: ArrayLike, num_correct: ArrayLike, ks: Sequence[int]) -> FloatArray:
    """pass@k of every problem.

    Args:
        num_samples: (P,) samples of each problem, n; a single number stands for all.
        num_correct: (P,) correct ones among them, c.
        ks: (K,) values of k, each in [1, n].

    Returns:
        (P, K) probabilities.

    Raises:
        ConfigError: k exceeds the samples of a problem, or the counts are impossible.
    """
    samples, correct = checked_counts(num_samples, num_correct, ks)
    values_pk = np.empty((len(correct), len(ks)))
    for n in np.unique(samples):
        rows = samples == n
        values_pk[rows] = pass_at_k_table(int(n), ks)[correct[rows]]
    return values_pk


def pass_at_k_table(num_samples: int, ks: Sequence[int]) -> FloatArray:
    """pass@k for every possible count of correct answers.

    Equation (1) is summed in logarithms from i = n downwards, the small terms first, so that
    nothing cancels and row c costs one addition more than row c − 1.

    Args:
        num_samples: n.
        ks: (K,) values of k, each in [1, n].

    Returns:
        (n + 1, K); row c holds pass@k of a problem with c correct samples.
    """
    refuse_large_k(num_samples, ks)
    i = np.arange(num_samples, 0, -1)[:, None]
    columns = np.asarray(ks, dtype=np.int64)
    # Once i reaches k, fewer than k wrong samples are left and every draw holds a correct one.
    ratio_nk = np.where(i > columns, columns / i, 1.0)
    with np.errstate(divide="ignore"):
        log_all_wrong_nk = np.cumsum(np.log1p(-ratio_nk), axis=0)
    return np.concatenate([np.zeros((1, len(ks))), -np.expm1(log_all_wrong_nk)])


def plug_in_pass_at_k(num_samples: ArrayLike, num_correct: ArrayLike, ks: Sequence[int]) -> FloatArray:
    """1 − (1 − c/n)^k, drawing with replacement: biased, and never reported.

    It is the mean of the unbiased estimator over samples drawn anew from the observed ones,
    which is what the bootstrap needs in order to centre itself (``rlvr.eval.statistics``).

    Args:
        num_samples: (P,) or one number.
        num_correct: (P,).
        ks: (K,).

    Returns:
        (P, K) probabilities.
    """
    samples, correct = checked_counts(num_samples, num_correct, ks)
    return 1.0 - (1.0 - (correct / samples)[:, None]) ** np.asarray(ks, dtype=np.float64)


def guess_pass_at_k(chance_level: float, ks: Sequence[int]) -> FloatArray:
    """pass@k of blind guessing, 1 − (1 − chance)^k: (K,) probabilities."""
    return 1.0 - (1.0 - chance_level) ** np.asarray(ks, dtype=np.float64)


def checked_counts(
    num_samples: ArrayLike, num_correct: ArrayLike, ks: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Both counts as (P,) integers, after refusing impossible ones."""
    correct = np.atleast_1d(np.asarray(num_correct, dtype=np.int64))
    samples = np.broadcast_to(np.asarray(num_samples, dtype=np.int64), correct.shape)
    if correct.ndim != 1 or not len(correct):
        raise ConfigError(f"pass@k needs a list of problems, got counts of shape {correct.shape}")
    if bad := np.flatnonzero((correct < 0) | (correct > samples)).tolist():
        first = bad[0]
        raise ConfigError(
            f"problem {first} has {correct[first]} correct answers among {samples[first]} samples"
        )
    refuse_large_k(int(samples.min()), ks)
    return samples, correct


def refuse_large_k(num_samples: int, ks: Sequence[int]) -> None:
    """Raise a ConfigError if pass@k cannot be estimated from so few samples."""
    if not len(ks) or min(ks) < 1:
        raise ConfigError(f"pass@k needs values of k of at least 1, got {list(ks)}")
    if max(ks) > num_samples:
        raise ConfigError(
            f"pass@{max(ks)} cannot be estimated from {num_samples} samples: k must not exceed n",
            fix=f"evaluate with num_samples >= {max(ks)} (better twice as many), or ask for k <= {num_samples}",
        )
