"""Intervals, bands, crossings and tests, on cases whose answer is known."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from rlvr.errors import ConfigError
from rlvr.eval.bootstrap import Replicates, resample
from rlvr.eval.pass_at_k import pass_at_k
from rlvr.eval.statistics import (
    crossing,
    crossing_points,
    curve,
    first_crossing,
    gap_k,
    holm,
    is_high_variance,
    mcnemar_exact,
    paired_difference,
    sampling_efficiency_gap,
)

KS = (1, 2, 4, 8, 16)


def two_models(problems: int = 60, n: int = 16, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    accuracy = rng.beta(0.6, 1.2, problems)
    better = np.clip(accuracy + 0.15, 0, 1)
    return np.full((2, problems), n), np.stack([rng.binomial(n, accuracy), rng.binomial(n, better)])


def replicates(difference_bk: list[list[float]], estimate: list[float]) -> Replicates:
    """A base at 0.5 and a model that differs from it as given."""
    resampled = np.asarray(difference_bk)
    base = np.full_like(resampled, 0.5)
    return Replicates(
        KS[: len(estimate)],
        np.array([[0.5] * len(estimate), 0.5 + np.asarray(estimate)]),
        np.stack([base, base + resampled]),
    )


def test_same_seed_same_replicates_and_another_seed_others() -> None:
    samples, correct = two_models()
    first, again, other = (
        resample(samples, correct, KS, np.random.default_rng(seed), num_resamples=50).resampled
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_estimate_is_the_mean_of_the_problems() -> None:
    samples, correct = two_models()
    found = resample(samples, correct, KS, np.random.default_rng(0), num_resamples=5).estimate
    np.testing.assert_allclose(found[1], pass_at_k(samples[1], correct[1], KS).mean(axis=0), atol=1e-15)


def test_nested_resampling_is_centred_even_at_k_equal_to_n() -> None:
    # One correct answer in 16 for every problem: the estimate at k = n is 1, the plug-in 0.64.
    samples, correct = np.full((1, 40), 16), np.ones((1, 40), dtype=int)
    found = resample(samples, correct, (1, 16), np.random.default_rng(0), num_resamples=3000)
    np.testing.assert_allclose(found.resampled[0].mean(axis=0), found.estimate[0], atol=0.01)
    interval = curve(found, 0).at(16)
    assert interval.low <= interval.estimate <= interval.high == 1.0
    assert interval.low < 0.9, "the redraw within problems must show that one lucky hit is uncertain"


def test_problems_alone_reproduce_the_textbook_standard_error() -> None:
    samples, correct = two_models(problems=80)
    found = resample(samples, correct, KS, np.random.default_rng(0), num_resamples=4000, nested=False)
    values = pass_at_k(samples[0], correct[0], KS)
    wanted = values.std(axis=0) / np.sqrt(len(values))
    np.testing.assert_allclose(found.resampled[0].std(axis=0), wanted, rtol=0.05)


def test_nested_is_wider_and_up_to_half_of_n_by_no_more_than_about_root_two() -> None:
    samples, correct = two_models(problems=80)
    widths = [
        resample(
            samples, correct, KS, np.random.default_rng(0), num_resamples=3000, nested=nested
        ).resampled.std(axis=1)
        for nested in (True, False)
    ]
    ratio = widths[0] / widths[1]
    assert (ratio > 0.97).all()
    assert (ratio[:, :4] < 1.45).all()


def test_a_model_compared_with_itself_differs_by_nothing_without_redraw() -> None:
    samples, correct = two_models()
    both = np.stack([correct[0], correct[0]])
    found = resample(samples, both, KS, np.random.default_rng(0), num_resamples=200, nested=False)
    difference = paired_difference(found, 0, 1)
    for values in (
        difference.estimate,
        difference.low,
        difference.high,
        difference.band_low,
        difference.band_high,
    ):
        np.testing.assert_allclose(values, 0, atol=1e-12)
    assert not difference.at(1).excludes_zero


def test_pairing_narrows_the_difference() -> None:
    samples, correct = two_models()
    found = resample(samples, correct, KS, np.random.default_rng(0), num_resamples=2000)
    difference = paired_difference(found, 0, 1).at(1)
    base, model = (curve(found, m).at(1) for m in (0, 1))
    unpaired = np.hypot(base.high - base.low, model.high - model.low)
    assert difference.high - difference.low < 0.7 * unpaired
    assert difference.low > 0
    assert difference.excludes_zero


def test_simultaneous_band_contains_its_share_of_whole_curves() -> None:
    samples, correct = two_models()
    found = resample(samples, correct, KS, np.random.default_rng(0), num_resamples=2000)
    band = paired_difference(found, 0, 1)
    resampled = found.resampled[1] - found.resampled[0]
    inside = ((resampled >= band.band_low - 1e-12) & (resampled <= band.band_high + 1e-12)).all(axis=1).mean()
    assert inside == pytest.approx(0.95, abs=0.01)
    assert (band.band_high - band.band_low >= band.high - band.low - 0.02).all()


def test_coverage_of_the_interval_over_fresh_experiments() -> None:
    rng = np.random.default_rng(5)
    # Half the problems at 0.2, half at 0.7, drawn anew each time: the true pass@1 is 0.45.
    hits, rounds = 0, 120
    for _ in range(rounds):
        correct = rng.binomial(8, rng.choice([0.2, 0.7], 50))[None]
        found = curve(resample(np.full((1, 50), 8), correct, (1,), rng, num_resamples=300), 0).at(1)
        hits += int(found.low <= 0.45 <= found.high)
    assert hits / rounds > 0.88


@pytest.mark.parametrize(
    ("difference", "index"),
    [
        ([0.1, 0.05, -0.01, -0.02], 2),
        ([0.1, 0.05, 0.02, 0.01], -1),
        ([-0.1, -0.05, -0.01, -0.02], -1),
        ([-0.1, 0.1, -0.1, 0.1], 2),
        ([0.0, 0.0, -0.1, -0.1], -1),
        ([0.1, 0.0, -1e-15, -0.1], 3),
    ],
)
def test_first_crossing(difference: list[float], index: int) -> None:
    assert first_crossing(np.array([difference])).tolist() == [index]


def test_crossing_interval_and_none() -> None:
    crossing_late, crossing_early, never = (
        [0.1, 0.1, 0.1, -0.1],
        [0.1, -0.1, -0.1, -0.1],
        [0.1, 0.1, 0.1, 0.1],
    )
    found = crossing(
        replicates([crossing_late] * 60 + [crossing_early] * 30 + [never] * 10, crossing_late), 0, 1
    )
    assert (found.k, found.high) == (8, None)
    assert found.at == pytest.approx(2**2.5)  # half way between 4 and 8 on the log axis
    assert found.low == pytest.approx(2**0.5)
    assert found.probability == pytest.approx(0.9)
    none = crossing(replicates([never] * 100, never), 0, 1)
    assert (none.k, none.at, none.probability, none.low, none.high) == (None, None, 0.0, None, None)


def test_where_curves_meet() -> None:
    crossed, meets = crossing_points(
        np.array([[0.3, -0.1, -0.2], [-0.1, -0.1, 0.1], [0.0, -0.2, -0.3], [0.1, 0.1, 0.0]]), (1, 2, 4)
    )
    assert crossed.tolist() == [1, -1, -1, -1]
    # A quarter short of k = 2; behind from the start; level, then behind; never behind.
    np.testing.assert_allclose(meets, [2**0.75, 1.0, 1.0, np.inf])


def test_saturated_curves_tie_in_every_resample() -> None:
    # Both solve everything at k = n, the base less often: redraws must not invent a crossing.
    samples, correct = np.full((2, 12), 8), np.array([[4] * 12, [5] * 12])
    found = crossing(
        resample(samples, correct, (1, 2, 4, 8), np.random.default_rng(0), num_resamples=500), 0, 1
    )
    assert found.k is None
    assert found.probability < 0.3


def test_sampling_efficiency_gap_is_in_points() -> None:
    samples, correct = np.full((2, 4), 4), np.array([[1, 2, 4, 0], [2, 3, 4, 0]])
    found = sampling_efficiency_gap(
        resample(samples, correct, (1, 4), np.random.default_rng(0), num_resamples=100), 0, 1
    )
    assert found.estimate == pytest.approx(100 * (3 / 4 - 9 / 16))
    assert found.low <= found.estimate <= found.high


def test_gap_is_taken_at_256_or_the_largest_k() -> None:
    assert gap_k((1, 256, 1024)) == 256
    assert gap_k((1, 64, 128)) == 128


def test_high_variance_starts_above_half() -> None:
    assert [is_high_variance(k, 16) for k in (8, 9, 16)] == [False, True, True]


def test_mcnemar_against_the_binomial_sum() -> None:
    assert mcnemar_exact(0, 0) == 1.0
    assert mcnemar_exact(3, 3) == 1.0
    assert mcnemar_exact(9, 1) == pytest.approx(2 * (comb(10, 0) + comb(10, 1)) / 2**10)
    assert mcnemar_exact(1, 9) == mcnemar_exact(9, 1)
    assert mcnemar_exact(2000, 100) < 1e-300


def test_holm_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_refuses_counts_of_different_shape() -> None:
    with pytest.raises(ConfigError, match="differ"):
        resample(np.full((2, 3), 4), np.zeros((2, 4)), (1,), np.random.default_rng(0), num_resamples=1)


def test_intervals_hold_their_estimate_where_everything_is_solved() -> None:
    """A base with a few rarely solved problems against a perfect model: no difference at k = n."""
    n = 256
    base = [*range(6, 22, 2), *([150] * 92)]
    rep = resample(
        [[n] * 100] * 2, [base, [n] * 100], [1, 64, n], np.random.default_rng(1), num_resamples=500
    )
    difference = paired_difference(rep, 0, 1).at(n)
    assert difference.estimate == 0.0
    assert difference.low <= 0.0 <= difference.high
    assert not difference.excludes_zero
    for model in (0, 1):
        at_n = curve(rep, model).at(n)
        assert at_n.low <= at_n.estimate <= at_n.high
