"""Whether two answers are the same, by structure and policy; scalars are left to a callback.

``same(gold, answer)`` is not symmetric: an answer may leave out what the policy calls optional, and a
gold number may be answered by an equation that ends in it (``m+n=204``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from rlvr.rewards.config import MathConfig
from rlvr.rewards.math_form import NAME, Empty, Form, Group, Relation, Scalar, Words, has_letters
from rlvr.rewards.math_numbers import close, is_decimal, plain_number

FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}


@dataclass(frozen=True)
class Algebra:
    """What the comparison needs from a computer algebra system."""

    equal: Callable[[str, str, float], bool]
    """Whether two LaTeX expressions are equal, within a relative tolerance for constants."""
    proportional: Callable[[tuple[str, str], tuple[str, str]], int]
    """For two pairs (left, right): the sign of the constant c with left₁ − right₁ = c (left₂ − right₂);
    0 if there is none."""


@dataclass(frozen=True)
class Comparison:
    """The rules, and the algebra under them."""

    policy: MathConfig
    algebra: Algebra

    def same(self, gold: Form, answer: Form) -> bool:
        """Whether ``answer`` is right where ``gold`` is the ground truth."""
        match gold, answer:
            case (Empty(), Empty()):
                return True
            case (Words(left), Words(right)):
                return _plain_words(left) == _plain_words(right)
            case (Words(left), Scalar(right)) | (Scalar(left), Words(right)):
                return _plain_words(left) == _plain_words(right)
            case (Relation(), Relation()):
                return self.same_relation(gold, answer)
            case (_, Relation()):
                return self.ends_in(gold, answer)
            case (Relation(), _):
                return self.names_only(gold, answer)
            case (Scalar(), Scalar()):
                return self.same_scalar(gold, answer)
            case (Group(), Group()):
                return self.same_group(gold, answer)
            case (Group("list" | "set", (only,)), _):
                return self.same(only, answer)
            case (_, Group("list" | "set", (only,))):
                return self.same(gold, only)
        return False

    def same_group(self, gold: Group, answer: Group) -> bool:
        """Groups of the same kind and members; a column or row vector is a tuple."""
        kinds = {gold.kind, answer.kind}
        if len(gold.items) != len(answer.items):
            return False
        if kinds == {"matrix"}:
            if gold.columns != answer.columns:
                return False
        elif "matrix" in kinds:
            matrix = gold if gold.kind == "matrix" else answer
            if kinds != {"matrix", "()"} or 1 not in (matrix.columns, len(matrix.items) // matrix.columns):
                return False
        elif len(kinds) > 1 and kinds != {"list", "set"}:
            return False
        if kinds & {"list", "set", "union"}:
            return self.same_members(gold.items, answer.items)
        return all(self.same(g, a) for g, a in zip(gold.items, answer.items, strict=True))

    def same_members(self, gold: Sequence[Form], answer: Sequence[Form]) -> bool:
        """Equal up to order; each member is used once."""
        left = list(answer)
        for item in gold:
            found = next((i for i, other in enumerate(left) if self.same(item, other)), None)
            if found is None:
                return False
            del left[found]
        return True

    def same_relation(self, gold: Relation, answer: Relation) -> bool:
        """Equations and inequalities that say the same."""
        ours, theirs = interval(gold), interval(answer)
        if ours is not None and theirs is not None:
            return self.same_group(ours, theirs)
        if len(gold.sides) != 2 or len(answer.sides) != 2:
            return gold.operators == answer.operators and all(
                self.same(g, a) for g, a in zip(gold.sides, answer.sides, strict=True)
            )
        if gold.operators == answer.operators and self.named(gold) and gold.sides[0] == answer.sides[0]:
            return self.same(gold.sides[1], answer.sides[1])
        sides = [*gold.sides, *answer.sides]
        if not all(isinstance(side, Scalar) for side in sides):
            return gold.operators == answer.operators and gold.sides == answer.sides
        a, b, c, d = (side.latex for side in sides if isinstance(side, Scalar))
        sign = self.algebra.proportional((a, b), (c, d))
        wanted, given = gold.operators[0], answer.operators[0]
        return bool(sign) and given == (wanted if sign > 0 else FLIPPED.get(wanted, wanted))

    def ends_in(self, gold: Form, answer: Relation) -> bool:
        """``m+n=204`` answers 204, ``1<x<2`` answers (1,2); ``8=7`` is false and answers nothing."""
        if set(answer.operators) != {"="}:
            theirs = interval(answer)
            return theirs is not None and isinstance(gold, Group) and self.same_group(gold, theirs)
        *others, last = answer.sides
        constants = [side for side in others if isinstance(side, Scalar) and not has_letters(side.latex)]
        return self.same(gold, last) and all(self.same(gold, side) for side in constants)

    def names_only(self, gold: Relation, answer: Form) -> bool:
        """``x=5`` is answered by 5, ``1<x<2`` by (1,2); a real equation is not answered by one side."""
        if gold.operators == ("=",) and self.named(gold):
            return self.same(gold.sides[1], answer)
        ours = interval(gold)
        return ours is not None and isinstance(answer, Group) and self.same_group(ours, answer)

    @staticmethod
    def named(relation: Relation) -> bool:
        """Whether the left side is only a name: ``x``, ``f(x)``, ``(x,y)``."""
        left = relation.sides[0]
        if isinstance(left, Group):
            return all(isinstance(item, Scalar) and NAME.fullmatch(item.latex) for item in left.items)
        return isinstance(left, Words) or (isinstance(left, Scalar) and bool(NAME.fullmatch(left.latex)))

    def same_scalar(self, gold: Scalar, answer: Scalar) -> bool:
        """Unit, base, then value."""
        gold, answer = self.in_values(gold), self.in_values(answer)
        policy = self.policy
        if not _attribute(gold.unit, answer.unit, policy.units) or not _attribute(
            gold.base, answer.base, policy.bases
        ):
            return False
        ours, theirs = plain_number(gold.latex), plain_number(answer.latex)
        decimal = is_decimal(gold.latex) or is_decimal(answer.latex)
        tolerance = policy.decimal_tolerance if decimal else 0.0
        if ours is not None and theirs is not None:
            return close(ours, theirs, tolerance)
        return gold.latex == answer.latex or self.algebra.equal(gold.latex, answer.latex, tolerance)

    def in_values(self, scalar: Scalar) -> Scalar:
        """Percent and degrees as numbers, where the policy says so."""
        if scalar.unit == "%" and self.policy.percent == "value":
            value = plain_number(scalar.latex)
            latex = _ratio(value / 100) if value is not None else rf"\frac{{{scalar.latex}}}{{100}}"
            return replace(scalar, latex=latex, unit="")
        if scalar.unit == "degree" and self.policy.degrees == "radians":
            return replace(scalar, latex=rf"({scalar.latex})\cdot\frac{{\pi}}{{180}}", unit="")
        return scalar


def interval(relation: Relation) -> Group | None:
    """``1<x≤2`` as the interval (1,2]; ``x>1`` as (1,∞). None for what is no interval of a variable."""
    sides, operators = relation.sides, relation.operators
    if {"=", "!="} & set(operators) or not all(isinstance(side, Scalar) for side in sides):
        return None
    if operators[0] in (">", ">="):
        sides, operators = sides[::-1], tuple(FLIPPED[operator] for operator in operators[::-1])
    if not all(operator in ("<", "<=") for operator in operators):
        return None
    variable = [index for index, side in enumerate(sides) if NAME.fullmatch(side.latex)]  # type: ignore[union-attr]
    infinity = Scalar(r"\infty")
    if len(sides) == 3 and 1 in variable:
        return Group(_brackets(operators[0], operators[1]), (sides[0], sides[2]))
    if len(sides) == 2 and variable == [0]:
        return Group(_brackets("<", operators[0]), (Scalar(r"-\infty"), sides[1]))
    if len(sides) == 2 and variable == [1]:
        return Group(_brackets(operators[0], "<"), (sides[0], infinity))
    return None


def _brackets(left: str, right: str) -> str:
    return ("(" if left == "<" else "[") + (")" if right == "<" else "]")


def _attribute(gold: str, answer: str, policy: str) -> bool:
    """Whether a unit or base is right: a different one never is, unless it is ignored."""
    if policy == "ignored" or gold == answer:
        return True
    return policy == "optional" and not (gold and answer)


def _plain_words(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum())


def _ratio(value: Fraction) -> str:
    sign = "-" if value < 0 else ""
    return rf"{sign}\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"
