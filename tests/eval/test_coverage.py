"""Solved sets, the twelve bins, Cover@τ."""

from __future__ import annotations

import numpy as np
import pytest

from rlvr.errors import ConfigError
from rlvr.eval.coverage import HISTOGRAM_LABELS, accuracy_histogram, cover_at, coverage, rarely_solved


def test_every_problem_lands_in_one_set_in_order() -> None:
    found = coverage("abcdef", [1, 5, 0, 0, 2, 0], [0, 1, 3, 0, 9, 1])
    assert found.sets == {"both": ("b", "e"), "base_only": ("a",), "rl_only": ("c", "f"), "neither": ("d",)}
    assert found.counts == {"both": 2, "base_only": 1, "rl_only": 2, "neither": 1}


def test_coverage_refuses_lists_of_different_length() -> None:
    with pytest.raises(ConfigError, match="3 problems, but 3 and 2 counts"):
        coverage("abc", [1, 0, 1], [1, 0])


def test_rarely_solved() -> None:
    assert rarely_solved("abcd", [0, 1, 2, 3]) == ("b", "c")


def test_bins_are_closed_above() -> None:
    correct = np.arange(11)
    assert accuracy_histogram(np.full(11, 10), correct).tolist() == [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1]
    assert accuracy_histogram([1000] * 4, [1, 101, 901, 999]).tolist() == [0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0]


def test_bins_agree_with_fractions_everywhere() -> None:
    for n in (1, 3, 7, 128, 256, 1000):
        for c in range(n + 1):
            wanted = 0 if c == 0 else 11 if c == n else next(b for b in range(1, 11) if 10 * c <= b * n)
            assert accuracy_histogram([n], [c]).argmax() == wanted
    assert len(HISTOGRAM_LABELS) == 12


def test_cover_at() -> None:
    np.testing.assert_allclose(
        cover_at([10] * 4, [0, 3, 7, 10], [0.1, 0.3, 0.7, 1.0]), [0.75, 0.75, 0.5, 0.25]
    )
