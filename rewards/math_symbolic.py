r"""Equality of two expressions in LaTeX, by the parser of math-verify and numbers of many digits.

Runs in a worker process that is killed when it takes too long or too much memory (worker.py): the
parser and sympy can do either on a few characters.

Constants are compared exactly where both are rational, else by value: with 60 digits more than their
size needs, so that 2^{100}+1 is not 2^{100} and 1/2004! is not 1/2006!. Expressions with variables are
compared at random points; two different expressions agree at all of them with probability near 0, and
unlike simplification this has no cases in which it gives up or loops. What cannot be evaluated, such as
an unknown function, is compared by sympy's simplification.
"""

from __future__ import annotations

import math
import random
import re
from functools import lru_cache
from typing import Any

import sympy
from latex2sympy2_extended import latex2sympy

from rlvr.rewards.math_compare import Algebra
from rlvr.rewards.math_form import Form, Group, Relation, Scalar
from rlvr.rewards.math_numbers import plain_number

DIGITS = 60
MAX_DIGITS = 20_000
"""A larger number is not evaluated: :class:`TooLargeError`."""
NUM_POINTS = 5
HUGE = 1e12
DECIMAL = re.compile(r"(?<![\w.])([0-9]*)\.([0-9]+)")
THOUSANDS = re.compile(r"(?<![0-9.,])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9,])")


class TooLargeError(Exception):
    """A number that does not fit into memory."""


class UnreadableError(Exception):
    """The text is no expression."""


@lru_cache(maxsize=2048)
def expression(latex: str) -> Any:
    """Parse one expression; decimals become exact ratios.

    Raises:
        UnreadableError: the parser finds no meaning in it.
    """
    text = THOUSANDS.sub(lambda match: match.group().replace(",", ""), latex)
    text = re.sub(r"([0-9A-Za-z]+!)\^", r"(\1)^", re.sub(r"(?<=[0-9])\.(?![0-9])", "", text))
    text = DECIMAL.sub(
        lambda match: rf"(\frac{{{int(match.group(1) + match.group(2))}}}{{{10 ** len(match.group(2))}}})",
        text,
    )
    try:
        parsed = latex2sympy(text, is_real=True, convert_degrees=False, normalization_config=None)
    except (MemoryError, RecursionError):
        raise
    except Exception as error:  # the parser raises bare Exception and many others
        raise UnreadableError(str(error).splitlines()[0] if str(error) else type(error).__name__) from error
    truth = isinstance(parsed, sympy.logic.boolalg.Boolean) and not isinstance(parsed, sympy.Symbol)
    if not isinstance(parsed, sympy.Basic) or truth:
        raise UnreadableError("not an expression")
    return parsed


def equal(left: str, right: str, tolerance: float = 0.0) -> bool:
    """Whether two LaTeX expressions are equal.

    Raises:
        UnreadableError: one of them is no expression.
        TooLargeError: a number in them cannot be written down.
    """
    a, b = expression(left), expression(right)
    if a == b:
        return True
    if not isinstance(a, sympy.Expr) or not isinstance(b, sympy.Expr):
        return bool(a.doit() == b.doit())
    for node in (a, b):
        refuse_large(node)
    if same(a, b, tolerance):
        return True
    # The letter i is the imaginary unit only where taking it as a variable does not lead to equality.
    imaginary = {symbol: sympy.I for symbol in a.free_symbols | b.free_symbols if symbol.name == "i"}
    return bool(imaginary) and same(a.subs(imaginary), b.subs(imaginary), tolerance)


def same(a: Any, b: Any, tolerance: float) -> bool:
    """Equality of two parsed expressions."""
    if not a.free_symbols and not b.free_symbols:
        return same_constant(a, b, tolerance)
    if a.free_symbols != b.free_symbols and not (a - b).free_symbols:
        return False
    if a.atoms(sympy.core.function.AppliedUndef) or b.atoms(sympy.core.function.AppliedUndef):
        return bool(sympy.simplify(a.doit() - b.doit()) == 0)
    pairs = evaluated(a, b)
    return bool(pairs) and all(near(x, y, sympy.Float(10) ** -40) for x, y in pairs)


def same_constant(a: Any, b: Any, tolerance: float) -> bool:
    """Two numbers: exactly if both are rational, else with more digits than their size needs."""
    a, b = a.doit(), b.doit()
    infinite = (sympy.oo, -sympy.oo, sympy.zoo, sympy.nan)
    if a in infinite or b in infinite:
        return bool(a == b)
    if not tolerance and isinstance(a, sympy.Rational) and isinstance(b, sympy.Rational):
        return bool(a == b)
    digits = DIGITS + int(max(0, magnitude(a), magnitude(b)))
    bound = sympy.Float(tolerance) if tolerance else sympy.Float(10) ** (15 - digits)
    return near(a.evalf(digits), b.evalf(digits), bound)


