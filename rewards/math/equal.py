r"""Whether two expressions are equal.

Two constants differ if their balls (:mod:`rlvr.rewards.math.value`) do not meet. They are equal if both are
exact fractions and the same, or if their difference is smaller than any difference that is not zero can be:
the separation bound of Burnikel, Funke, Mehlhorn, Schirra and Schmitt ("A separation bound for real
algebraic expressions", Algorithmica 55, 2009) on expressions of that size. It is a theorem for roots and
arithmetic; for π, e and functions, whose equality nobody can decide, twice the same size is a convention.
So √(2^400 + 1) is not 2^200: the bits follow the size of what stands in an expression, not of its value.

Expressions with variables are equal if they are at points: of every sign, below 1, of a few digits and of
many, integers, and around every number that stands in the expressions, where |x − 10| changes its sign.
Rational functions are evaluated exactly there, so agreement by chance has probability near 0.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction

from flint import acb, arb, ctx, fmpq

from rlvr.rewards.math.functions import ImpreciseError, Reading, TooLargeError, UndefinedError, ball
from rlvr.rewards.math.tokens import UnreadableError
from rlvr.rewards.math.tree import Call, Tree, calls, names, negated
from rlvr.rewards.math.value import value

START_BITS = 128
MAX_PRECISION = 2**18
"""Bits; expressions that need more are :class:`TooLargeError`."""
MAX_POINT_BITS = 2**14
"""Of one point: where it would take more, the point says nothing."""
MAX_DEGREE_BITS = 8_000
"""Bits spent on the degree of an algebraic number; with many roots the theorem asks for far more."""
NUM_POINTS, NUM_EXACT_POINTS, MIN_POINTS, MAX_TRIALS = 20, 6, 3, 60
RATIONAL = frozenset(("+", "*", "/"))
DISCRETE = frozenset(("!", "!!", "binom", "floor", "ceil", "gcd", "lcm", "mod", "sum", "prod"))
INTEGERS = frozenset("ijklmnpqrstKMN")
"""Variables that are positive integers where a discrete operation, or a power of −1, occurs."""


def equal(gold: Tree, answer: Tree, tolerance: float = 0.0) -> bool:
    """Whether two expressions are equal in one of the readings that both leave open.

    ``tolerance`` is relative, for constants.

    Raises:
        UnreadableError: a constant has no value, such as 1/0.
        TooLargeError: a number in them is too large to tell.
    """
    ours, theirs = infinity(gold), infinity(answer)
    if ours is not None or theirs is not None:
        return ours == theirs
    if gold == answer and names(gold):
        return True
    return any(same(gold, answer, reading, tolerance) for reading in readings(gold, answer))


def infinity(tree: Tree) -> int | None:
    """The sign of ±∞; None for an expression that is not infinite."""
    if tree == r"\infty":
        return 1
    if isinstance(tree, Call) and tree.name == "*" and len(tree.args) == 2 and tree.args[1] == r"\infty":
        return -1 if tree.args[0] == Fraction(-1) else None
    return None


def readings(*trees: Tree) -> Iterator[Reading]:
    r"""What ``\log`` and the letter i may mean: the natural logarithm and a variable first."""
    used = frozenset().union(*map(calls, trees))
    variables = frozenset().union(*map(names, trees))
    logs = (False, True) if "log" in used else (False,)
    for decimal in logs:
        yield Reading(decimal_log=decimal)
    if "i" in variables:
        for decimal in logs:
            yield Reading(decimal_log=decimal, values={"i": acb(0, 1)})


def same(gold: Tree, answer: Tree, reading: Reading, tolerance: float) -> bool:
    """Equality in one reading."""
    if (names(gold) | names(answer)) - reading.values.keys():
        return same_function(gold, answer, reading)
    try:
        return same_constant(gold, answer, reading) or (
            bool(tolerance) and close(gold, answer, reading, tolerance)
        )
    except UndefinedError as error:
        raise UnreadableError(str(error)) from error


# ----------------------------------------------------------------------------------------- constants


def same_constant(left: Tree, right: Tree, reading: Reading, max_bits: int = MAX_PRECISION) -> bool:
    """Whether two trees without variables have the same value.

    Raises:
        UndefinedError: one of them has none.
        TooLargeError: more than ``max_bits`` bits would be needed to tell.
    """
    bits, needed = START_BITS, None
    while bits <= max_bits:
        with ctx.workprec(bits):
            try:
                x, y = value(left, reading), value(right, reading)
                if isinstance(x, fmpq) and isinstance(y, fmpq):
                    return bool(x == y)
                difference = ball(x) - ball(y)
                if not difference.contains(0):
                    return False
                needed = needed or separation(left, right, reading)
                if needed > max_bits:
                    break
                if log2(arb(difference.abs_upper())) < -needed:
                    return True
                bits = max(bits, min(max_bits // 2, int(needed + max(0.0, log2(ball(x))))))
            except ImpreciseError:
                pass
            except OverflowError as error:
                raise TooLargeError(str(error)) from error
        bits *= 2
    raise TooLargeError(f"more than {max_bits} bits are needed")


def close(gold: Tree, answer: Tree, reading: Reading, tolerance: float) -> bool:
    """Whether a constant is within a relative tolerance of another."""
    try:
        x, y = ball(value(gold, reading)), ball(value(answer, reading))
    except ImpreciseError:
        return False
    return bool(abs(x - y) <= arb(tolerance) * abs(x))


def log2(number: arb | acb) -> float:
    """Upper estimate of the binary logarithm of a ball's size; −∞ of zero."""
    mantissa, exponent = arb(number.abs_upper()).mid().man_exp()
    return float(mantissa.bit_length() + exponent) if mantissa else -math.inf


