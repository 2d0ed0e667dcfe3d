r"""Operations on values: exact fractions where possible, else balls of FLINT that contain the value."""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flint import acb, arb, fmpq, fmpz

MAX_BITS = 1_000_000
"""Longer fractions are not written down; a ball takes their place."""
MAX_ODD_INDEX = 999
"""Up to it odd roots of negative numbers are real; x^x at a random fraction has a larger one, and is complex."""
Value = Any
"""``fmpq``, ``arb`` or ``acb``."""


class UndefinedError(Exception):
    """The expression has no value here."""


class ImpreciseError(Exception):
    """More bits are needed to go on."""


class TooLargeError(Exception):
    """No number of bits that this process can afford is enough."""


@dataclass(frozen=True)
class Reading:
    """What an expression leaves open."""

    real: bool = False
    """Whether √−1 and ln(−1) have no value, as over the real numbers."""
    decimal_log: bool = False
    """Whether ``\\log`` without a base is that of 10."""
    values: Mapping[str, Value] = field(default_factory=dict)
    """Values of names: the letter i as the imaginary unit, the variable of a sum."""


def bounded(number: fmpq) -> Value:
    """A fraction, or a ball in its place if it is too long."""
    return number if number.height_bits() <= MAX_BITS else arb(number)


def ball(number: Value) -> Value:
    """A fraction as a ball; balls as they are."""
    return arb(number) if isinstance(number, fmpq) else number


def real(number: Value) -> Value:
    """A value that must be real."""
    if isinstance(number, acb):
        if not number.imag.is_zero():
            raise UndefinedError("not a real number")
        return number.real
    return number


def nonzero(number: Value) -> Value:
    """A value that may stand below a fraction bar."""
    if number == 0 if isinstance(number, fmpq) else number.is_zero():
        raise UndefinedError("a division by zero")
    if not isinstance(number, fmpq) and number.contains(0):
        raise ImpreciseError
    return number


def negative(number: Value) -> bool:
    """Whether a real value is below zero."""
    number = real(number)
    if isinstance(number, fmpq):
        return bool(number < 0)
    if number.contains(0):
        raise ImpreciseError
    return bool(number < 0)


def integer(number: Value) -> int | None:
    """An exact integer as such; None for anything else."""
    return int(number.p) if isinstance(number, fmpq) and number.q == 1 else None


def add(args: list[Value], reading: Reading) -> Value:
    """Sum."""
    return functools.reduce(lambda a, b: a + b, args)


def multiply(args: list[Value], reading: Reading) -> Value:
    """Product."""
    return functools.reduce(lambda a, b: a * b, args)


def divide(args: list[Value], reading: Reading) -> Value:
    """Quotient."""
    return args[0] / nonzero(args[1])


def power(args: list[Value], reading: Reading) -> Value:
    """``base ^ exponent``; a rational exponent of a negative number takes the real root, if there is one."""
    base, exponent = args
    if not isinstance(exponent, fmpq):
        if isinstance(base, fmpq) and base == 0:
            raise UndefinedError("0 to a power that is no fraction")
        if isinstance(base, acb) or isinstance(exponent, acb) or negative(base):
            if reading.real:
                raise UndefinedError("a power that is not real")
            return acb(base) ** acb(exponent)
        return ball(base) ** exponent
    if exponent.q != 1:
        return root_of(base, int(exponent.q), int(exponent.p), reading)
    whole = int(exponent.p)
    if whole < 0:
        nonzero(base)
    if isinstance(base, fmpq):
        fits = base in (0, 1, -1) or base.height_bits() * abs(whole) <= MAX_BITS
        return base**whole if fits else arb(base) ** fmpz(whole)
    return base ** fmpz(whole)


def root(args: list[Value], reading: Reading) -> Value:
    r"""``\\sqrt[index]{base}``."""
    base, index = args
    whole = integer(index)
    if whole is None or whole == 0:
        return power([base, 1 / nonzero(index)], reading)
    return root_of(base, whole, 1, reading)


