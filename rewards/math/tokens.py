r"""Expressions in LaTeX or plain text cut into tokens, and the values of numbers. Standard library only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from rlvr.rewards.math.spelling import FUNCTIONS

MAX_LETTERS = 8
"""In runs of three and more; with more of them a text is a sentence and no product of variables."""
TOKEN = re.compile(
    r"""(?P<repeating>[0-9]*\.[0-9]*\\(?:overline|bar|dot)\s*\{?\s*[0-9]+\s*\}?|[0-9]*\.[0-9]*\([0-9]+\)(?![0-9A-Za-z(^])
    |[0-9]*\.[0-9]*?(?P<block>[0-9]+?)(?P=block){2,}\s*\\dots(?![A-Za-z]))
    |(?P<number>(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]{1,3}(?:\ [0-9]{3})+(?![0-9/])|[0-9]+)(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+(?![0-9A-Za-z.]))?
      |\.[0-9]+(?:[eE][-+]?[0-9]+(?![0-9A-Za-z.]))?)
    |(?P<command>\\[A-Za-z]+|\\[{}|$])
    |(?P<letters>[A-Za-z]+)
    |(?P<sign>\*\*|[-+*/^_(){}\[\]|!',&=])""",
    re.VERBOSE,
)
REPEATING = re.compile(r"([0-9]*)\.([0-9]*?)(?:\\[a-z]+\s*\{?\s*|\()([0-9]+)\s*[})]?")
GREEK = frozenset([
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda",
    "mu", "nu", "xi", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega", "Gamma",
    "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega"
])  # fmt: skip
ALIASES = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "tg": "tan", "arctg": "arctan", "ctg": "cot",
    "asinh": "arcsinh", "arsinh": "arcsinh", "arcosh": "arccosh", "artanh": "arctanh", "sign": "sgn",
}  # fmt: skip
TRIGONOMETRIC = frozenset(["sin", "cos", "tan", "cot", "sec", "csc"])
FUNCTION_NAMES = frozenset((*FUNCTIONS, *ALIASES, "Pr")) - {"sqrt", "binom"}
INFINITY = frozenset(["infty", "infinity", "inf", "oo"])
LONGEST_FIRST = sorted((*FUNCTION_NAMES, "sqrt", "cbrt", "binom"), key=len, reverse=True)


