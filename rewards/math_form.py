r"""The written form of a mathematical answer: spelling made uniform, and its outer structure.

``(1,2)`` is a tuple, ``[1,2)`` an interval, ``1,2`` a list, ``\{1,2\}`` a set, ``x=5`` an equation,
``5\text{ cm}`` a scalar with a unit. Only what stands inside, a scalar, is left to symbolic algebra,
which would see no difference between several of these. Standard library only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

UNICODE = str.maketrans(
    {
        "−": "-",
        "–": "-",
        "×": r"\times ",
        "·": r"\cdot ",
        "÷": "/",
        "π": r"\pi ",
        "∞": r"\infty ",
        "√": r"\sqrt ",
        "≤": r"\le ",
        "≥": r"\ge ",
        "≠": r"\neq ",
        "∅": r"\emptyset ",
        "∪": r"\cup ",
        "∈": r"\in ",
        "±": r"\pm ",
        "°": r"^\circ ",
        "\u2009": r"\,",
        "\u202f": r"\,",
        "\u00a0": " ",
        "\n": " ",
        "\t": " ",
    }
)
SPACING = re.compile(r"\\[,!;:>]|\\ |~|\\q?quad\b|\\(?:left|right|[bB]igg?[lr]?)(?![A-Za-z])\.?")
SPELLINGS = (
    (re.compile(r"\\[dtc]frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\\(?:displaystyle|textstyle|limits|nolimits|strut)(?![A-Za-z])"), ""),
    (
        re.compile(r"\\(?:mathrm|textbf|textit|mathbf|mathit|mbox|textrm|textnormal|text|operatorname)\s*\{"),
        r"\\text{",
    ),
    (re.compile(r"\\(?:bf|rm|it)(?![A-Za-z])\s*"), ""),
    (re.compile(r"\\leq?(?:slant)?(?![A-Za-z])"), r"\\le"),
    (re.compile(r"\\geq?(?:slant)?(?![A-Za-z])"), r"\\ge"),
    (re.compile(r"\\lt(?![A-Za-z])"), "<"),
    (re.compile(r"\\gt(?![A-Za-z])"), ">"),
    (re.compile(r"\\(?:ne|not\s*=)(?![A-Za-z])"), r"\\neq"),
    (re.compile(r"\\lbrace(?![A-Za-z])|\\{\s*"), r"\\{"),
    (re.compile(r"\\rbrace(?![A-Za-z])|\s*\\}"), r"\\}"),
    (re.compile(r"\\lbrack(?![A-Za-z])"), "["),
    (re.compile(r"\\rbrack(?![A-Za-z])"), "]"),
    (re.compile(r"\\var(nothing)(?![A-Za-z])|\\\{\\\}"), r"\\emptyset"),
    (re.compile(r"\\dots|\\ldots|\\cdots"), r"\\dots"),
    (re.compile(r"\\(?:degree|degrees)(?![A-Za-z])"), r"^\\circ"),
    (re.compile(r"\^\s*\{\s*\\circ\s*\}|\^\s*\\circ"), r"^\\circ"),
    (re.compile(r"\\frac\s*([0-9])\s*([0-9])(?![0-9])"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\frac\s*([0-9])\s*\{"), r"\\frac{\1}{"),
    (re.compile(r"(\\frac\s*\{[^{}]*\})\s*([0-9A-Za-z])"), r"\1{\2}"),
    (re.compile(r"\\frac\s+([A-Za-z])\s*([0-9A-Za-z])"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\frac\s*\{\s*([^{}]*?)\s*\}\s*\{\s*([^{}]*?)\s*\}"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\sqrt\s*([0-9A-Za-z])"), r"\\sqrt{\1}"),
    (re.compile(r"\\sqrt\s*(\\[A-Za-z]+)"), r"\\sqrt{\1}"),
    (re.compile(r"\\cdot(?![A-Za-z])"), r"\\cdot"),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"\s*%"), "%"),
    (re.compile(r"\\\$|\$"), ""),
    (re.compile(r"\\[()\[\]]"), ""),
)
ROW = "\ue000"
"""Stands for the row break of a matrix while single backslashes are looked at."""
BOLD_NUMBER = re.compile(r"\\text\{([^{}A-Za-z\\]*[0-9][^{}A-Za-z\\]*)\}")
WORDS = re.compile(r"[A-Za-z][A-Za-z'’\- ]*[A-Za-z]")
EMPTY = frozenset(
    {"no solution", "no solutions", "no real solution", "no real solutions", "empty set", "the empty set"}
)
LETTERS = re.compile(r"\\text\{|(?<![\\A-Za-z])[A-Za-df-z](?![A-Za-z])|(?<![\\A-Za-z])[A-Za-z]{2,}")
RELATION = re.compile(r"\\le(?![A-Za-z])|\\ge(?![A-Za-z])|\\neq(?![A-Za-z])|<=|>=|<|>|=")
NAME = re.compile(r"\\?[A-Za-z]+(?:_\{?\w+\}?)?(?:\([A-Za-z, ]+\))?|\([A-Za-z](?:, ?[A-Za-z])+\)")
BASE = re.compile(r"([0-9A-F]+(?:\.[0-9A-F]+)?)_\{?([0-9]{1,2})\}?")
UNIT = re.compile(
    r"(.*?[0-9A-Za-z})])\s*\\text\{\s*([^{}]*?[A-Za-z][^{}]*?)\s*\}(?:\s*\^\s*\{?\s*([23])\s*\}?)?"
)
BARE_UNIT = re.compile(
    r"([-+]?(?:[0-9][0-9,]*\.?[0-9]*|\.[0-9]+)(?:/[0-9]+)?|\\frac\{[0-9]+\}\{[0-9]+\})\s+([A-Za-z][A-Za-z ./^0-9]*)"
)
UNIT_NAMES = {
    "°": "degree", "deg": "degree", "percent": "%", "dollars": "", "dollar": "", "usd": "",
    "metre": "m", "meter": "m", "centimeter": "cm", "centimetre": "cm", "kilometer": "km",
    "kilometre": "km", "millimeter": "mm", "inch": "in", "inche": "in", "foot": "ft", "feet": "ft",
    "second": "s", "sec": "s", "hour": "h", "hr": "h", "minute": "min", "gram": "g", "kilogram": "kg",
    "mile per hour": "mph", "unit": "", "square unit": "", "sq unit": "", "cubic unit": "",
}  # fmt: skip
"""Spellings of the same unit; a word that only says that there is one ("units", "dollars") is none."""
MATRIX = re.compile(r"\\begin\{([pbvB]?matrix|array)\}(?:\{[clr|]*\})?(.*)\\end\{\1\}")
OPENERS, CLOSERS = "([{", ")]}"


@dataclass(frozen=True, slots=True)
class Words:
    """A name or phrase, compared letter by letter without regard to case."""

    text: str


@dataclass(frozen=True, slots=True)
class Empty:
    """No solution, the empty set."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """An expression with at most a unit and a base."""

    latex: str
    unit: str = ""
    base: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Several answers and how they are held together."""

    kind: str
    """``list``, ``set`` and ``union`` have no order; ``()``, ``[]``, ``(]``, ``[)`` and ``matrix`` do."""
    items: tuple[Form, ...]
    columns: int = 0
    """Of a matrix, whose items stand row by row."""


