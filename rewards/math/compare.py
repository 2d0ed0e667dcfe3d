r"""Whether two answers are the same, by structure and policy.

``same(gold, answer)`` is not symmetric: an answer may leave out what the policy calls optional, and a
gold number may be answered by an equation that ends in it (``m+n=204``). Every rule is in docs/rewards.md.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from rlvr.rewards.config import MathConfig
from rlvr.rewards.math.equal import equal, proportional
from rlvr.rewards.math.form import (
    NAME,
    Congruence,
    Empty,
    Form,
    Group,
    Ratio,
    Relation,
    Time,
    Words,
)
from rlvr.rewards.math.reader import read
from rlvr.rewards.math.scalar import LETTER_UNITS, Scalar
from rlvr.rewards.math.spelling import normalise
from rlvr.rewards.math.tokens import UnreadableError
from rlvr.rewards.math.tree import Call, Tree, names

FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
INTERVALS = frozenset(("()", "[]", "(]", "[)"))
UNORDERED = frozenset(("list", "set", "union", "cases"))
INFINITY, MINUS_INFINITY = Scalar(r"\infty"), Scalar(Call("*", (Fraction(-1), r"\infty")))
REALS = Group("()", (MINUS_INFINITY, INFINITY))
DECIMAL = re.compile(r"\.[0-9]")


@dataclass(frozen=True)
class Comparison:
    """The rules of one policy."""

    policy: MathConfig

    def same(self, gold: Form, answer: Form) -> bool:
        """Whether ``answer`` is right where ``gold`` is the ground truth.

        Raises:
            UnreadableError, TooLargeError: from the comparison of expressions.
        """
        match gold, answer:
            case (Empty(), Empty()):
                return True
            case (Words(), Words()):
                return same_words(gold, answer)
            case (Words(), Scalar()):
                return same_words(gold, Words(answer.text, False))
            case (Scalar(), Words()):
                return same_words(Words(gold.text, False), answer)
            case (Scalar(), Scalar()):
                return self.same_scalar(gold, answer)
            case (Time(), Time()):
                return same_time(gold, answer)
            case (Congruence(), Congruence()):
                return self.same_congruence(gold, answer)
            case (Congruence(), Scalar()):
                return self.same(gold.right, answer)
            case (Relation(), Relation()):
                return self.same_relation(gold, answer)
        return self.same_structure(gold, answer)

    def same_structure(self, gold: Form, answer: Form) -> bool:
        """Forms of which one is a group, a ratio, or an equation that states the other."""
        ours, theirs = as_set(gold), as_set(answer)
        if ours is not None and theirs is not None:
            return self.same_group(ours, theirs)
        match gold, answer:
            case (Ratio(), Ratio()):
                return self.same_ratio(gold, answer)
            case (Ratio(), Scalar()):
                return self.same_quotient(gold, answer)
            case (Scalar(), Ratio()):
                return self.same_quotient(answer, gold)
            case (_, Relation()):
                return self.ends_in(gold, answer)
            case (Relation(), _):
                return self.names_only(gold, answer)
            case (Group(), Group()):
                return self.same_group(gold, answer)
            case (Group("list" | "set", (only,)), _):
                return self.same(only, answer)
            case (_, Group("list" | "set", (only,))):
                return self.same(gold, only)
        return False

    # ------------------------------------------------------------------------------------- groups

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
        elif len(kinds) > 1 and kinds not in ({"list", "set"}, {"list", "sequence"}, {"list", "cases"}):
            return False
        if kinds & UNORDERED and "sequence" not in kinds:
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

    # ---------------------------------------------------------------------------------- relations

    def same_relation(self, gold: Relation, answer: Relation) -> bool:
        """Equations and inequalities that say the same about the same variables."""
        ours, theirs = interval(gold), interval(answer)
        if ours is not None and theirs is not None:
            return variable(gold) == variable(answer) and self.same_group(ours, theirs)
        if len(gold.sides) != 2 or len(answer.sides) != 2:
            return gold.operators == answer.operators and all(
                self.same(g, a) for g, a in zip(gold.sides, answer.sides, strict=True)
            )
        if (
            gold.operators == answer.operators
            and is_name(gold.sides[0])
            and self.same(gold.sides[0], answer.sides[0])
        ):
            return self.same(gold.sides[1], answer.sides[1])
        sides = [*gold.sides, *answer.sides]
        if not all(isinstance(side, Scalar) for side in sides):
            return gold.operators == answer.operators and all(map(self.same, gold.sides, answer.sides))
        a, b, c, d = (side.tree for side in sides if isinstance(side, Scalar))
        sign = proportional((a, b), (c, d))
        wanted, given = gold.operators[0], answer.operators[0]
        return bool(sign) and given == (wanted if sign > 0 else FLIPPED.get(wanted, wanted))

    def ends_in(self, gold: Form, answer: Relation) -> bool:
        """``m+n=204`` answers 204, ``1<x<2`` answers (1,2); ``8=7`` is false and answers nothing."""
        if answer.operators == ("in",):
            return self.same(gold, answer.sides[1])
        if set(answer.operators) != {"="}:
            return False
        *others, last = answer.sides
        constants = [side for side in others if isinstance(side, Scalar) and not names(side.tree) - {"i"}]
        return self.same(gold, last) and all(self.same(gold, side) for side in constants)

    def names_only(self, gold: Relation, answer: Form) -> bool:
        """``x=5`` is answered by 5; a real equation is not answered by one side."""
        return (
            gold.operators in (("=",), ("in",))
            and is_name(gold.sides[0])
            and self.same(gold.sides[1], answer)
        )

    def same_congruence(self, gold: Congruence, answer: Congruence) -> bool:
        """The same residue of the same modulus; whole residues may differ by multiples of it."""
        if not self.same(gold.left, answer.left) or not self.same(gold.modulus, answer.modulus):
            return False
        parts = [part.tree for part in (gold.right, answer.right, gold.modulus) if isinstance(part, Scalar)]
        numbers = [part for part in parts if isinstance(part, Fraction) and part.denominator == 1]
        if len(numbers) == 3 and numbers[2]:
            return (numbers[0] - numbers[1]) % numbers[2] == 0
        return self.same(gold.right, answer.right)

    def same_ratio(self, gold: Ratio, answer: Ratio) -> bool:
        """Ratios with proportional parts."""
        ours, theirs = trees(gold.parts), trees(answer.parts)
        if ours is None or theirs is None:
            return len(gold.parts) == len(answer.parts) and all(map(self.same, gold.parts, answer.parts))
        return len(ours) == len(theirs) and all(
            equal(Call("*", (ours[0], theirs[i])), Call("*", (ours[i], theirs[0])))
            for i in range(1, len(ours))
        )

    def same_quotient(self, left: Ratio, right: Scalar) -> bool:
        """Whether a ratio of two is written as their quotient."""
        parts = trees(left.parts)
        return (
            parts is not None
            and len(parts) == 2
            and not right.unit
            and equal(Call("/", tuple(parts)), right.tree)
        )

    # ------------------------------------------------------------------------------------ scalars

    def same_scalar(self, gold: Scalar, answer: Scalar) -> bool:
        """Unit, base, then value."""
        gold, answer = self.in_values(gold), self.in_values(answer)
        policy = self.policy
        if not _attribute(gold.unit, answer.unit, policy.units) or not _attribute(
            gold.base, answer.base, policy.bases
        ):
            return False
        if (
            gold.unit != answer.unit
            and {gold.unit, answer.unit} <= {"", *LETTER_UNITS}
            and same_product(gold, answer)
        ):
            return True
        decimal = DECIMAL.search(gold.text) or DECIMAL.search(answer.text)
        return equal(gold.tree, answer.tree, policy.decimal_tolerance if decimal else 0.0)

    def in_values(self, scalar: Scalar) -> Scalar:
        """Percent and degrees as numbers, where the policy says so."""
        if scalar.unit == "%" and self.policy.percent == "value":
            return replace(scalar, tree=Call("/", (scalar.tree, Fraction(100))), unit="")
        if scalar.unit == "degree" and self.policy.degrees == "radians":
            return replace(scalar, tree=Call("*", (scalar.tree, Call("/", (r"\pi", Fraction(180))))), unit="")
        return scalar


def same_product(gold: Scalar, answer: Scalar) -> bool:
    """Whether two scalars are equal where the letter behind a number is a factor and no unit: ``2 m`` is ``2m``."""
    try:
        return equal(read(gold.text).tree, read(answer.text).tree)
    except UnreadableError:
        return False


def same_words(gold: Words, answer: Words) -> bool:
    """The same words and numbers in the same order. Letter case counts where both are runs of variables."""
    if not gold.marked and not answer.marked:
        return gold.text == answer.text
    return _plain_words(gold.text) == _plain_words(answer.text)


def _plain_words(text: str) -> list[str]:
    text = re.sub(r"\\text\{([^{}]*)\}", r"\1", text).lower().replace("'", "").replace("-", " ")
    return re.findall(r"[0-9]+(?:[.,:/][0-9]+)*|[^\W\d_]+|[^\s\w.,;:!?(){}]", text)


def same_text(gold: str, answer: str) -> bool:
    """Whether two answers are spelled the same, but for white space: for a ground truth without a known meaning."""
    ours, theirs = ("".join(normalise(text).split()) for text in (gold, answer))
    return ours == theirs


def same_time(gold: Time, answer: Time) -> bool:
    """The same time; a.m. and p.m. may be left out, and 5:30 p.m. is 17:30."""
    if gold.parts == answer.parts:
        return gold.half == answer.half or not (gold.half and answer.half)
    return gold.half != answer.half and _minutes(gold) == _minutes(answer)


def _minutes(time: Time) -> tuple[int, int, int]:
    hours, minutes, seconds = time.parts
    return (hours % 12 + 12 if time.half == "pm" else hours % 12 if time.half else hours), minutes, seconds


def is_name(form: Form) -> bool:
    """Whether a side of an equation is only a name: ``x``, ``f(x)``, ``(x,y)``, ``Area``."""
    if isinstance(form, Group):
        return all(isinstance(item, Scalar) and isinstance(item.tree, str) for item in form.items)
    return isinstance(form, Words) or (
        isinstance(form, Scalar) and bool(NAME.fullmatch(form.text)) and bool(names(form.tree))
    )


def interval(relation: Relation) -> Group | None:
    """``1<x≤2`` as the interval (1,2]; ``x>1`` as (1,∞); x≠1 as two. None for what is no interval of a variable."""
    sides, operators = relation.sides, relation.operators
    if operators == ("in",):
        return as_set(sides[1])
    if "=" in operators or not all(isinstance(side, Scalar) for side in sides):
        return None
    if operators == ("!=",):
        return outside((sides[1],)) if is_name(sides[0]) else None
    if operators[0] in (">", ">="):
        sides, operators = sides[::-1], tuple(FLIPPED.get(operator, operator) for operator in operators[::-1])
    if not all(operator in ("<", "<=") for operator in operators):
        return None
    if len(sides) == 3 and is_name(sides[1]):
        return Group(_brackets(operators[0], operators[1]), (sides[0], sides[2]))
    if len(sides) == 2 and is_name(sides[0]):
        return Group(_brackets("<", operators[0]), (MINUS_INFINITY, sides[1]))
    if len(sides) == 2 and is_name(sides[1]):
        return Group(_brackets(operators[0], "<"), (sides[0], INFINITY))
    return None


def variable(relation: Relation) -> Tree | None:
    """The name that an inequality is about."""
    side = next(
        (side for side in relation.sides[1:2] + relation.sides[:1] + relation.sides[2:] if is_name(side)),
        None,
    )
    if len(relation.sides) == 2 and is_name(relation.sides[0]):
        side = relation.sides[0]
    return side.tree if isinstance(side, Scalar) else None


def outside(excluded: Sequence[Form]) -> Group | None:
    """The real numbers without some: intervals between them, which must be fractions."""
    found = trees(excluded)
    if found is None:
        return None
    numbers = sorted(number for number in found if isinstance(number, Fraction))
    if len(found) == 1:
        return _around(found)
    return _around(numbers) if len(numbers) == len(found) else None


def _around(numbers: Sequence[Tree]) -> Group:
    ends = [MINUS_INFINITY, *map(Scalar, numbers), INFINITY]
    return Group("union", tuple(Group("()", pair) for pair in itertools.pairwise(ends)))


def as_set(form: Form) -> Group | None:
    """Intervals and what says the same as one: an inequality, ℝ, ℝ without numbers, ``x<1 or x>2``."""
    match form:
        case Relation():
            return interval(form)
        case Scalar(tree=r"\mathbb{R}"):
            return REALS
        case Group(
            "without", (Scalar(tree=r"\mathbb{R}") | Group("()", (_, _)) as whole, Group("set", excluded))
        ):
            return outside(excluded) if as_set(whole) == REALS else None
        case Group("list", items) if items and all(isinstance(item, Relation) for item in items):
            found = [interval(item) for item in items if isinstance(item, Relation)]
            about = {variable(item) for item in items if isinstance(item, Relation)}
            if len(about) == 1 and all(part is not None for part in found):
                return Group("union", tuple(part for part in found if part is not None))
            return None
        case Group(kind, (_, _)) if kind in INTERVALS or kind == "union":
            return form
        case Group("union"):
            return form
    return None


def trees(forms: Sequence[Form]) -> list[Tree] | None:
    """The expressions of scalars without units; None if there is anything else."""
    found = [form.tree for form in forms if isinstance(form, Scalar) and not form.unit]
    return found if len(found) == len(forms) else None


def _brackets(left: str, right: str) -> str:
    return ("(" if left == "<" else "[") + (")" if right == "<" else "]")


def _attribute(gold: str, answer: str, policy: str) -> bool:
    """Whether a unit or base is right: a different one never is, unless it is ignored."""
    if policy == "ignored" or gold == answer:
        return True
    return policy == "optional" and not (gold and answer)