def root_of(base: Value, index: int, numerator: int, reading: Reading) -> Value:
    """``base^(numerator/index)``: the real root where there is one, else the principal value."""
    if index < 0:
        index, numerator = -index, -numerator
    if numerator < 0:
        nonzero(base)
    if isinstance(base, fmpq):
        exact = exact_root(abs(base), index)
        if exact is not None and (base >= 0 or (index % 2 and index <= MAX_ODD_INDEX)):
            return power([-exact if base < 0 else exact, fmpq(numerator)], reading)
        if base == 0:
            return fmpq(0)
    if isinstance(base, acb) and not base.imag.is_zero():
        if reading.real:
            raise UndefinedError("a root that is not real")
        return (base.sqrt() if index == 2 else acb(base).root(index)) ** fmpz(numerator)
    below = negative(real(base)) if not (isinstance(base, arb) and base.contains(0)) else None
    if below is None:  # a value that may be zero: a ball around its root
        size = arb(base.abs_upper()).root(index)
        return (arb(0).union(size).union(-size)) ** fmpz(numerator)
    if not below:
        return ball(real(base)).root(index) ** fmpz(numerator)
    if index % 2 and index <= MAX_ODD_INDEX:
        return (-((-ball(real(base))).root(index))) ** fmpz(numerator)
    if reading.real:
        raise UndefinedError("an even root of a negative number")
    return acb(real(base)).root(index) ** fmpz(numerator)


def exact_root(base: fmpq, index: int) -> fmpq | None:
    """The rational root of a positive fraction, if it has one."""
    if index > 64 or base.height_bits() > 20_000:
        return None
    parts = []
    for part in (base.p, base.q):
        found = fmpz(part).root(index)
        if found**index != part:
            return None
        parts.append(found)
    return fmpq(parts[0], parts[1])


def factorial(args: list[Value], reading: Reading) -> Value:
    """``n!``, by the gamma function beside the integers."""
    whole = integer(args[0])
    if whole is None:
        return ball(args[0] + 1).gamma()
    if whole < 0:
        raise UndefinedError("the factorial of a negative integer")
    if whole > MAX_BITS or math.lgamma(whole + 1) / math.log(2) > MAX_BITS:
        return arb(whole + 1).gamma()
    return fmpq(fmpz.fac_ui(whole))


def double_factorial(args: list[Value], reading: Reading) -> Value:
    """``n!!``."""
    whole = integer(args[0])
    if whole is None or not -1 <= whole <= 20_000:
        raise UndefinedError("a double factorial of no small integer")
    return fmpq(math.prod(range(whole, 0, -2)))


def binomial(args: list[Value], reading: Reading) -> Value:
    r"""``\binom{n}{k}``."""
    whole, below = integer(args[0]), integer(args[1])
    if whole is not None and below is not None and whole >= 0:
        if not 0 <= below <= whole:
            return fmpq(0)
        below = min(below, whole - below)
        if whole < 2**62 and below * math.log2(whole + 1) <= MAX_BITS:
            return fmpq(fmpz.bin_uiui(whole, below))
    if below is not None and 0 <= below <= 64:
        top = functools.reduce(lambda a, b: a * b, [args[0] - i for i in range(below)], fmpq(1))
        return top / fmpz.fac_ui(below)
    top, bottom = factorial([args[0]], reading), factorial([args[1]], reading)
    return top / nonzero(bottom * factorial([args[0] - args[1]], reading))


def floor(args: list[Value], reading: Reading) -> Value:
    """The greatest integer below."""
    number = real(args[0])
    if isinstance(number, fmpq):
        return fmpq(number.floor())
    whole = number.floor().unique_fmpz()
    if whole is None:
        raise ImpreciseError
    return fmpq(whole)


def ceiling(args: list[Value], reading: Reading) -> Value:
    """The least integer above."""
    return -floor([-args[0]], reading)


def absolute(args: list[Value], reading: Reading) -> Value:
    """Absolute value."""
    return abs(args[0])


def sign(args: list[Value], reading: Reading) -> Value:
    """−1, 0 or 1."""
    if isinstance(args[0], fmpq) and args[0] == 0:
        return fmpq(0)
    return fmpq(-1 if negative(args[0]) else 1)


def greatest(args: list[Value], reading: Reading) -> Value:
    """The maximum."""
    return functools.reduce(lambda a, b: b if negative_or_zero(a - b) else a, map(real, args))


def least(args: list[Value], reading: Reading) -> Value:
    """The minimum."""
    return -greatest([-number for number in args], reading)


