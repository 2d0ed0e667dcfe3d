r"""A single value: an expression with a unit (``5\\text{ cm}``) or a base (``4210_5``). Standard library only."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from rlvr.rewards.math.reader import read
from rlvr.rewards.math.spelling import UNIT_LIKE
from rlvr.rewards.math.tokens import FUNCTION_NAMES, GREEK
from rlvr.rewards.math.tree import Tree
from rlvr.rewards.math.units import is_known, unit_name

BASE = re.compile(r"([-+]?[0-9][0-9A-F]*(?:\.[0-9A-F]+)?)_(?:\{(-?[0-9]{1,2}|\\text\{[a-z]+\})\}|([0-9]))")
BASES = {
    r"\text{two}": "2", r"\text{three}": "3", r"\text{eight}": "8", r"\text{ten}": "10", r"\text{sixteen}": "16",
}  # fmt: skip
UNIT_WORD = r"(?:(?:\\mu ?)?\\text\{(?:[^{}]|\{[^{}]*\})*[A-Za-z°](?:[^{}]|\{[^{}]*\})*\}|\^\\circ ?\\text\{ ?[CF] ?\}|\^\\circ ?[CF](?![A-Za-z]))(?: ?\^ ?(?:\{ ?-?[0-9] ?\}|-?[0-9]))?"
UNIT = re.compile(
    rf"(.*?[0-9A-Za-z}})\]!]|\\\$)((?:(?:\s|/|\\cdot|\\times|\()*{UNIT_WORD}\)?)+(?: ?\^ ?\{{?[23]\}}?)?)"
)
BARE_UNIT = re.compile(
    r"([-+]?(?:\\\$)?(?:[0-9][0-9,]*\.?[0-9]*|\.[0-9]+)(?: ?(?:[0-9]+)?/[0-9]+)?(?:\\times ?10\^\{?-?[0-9]+\}?)?|[-+]?[0-9]*\\frac\{[0-9]+\}\{[0-9]+\})"
    r"( ?[A-Za-z°][A-Za-z ./^0-9*°-]*)"
)
KNOWN_UNIT = re.compile(r"(.+[0-9})!])( [A-Za-z][A-Za-z /^0-9]*)")
UNSPACED = frozenset(["cm", "mm", "km", "kg", "mg", "ft", "mL", "ml", "mph", "kph", "in", "min"])
"""Units of two letters and more that may stand close behind a number, where other letters are variables."""
LETTER_UNITS = frozenset("mgshLNJWVAKC")
VARIABLES = (FUNCTION_NAMES - UNIT_LIKE) | GREEK | {"sqrt", "e", "i", "x", "y", "z", "n", "k", "t", "a", "b"}


@dataclass(frozen=True, slots=True)
class Scalar:
    """An expression with at most a unit and a base."""

    tree: Tree
    unit: str = ""
    base: str = ""
    text: str = field(default="", compare=False)


def scalar(text: str) -> Scalar:
    """An expression, its unit and its base."""
    base = BASE.fullmatch(text)
    if base:
        written = base.group(2) or base.group(3)
        digits = base.group(1).lstrip("+-")
        sign = "-" if base.group(1).startswith("-") else ""
        tree = read(sign + digits).tree if digits.isdigit() else sign + digits
        return Scalar(tree, base=BASES.get(written, written), text=text)
    money = re.match(r"([-+]?)(?:\\(\$)|([€£¥]))", text)
    if money:
        rest = scalar(money.group(1) + text[money.end() :].strip())
        return Scalar(rest.tree, rest.unit or money.group(2) or money.group(3), rest.base, text)
    if text.endswith("%"):
        return Scalar(read(text[:-1].strip()).tree, unit="%", text=text)
    match = UNIT.fullmatch(text) or BARE_UNIT.fullmatch(text) or KNOWN_UNIT.fullmatch(text)
    if match and (match.re is UNIT or is_unit(match.group(2), match.re is KNOWN_UNIT)):
        inner = scalar(match.group(1).strip()) if match.group(1) != r"\$" else None
        if inner is not None and inner.unit in ("", "$"):
            unit = unit_name(match.group(2))
            return Scalar(inner.tree, unit or inner.unit, inner.base, text)
    found = read(text)
    return Scalar(found.tree, "degree" if found.degrees else "", text=text)


def is_unit(text: str, only_known: bool = False) -> bool:
    """Whether letters behind a number are a unit, a thing that is counted, and no variables or functions."""
    runs = re.findall("[A-Za-z]+", text)
    first, spaced = runs[0], text[0] == " "
    if any(run in VARIABLES for run in runs):
        return False
    if len(first) == 1:
        return spaced and first in LETTER_UNITS and not only_known
    if not spaced and len(first) < 4 and first not in UNSPACED:
        return False
    return is_known(first) or (len(first) > 2 and not only_known and is_word(first))


def is_word(run: str) -> bool:
    """Whether letters are a word and no product of variables: it has a vowel, and not the order of the alphabet."""
    return bool(re.search("[aeiouyAEIOUY]", run)) and not (len(run) <= 4 and list(run) == sorted(set(run)))
