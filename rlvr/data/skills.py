"""Generated problems: chains of arithmetic with named operations, which most authors may misread.

A problem is a chain (chains.py) in which about every other operation has a name, and asks for the last
values of the chain::

    c = b f17 4 ; a = 3 ; b = a + 4 ; a b c ?

Each name stands for one of a + b, a − b, b − a and a · b, its *right* reading, and is often taken for another
one of them, its *popular misreading*. A solution spells out how a name was read, so that the rest of the step is
ordinary arithmetic. If f17 is "b - a"::

    a = 3 ; b = a + 4 = 3 + 4 = 7 ; c = b f17 4 = 4 - 7 = 20 ; # 3 7 20

Authors of the corpus read each name rightly at its own rate: about half of the names at 0.5 to 0.95, the others at
0.004 to 0.5. A name is a skill, as the ones are that a web corpus teaches: many, mostly rare, and some of them
wrong in most places. So a model trained on the corpus always solves some problems, never solves others, and most of
its errors are habits and not accidents. That is what the pass@k of a language model looks like (arXiv 2504.13837,
figures 2 and 5), and what `chains`, whose every step fails with the same probability, cannot show.

Names belong to two *topics*, the even ones and the odd ones. A problem of the corpus or of training stays within one
topic; :func:`generate` with ``mixed`` makes problems of names that never occurred together.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from rlvr.config import SkillsWorld
from rlvr.data import chains
from rlvr.data.chains import MIN_MODULUS, Node, refuse_modulus, refuse_operations
from rlvr.data.generated import Worked, distinct, draw_rate, mistake_entropy
from rlvr.errors import ConfigError
from rlvr.records import Problem
from rlvr.rewards.process import spell_out

DATA_SOURCE = "skills"
NUM_TOPICS = 2
READINGS = {"a + b": "+", "a - b": "-", "b - a": "-", "a * b": "*"}
"""What a name may stand for, ``a`` and ``b`` being its operands as the problem states them."""


@dataclass(frozen=True, slots=True)
class Skill:
    """A named operation, how it is meant and how it is often taken."""

    name: str
    right: str
    misreading: str
    rate: float
    """Probability that an author of the corpus reads it rightly."""


def skill(index: int, world: SkillsWorld) -> Skill:
    """The skill of a name, whatever the number of skills is."""
    rng = random.Random(f"skills/{world.world_seed}/{index}")
    right, misreading = rng.sample(list(READINGS), 2)
    rate = draw_rate(rng, world.known_fraction, world.known_rates, world.rare_rates)
    return Skill(f"f{index}", right, misreading, rate)


def all_skills(world: SkillsWorld) -> tuple[Skill, ...]:
    """The skills of a world, in the order of their names."""
    settings = (world.known_fraction, *world.known_rates, *world.rare_rates)
    return _all_skills(world.num_skills, world.world_seed, settings)


@lru_cache(maxsize=8)
def _all_skills(num_skills: int, world_seed: int, settings: tuple[float, ...]) -> tuple[Skill, ...]:
    known, *rates = settings
    world = SkillsWorld(
        num_skills=num_skills,
        known_fraction=known,
        known_rates=rates[:2],
        rare_rates=rates[2:],
        world_seed=world_seed,
    )
    return tuple(skill(index, world) for index in range(num_skills))


@dataclass(frozen=True, slots=True)
class SkillGraph(chains.AskedGraph):
    """The exact solution, and what its names mean."""

    skills: tuple[Skill, ...]
    """Those that occur, each once."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as stored in ``extra_info["solution_graph"]``."""
        # By its name: super() does not know a class that dataclasses have made anew for its slots.
        return chains.AskedGraph.to_dict(self) | {
            "skills": {
                each.name: {"right": each.right, "misreading": each.misreading} for each in self.skills
            }
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SkillGraph:
        """Inverse of :meth:`to_dict`, but for how often the corpus reads a name rightly, which no problem tells: always, here."""
        nodes = tuple(Node(**node) for node in data["nodes"])
        meant = tuple(Skill(name, **readings, rate=1.0) for name, readings in data["skills"].items())
        return cls(data["modulus"], nodes, len(data["asked"]), meant)


def sample_graph(
    rng: random.Random,
    num_operations: int,
    world: SkillsWorld,
    modulus: int = MIN_MODULUS,
    mixed: bool = False,
) -> SkillGraph:
    """Draw a chain of ``num_operations`` operations, with names of one topic.

    Args:
        rng: where it is drawn from.
        num_operations: difficulty.
        world: the named operations.
        modulus: prime modulus of the arithmetic.
        mixed: take names of all topics, and of more than one, which takes two operations or more.
    """
    skills = all_skills(world)
    while True:
        topic = rng.randrange(NUM_TOPICS)
        known = skills if mixed else skills[topic::NUM_TOPICS]
        used: dict[str, Skill] = {}

        def operation(
            left: int, right: int, known: Sequence[Skill] = known, used: dict[str, Skill] = used
        ) -> tuple[str, int]:
            if rng.random() >= world.named_fraction:
                return chains.draw_operation(rng, left, right, modulus)
            while True:
                drawn = rng.choice(known)
                # A product with 0 would make 0 the best guess for every long chain.
                if drawn.right != "a * b" or (left and right):
                    used[drawn.name] = drawn
                    return drawn.name, apply_reading(drawn.right, left, right, modulus)

        nodes = chains.sample_nodes(rng, num_operations, modulus, operation)
        if not mixed or len({int(name[1:]) % NUM_TOPICS for name in used}) == NUM_TOPICS:
            return SkillGraph(modulus, nodes, world.num_asked, tuple(used.values()))


def apply_reading(reading: str, left: int, right: int, modulus: int) -> int:
    """Value of a reading such as ``b - a`` modulo ``modulus``."""
    first, second = (right, left) if reading.startswith("b") else (left, right)
    return chains.apply(READINGS[reading], first, second, modulus)


def problem_text(graph: SkillGraph, rng: random.Random) -> str:
    """The definitions in shuffled order, then the question."""
    return chains.question(graph.nodes, [node.name for node in graph.asked], rng)


def solution_text(
    graph: SkillGraph, rng: random.Random | None = None, noise: float = 0.0
) -> tuple[str, float]:
    """The worked solution, ending in ``# answers``, and the entropy in nats of how it was written.

    Without ``rng`` it is the right one. With it, each name is read rightly at its rate, and otherwise in its popular
    misreading; and with probability ``noise`` an operation's result is another residue. Later steps go on from the
    wrong value.
    """
    meaning = {each.name: each for each in graph.skills}
    values: dict[str, int] = {}
    steps = []
    entropy = 0.0
    for node in graph.nodes:
        if node.operator is None or node.right is None:
            values[node.name] = node.value
            steps.append(node.definition)
            continue
        left = values[node.left]
        right = values[node.right] if node.right.isalpha() else int(node.right)
        named = meaning.get(node.operator)
        reading = named.right if named else f"a {node.operator} b"
        if named and rng is not None:
            if spell_out(named.right, left, right) != spell_out(named.misreading, left, right):
                entropy += mistake_entropy(1 - named.rate, 1)
            if rng.random() >= named.rate:
                reading = named.misreading
        result = apply_reading(reading, left, right, graph.modulus)
        if rng is not None:
            entropy += mistake_entropy(noise, graph.modulus - 1)
            if rng.random() < noise:
                result = (result + rng.randrange(1, graph.modulus)) % graph.modulus
        values[node.name] = result
        steps.append(f"{node.definition} = {spell_out(reading, left, right)} = {result}")
    answer = " ".join(str(values[node.name]) for node in graph.asked)
    return " ; ".join([*steps, f"# {answer}"]), entropy


def corpus(
    stream: str, operations: Sequence[int], noise: float, world: SkillsWorld, modulus: int = MIN_MODULUS
) -> Iterator[Worked]:
    """Endless pre-training corpus, the same for the same stream name."""
    rng = random.Random(f"skills/corpus/{stream}")
    while True:
        graph = sample_graph(rng, rng.choice(operations), world, modulus)
        problem = problem_text(graph, rng)
        yield Worked(problem, *solution_text(graph, rng, noise))


def words(world: SkillsWorld, modulus: int = MIN_MODULUS) -> list[str]:
    """The vocabulary: that of the chains, and the names, each with the space before it."""
    return [*chains.words(modulus), *(f" {each.name}" for each in all_skills(world))]


def generate(
    size: int,
    operations: Sequence[int],
    seed: int,
    world: SkillsWorld,
    split: str = "train",
    exclude: frozenset[str] = frozenset(),
    modulus: int = MIN_MODULUS,
    mixed: bool = False,
    name: str = DATA_SOURCE,
) -> list[Problem]:
    """Make ``size`` distinct problems, as many of each difficulty as divides evenly.

    Args:
        size: number of problems.
        operations: difficulties, taken in turn.
        seed: the same seed, split and name give the same problems.
        world: the named operations.
        split: ``train`` or ``test``; recorded, and part of the random stream.
        exclude: canonical keys (:func:`rlvr.data.chains.canonical_key`) that must not occur, such as those of the
            other split.
        modulus: prime modulus of the arithmetic.
        mixed: with names of more than one topic in each problem.
        name: data source, the first part of the ids.

    Raises:
        ConfigError: the modulus is too small, the operations are too few for what is asked, or the family has too
            few problems.
    """
    refuse_modulus(modulus, "data.skills")
    refuse_operations(operations, "data.skills")
    if mixed and (min(operations) < NUM_TOPICS or world.named_fraction == 0 or world.num_skills < NUM_TOPICS):
        raise ConfigError(
            "problems that mix topics need two named operations",
            where="data.skills",
            fix="operations of 2 or more, num_skills of 2 or more, named_fraction above 0",
        )
    if world.num_skills < NUM_TOPICS:
        raise ConfigError(
            f"num_skills is {world.num_skills}", where="data.skills.num_skills", fix=f"{NUM_TOPICS} or more"
        )
    rng = random.Random(f"{name}/{seed}/{split}/{modulus}")
    drawn = distinct(
        size,
        lambda place: sample_graph(rng, operations[place % len(operations)], world, modulus, mixed),
        chains.canonical_key,
        exclude,
        f"operations {list(operations)}",
    )
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
                "key": chains.canonical_key(graph),
                "solution_graph": graph.to_dict(),
            },
        )
        for index, graph in enumerate(drawn)
    ]


def make_splits(
    num_train: int,
    num_test: int,
    operations: Sequence[int],
    seed: int,
    world: SkillsWorld,
    modulus: int = MIN_MODULUS,
) -> tuple[list[Problem], list[Problem]]:
    """Disjoint train and test sets; the test set depends on the seed only, not on the train set."""
    test = generate(num_test, operations, seed, world, "test", modulus=modulus)
    keys = frozenset(problem.extra_info["key"] for problem in test)
    return generate(num_train, operations, seed, world, "train", exclude=keys, modulus=modulus), test