def negative_or_zero(number: Value) -> bool:
    """Whether a real value is at most zero."""
    return bool(number <= 0) if isinstance(number, fmpq) else negative(number)


def whole_numbers(args: list[Value]) -> list[int]:
    """Arguments that must be integers."""
    found = [integer(number) for number in args]
    if any(number is None for number in found):
        raise UndefinedError("defined for integers only")
    return [int(number or 0) for number in found]


def greatest_divisor(args: list[Value], reading: Reading) -> Value:
    """Gcd."""
    return fmpq(math.gcd(*whole_numbers(args)))


def least_multiple(args: list[Value], reading: Reading) -> Value:
    """Lcm."""
    return fmpq(math.lcm(*whole_numbers(args)))


def remainder(args: list[Value], reading: Reading) -> Value:
    """``a mod b``."""
    left, right = args
    if not isinstance(left, fmpq) or not isinstance(right, fmpq):
        raise UndefinedError("a remainder of no fractions")
    return left - right * fmpq((left / nonzero(right)).floor())


def logarithm(args: list[Value], reading: Reading) -> Value:
    """Natural logarithm."""
    number = args[0]
    if isinstance(number, fmpq) and number == 0:
        raise UndefinedError("the logarithm of 0")
    if isinstance(number, fmpq) and number == 1:
        return fmpq(0)
    if isinstance(number, acb) or negative(number):
        if reading.real:
            raise UndefinedError("the logarithm of a number that is not positive")
        return acb(number).log()
    return ball(number).log()


DOMAINS: dict[str, Callable[[arb], bool]] = {
    "arcsin": lambda x: bool(abs(x) <= 1), "arccos": lambda x: bool(abs(x) <= 1),
    "arccosh": lambda x: bool(x >= 1), "arctanh": lambda x: bool(abs(x) < 1),
}  # fmt: skip
"""Where functions of a real number are real; all others are so everywhere."""
METHODS = {
    **{
        name: name
        for name in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "coth", "sech", "csch")
    },
    **{f"arc{name}": f"a{name}" for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
}
RECIPROCAL = {"arccot": "arctan", "arcsec": "arccos", "arccsc": "arcsin", "arccoth": "arctanh", "arcsech": "arccosh",
              "arccsch": "arcsinh"}  # fmt: skip
ZEROS = frozenset(("sin", "tan", "sinh", "tanh", "arcsin", "arctan", "arcsinh", "arctanh"))


def elementary(name: str, args: list[Value], reading: Reading) -> Value:
    """A function of one argument that FLINT knows."""
    number = args[0]
    if name == "arccot" and isinstance(number, fmpq) and number == 0:
        return arb.pi() / 2
    if name in RECIPROCAL:
        name, number = RECIPROCAL[name], 1 / nonzero(number)
    method = METHODS.get(name)
    if method is None or len(args) != 1:
        raise UndefinedError(f"{name} is not known")
    if isinstance(number, fmpq) and number == 0 and name in ZEROS:
        return fmpq(0)
    number = ball(number)
    if isinstance(number, arb) and name in DOMAINS and not DOMAINS[name](number):
        if isinstance(args[0], arb) and abs(abs(number) - 1).contains(0):
            raise ImpreciseError
        if reading.real:
            raise UndefinedError(f"{name} is not real here")
        number = acb(number)
    return getattr(number, method)()


def unknown(name: str, args: list[Value]) -> Value:
    """A function that only has a name: one with no relation to any other that is written down."""
    seed = zlib.crc32(name.encode())
    phase = sum(
        (argument * fmpq(seed % 997 + 7 * index, 1013) for index, argument in enumerate(args, 1)),
        fmpq(seed, 2**32),
    )
    return ball(phase).sin() + ball(args[0] * fmpq(seed % 89 + 1, 97) + seed % 7).cos()


OPERATIONS: dict[str, Callable[[list[Value], Reading], Value]] = {
    "+": add, "*": multiply, "/": divide, "^": power, "root": root, "!": factorial, "!!": double_factorial,
    "binom": binomial, "floor": floor, "ceil": ceiling, "abs": absolute, "sgn": sign, "max": greatest,
    "min": least, "gcd": greatest_divisor, "lcm": least_multiple, "mod": remainder, "ln": logarithm,
}  # fmt: skip
