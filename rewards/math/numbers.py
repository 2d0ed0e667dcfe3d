"""Plain numbers, compared exactly: the fast path in front of symbolic algebra.

A plain number is an integer, a decimal or a ratio of two integers in ASCII digits, with an optional
sign and optional thousands separators. Its value is one rational number, so two plain numbers are
equal exactly when their fractions are; nothing symbolic could say otherwise.
"""

from __future__ import annotations

import re
from fractions import Fraction

MAX_DIGITS = 400
"""Longer digit strings are left to the symbolic path, which is limited in time and memory."""
INTEGER = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)"
NUMBER = re.compile(rf"([-+]?)({INTEGER})?(?:\.([0-9]+)|(?<=[0-9])\.)?")
RATIO = re.compile(r"([-+]?)(?:\\frac\{([-+]?[0-9]+)\}\{([0-9]+)\}|([0-9]+)/([0-9]+))")


def plain_number(text: str) -> Fraction | None:
    """The value of a plain number, or None if ``text`` is anything else."""
    if len(text) > MAX_DIGITS:
        return None
    match = NUMBER.fullmatch(text)
    if match and (match.group(2) or match.group(3)):
        sign, whole, decimals = match.groups()
        digits = (whole or "").replace(",", "") + (decimals or "")
        value = Fraction(int(digits), 10 ** len(decimals or ""))
        return -value if sign == "-" else value
    match = RATIO.fullmatch(text)
    if match:
        numerator, denominator = match.group(2) or match.group(4), match.group(3) or match.group(5)
        if int(denominator) == 0:
            return None
        value = Fraction(int(numerator), int(denominator))
        return -value if match.group(1) == "-" else value
    return None


def close(gold: Fraction, other: Fraction, tolerance: float) -> bool:
    """Whether ``other`` is within the relative ``tolerance`` of ``gold``; exact for 0."""
    return gold == other or abs(gold - other) <= Fraction(tolerance) * abs(gold)


def is_decimal(text: str) -> bool:
    """Whether a plain number is written with a decimal point."""
    return "." in text
