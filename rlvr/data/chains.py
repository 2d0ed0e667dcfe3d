"""Generated problems: shuffled dependency chains of modular arithmetic.

A problem defines variables in shuffled order and asks for the last one::

    c = b * 5 ; a = 3 ; b = a + 4 ; c ?

and its solution computes them one after another, each step restating the
definition, then its operands' values, then the result modulo 23::

    a = 3 ; b = a + 4 = 3 + 4 = 7 ; c = b * 5 = 7 * 5 = 12 ; # 12

Difficulty is the number of operations. The first operand of an operation is the
variable defined just before it, so every operation is needed and the order of the
steps is unique; the second is a constant or another earlier variable. The modulus is a
prime ≥ 23, so that a guess is right less than once in twenty times.

The idea of problems with a known solution graph, whose difficulty is the number of
operations, follows GSM-Infinite and the study of arXiv 2512.07783.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Protocol

from rlvr.data.generated import Worked, distinct, mistake_entropy
from rlvr.errors import ConfigError
from rlvr.records import Problem

DATA_SOURCE = "chains"
NAMES = "abcdefghijklmnopqrstuvwxyz"
OPERATORS = ("+", "-", "*")
MIN_MODULUS = 23
"""Smallest modulus allowed: a guess is then right in less than 5 % of the cases."""
CONSTANT_SHARE = 0.7
"""Share of operations whose second operand is a constant; the others reuse a variable."""


@dataclass(frozen=True, slots=True)
class Node:
    """One definition of the solution graph: ``name = left operator right``.

    A leaf has no operator and its value as ``left``.
    """

    name: str
    left: str
    operator: str | None
    right: str | None
    value: int

    @property
    def parents(self) -> tuple[str, ...]:
        """Names of the variables that this one is computed from."""
        return tuple(x for x in (self.left, self.right) if x is not None and x.isalpha())

    @property
    def definition(self) -> str:
        """The definition as the problem states it."""
        return f"{self.name} = {self.expression}"

    @property
    def expression(self) -> str:
        """The right-hand side of the definition."""
        return self.left if self.operator is None else f"{self.left} {self.operator} {self.right}"


@dataclass(frozen=True, slots=True)
class SolutionGraph:
    """The exact solution: every definition in the order in which it can be computed."""

    modulus: int
    nodes: tuple[Node, ...]

    @property
    def answer(self) -> int:
        """Value of the variable that is asked for, the last of the chain."""
        return self.nodes[-1].value

    @property
    def num_operations(self) -> int:
        """The problem's difficulty."""
        return len(self.nodes) - 1

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as stored in ``extra_info["solution_graph"]``."""
        return {"modulus": self.modulus, "nodes": [asdict(node) for node in self.nodes]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SolutionGraph:
        """Inverse of :meth:`to_dict`."""
        return cls(data["modulus"], tuple(Node(**node) for node in data["nodes"]))


@dataclass(frozen=True, slots=True)
class AskedGraph:
    """The exact solution of a problem that asks for several values."""

    modulus: int
    nodes: tuple[Node, ...]
    """Every definition, in the order in which it can be computed."""
    num_asked: int

    @property
    def asked(self) -> tuple[Node, ...]:
        """The definitions whose values are asked for, the last ones; all of a graph that has fewer."""
        return self.nodes[-self.num_asked :]

    @property
    def num_operations(self) -> int:
        """The problem's difficulty."""
        return len(self.nodes) - 1

    @property
    def answer(self) -> str:
        """The values that are asked for, in the order of the solution."""
        return " ".join(str(node.value) for node in self.asked)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as stored in ``extra_info["solution_graph"]``."""
        return {
            "modulus": self.modulus,
            "nodes": [asdict(node) for node in self.nodes],
            "asked": [node.name for node in self.asked],
        }


def apply(operator: str, left: int, right: int, modulus: int) -> int:
    """Value of ``left operator right`` modulo ``modulus``."""
    match operator:
        case "+":
            return (left + right) % modulus
        case "-":
            return (left - right) % modulus
        case "*":
            return (left * right) % modulus
    raise ValueError(f"unknown operator {operator!r}; known are {', '.join(OPERATORS)}")


def sample_graph(rng: random.Random, num_operations: int, modulus: int = MIN_MODULUS) -> SolutionGraph:
    """Draw a chain of ``num_operations`` operations over distinct single-letter names."""
    nodes = sample_nodes(
        rng, num_operations, modulus, lambda left, right: draw_operation(rng, left, right, modulus)
    )
    return SolutionGraph(modulus, nodes)


def sample_nodes(
    rng: random.Random,
    num_operations: int,
    modulus: int,
    operation: Callable[[int, int], tuple[str, int]],
    names: Sequence[str] = NAMES,
    constant_share: float = CONSTANT_SHARE,
) -> tuple[Node, ...]:
    """Draw the definitions of a chain; ``operation`` draws each operator for its operands' values, with the result."""
    names = rng.sample(names, num_operations + 1)
    values = {names[0]: rng.randrange(modulus)}
    nodes = [Node(names[0], str(values[names[0]]), None, None, values[names[0]])]
    for previous, name in pairwise(names):
        # Not the previous variable itself: "b = a - a" would make 0 the best guess.
        earlier = [other for other in values if other != previous]
        if not earlier or rng.random() < constant_share:
            right = str(rng.randrange(modulus))
            right_value = int(right)
        else:
            right = rng.choice(earlier)
            right_value = values[right]
        operator, values[name] = operation(values[previous], right_value)
        nodes.append(Node(name, previous, operator, right, values[name]))
    return tuple(nodes)


