"""Numbers as ``summary.json`` keeps them."""

from __future__ import annotations

from typing import Any

import numpy as np

from rlvr.eval.compare import Trained
from rlvr.eval.pass_at_k import FloatArray
from rlvr.eval.statistics import Curve, Interval

DIGITS = 9
"""Decimal places kept: far below any sampling error, and free of rounding noise."""


def ends(value: Interval) -> list[float]:
    """Low and high."""
    return [round(value.low, DIGITS), round(value.high, DIGITS)]


def rounded(value: float | None) -> float | None:
    """One that may be absent."""
    return None if value is None else round(value, DIGITS)


def rounded_list(values: FloatArray) -> list[float]:
    """All of them, rounded."""
    found: list[float] = np.round(values, DIGITS).tolist()
    return found


def difference(each: Trained) -> dict[str, Any]:
    """The paired difference of a model to the base, with interval and band."""
    return plain_difference(each.difference)


def plain_difference(curve: Curve) -> dict[str, Any]:
    """A paired difference with interval and band."""
    return {
        "estimate": rounded_list(curve.estimate),
        "ci_low": rounded_list(curve.low),
        "ci_high": rounded_list(curve.high),
        "band_low": rounded_list(curve.band_low),
        "band_high": rounded_list(curve.band_high),
    }