def separation(left: Tree, right: Tree, reading: Reading) -> float:
    """Bits b such that two different values of these trees are at least 2^−b apart."""
    roots: dict[tuple[Tree, int], int] = {}
    (u, low), (v, high) = measure(left, reading, roots), measure(right, reading, roots)
    above, below = max(u + high, v + low) + 1, low + high
    size = above + below
    degree = math.prod(roots.values()) * (2 if "i" in reading.values else 1)
    is_algebraic = not (calls(left) | calls(right)) - ALGEBRAIC and not constants(left) | constants(right)
    return (size if is_algebraic else 2 * size) + min((degree - 1) * above, MAX_DEGREE_BITS) + 64


ALGEBRAIC = frozenset(("+", "*", "/", "^", "root", "abs", "floor", "ceil", "sgn", "!", "binom"))


def constants(tree: Tree) -> frozenset[str]:
    """Names in a tree that stand for transcendental numbers."""
    if isinstance(tree, Call):
        return frozenset().union(*map(constants, tree.args))
    return frozenset((tree,)) if isinstance(tree, str) and tree != "i" else frozenset()


def measure(tree: Tree, reading: Reading, roots: dict[tuple[Tree, int], int]) -> tuple[float, float]:
    """Binary logarithms of the bound's u and l: what numerator and denominator can reach with their conjugates."""
    found = value(tree, reading)
    if isinstance(found, fmpq):
        return float(found.p.bit_length()), float(found.q.bit_length() - 1)
    if not isinstance(tree, Call) or tree.name in ("sum", "prod", "int"):
        size = abs(max(log2(found), -float(ctx.prec))) + 8
        return size, size
    parts = [measure(argument, reading, roots) for argument in tree.args]
    match tree.name:
        case "+":
            below = sum(low for _, low in parts)
            return max(high + below - low for high, low in parts) + len(parts).bit_length(), below
        case "*":
            return sum(high for high, _ in parts), sum(low for _, low in parts)
        case "/":
            return parts[0][0] + parts[1][1], parts[0][1] + parts[1][0]
        case "abs":
            return parts[0]
        case "root" | "^":
            exponent = value(tree.args[1], reading)
            if isinstance(exponent, fmpq) and exponent != 0:
                exponent = 1 / exponent if tree.name == "root" else exponent
                return measure_power(parts[0], int(exponent.p), int(exponent.q), tree.args[0], roots)
    size = sum(high + low for high, low in parts) + abs(max(log2(found), -float(ctx.prec))) + 8
    return size, size


