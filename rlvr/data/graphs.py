"""Generated problems: dependency graphs of arithmetic, told in the words of several contexts.

A problem defines quantities in shuffled order and asks for some of them. The same graph in two contexts::

    owls are lions and 4 ; lions are 5 ; count lions owls ?
    tutors number pupils plus 4 ; pupils number 5 ; report pupils tutors ?

and its solution computes them one after another, each step restating the definition as arithmetic, then its
operands' values, then the result modulo 11::

    lions = 5 ; owls = lions + 4 = 5 + 4 = 9 ; # 5 9

Contexts share numbers, the signs of the arithmetic and the grammar, and no other word. Difficulty is the number of
operations (op). Every quantity but the first is computed from the one before it in the order of the solution, and half of
them from a second earlier one as well.

No graph is in two splits, whatever the words that it is told in: a hash of the graph says whether it belongs to the
test problems, to those of training (RL, or its gold solutions), or to the corpus of pre-training and mid-training.

The world follows arXiv 2512.07783 (which generates its problems with GSM-Infinite); docs/interplay.md says what differs.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rlvr.config import GraphsWorld
from rlvr.data import chains
from rlvr.data.chains import Node, canonical_key
from rlvr.data.generated import Worked, distinct, mistake_entropy
from rlvr.errors import ConfigError, did_you_mean
from rlvr.records import Problem

DATA_SOURCE = "graphs"
TEST, TRAIN, CORPUS = "test", "train", "corpus"
SHARES = {TEST: 5, TRAIN: 20, CORPUS: 75}
"""Per cent of all graphs that belong to each split."""


@dataclass(frozen=True, slots=True)
class Context:
    """The words that graphs are told in: the names of quantities, and what stands between them."""

    names: tuple[str, ...]
    equals: str
    operators: dict[str, str]
    """By sign."""
    ask: str

    @property
    def words(self) -> tuple[str, ...]:
        """All of them, whatever the number of names in use."""
        return (*self.names, self.equals, *self.operators.values(), self.ask)


CONTEXTS = {
    "zoo": Context(
        (
            "lions",
            "tigers",
            "bears",
            "owls",
            "cranes",
            "otters",
            "seals",
            "zebras",
            "pandas",
            "camels",
            "geckos",
            "lemurs",
            "moose",
            "newts",
            "parrots",
            "quails",
            "rhinos",
            "storks",
            "toads",
            "vipers",
            "wolves",
            "yaks",
            "hyenas",
            "ibexes",
            "jackals",
            "koalas",
        ),
        "are",
        {"+": "and", "-": "less", "*": "times"},
        "count",
    ),
    "school": Context(
        (
            "pupils",
            "tutors",
            "desks",
            "books",
            "chairs",
            "pencils",
            "clubs",
            "exams",
            "lessons",
            "maps",
            "notes",
            "pens",
            "rulers",
            "rooms",
            "bells",
            "boards",
            "classes",
            "dictionaries",
            "easels",
            "flutes",
            "globes",
            "helpers",
            "inks",
            "lockers",
            "mentors",
            "nurses",
        ),
        "number",
        {"+": "plus", "-": "minus", "*": "multiplied"},
        "report",
    ),
    "festival": Context(
        (
            "films",
            "actors",
            "awards",
            "cameras",
            "critics",
            "directors",
            "extras",
            "fans",
            "guests",
            "hosts",
            "jurors",
            "lights",
            "medals",
            "nominees",
            "operas",
            "posters",
            "queues",
            "reels",
            "screens",
            "tickets",
            "ushers",
            "venues",
            "writers",
            "artists",
            "booths",
            "carpets",
        ),
        "total",
        {"+": "added", "-": "without", "*": "folded"},
        "tell",
    ),
}
"""The counterparts of the paper's contexts A, B and C."""


@dataclass(frozen=True, slots=True)
class Graph(chains.AskedGraph):
    """The exact solution, and the context that it is told in."""

    context: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as stored in ``extra_info["solution_graph"]``."""
        # By its name: super() does not know a class that dataclasses have made anew for its slots.
        return chains.AskedGraph.to_dict(self) | {"context": self.context}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Graph:
        """Inverse of :meth:`to_dict`."""
        nodes = tuple(Node(**node) for node in data["nodes"])
        return cls(data["modulus"], nodes, len(data["asked"]), data["context"])


def split_of(graph: Graph) -> str:
    """The split that a graph belongs to, by the hash of what it computes: names and context do not count."""
    place = int.from_bytes(hashlib.sha256(canonical_key(graph).encode()).digest()[:4], "big") % 100
    for split, share in SHARES.items():
        if place < share:
            return split
        place -= share
    raise AssertionError("the shares add up to 100")


def sample_graph(
    rng: random.Random, num_operations: int, context: str, world: GraphsWorld, split: str
) -> Graph:
    """Draw a graph of a split."""
    while True:
        nodes = chains.sample_nodes(
            rng,
            num_operations,
            world.modulus,
            lambda left, right: chains.draw_operation(rng, left, right, world.modulus),
            CONTEXTS[context].names[: world.num_names],
            1 - world.reuse,
        )
        graph = Graph(world.modulus, nodes, world.num_asked, context)
        if split_of(graph) == split:
            return graph


def problem_text(graph: Graph, rng: random.Random) -> str:
    """The definitions in shuffled order and in the context's words, then the question."""
    words = CONTEXTS[graph.context]
    told = [
        f"{node.name} {words.equals} {node.left}"
        if node.operator is None
        else f"{node.name} {words.equals} {node.left} {words.operators[node.operator]} {node.right}"
        for node in graph.nodes
    ]
    rng.shuffle(told)
    return " ; ".join([*told, f"{words.ask} {' '.join(node.name for node in graph.asked)} ?"])


