"""The estimator against exact fractions, and what it refuses."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest

from rlvr.errors import ConfigError
from rlvr.eval.pass_at_k import (
    default_ks,
    guess_pass_at_k,
    pass_at_k,
    pass_at_k_table,
    plug_in_pass_at_k,
)


def exact(n: int, c: int, k: int) -> Fraction:
    return 1 - Fraction(comb(n - c, k), comb(n, k))


def test_worked_example() -> None:
    np.testing.assert_allclose(pass_at_k([4], [1], [1, 2, 4]), [[0.25, 0.5, 1.0]], rtol=0, atol=1e-15)


def test_every_case_up_to_64_samples() -> None:
    for n in range(1, 65):
        ks = list(range(1, n + 1))
        table = pass_at_k_table(n, ks)
        wanted = [[float(exact(n, c, k)) for k in ks] for c in range(n + 1)]
        np.testing.assert_allclose(table, wanted, rtol=0, atol=1e-12, err_msg=f"n = {n}")


def test_random_cases_up_to_1024_samples() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        n = int(rng.integers(65, 1025))
        c, k = int(rng.integers(0, n + 1)), int(rng.integers(1, n + 1))
        assert pass_at_k([n], [c], [k])[0, 0] == pytest.approx(float(exact(n, c, k)), rel=0, abs=1e-12)


@pytest.mark.parametrize("n", [128, 1024])
def test_every_count_on_the_grid_of_large_n(n: int) -> None:
    ks = default_ks(n)
    wanted = [[float(exact(n, c, k)) for k in ks] for c in range(n + 1)]
    np.testing.assert_allclose(pass_at_k_table(n, ks), wanted, rtol=0, atol=1e-12)


def test_small_probabilities_keep_their_relative_precision() -> None:
    assert pass_at_k([10**6], [1], [1])[0, 0] == pytest.approx(1e-6, rel=1e-12)


def test_problems_may_have_different_numbers_of_samples() -> None:
    result = pass_at_k([4, 8, 4], [1, 2, 0], [1, 4])
    wanted = [[0.25, 1.0], [0.25, float(exact(8, 2, 4))], [0.0, 0.0]]
    np.testing.assert_allclose(result, wanted, rtol=0, atol=1e-15)


def test_never_decreases_in_k_and_is_one_when_all_draws_must_hit() -> None:
    values = pass_at_k([32], [5], range(1, 33))[0]
    assert (np.diff(values) >= 0).all()
    assert (values[27:] == 1).all()
    assert values[26] < 1


def test_is_unbiased_where_the_plug_in_is_not() -> None:
    n, p, k = 8, 0.2, 6
    weights = np.array([comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)])
    truth = 1 - (1 - p) ** k
    assert weights @ pass_at_k_table(n, [k])[:, 0] == pytest.approx(truth, abs=1e-12)
    assert weights @ plug_in_pass_at_k(n, np.arange(n + 1), [k])[:, 0] < truth - 0.03


@pytest.mark.parametrize(("n", "c", "ks"), [(4, 1, [8]), ([8, 4], [1, 1], [1, 8])])
def test_refuses_k_above_n(n: object, c: object, ks: list[int]) -> None:
    with pytest.raises(ConfigError, match="pass@8 cannot be estimated from 4 samples"):
        pass_at_k(n, [c] if isinstance(c, int) else c, ks)  # type: ignore[arg-type]


@pytest.mark.parametrize(("n", "c", "ks"), [(4, 5, [1]), (4, -1, [1]), (4, 1, [0]), (4, 1, [])])
def test_refuses_impossible_counts(n: int, c: int, ks: list[int]) -> None:
    with pytest.raises(ConfigError):
        pass_at_k([n], [c], ks)


def test_default_grid() -> None:
    assert default_ks(1) == (1,)
    assert default_ks(256) == (1, 2, 4, 8, 16, 32, 64, 128, 256)
    assert default_ks(300)[-1] == 256


def test_guess_baseline() -> None:
    np.testing.assert_allclose(guess_pass_at_k(0.25, [1, 2]), [0.25, 0.4375])