class UnreadableError(Exception):
    """The text is no expression."""


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of text and what it is."""

    kind: str
    text: str
    spaced: bool
    """Whether white space stands before it."""


END = Token("end", "", False)


def tokens(text: str) -> list[Token]:
    """Cut a text into tokens."""
    found: list[Token] = []
    position = letters = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        match = TOKEN.match(text, position)
        if match is None:
            raise UnreadableError(f"{text[position]!r} has no meaning in an expression")
        spaced = position > 0 and text[position - 1].isspace()
        kind = "repeating" if match.group("repeating") else str(match.lastgroup)
        if kind == "letters":
            spelled = words(match.group(), text[match.end() :], spaced)
            letters += len(spelled) if len(spelled) > 2 else 0
            if letters > MAX_LETTERS and r"\text" not in text:
                raise UnreadableError("words between the mathematics")
            found += spelled
        else:
            found.append(Token(kind, match.group(), spaced))
        position = match.end()
    return found


def words(run: str, rest: str, spaced: bool) -> list[Token]:
    """Letters side by side: a product of variables, unless they spell a function, ``pi`` or a Greek letter."""
    if run in GREEK or run in INFINITY:
        return [Token("command", "\\" + ("infty" if run in INFINITY else run), spaced)]
    if run.startswith("pi") and len(run) == 3:  # 2pir
        return [Token("command", r"\pi", spaced), Token("letters", run[2], False)]
    for name in LONGEST_FIRST:
        before, found, after = run.rpartition(name)
        if (
            found
            and not after
            and (len(before) <= 2 or before in GREEK)
            and (before == "" or rest[:1] == "(")
        ):
            return [*(words(before, "", spaced) if before else []), Token("command", "\\" + name, spaced)]
        if run.startswith(name) and len(run) == len(name) + 1 and name in TRIGONOMETRIC | {"ln", "log"}:
            return [Token("command", "\\" + name, spaced), Token("letters", run[-1], False)]
    return [Token("letters", one, spaced and index == 0) for index, one in enumerate(run)]


def number(text: str) -> Fraction:
    """The value of a number as it is written, also with an exponent: ``6.02e23``."""
    mantissa, _, exponent = text.replace(",", "").replace(" ", "").lower().partition("e")
    if len(exponent) > 5:
        raise UnreadableError("an exponent of more than four digits")
    return Fraction(mantissa.rstrip(".") or "0") * Fraction(10) ** int(exponent or 0)


def repeating(text: str) -> Fraction:
    r"""The value of a repeating decimal: ``0.1\\overline{6}``, ``0.1(6)``, ``0.1666\\dots``."""
    if r"\dots" in text:
        match = re.fullmatch(r"([0-9]*)\.([0-9]*?)([0-9]+?)\3{2,}\s*\\dots", text)
    else:
        match = REPEATING.fullmatch(text)
    if match is None:
        raise UnreadableError("a decimal that is not understood")
    whole, fixed, block = match.groups()
    value = Fraction(int((whole or "0") + fixed), 10 ** len(fixed))
    return value + Fraction(int(block), (10 ** len(block) - 1) * 10 ** len(fixed))


class Cursor:
    """A place among tokens."""

    def __init__(self, found: list[Token]) -> None:
        """Start at the first token."""
        self.tokens = found
        self.position = 0

    @property
    def here(self) -> Token:
        """The current token."""
        return self.tokens[self.position] if self.position < len(self.tokens) else END

    def ahead(self, count: int = 1) -> Token:
        """A later token."""
        index = self.position + count
        return self.tokens[index] if index < len(self.tokens) else END

    def take(self, *texts: str) -> bool:
        """Step over the current token if it is one of ``texts``."""
        if self.here.text in texts and self.here is not END:
            self.position += 1
            return True
        return False

    def expect(self, text: str) -> None:
        """Step over a bracket; one that closes may be missing at the very end, where answers were cut."""
        if not self.take(text) and not (self.here is END and text == "}"):
            raise UnreadableError(f"{text!r} is missing")

    def is_list(self) -> bool:
        """Whether the parenthesis that opens here holds a comma of its own."""
        depth = 0
        for token in self.tokens[self.position :]:
            depth += (token.text in ("(", "[", "{")) - (token.text in (")", "]", "}"))
            if depth == 0:
                return False
            if depth == 1 and token.text == ",":
                return True
        return False

    def subscript(self) -> str:
        """A subscript as text: ``_{1}``."""
        self.expect("_")
        if not self.take("{"):
            self.position += 1
            return f"_{{{self.tokens[self.position - 1].text}}}" if self.position <= len(self.tokens) else "_"
        return f"_{{{self.raw()}}}"

    def raw(self) -> str:
        """The text up to the brace that closes here."""
        pieces: list[str] = []
        depth = 1
        while self.here is not END:
            depth += (self.here.text == "{") - (self.here.text == "}")
            text = self.here.text
            self.position += 1
            if depth == 0:
                return "".join(pieces)
            if text not in ("{", "}", r"\text"):
                pieces.append(text)
        raise UnreadableError("'}' is missing")

    def is_applied(self, name: str) -> bool:
        """Whether a parenthesis holds one number, or one letter behind a Greek one: ``I(0)``, ``x(t)``, ``φ(n)``."""
        inside = self.ahead()
        if self.ahead(2).text != ")" or name in (r"\pi", "e", "i"):
            return False
        return inside.kind == "number" or inside.text == "t" or (name[0] == "\\" and inside.kind == "letters")

    def mixed_part(self) -> Fraction | None:
        r"""The fraction of a mixed number, ``\frac{1}{2}`` or ``1/2`` behind a whole one; None if there is none."""
        whole = self.tokens[self.position - 1].text
        start = self.position
        if not whole.isdigit():
            return None
        if self.here.kind == "number" and self.here.spaced and self.ahead().text == "/":
            top, bottom = self.here.text, self.ahead(2).text
            self.position += 3
        elif self.take(r"\frac") and self.here.text == "{" and self.ahead(3).text == "{":
            top, bottom = self.ahead().text, self.ahead(4).text
            closed = self.ahead(2).text == "}" and self.ahead(5).text == "}"
            self.position += 6
            if not closed:
                top = ""
        else:
            top = bottom = ""
        if (
            top.isdigit()
            and bottom.isdigit()
            and 0 < int(top[:9]) < int(bottom[:9])
            and self.here.text not in ("^", "!")
        ):
            return Fraction(int(top), int(bottom))
        self.position = start
        return None