def solution_text(graph: Graph, rng: random.Random | None = None, noise: float = 0.0) -> str:
    """The worked solution, ending in ``# answers``; with ``noise`` as in :func:`rlvr.data.chains.solution_text`."""
    steps, values = chains.work_out(graph.nodes, graph.modulus, rng, noise)
    return " ; ".join([*steps, f"# {' '.join(str(values[node.name]) for node in graph.asked)}"])


def corpus(
    stream: str,
    operations: Sequence[int],
    contexts: Sequence[str],
    noise: float,
    world: GraphsWorld,
) -> Iterator[Worked]:
    """Endless corpus, the same for the same stream name, without a graph of the other splits and without doubles."""
    refuse_operations(operations, world)
    refuse_contexts(contexts, "contexts")
    rng = random.Random(f"graphs/corpus/{stream}")
    seen: set[bytes] = set()
    while True:
        graph = sample_graph(rng, rng.choice(operations), rng.choice(contexts), world, CORPUS)
        problem = problem_text(graph, rng)
        digest = hashlib.blake2b(problem.encode(), digest_size=8).digest()
        if digest not in seen:
            seen.add(digest)
            entropy = graph.num_operations * mistake_entropy(noise, world.modulus - 1)
            yield Worked(problem, solution_text(graph, rng, noise), entropy)


def gold(problems: Sequence[Problem]) -> list[Worked]:
    """Problems with their right solutions."""
    return [
        Worked(
            problem.prompt[-1]["content"],
            solution_text(Graph.from_dict(problem.extra_info["solution_graph"])),
            0.0,
        )
        for problem in problems
    ]


def words(world: GraphsWorld) -> list[str]:
    """The vocabulary of all contexts, each word with the space before it."""
    shared = [*map(str, range(world.modulus)), *chains.OPERATORS, "=", ";", "?", "#"]
    return [f" {word}" for word in [*shared, *(word for each in CONTEXTS.values() for word in each.words)]]


def refuse_operations(operations: Sequence[int], world: GraphsWorld) -> None:
    """Raise a ConfigError for difficulties that cannot be."""
    if not operations or min(operations) < 1 or max(operations) >= world.num_names:
        raise ConfigError(
            f"operations {list(operations)} must be numbers from 1 to {world.num_names - 1}",
            where="operations",
            fix=f"fewer operations, or a larger graphs.num_names than {world.num_names}",
        )


def refuse_contexts(contexts: Sequence[str], where: str) -> None:
    """Raise a ConfigError for a context that there is not."""
    for name in contexts or [""]:
        if name not in CONTEXTS:
            raise ConfigError(f"there is no context {name!r}", where=where, fix=did_you_mean(name, CONTEXTS))


def generate(
    size: int,
    operations: Sequence[int],
    contexts: Sequence[str],
    seed: int,
    world: GraphsWorld,
    split: str = TRAIN,
    name: str = DATA_SOURCE,
) -> list[Problem]:
    """Make ``size`` problems whose graphs differ, as many of each difficulty and context as divides evenly.

    Args:
        size: number of problems.
        operations: difficulties, taken in turn.
        contexts: names of :data:`CONTEXTS`, taken in turn.
        seed: the same seed, split and name give the same problems.
        world: modulus, how many values are asked for, and how often a quantity is used again.
        split: ``train`` or ``test``; graphs of one are never in the other.
        name: data source, the first part of the ids.

    Raises:
        ConfigError: operations or contexts cannot be, or there are too few graphs.
    """
    refuse_operations(operations, world)
    refuse_contexts(contexts, "data.graphs.contexts")
    rng = random.Random(f"{name}/{seed}/{split}/{world.modulus}")

    def draw(place: int) -> Graph:
        turn, which = divmod(place, len(operations))
        return sample_graph(rng, operations[which], contexts[turn % len(contexts)], world, split)

    drawn = distinct(size, draw, canonical_key, frozenset(), f"operations {list(operations)}")
    return [
        Problem(
            id=f"{name}/{split}/{index}",
            prompt=({"role": "user", "content": problem_text(graph, rng)},),
            data_source=name,
            ground_truth=graph.answer,
            ability="arithmetic",
            extra_info={
                "split": split,
                "index": index,
                "num_operations": graph.num_operations,
                "context": graph.context,
                "solution_graph": graph.to_dict(),
            },
        )
        for index, graph in enumerate(drawn)
    ]