def measure_power(
    base: tuple[float, float], numerator: int, index: int, tree: Tree, roots: dict[tuple[Tree, int], int]
) -> tuple[float, float]:
    """The bound's rule for a root of ``index``, raised to ``numerator``."""
    high, low = base
    if index > 1:
        roots[tree, index] = index
        if high >= low:
            high = (high + (index - 1) * low) / index
        else:
            low = ((index - 1) * high + low) / index
    high, low = (low, high) if numerator < 0 else (high, low)
    return high * abs(numerator), low * abs(numerator)


# ----------------------------------------------------------------------------------------- variables


def same_function(gold: Tree, answer: Tree, reading: Reading) -> bool:
    """Whether two trees have the same value at every point that is tried.

    Points at which the gold is real count; only if there are too few, those at which it is complex.
    A point at which the answer has a pole says nothing, so (x² − 1)/(x − 1) is x + 1; most may not be poles.
    """
    wanted = NUM_EXACT_POINTS if is_rational(gold) and is_rational(answer) else NUM_POINTS
    compared, poles, undecided, complex_points = 0, 0, False, []
    for point in points((gold, answer), reading):
        ours, theirs = substituted(gold, point), substituted(answer, point)
        if not is_real(ours, reading):
            complex_points.append((ours, theirs))
            continue
        try:
            if not same_constant(ours, theirs, reading, MAX_POINT_BITS):
                return False
            compared += 1
        except UndefinedError:
            poles += 1
        except TooLargeError:
            undecided = True
        if compared == wanted:
            break
    if compared >= MIN_POINTS:
        return poles <= compared
    for ours, theirs in complex_points:
        try:
            if not same_constant(ours, theirs, reading, MAX_POINT_BITS):
                return False
            compared += 1
        except UndefinedError:
            continue
        except TooLargeError:
            undecided = True
    if compared < MIN_POINTS and undecided:
        raise TooLargeError("numbers too large at every point")
    return compared >= MIN_POINTS


def is_rational(tree: Tree) -> bool:
    """Whether a tree is a rational function, for whose equality a few exact points are enough."""
    if isinstance(tree, str):
        return tree not in (r"\pi", "e")
    if isinstance(tree, Fraction):
        return True
    if tree.name == "^":
        return (
            is_rational(tree.args[0]) and isinstance(tree.args[1], Fraction) and tree.args[1].denominator == 1
        )
    return tree.name in RATIONAL and all(map(is_rational, tree.args))


def is_real(tree: Tree, reading: Reading) -> bool:
    """Whether a tree without variables has a value over the real numbers."""
    try:
        found = value(tree, Reading(True, reading.decimal_log, reading.values))
    except UndefinedError:
        return False
    except (ImpreciseError, TooLargeError, OverflowError):
        return True
    return not isinstance(found, acb)


def substituted(tree: Tree, point: Mapping[str, Fraction]) -> Tree:
    """A tree with numbers in the place of its variables."""
    if isinstance(tree, str):
        return point.get(tree, tree)
    if isinstance(tree, Fraction):
        return tree
    if tree.name in ("sum", "prod", "int"):
        point = {name: number for name, number in point.items() if name != tree.args[0]}
    return Call(tree.name, tuple(substituted(argument, point) for argument in tree.args))