@dataclass(frozen=True, slots=True)
class Relation:
    """Sides joined by =, <, >, ≤, ≥ or ≠: ``operators[i]`` stands between sides i and i + 1."""

    sides: tuple[Form, ...]
    operators: tuple[str, ...]


Form = Words | Empty | Scalar | Group | Relation


def normalise(text: str) -> str:
    """One spelling for what LaTeX and Unicode spell in many ways; the meaning does not change."""
    text = " ".join(text.translate(UNICODE).split())
    for _ in range(2):  # \boxed{\boxed{7}}, \boxed{x = \boxed{7}}
        text = re.sub(r"\\f?boxed\s*\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}", r"\1", text)
    if r"\begin" not in text:
        text = re.sub(r"\\\\(?=[A-Za-z])", r"\\", text)  # a backslash escaped once too often
    text = text.replace("\\\\", ROW)
    text = re.sub(r"(?<=[0-9])(?:\\[,!]|\{,\})+(?=[0-9]{3}(?![0-9]))", "", text)  # 1\,000
    text = re.sub(r"(?<=[0-9]),\\!(?=[0-9]{3})", ",", text)  # 1,\!000
    text = SPACING.sub(" ", text)
    for pattern, replacement in SPELLINGS:
        text = pattern.sub(replacement, text)
    text = re.sub(r"\s+", " ", text).strip().replace(ROW, "\\\\")
    text = re.sub(r"\s*([,;=<>])\s*", r"\1", text).rstrip(".;:, ")
    while len(text) > 1 and text[0] == "{" and matching(text, 0) == len(text) - 1:
        text = text[1:-1].strip()
    bold = BOLD_NUMBER.fullmatch(text)  # \textbf{(113)}, as competitions print their answers
    return bold.group(1).strip() if bold else text


