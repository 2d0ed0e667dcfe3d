r"""What expressions are parsed into: trees of numbers, names and operations. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Call:
    """An operation on trees: an arithmetic sign, a function's name, or ``f()`` of an unknown function f."""

    name: str
    args: tuple[Tree, ...]


Tree = Fraction | str | Call


def negated(tree: Tree) -> Tree:
    """The negative of a tree."""
    return -tree if isinstance(tree, Fraction) else Call("*", (Fraction(-1), tree))


def product_of(factors: list[Tree]) -> Tree:
    """A product, or its only factor."""
    return factors[0] if len(factors) == 1 else Call("*", tuple(factors))


def names(tree: Tree) -> frozenset[str]:
    """The variables of a tree, among them ``i``; π and e are constants."""
    if isinstance(tree, str):
        return frozenset() if tree in (r"\pi", "e", r"\infty") else frozenset((tree,))
    if isinstance(tree, Fraction):
        return frozenset()
    found = frozenset().union(*(names(argument) for argument in tree.args))
    return found - {tree.args[0]} if tree.name in ("sum", "prod", "int") else found


def calls(tree: Tree) -> frozenset[str]:
    """Names of all operations in a tree."""
    if not isinstance(tree, Call):
        return frozenset()
    return frozenset((tree.name,)).union(*(calls(argument) for argument in tree.args))
