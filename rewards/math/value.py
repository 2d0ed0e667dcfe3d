r"""Values of expressions: exact fractions where possible, else balls of FLINT that contain the value.

A ball is a midpoint and a proven radius, so two balls that do not meet prove that two expressions differ.
What cannot be decided at the precision in use is an :class:`ImpreciseError`, and the caller asks again with
more bits; what has no value (a division by zero) is an :class:`UndefinedError`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

from flint import acb, arb, fmpq

from rlvr.rewards.math.functions import (
    OPERATIONS,
    ImpreciseError,
    Reading,
    TooLargeError,
    UndefinedError,
    Value,
    ball,
    bounded,
    elementary,
    integer,
    logarithm,
    unknown,
)
from rlvr.rewards.math.tree import Call, Tree

MAX_TERMS = 10_000
"""Of a sum or product."""


def value(tree: Tree, reading: Reading) -> Value:
    """The value of a tree at the current precision of FLINT.

    Raises:
        UndefinedError, ImpreciseError, TooLargeError: see there.
    """
    if isinstance(tree, Fraction):
        return fmpq(tree.numerator, tree.denominator)
    if isinstance(tree, str):
        return constant(tree, reading)
    if tree.name in BINDERS:
        return BINDERS[tree.name](tree, reading)
    return apply(tree.name, [value(argument, reading) for argument in tree.args], reading)


def constant(name: str, reading: Reading) -> Value:
    """The value of a name."""
    if name in reading.values:
        return reading.values[name]
    if name == r"\pi":
        return arb.pi()
    if name == "e":
        return arb(1).exp()
    raise UndefinedError(f"{name} has no value")


def apply(name: str, args: list[Value], reading: Reading) -> Value:
    """One operation on values."""
    if name == "log":
        found = logarithm(args, reading)
        return found / arb(10).log() if reading.decimal_log else found
    operation = OPERATIONS.get(name)
    if operation is None:
        found = unknown(name, args) if name.endswith("()") else elementary(name, args, reading)
    else:
        found = operation(args, reading)
    if isinstance(found, fmpq):
        return bounded(found)
    if not found.is_finite():
        raise ImpreciseError
    return found


def counted(tree: Call, reading: Reading) -> Value:
    """A finite sum or product."""
    variable, low, high, body = tree.args
    first, last = integer(value(low, reading)), integer(value(high, reading))
    if first is None or last is None or last - first >= MAX_TERMS:
        raise UndefinedError("a sum without whole bounds, or of too many terms")
    found = fmpq(0) if tree.name == "sum" else fmpq(1)
    for number in range(first, last + 1):
        term = value(body, replace(reading, values={**reading.values, str(variable): fmpq(number)}))
        found = apply("+" if tree.name == "sum" else "*", [found, term], reading)
    return found


def integrated(tree: Call, reading: Reading) -> Value:
    """A definite integral, with a proven radius."""
    variable, low, high, body = tree.args

    def integrand(point: acb, analytic: bool) -> acb:
        inside = replace(reading, real=False, values={**reading.values, str(variable): point})
        try:
            return acb(ball(value(body, inside)))
        except ImpreciseError:
            return acb(arb.nan())

    found = acb.integral(integrand, acb(ball(value(low, reading))), acb(ball(value(high, reading))))
    if not found.is_finite() or found.rad() > 1e-9:
        raise TooLargeError("an integral that does not converge quickly")
    return found.real if found.imag.contains(0) else found


BINDERS: dict[str, Callable[[Call, Reading], Value]] = {"sum": counted, "prod": counted, "int": integrated}