@lru_cache(maxsize=4096)
def parse(text: str, depth: int = 0) -> Form:
    """The outer structure of a *normalised* answer.

    Raises:
        ValueError: brackets do not balance, a part is empty, or it nests deeper than anything sensible.
    """
    if depth > 8:
        raise ValueError("nested too deeply")
    if not text:
        raise ValueError("an empty answer")
    words = phrase(text)
    if words is not None:
        return Empty() if words.lower() in EMPTY else Words(words)
    if text == r"\emptyset":
        return Empty()
    membership = re.fullmatch(r"\\?[A-Za-z](?:_\{?\w+\}?)? ?\\in(?![A-Za-z])(.+)", text)
    if membership:
        return parse(membership.group(1).strip(), depth + 1)
    for separator in (r" ?\\text\{,? ?(?:and|or) ?,?\} ?| (?:and|or) ", "[,;]"):
        parts = split(text, re.compile(separator))
        if len(parts) > 1 and not re.fullmatch(r"[-+]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?[^,]*", text):
            items = tuple(parse(part.strip(), depth + 1) for part in parts if part.strip())
            return flattened(items)
    parts = split(text, RELATION)
    if len(parts) > 1:
        operators = tuple(OPERATORS.get(found, found) for found in separators(text, RELATION))
        return Relation(tuple(parse(part.strip(), depth + 1) for part in parts), operators)
    parts = split(text, re.compile(r"\\cup(?![A-Za-z])"))
    if len(parts) > 1:
        return Group("union", tuple(parse(part.strip(), depth + 1) for part in parts))
    return bracketed(text, depth) or plus_minus(text, depth) or scalar(text)


OPERATORS = {r"\le": "<=", r"\ge": ">=", r"\neq": "!="}


def phrase(text: str) -> str | None:
    """The text of an answer that is words and not mathematics, or None.

    Bare letters count as words from three on; two, like ``xy``, are a product.
    """
    inner = re.sub(r"\\text\{([^{}]*)\}", r" \1 ", text)
    marked = inner != text
    inner = re.sub(r"\s+", " ", inner).strip(" .")
    option = re.fullmatch(r"\(?([A-Za-z])\)?", inner)
    if marked and option:
        return option.group(1)
    if not WORDS.fullmatch(inner) or (not marked and not re.search("[A-Za-z]{3}", inner)):
        return None
    return inner


def flattened(items: tuple[Form, ...]) -> Group:
    """A list whose members that are lists themselves (±2) are taken apart."""
    flat: list[Form] = []
    for item in items:
        flat += item.items if isinstance(item, Group) and item.kind == "list" else [item]
    return Group("list", tuple(flat))


