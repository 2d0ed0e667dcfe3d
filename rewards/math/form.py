r"""The outer structure of a mathematical answer.

``(1,2)`` is a tuple, ``[1,2)`` an interval, ``1,2`` a list, ``\{1,2\}`` a set, ``x=5`` an equation,
``5\text{ cm}`` a scalar with a unit, ``3:4`` a ratio, ``11:00`` a time. What stands inside, a scalar, is an
expression (:mod:`rlvr.rewards.math.tree`). Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from rlvr.rewards.math.scalar import Scalar, is_word, scalar
from rlvr.rewards.math.spelling import CLOSERS, OPENERS, matching
from rlvr.rewards.math.tokens import FUNCTION_NAMES, GREEK, INFINITY, UnreadableError

MAX_DEPTH = 8
WORDS = re.compile(r"[A-Za-z][A-Za-z'\- .]*[A-Za-z.]")
NUMBERED_WORDS = re.compile(r"[A-Za-z]{3}[A-Za-z'\-]*[ ,]+[A-Za-z0-9'\- ,.:]*[0-9A-Za-z]")
EMPTY = frozenset([
    "no solution", "no solutions", "no real solution", "no real solutions", "no real roots", "no such",
    "empty set", "the empty set", "no integer solutions", "none exist", "does not exist", "dne"
])  # fmt: skip
REALS = frozenset([
    "all real numbers", "all reals", "real numbers", "the real numbers", "all real",
    "the set of real numbers",
])  # fmt: skip
JOINED = re.compile(
    r" ?\\text\{,? ?(?:and|or|AND|OR) ?,?\} ?| (?:and|or|AND|OR) |,? ?\\(?:lor|land|vee|wedge)(?![A-Za-z]) ?"
)
COMMA = re.compile("[,;]")
THOUSANDS = re.compile(r"[-+]?(?:\\\$)?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?[^,]*")
ABOUT = re.compile(r"\\approx(?![A-Za-z])|\\simeq(?![A-Za-z])|≈")
RELATION = re.compile(r"\\le(?![A-Za-z])|\\ge(?![A-Za-z])|\\neq(?![A-Za-z])|<|>|=")
OPERATORS = {r"\le": "<=", r"\ge": ">=", r"\neq": "!="}
NAME = re.compile(
    r"(?:m ?)?(?:\\angle ?|\\triangle ?)?\\?[A-Za-z]+(?: ?[A-Z](?:_\{?\w+\}?)?)*(?:_\{?[\w,\\ {}]+\}?)?'*(?: ?\([A-Za-z, ]+\))?"
    r"|\([A-Za-z](?:_\{?\w+\}?)?(?:, ?[A-Za-z](?:_\{?\w+\}?)?)+\)"
)
TIME = re.compile(
    r"(\d{1,2})(?::(\d\d)(?::(\d\d))?)? ?(?:\\text\{ ?)?(a\.? ?m\.?|p\.? ?m\.?|A\.? ?M\.?|P\.? ?M\.?|o'clock)?\s*\}?"
)
MATRIX = re.compile(r"\\begin\{([pbB]?matrix|smallmatrix|array)\}(?:\{[clr| ]*\})?(.*)\\end\{\1\}")
CASES = re.compile(
    r"\\begin\{(cases|aligned|align\*?|gathered|split)\}(.*)\\end\{\1\}|\\\{ ?\\begin\{array\}(?:\{[clr| ]*\})?(.*)\\end\{array\}"
)
CONDITION = re.compile(
    r"^(?:\\text\{ ?)?(?:if|when|for|where)\b(?: ?\})?|^\\text\{ ?(?:if|when|for|where) ?\}"
)
CONGRUENCE = re.compile(
    r"(.*?)\\equiv(?![A-Za-z])(.*?)\(? ?(?:\\pmod|\\mod|\\bmod|\\text\{ ?mod ?\}|mod) ?\{?(.*?)\}? ?\)?"
)
MEMBER = re.compile(r"(\\?[A-Za-z]+(?:_\{?\w+\}?)?) ?\\in(?![A-Za-z]) ?(.+)")
INTERVAL = re.compile(r"([A-Za-z]) ?(\([^()\[\]]*\]|\[[^()\[\]]*\))")
BUILDER = re.compile(
    r" ?([A-Za-z])(?: ?\\in ?(?:\\mathbb\{R\}|\\mathbb ?R|\\R|ℝ))? ?(?::|\\colon(?![A-Za-z])|\\mid(?![A-Za-z])|\\vert(?![A-Za-z])|\|) ?(.+)"
)
"""``x : x > 2`` within the braces of a set."""
MATHEMATICAL = FUNCTION_NAMES | GREEK | INFINITY | {"sqrt", "cbrt"}
KNOWN_WORDS = frozenset(["yes", "no", "true", "false", "even", "odd"])


@dataclass(frozen=True, slots=True)
class Words:
    """A name or phrase, compared letter by letter."""

    text: str
    marked: bool = True
    """Whether it stood in ``\\text{}`` or is more than a run of letters, which may be a product."""


@dataclass(frozen=True, slots=True)
class Empty:
    """No solution, the empty set."""


@dataclass(frozen=True, slots=True)
class Group:
    """Several answers and how they are held together."""

    kind: str
    """``list``, ``set``, ``union`` and ``cases`` have no order; ``()``, ``[]``, ``(]``, ``[)``, ``sequence`` and
    ``matrix`` do."""
    items: tuple[Form, ...]
    columns: int = 0
    """Of a matrix, whose items stand row by row."""


@dataclass(frozen=True, slots=True)
class Relation:
    """Sides joined by =, <, >, ≤, ≥, ≠ or ∈: ``operators[i]`` stands between sides i and i + 1."""

    sides: tuple[Form, ...]
    operators: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Congruence:
    """``left ≡ right (mod modulus)``."""

    left: Form
    right: Form
    modulus: Form


@dataclass(frozen=True, slots=True)
class Ratio:
    """``3:4``, ``1:2:3``."""

    parts: tuple[Form, ...]


@dataclass(frozen=True, slots=True)
class Time:
    """A time of day or a duration as a clock shows it."""

    parts: tuple[int, ...]
    half: str
    """``am``, ``pm`` or nothing."""


Form = Words | Empty | Scalar | Group | Relation | Congruence | Ratio | Time


@lru_cache(maxsize=4096)
def parse(text: str, depth: int = 0) -> Form:
    """The structure of a *normalised* answer.

    Raises:
        UnreadableError: it has no meaning, or nests deeper than anything sensible.
    """
    if depth > MAX_DEPTH:
        raise UnreadableError("nested too deeply")
    if not text:
        raise UnreadableError("an empty answer")
    words = phrase(text)
    if words is not None:
        return known_phrase(words)
    if text in (r"\emptyset", r"\text{\emptyset}"):
        return Empty()
    return (
        clock(text)
        or several(text, depth)
        or related(text, depth)
        or united(text, depth)
        or bracketed(text, depth)
        or plus_minus(text, depth)
        or ratio(text, depth)
        or scalar(text)
    )


def phrase(text: str) -> Words | None:
    """The text of an answer that is words and not mathematics, or None.

    Bare letters count as words from three on, unless they stand in the order of the alphabet as variables do.
    """
    inner = re.sub(r"\\text\{([^{}]*)\}", r" \1 ", text)
    marked = inner != text
    inner = re.sub(r"\s+", " ", inner).strip(" .")
    option = re.fullmatch(r"\(?([A-Za-z])\)?", inner)
    if marked and option:
        return Words(option.group(1))
    if inner.lower() in KNOWN_WORDS:
        return Words(inner)
    longer = [word for word in re.findall("[A-Za-z]+", inner) if len(word) > 2 and word not in ("and", "or")]
    if not longer and not marked:
        return None
    if not marked and all(word in MATHEMATICAL or _called(word) for word in longer):
        return None
    if WORDS.fullmatch(inner):
        variables = " " not in inner and len(inner) <= 4 and list(inner) == sorted(set(inner))
        return (
            None
            if variables and not marked
            else Words(inner, marked or " " in inner or looks_like_word(inner))
        )
    return Words(inner) if NUMBERED_WORDS.fullmatch(inner) else None


def looks_like_word(text: str) -> bool:
    """Whether letters without a mark are so much of a word that their case says nothing."""
    return text.lower() in KNOWN_WORDS or len(text) > 4 or (is_word(text) and text[1:].islower())


def _called(word: str) -> bool:
    return any(word.startswith(name) and len(word) <= len(name) + 1 for name in FUNCTION_NAMES)


def known_phrase(words: Words) -> Form:
    """Phrases that are sets: no solution, all real numbers."""
    if words.text.lower() in EMPTY:
        return Empty()
    if words.text.lower() in REALS:
        return Scalar(r"\mathbb{R}", text=r"\mathbb{R}")
    return words


def clock(text: str) -> Time | None:
    """A time of day: two digits behind the colon, or a.m. or p.m. behind the hour."""
    match = TIME.fullmatch(text)
    if match is None or (match.group(2) is None and match.group(4) is None) or int(match.group(2) or 0) > 59:
        return None
    half = re.sub(r"[. ]", "", (match.group(4) or "").lower())
    parts = (int(match.group(1)), int(match.group(2) or 0), int(match.group(3) or 0))
    return Time(parts, half if half in ("am", "pm") else "")


def several(text: str, depth: int) -> Form | None:
    """Members of a set, several answers, or rows of cases."""
    member = MEMBER.fullmatch(text) or INTERVAL.fullmatch(text)
    if member and len(split(text, JOINED)) == 1:
        return Relation((parse(member.group(1), depth + 1), parse(member.group(2), depth + 1)), ("in",))
    rows = CASES.fullmatch(text)
    if rows:
        return in_cases(rows.group(2) or rows.group(3), depth)
    parts = split(text, JOINED)
    if len(parts) > 1:
        return flattened(tuple(parse(part.strip(" ,"), depth + 1) for part in parts if part.strip(" ,")))
    if r"\equiv" in text:
        return congruence(text, depth)
    parts = split(text, COMMA)
    if len(parts) > 1 and not THOUSANDS.fullmatch(text):
        return flattened(tuple(parse(part.strip(), depth + 1) for part in parts if part.strip()))
    return None


def in_cases(text: str, depth: int) -> Group:
    """Rows of a system or a case distinction: each a form, or a pair of value and condition."""
    items: list[Form] = []
    for row in re.split(r"\\\\", text):
        if row.strip():
            cells = [
                CONDITION.sub("", cell.strip(" ,.")).strip(" ,.") for cell in split(row, re.compile("&|,"))
            ]
            if "&=" in row.replace(" ", ""):
                cells = [row.replace("&", "").strip(" ,.")]
            parts = tuple(parse(cell, depth + 1) for cell in cells if cell)
            items.append(parts[0] if len(parts) == 1 else Group("()", parts))
    return Group("cases" if any(isinstance(item, Group) for item in items) else "list", tuple(items))


def congruence(text: str, depth: int) -> Form:
    r"""``x \\equiv 3 \\pmod{7}``."""
    match = CONGRUENCE.fullmatch(text)
    if match is None:
        raise UnreadableError("a congruence without its modulus")
    return Congruence(*(parse(part.strip(), depth + 1) for part in match.groups()))


def flattened(items: tuple[Form, ...]) -> Group:
    """A list whose members that are lists themselves (±2) are taken apart; one with dots keeps its order."""
    flat: list[Form] = []
    for item in items:
        flat += item.items if isinstance(item, Group) and item.kind == "list" else [item]
    dots = any(isinstance(item, Scalar) and item.tree == r"\dots" for item in flat)
    return Group("sequence" if dots else "list", tuple(flat))


def related(text: str, depth: int) -> Form | None:
    """Equations and inequalities."""
    parts = split(text, ABOUT)
    if len(parts) > 1:  # √2 ≈ 1.41 says √2, and x ≈ 1.41 says 1.41
        named = not parts[0].strip() or (len(parts) == 2 and NAME.fullmatch(parts[0].strip()))
        return parse(parts[1 if named else 0].strip(), depth + 1)
    parts = split(text, RELATION)
    if len(parts) < 2:
        return None
    operators = tuple(OPERATORS.get(found, found) for found in separators(text, RELATION))
    return Relation(tuple(parse(part.strip(), depth + 1) for part in parts), operators)


def united(text: str, depth: int) -> Form | None:
    r"""``\cup``, and sets without some of their members."""
    parts = split(text, re.compile(r"\\cup(?![A-Za-z])"))
    if len(parts) > 1:
        return Group("union", tuple(parse(part.strip(), depth + 1) for part in parts))
    parts = split(text, re.compile(r"\\setminus(?![A-Za-z])|\\backslash(?![A-Za-z])"))
    if len(parts) == 2:
        return Group("without", tuple(parse(part.strip(), depth + 1) for part in parts))
    return None


def bracketed(text: str, depth: int) -> Form | None:
    """A tuple, an interval, a set or a matrix; None for anything else, such as ``(x+1)(x-1)`` or ``(3)``."""
    table = MATRIX.fullmatch(text)
    if table:
        rows = [
            split(row, re.compile("&")) for row in re.split(r"\\\\", table.group(2)) if row.strip(" \\hline")
        ]
        return matrix([tuple(parse(cell.strip(), depth + 1) for cell in row) for row in rows])
    if text.startswith(r"\{") and text.endswith(r"\}"):
        return bounded(text[2:-2], depth) or Group("set", members(text[2:-2], depth))
    if text[0] in "([" and text[-1] in ")]" and matching(text, 0) == len(text) - 1:
        inside = text[1:-1].strip()
        if inside.startswith(r"\begin"):
            return parse(inside, depth + 1) if isinstance(bracketed(inside, depth), Group) else None
        if len(split(inside, COMMA)) > 1:
            items = members(inside, depth)
            listed = [item.items for item in items if isinstance(item, Group) and item.kind == "[]"]
            if text[0] == "[" and text[-1] == "]" and len(listed) == len(items):
                return matrix(listed)
            return Group(text[0] + text[-1], items)
    return None


def bounded(text: str, depth: int) -> Relation | None:
    r"""The inequality that says what a set holds, of ``\{x : x > 2\}``; None for other sets."""
    built = BUILDER.fullmatch(text)
    if built is None:
        return None
    condition = related(built.group(2).strip(), depth + 1)
    if not isinstance(condition, Relation) or "=" in condition.operators:
        return None
    return condition if parse(built.group(1), depth + 1) in condition.sides else None


def matrix(rows: Sequence[tuple[Form, ...]]) -> Group:
    """Rows of the same length."""
    if not rows or len({len(row) for row in rows}) != 1:
        raise UnreadableError("not a matrix of equal rows")
    return Group("matrix", tuple(cell for row in rows for cell in row), columns=len(rows[0]))


def members(text: str, depth: int) -> tuple[Form, ...]:
    """Comma-separated parts of a group."""
    found: list[Form] = []
    for part in split(text, COMMA):
        item = parse(part.strip(), depth + 1)
        found += item.items if isinstance(item, Group) and item.kind == "list" else [item]
    return tuple(found)


def plus_minus(text: str, depth: int) -> Group | None:
    r"""``a \pm b`` is the list of two."""
    before, sign, after = text.partition(r"\pm")
    if not sign or r"\pm" in after or r"\mp" in text:
        return None
    plus = f"{before}+{after}" if before.strip() else after
    return Group("list", (parse(plus.strip(), depth + 1), parse(f"{before}-{after.strip()}", depth + 1)))


def ratio(text: str, depth: int) -> Ratio | None:
    """``3:4``."""
    parts = split(text, re.compile(r":|\\colon(?![A-Za-z])|(?<=[0-9])(?: to |\\text\{ ?to ?\})(?=[0-9])"))
    return Ratio(tuple(parse(part.strip(), depth + 1) for part in parts)) if len(parts) > 1 else None


def _cuts(text: str, separator: re.Pattern[str]) -> list[re.Match[str]]:
    """Occurrences of a separator outside all brackets."""
    depth, position, cuts = 0, 0, []
    for match in separator.finditer(text):
        between = text[position : match.start()]
        for character in between:
            depth += (character in OPENERS) - (character in CLOSERS)
        depth += between.count(r"\begin") - between.count(r"\end")
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