def draw_operation(rng: random.Random, left: int, right: int, modulus: int) -> tuple[str, int]:
    """Draw an operator for two values, and compute the result."""
    # A product with 0 would make 0 the best guess for every long chain.
    operator = rng.choice([op for op in OPERATORS if op != "*" or (left and right)])
    return operator, apply(operator, left, right, modulus)


def problem_text(graph: SolutionGraph, rng: random.Random) -> str:
    """The definitions in shuffled order, then the question."""
    return question(graph.nodes, [graph.nodes[-1].name], rng)


def question(nodes: Sequence[Node], asked: Sequence[str], rng: random.Random) -> str:
    """The definitions in shuffled order, then the names whose values are asked for."""
    definitions = [node.definition for node in nodes]
    rng.shuffle(definitions)
    return " ; ".join([*definitions, f"{' '.join(asked)} ?"])


def solution_text(graph: SolutionGraph, rng: random.Random | None = None, noise: float = 0.0) -> str:
    """The worked solution, ending in ``# answer``.

    With probability ``noise`` an operation's result is replaced by another residue
    (drawn from ``rng``), and the later steps go on from the wrong value: this is how a
    corpus written by fallible authors looks, and what makes a model trained on it a
    sampler with something left to sharpen.
    """
    steps, values = work_out(graph.nodes, graph.modulus, rng, noise)
    return " ; ".join([*steps, f"# {values[graph.nodes[-1].name]}"])


def work_out(
    nodes: Sequence[Node], modulus: int, rng: random.Random | None, noise: float
) -> tuple[list[str], dict[str, int]]:
    """The steps of a solution, and the values that they come to, by name; wrong ones as :func:`solution_text` says."""
    values: dict[str, int] = {}
    steps = []
    for node in nodes:
        if node.operator is None or node.right is None:
            values[node.name] = node.value
            steps.append(node.definition)
            continue
        left = values[node.left]
        right = values[node.right] if node.right.isalpha() else int(node.right)
        result = apply(node.operator, left, right, modulus)
        if rng is not None and rng.random() < noise:
            result = (result + rng.randrange(1, modulus)) % modulus
        values[node.name] = result
        steps.append(f"{node.definition} = {left} {node.operator} {right} = {result}")
    return steps, values


def corpus(
    stream: str, operations: Sequence[int], noise: float, modulus: int = MIN_MODULUS
) -> Iterator[Worked]:
    """Endless pre-training corpus, the same for the same stream name."""
    rng = random.Random(f"corpus/{stream}")
    while True:
        graph = sample_graph(rng, rng.choice(operations), modulus)
        entropy = graph.num_operations * mistake_entropy(noise, modulus - 1)
        yield Worked(problem_text(graph, rng), solution_text(graph, rng, noise), entropy)