def bracketed(text: str, depth: int) -> Group | None:
    """A tuple, an interval, a set or a matrix; None for anything else, such as ``(x+1)(x-1)`` or ``(3)``."""
    matrix = MATRIX.fullmatch(text)
    if matrix:
        rows = [split(row, re.compile("&")) for row in re.split(r"\\\\", matrix.group(2)) if row.strip()]
        if not rows or len({len(row) for row in rows}) != 1:
            raise ValueError("rows of a matrix differ in length")
        items = tuple(parse(cell.strip(), depth + 1) for row in rows for cell in row)
        return Group("matrix", items, columns=len(rows[0]))
    if text.startswith(r"\{") and text.endswith(r"\}"):
        return Group("set", members(text[2:-2], depth))
    if text[0] in "([" and text[-1] in ")]" and matching(text, 0) == len(text) - 1:
        items = members(text[1:-1], depth)
        if len(items) > 1:
            return Group(text[0] + text[-1], items)
    return None


def members(text: str, depth: int) -> tuple[Form, ...]:
    """Comma-separated parts of a group."""
    parts = split(text, re.compile("[,;]"))
    return tuple(parse(part.strip(), depth + 1) for part in parts)


def plus_minus(text: str, depth: int) -> Group | None:
    r"""``a \pm b`` is the list of two."""
    before, sign, after = text.partition(r"\pm")
    if not sign or r"\pm" in after or r"\mp" in text:
        return None
    plus = f"{before}+{after}" if before.strip() else after
    return Group("list", (parse(plus.strip(), depth + 1), parse(f"{before}-{after.strip()}", depth + 1)))


def scalar(text: str) -> Scalar:
    """An expression, its unit and its base."""
    if unbalanced(text):
        raise ValueError("brackets do not balance")
    base = BASE.fullmatch(text)
    if base:
        return Scalar(base.group(1), base=base.group(2))
    if text.endswith("%"):
        return Scalar(text[:-1].strip(), unit="%")
    if text.endswith(r"^\circ"):
        return Scalar(text[: -len(r"^\circ")].strip(), unit="degree")
    match = UNIT.fullmatch(text) or BARE_UNIT.fullmatch(text)
    if match:
        power = match.group(3) if match.re is UNIT else None
        return Scalar(match.group(1), unit=unit_name(match.group(2), power or ""))
    return Scalar(text)


def unit_name(text: str, power: str) -> str:
    """One name for the spellings of a unit."""
    name = re.sub(r"[\s.]+", " ", text.lower().replace("^", "")).strip()
    for word, number in (("square ", "2"), ("sq ", "2"), ("cubic ", "3")):
        if name.startswith(word) and name not in UNIT_NAMES and name.rstrip("s") not in UNIT_NAMES:
            name, power = name.removeprefix(word), number
    singular = name[:-1] if name.endswith("s") and len(name) > 2 else name
    return UNIT_NAMES.get(name, UNIT_NAMES.get(singular, singular)) + power


def has_letters(latex: str) -> bool:
    """Whether an expression names something (a variable, a word), and so is no constant."""
    return bool(LETTERS.search(latex))


def matching(text: str, start: int) -> int:
    """Index of the bracket that closes the one at ``start``, of any of the three kinds; −1 without one."""
    depth = 0
    for index in range(start, len(text)):
        if text[index] in OPENERS:
            depth += 1
        elif text[index] in CLOSERS:
            depth -= 1
            if depth == 0:
                return index
    return -1


def unbalanced(text: str) -> bool:
    """Whether curly or round brackets of a scalar do not pair up."""
    plain = re.sub(r"\\[{}]", "", text)
    return plain.count("{") != plain.count("}") or plain.count("(") != plain.count(")")


def _cuts(text: str, separator: re.Pattern[str]) -> list[re.Match[str]]:
    """Occurrences of a separator outside all brackets."""
    depth, position, cuts = 0, 0, []
    for match in separator.finditer(text):
        for character in text[position : match.start()]:
            depth += (character in OPENERS) - (character in CLOSERS)
        position = match.start()
        if depth == 0:
            cuts.append(match)
    return cuts


def split(text: str, separator: re.Pattern[str]) -> list[str]:
    """Parts between the separators that stand outside all brackets."""
    parts, start = [], 0
    for cut in _cuts(text, separator):
        parts.append(text[start : cut.start()])
        start = cut.end()
    return [*parts, text[start:]]


def separators(text: str, separator: re.Pattern[str]) -> list[str]:
    """The separators themselves."""
    return [cut.group() for cut in _cuts(text, separator)]