def evaluated(a: Any, b: Any) -> list[tuple[Any, Any]]:
    """Values of both at the same random points; points where ``a`` is real come first."""
    symbols = sorted(a.free_symbols | b.free_symbols, key=str)
    rng = random.Random("points")
    real: list[tuple[Any, Any]] = []
    others: list[tuple[Any, Any]] = []
    for trial in range(4 * NUM_POINTS):
        sign = 1 if trial % 2 else -1
        point = {s: sympy.Rational(sign * rng.randrange(1000, 9000), 2003) for s in symbols}
        x, y = a.subs(point).evalf(DIGITS), b.subs(point).evalf(DIGITS)
        if not x.is_number or not y.is_number or not x.is_finite:
            continue
        (real if x.is_real else others).append((x, y))
        if len(real) >= NUM_POINTS:
            return real
    return real or others


def near(x: Any, y: Any, bound: Any) -> bool:
    """Whether two evaluated numbers agree relative to the larger."""
    if not (x.is_finite and y.is_finite):
        return bool(x == y)
    size = max(abs(x), abs(y))
    return bool(abs(x - y) <= bound * size) or (bool(size < sympy.Float(10) ** -45) and (x == 0 or y == 0))


def proportional(left: tuple[str, str], right: tuple[str, str]) -> int:
    """Sign of the constant between two differences; 0 if their ratio is not constant."""
    a, b = (expression(pair[0]) - expression(pair[1]) for pair in (left, right))
    for node in (a, b):
        refuse_large(node)
    if a.free_symbols != b.free_symbols or not a.free_symbols:
        return 0
    pairs = [(x, y) for x, y in evaluated(a, b) if abs(x) > 1e-12]
    if not pairs or any(not y.is_real or not x.is_real for x, y in pairs):
        return 0
    ratios = [y / x for x, y in pairs]
    constant = ratios[0] != 0 and all(near(ratios[0], ratio, sympy.Float(10) ** -30) for ratio in ratios)
    return (1 if ratios[0] > 0 else -1) if constant else 0


def magnitude(node: Any) -> float:
    """Decimal digits before the point of a constant, about."""
    value = abs(node.evalf(5))
    return float(sympy.log(value, 10).evalf(5)) if value.is_number and value.is_finite and value > 0 else 0.0


def refuse_large(node: Any) -> None:
    """Raise :class:`TooLargeError` where evaluating a tree of integers would fill the memory."""
    for part in sympy.preorder_traversal(node):
        if not part.free_symbols and log10_size(part) > MAX_DIGITS:
            raise TooLargeError(f"a number of more than {MAX_DIGITS} digits")


def log10_size(node: Any) -> float:
    """Upper estimate of log₁₀ of a constant's numerator and denominator, without evaluating it."""
    if isinstance(node, sympy.Rational):
        return float(max(len(str(abs(int(node.p)))), len(str(int(node.q)))))
    if isinstance(node, sympy.Pow):
        exponent = node.exp
        factor = (
            float(abs(exponent))
            if isinstance(exponent, sympy.Rational)
            else 10 ** min(log10_size(exponent), 9.0)
        )
        return min(HUGE, log10_size(node.base) * max(1.0, factor))
    if isinstance(node, (sympy.factorial, sympy.factorial2, sympy.gamma)):
        argument = node.args[0]
        number = (
            int(argument) if isinstance(argument, sympy.Integer) else 10 ** min(log10_size(argument), 9.0)
        )
        return HUGE if number > MAX_DIGITS else math.lgamma(number + 1) / math.log(10) if number > 0 else 1.0
    sizes = [log10_size(argument) for argument in node.args]
    return min(HUGE, sum(sizes)) if isinstance(node, sympy.Mul) else max(sizes, default=1.0)


def readable(form: Form) -> None:
    """Read every expression of a form.

    Raises:
        UnreadableError: one of them has no meaning for the parser.
    """
    match form:
        case Scalar(latex=latex):
            if plain_number(latex) is None:
                expression(latex)
        case Group(items=parts) | Relation(sides=parts):
            for part in parts:
                readable(part)
        case _:
            return


ALGEBRA = Algebra(equal, proportional)