def words(modulus: int = MIN_MODULUS) -> list[str]:
    """The vocabulary: names, residues and signs, each with the space before it."""
    return [f" {word}" for word in [*NAMES, *map(str, range(modulus)), *OPERATORS, "=", ";", "?", "#"]]


def generate(
    size: int,
    operations: Sequence[int],
    seed: int,
    split: str = "train",
    exclude: frozenset[str] = frozenset(),
    modulus: int = MIN_MODULUS,
) -> list[Problem]:
    """Make ``size`` distinct problems, as many of each difficulty as divides evenly.

    Args:
        size: number of problems.
        operations: difficulties, taken in turn.
        seed: the same seed and split give the same problems.
        split: ``train`` or ``test``; recorded, and part of the random stream.
        exclude: canonical keys (:func:`canonical_key`) that must not occur, such as
            those of the other split.
        modulus: prime modulus of the arithmetic.

    Raises:
        ConfigError: the modulus is too small, or the family has too few problems.
    """
    refuse_modulus(modulus, "data.chains")
    refuse_operations(operations, "data.chains")
    rng = random.Random(f"chains/{seed}/{split}/{modulus}")
    problems: list[Problem] = []
    drawn = distinct(
        size,
        lambda place: sample_graph(rng, operations[place % len(operations)], modulus),
        canonical_key,
        exclude,
        f"operations {list(operations)}",
    )
    for index, graph in enumerate(drawn):
        problems.append(
            Problem(
                id=f"{DATA_SOURCE}/{split}/{index}",
                prompt=({"role": "user", "content": problem_text(graph, rng)},),
                data_source=DATA_SOURCE,
                ground_truth=str(graph.answer),
                ability="arithmetic",
                extra_info={
                    "split": split,
                    "index": index,
                    "num_operations": graph.num_operations,
                    "solution_graph": graph.to_dict(),
                },
            )
        )
    return problems


def refuse_modulus(modulus: int, where: str) -> None:
    """Raise a ConfigError for a modulus that is no large enough prime."""
    if modulus < MIN_MODULUS or any(modulus % d == 0 for d in range(2, int(modulus**0.5) + 1)):
        raise ConfigError(
            f"modulus {modulus} is not a prime ≥ {MIN_MODULUS}",
            where=f"{where}.modulus",
            fix=f"use a prime such as {MIN_MODULUS}: a guess must be right in less than 5 % of cases",
        )


def refuse_operations(operations: Sequence[int], where: str) -> None:
    """Raise a ConfigError for difficulties that cannot be."""
    if not operations or min(operations) < 1 or max(operations) >= len(NAMES):
        raise ConfigError(
            f"operations {list(operations)} must be numbers from 1 to {len(NAMES) - 1}",
            where=f"{where}.operations",
            fix="for example [4,5,6,7,8]",
        )


class Chain(Protocol):
    """What :func:`canonical_key` needs of a solution graph."""

    @property
    def modulus(self) -> int:
        """Of the arithmetic."""

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The definitions in their order."""


def canonical_key(graph: Chain) -> str:
    """The problem up to the names of its variables and the order of its definitions.

    Two problems with the same key have the same solution, so de-duplication and the
    disjointness of train and test go by this key and not by the text.
    """
    position = {node.name: f"v{i}" for i, node in enumerate(graph.nodes)}
    rename = lambda x: position.get(x, x)  # noqa: E731 - constants stay as they are
    return f"{graph.modulus}|" + ";".join(
        f"{rename(n.left)} {n.operator or ''} {rename(n.right) if n.right else ''}" for n in graph.nodes
    )


def make_splits(
    num_train: int, num_test: int, operations: Sequence[int], seed: int, modulus: int = MIN_MODULUS
) -> tuple[list[Problem], list[Problem]]:
    """Disjoint train and test sets; the test set depends on the seed only, not on the train set."""
    test = generate(num_test, operations, seed, "test", modulus=modulus)
    keys = frozenset(canonical_key(graph_of(problem)) for problem in test)
    return generate(num_train, operations, seed, "train", exclude=keys, modulus=modulus), test


def graph_of(problem: Problem) -> SolutionGraph:
    """The solution graph stored with a generated problem."""
    return SolutionGraph.from_dict(problem.extra_info["solution_graph"])