def points(trees: tuple[Tree, ...], reading: Reading) -> Iterator[dict[str, Fraction]]:
    """Points to try, the same ones every time."""
    variables = sorted(frozenset().union(*map(names, trees)) - reading.values.keys())
    numbers = sorted({abs(number) for tree in trees for number in literals(tree) if number})[-12:] or [
        Fraction(1)
    ]
    product = math.prod((max(number, 1 / number) for number in numbers), start=Fraction(1))
    numbers.append(min(product, Fraction(10**40)))
    whole = INTEGERS if any(map(is_discrete, trees)) else frozenset()
    rng = random.Random("points")
    for trial in range(MAX_TRIALS):
        draw = DRAWS[trial % len(DRAWS)]
        center = numbers[trial // len(DRAWS) % len(numbers)]
        signs = (1,) if trial % 3 == 0 else (1, -1)
        point = {}
        for name in variables:
            if name[0] in whole:
                point[name] = Fraction(WHOLE_DRAWS[trial % len(WHOLE_DRAWS)](rng, math.floor(center)))
            else:
                point[name] = rng.choice(signs) * draw(rng, center)
        if whole and trial % 2 == 0:  # k ≤ n, as in a binomial, and by turns any order
            ordered = sorted(point[name] for name in variables if name[0] in whole)
            point.update(zip((name for name in variables if name[0] in whole), ordered, strict=True))
        yield point


Draw = Callable[[random.Random, Fraction], Fraction]
DRAWS: tuple[Draw, ...] = (
    lambda rng, center: Fraction(rng.randrange(1000, 9000), 2003),
    lambda rng, center: Fraction(rng.randrange(1, 1999), 2003),
    lambda rng, center: Fraction(rng.randrange(10**4, 10**7), 1009),
    lambda rng, center: Fraction(rng.randrange(10**9, 10**12)),
    lambda rng, center: center + Fraction(rng.randrange(-400, 400), 1201),
    lambda rng, center: Fraction(rng.randrange(1, 30)),
    lambda rng, center: center * Fraction(rng.randrange(1014, 4000), 1013),
)
"""Of every size, around a number that stands in the expressions, and beyond it."""
WHOLE_DRAWS: tuple[Callable[[random.Random, int], int], ...] = (
    lambda rng, center: rng.randrange(1, 13),
    lambda rng, center: rng.randrange(5, 60),
    lambda rng, center: min(center, 10**6) + rng.randrange(1, 5),
    lambda rng, center: rng.randrange(1, 8),
    lambda rng, center: rng.randrange(60, 300),
    lambda rng, center: max(1, min(center, 10**6) - rng.randrange(0, 3)),
    lambda rng, center: min(center, 10**6) * rng.randrange(1, 4) + rng.randrange(0, 3),
)


def literals(tree: Tree) -> Iterator[Fraction]:
    """Values of the constants in a tree, exponents left out; to a few digits where they are irrational."""
    if isinstance(tree, Call) and (names(tree) or not tree.args):
        for argument in tree.args[: 1 if tree.name in ("^", "root") else None]:
            yield from literals(argument)
    elif not names(tree):
        try:
            found = value(tree, Reading(real=True))
        except (ImpreciseError, TooLargeError, UndefinedError, OverflowError):
            return
        if isinstance(found, arb):
            mantissa, exponent = found.mid().man_exp()
            found = fmpq(mantissa) * fmpq(2) ** int(exponent) if abs(exponent) < 300 else fmpq(0)
        if isinstance(found, fmpq) and found.height_bits() < 300:
            yield Fraction(int(found.p), int(found.q))


def is_discrete(tree: Tree) -> bool:
    """Whether a tree has an operation on integers: a factorial, a floor, a power of −1."""
    if not isinstance(tree, Call):
        return False
    alternates = tree.name == "^" and tree.args[0] == Fraction(-1) and bool(names(tree.args[1]))
    return tree.name in DISCRETE or alternates or any(map(is_discrete, tree.args))


def proportional(left: tuple[Tree, Tree], right: tuple[Tree, Tree]) -> int:
    """For two pairs: the sign of the constant c with left₁ − left₂ = c (right₁ − right₂); 0 if there is none."""
    a, b = (Call("+", (pair[0], negated(pair[1]))) for pair in (left, right))
    if names(a) != names(b) or not names(a):
        return 0
    reading = Reading()
    first: tuple[Tree, Tree] | None = None
    compared = 0
    for point in points((a, b), reading):
        x, y = substituted(a, point), substituted(b, point)
        try:
            if first is None:
                if is_real(x, reading) and is_real(y, reading) and not same_constant(x, Fraction(0), reading):
                    first = (x, y)
            elif not same_constant(
                Call("*", (x, first[1])), Call("*", (y, first[0])), reading, MAX_POINT_BITS
            ):
                return 0
            else:
                compared += 1
        except (UndefinedError, TooLargeError):
            continue
        if compared == NUM_POINTS // 2:
            break
    if first is None or compared < MIN_POINTS or same_constant(first[1], Fraction(0), reading):
        return 0
    quotient = value(Call("/", first), reading)
    return 1 if quotient > 0 else -1
