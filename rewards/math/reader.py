r"""Expressions in LaTeX or plain text read into trees. Standard library only.

A tree is a number (an exact ``Fraction``), a name (``x_{1}``, ``\alpha``, ``\pi``, ``e``, ``i``) or a
:class:`Call` of an operation. The grammar is strict where leniency would change a value: letter case is
kept, neighbours are multiplied, ``2 1/2`` is two and a half, ``3e6`` is three million, every Greek letter
but π is a variable, and what is not understood is an :class:`UnreadableError` instead of a guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from rlvr.rewards.math.tokens import (
    ALIASES,
    END,
    FUNCTION_NAMES,
    GREEK,
    TRIGONOMETRIC,
    Cursor,
    Token,
    UnreadableError,
    number,
    repeating,
    tokens,
)
from rlvr.rewards.math.tree import Call, Tree, negated, product_of

MAX_DEPTH = 50
"""Deeper nesting is refused: nothing sensible has it, and a parser that recurses would run out of stack."""
SYMBOLS = GREEK | frozenset([
    "infty", "hbar", "ell", "partial", "nabla", "dots", "aleph", "Re", "Im", "triangle", "angle",
    "odot", "oplus", "star", "mho"
])  # fmt: skip
DECORATIONS = frozenset([
    "dot", "ddot", "hat", "bar", "overline", "tilde", "widehat", "widetilde", "underline",
    "overrightarrow", "mathbb", "text"
])  # fmt: skip
INVERSE = frozenset((*TRIGONOMETRIC, "sinh", "cosh", "tanh", "coth", "sech", "csch"))
APPLIED = frozenset("fgFG")
"""Letters that before a parenthesis name a function: ``f(x)``. Elsewhere a neighbour is a factor."""
OVER = {r"\over": "/", r"\choose": "binom"}
MULTIPLY, DIVIDE = frozenset((r"\cdot", r"\times", "*", r"\ast")), frozenset(("/", r"\div"))
CLOSING = {"(": ")", "[": "]", "{": "}", r"\lfloor": r"\rfloor", r"\lceil": r"\rceil", r"\{": r"\}"}


@dataclass(frozen=True, slots=True)
class Expression:
    """A tree, and whether degree signs stood in it outside trigonometric functions."""

    tree: Tree
    degrees: bool = False


@lru_cache(maxsize=4096)
def read(text: str) -> Expression:
    """Parse one expression, spelled as :func:`rlvr.rewards.math.spelling.normalise` does.

    Raises:
        UnreadableError: it is no expression.
    """
    reader = Reader(tokens(text))
    tree = reader.whole()
    if reader.here is not END:
        raise UnreadableError(f"{reader.here.text!r} is not expected here")
    return Expression(tree, reader.degrees)


class Reader(Cursor):
    """A recursive-descent parser over the tokens of one expression."""

    def __init__(self, found: list[Token]) -> None:
        """Start at the first token."""
        super().__init__(found)
        self.depth = 0
        self.bars = 0
        self.angles = 0
        """Trigonometric functions around the current place: there degrees are converted."""
        self.degrees = False

    def sum(self) -> Tree:
        """Terms joined by plus and minus."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise UnreadableError("nested too deeply")
        terms = [self.product()]
        while self.here.text in ("+", "-"):
            negative = self.here.text == "-"
            self.position += 1
            term = self.product()
            terms.append(negated(term) if negative else term)
        self.depth -= 1
        return terms[0] if len(terms) == 1 else Call("+", tuple(terms))

    def whole(self) -> Tree:
        r"""A sum, or two around ``\over`` or ``\choose``."""
        found = self.sum()
        if self.here.text in OVER:
            name = OVER[self.here.text]
            self.position += 1
            found = Call(name, (found, self.sum()))
        return found

    def product(self) -> Tree:
        """Factors joined by signs or standing side by side."""
        factors = [self.signed()]
        while True:
            if self.here.text in MULTIPLY:
                self.position += 1
                factors.append(self.signed())
            elif self.here.text in DIVIDE:
                self.position += 1
                left = factors[0] if len(factors) == 1 else Call("*", tuple(factors))
                factors = [Call("/", (left, self.signed()))]
            elif self.take(r"\bmod"):
                factors = [Call("mod", (product_of(factors), self.signed()))]
            elif self.starts_factor():
                before, is_number = (
                    factors[-1],
                    self.tokens[self.position - 1].kind in ("number", "repeating"),
                )
                part = self.mixed_part() if is_number and isinstance(before, Fraction) else None
                if part is not None and isinstance(before, Fraction):
                    factors[-1] = before - part if before < 0 else before + part
                elif is_number and isinstance(before, Fraction) and self.here.kind in ("number", "repeating"):
                    raise UnreadableError("two numbers side by side")
                else:
                    factors.append(self.power())
            else:
                return product_of(factors)

    def starts_factor(self) -> bool:
        """Whether a factor may begin here, without a sign before it."""
        here = self.here
        if here.kind in ("number", "repeating", "letters"):
            return True
        if here.kind == "command":
            return here.text not in (r"\rfloor", r"\rceil", r"\}", r"\pm", r"\mp", *OVER, r"\$", r"\cup")
        return here.text in ("(", "[", "{") or (here.text == "|" and not self.bars)

    def signed(self) -> Tree:
        """A factor with any signs before it."""
        if self.take("-"):
            return negated(self.signed())
        return self.signed() if self.take("+") else self.power()

    def power(self) -> Tree:
        """A factor with its exponent, factorials and degree signs."""
        base = self.atom()
        while True:
            if self.take("!"):
                base = Call("!!" if self.take("!") else "!", (base,))
            elif self.here.text == "^" and self.ahead().text == r"\circ":
                self.position += 2
                base = self.in_degrees(base)
            elif self.take("^", "**"):
                base = Call("^", (base, self.exponent()))
            else:
                return base

    def in_degrees(self, angle: Tree) -> Tree:
        """An angle with a degree sign: converted inside a function, noted as a unit outside."""
        if self.angles:
            return Call("*", (angle, Call("/", (r"\pi", Fraction(180)))))
        self.degrees = True
        return angle

    def exponent(self) -> Tree:
        """What stands behind ``^``: a group, or one signed factor."""
        if self.take("-"):
            return negated(self.exponent())
        self.take("+")
        base = self.atom()
        if base == "*":
            raise UnreadableError("no exponent")
        return Call("^", (base, self.exponent())) if self.take("^", "**") else base

    def atom(self) -> Tree:
        """A number, a name, something in brackets, or a function with its argument."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise UnreadableError("nested too deeply")
        here = self.here
        self.position += 1
        if here.kind == "number":
            found: Tree = number(here.text)
        elif here.kind == "repeating":
            found = repeating(here.text)
        elif here.kind == "letters":
            found = self.named(here.text)
        elif here.kind == "command":
            found = self.command(here.text[1:])
        elif here.text in ("(", "[", "{"):
            found = self.group(here.text)
        elif here.text == "|":
            found = self.bar()
        else:
            raise UnreadableError(f"{here.text!r} is not expected here" if here.text else "it ends too early")
        self.depth -= 1
        return found

    def group(self, opening: str) -> Tree:
        """What stands in brackets, whose opening one has been read."""
        bars, self.bars = self.bars, 0
        found = self.whole()
        self.expect(CLOSING[opening])
        self.bars = bars
        return found

    def bar(self) -> Tree:
        """An absolute value."""
        self.bars += 1
        found = self.sum()
        self.expect("|")
        self.bars -= 1
        return Call("abs", (found,))

    def argument(self) -> Tree:
        r"""What a command takes: a group, or the next token only; of ``\frac12`` the one digit."""
        here = self.here
        if here.kind == "number" and len(here.text) > 1 and here.text.isdigit():
            self.tokens[self.position] = Token("number", here.text[1:], False)
            return Fraction(int(here.text[0]))
        return self.atom()

    def arguments(self) -> tuple[Tree, ...]:
        """Trees between parentheses, separated by commas."""
        bars, self.bars = self.bars, 0
        self.expect("(")
        found = [self.sum()]
        while self.take(","):
            found.append(self.sum())
        self.expect(")")
        self.bars = bars
        return tuple(found)

    def named(self, name: str) -> Tree:
        """A name with its subscript and primes, and its arguments if it is a function's."""
        while self.here.text in ("_", "'"):
            name += "'" if self.take("'") else self.subscript()
        if self.here.text == "(" and (name[0] in APPLIED or self.is_list() or self.is_applied(name)):
            args = self.arguments()
            return Call("binom", args) if name == "C" and len(args) == 2 else Call(f"{name}()", args)
        return name

    def command(self, name: str) -> Tree:
        """A command of LaTeX, whose name has been read."""
        if name in SYMBOLS:
            return self.named("\\" + name)
        if name in DECORATIONS:
            inside = (
                self.raw()
                if self.take("{")
                else self.tokens[self.position].text
                if self.here is not END
                else ""
            )
            self.position += 0 if self.tokens[self.position - 1].text == "}" else 1
            return self.named(rf"\{name}{{{inside}}}")
        if name in FUNCTION_NAMES or name == "Pr":
            return self.function(ALIASES.get(name, name))
        match name:
            case "frac":
                return self.fraction()
            case "binom":
                return Call(
                    "binom", self.arguments() if self.here.text == "(" else (self.argument(), self.argument())
                )
            case "sqrt":
                index = self.group("[") if self.take("[") else Fraction(2)
                return Call("root", (self.arguments()[0] if self.here.text == "(" else self.atom(), index))
            case "cbrt":
                return Call("root", (self.atom(), Fraction(3)))
            case "lfloor" | "lceil":
                return Call("floor" if name == "lfloor" else "ceil", (self.group("\\" + name),))
            case "sum" | "prod":
                return self.repeated(name)
            case "int":
                return self.integral()
        raise UnreadableError(rf"\{name} has no meaning in an expression")

    def fraction(self) -> Tree:
        r"""``\frac``; of two differentials, ``\frac{dx}{dt}``, a name of its own."""
        start = self.position
        top = self.argument()
        middle = self.position
        bottom = self.argument()
        first, second = (
            self.tokens[place + 1].text if place + 1 < len(self.tokens) else "" for place in (start, middle)
        )
        if first == second and first in ("d", r"\partial") and self.tokens[middle].text == "{":
            return "".join(token.text for token in self.tokens[start : self.position])
        return Call("/", (top, bottom))

    def function(self, name: str) -> Tree:
        r"""A known function: ``\sin^2 x``, ``\log_2 8``, ``\arctan(1)``."""
        base: Tree | None = None
        exponent: Tree | None = None
        while self.here.text in ("_", "^") and self.ahead().text != r"\circ":
            if self.take("_"):
                base = self.log_base()
            elif self.take("^"):
                exponent = self.exponent()
        if exponent == Fraction(-1) and name in INVERSE:
            name, exponent = "arc" + name, None
        self.angles += name in TRIGONOMETRIC
        args = self.arguments() if self.here.text == "(" else (self.implied_argument(),)
        self.angles -= name in TRIGONOMETRIC
        if name == "log" and base is not None:
            found: Tree = Call("/", (Call("ln", args), Call("ln", (base,))))
        elif name == "lg":
            found = Call("/", (Call("ln", args), Call("ln", (Fraction(10),))))
        elif name == "exp":
            found = Call("^", ("e", args[0]))
        elif base is not None or (name in ("max", "min", "gcd", "lcm") and len(args) == 1):
            found = Call(f"{name}_{base}()", args)
        else:
            found = Call(name, args)
        return found if exponent is None else Call("^", (found, exponent))

    def log_base(self) -> Tree:
        r"""The subscript of a logarithm; ``\log_28`` is that of 8 to base 2."""
        if self.here.kind == "number" and len(self.here.text) > 1:
            self.position += 1
            alone = self.starts_factor()
            self.position -= 1
            return self.atom() if alone else self.argument()
        return self.atom()

    def implied_argument(self) -> Tree:
        """The argument of a function without parentheses: factors up to a sign, a parenthesis or a function."""
        if self.take("-"):
            return negated(self.implied_argument())
        braced = self.here.text == "{"
        factors = [self.power()]
        while not braced and self.starts_factor() and self.here.text not in ("(", "[", "|"):
            if self.here.kind == "command" and self.here.text[1:] in FUNCTION_NAMES | {"sum", "prod", "int"}:
                break
            factors.append(self.power())
        return product_of(factors)

    def repeated(self, name: str) -> Tree:
        r"""``\sum_{k=1}^{n}`` of the product that follows."""
        self.expect("_")
        self.expect("{")
        variable = self.atom()
        self.expect("=")
        low = self.sum()
        self.expect("}")
        self.expect("^")
        high = self.atom()
        if not isinstance(variable, str):
            raise UnreadableError("no variable to count by")
        return Call(name, (variable, low, high, self.product()))

    def integral(self) -> Tree:
        r"""``\int_a^b f dx``."""
        self.expect("_")
        low = self.argument()
        self.expect("^")
        high = self.argument()
        end = next(
            (
                index
                for index in range(self.position, len(self.tokens) - 1)
                if self.tokens[index].text == "d" and self.tokens[index + 1].kind in ("letters", "command")
            ),
            None,
        )
        if end is None:
            raise UnreadableError("an integral without its differential")
        inner = Reader(self.tokens[self.position : end])
        body = inner.sum() if inner.tokens else Fraction(1)
        if inner.here is not END:
            raise UnreadableError("an integral that is not understood")
        self.position = end + 1
        variable = self.atom()
        if not isinstance(variable, str):
            raise UnreadableError("no variable to integrate by")
        return Call("int", (variable, low, high, body))
