"""The generated problem families by name: chains, skills, graphs, programs and signs, each in its own file."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rlvr.config import DataConfig, MixtureComponent, PretrainConfig
from rlvr.data import chains, graphs, programs, signs, skills
from rlvr.data.generated import Worked
from rlvr.records import Problem


@dataclass(frozen=True, slots=True)
class Family:
    """What training, evaluation and pre-training take from a family."""

    splits: Callable[[DataConfig], tuple[list[Problem], list[Problem]]]
    """Train and test problems, disjoint."""
    test_split: Callable[[DataConfig, int | None, Sequence[int] | None], list[Problem]]
    """Test problems of another number and other difficulties; None takes the configured ones."""
    words: Callable[[PretrainConfig], list[str]]
    """Vocabulary of its problems and solutions."""
    corpus: Callable[[PretrainConfig, MixtureComponent, str], Iterator[Worked]]
    """Endless documents of one kind, the same for the same stream name."""
    picture: tuple[int, int] | None = None
    """Pixels of the side of a picture and of a patch of it, where problems are about pictures."""


def _chain_splits(data: DataConfig) -> tuple[list[Problem], list[Problem]]:
    config = data.chains
    return chains.make_splits(
        config.num_train, config.num_test, config.operations, config.seed, config.modulus
    )


def _chain_test(data: DataConfig, size: int | None, operations: Sequence[int] | None) -> list[Problem]:
    config = data.chains
    return chains.generate(
        size or config.num_test, operations or config.operations, config.seed, "test", modulus=config.modulus
    )


def _skill_splits(data: DataConfig) -> tuple[list[Problem], list[Problem]]:
    config = data.skills
    return skills.make_splits(
        config.num_train, config.num_test, config.operations, config.seed, config, config.modulus
    )


def _skill_test(data: DataConfig, size: int | None, operations: Sequence[int] | None) -> list[Problem]:
    config = data.skills
    return skills.generate(
        size or config.num_test,
        operations or config.operations,
        config.seed,
        config,
        "test",
        modulus=config.modulus,
    )


def _graph_splits(data: DataConfig) -> tuple[list[Problem], list[Problem]]:
    config = data.graphs
    train, test = (
        graphs.generate(size, config.operations, config.contexts, config.seed, config, split)
        for size, split in ((config.num_train, graphs.TRAIN), (config.num_test, graphs.TEST))
    )
    return train, test


def _graph_test(data: DataConfig, size: int | None, operations: Sequence[int] | None) -> list[Problem]:
    config = data.graphs
    return graphs.generate(
        size or config.num_test,
        operations or config.operations,
        config.contexts,
        config.seed,
        config,
        graphs.TEST,
    )


def _graph_documents(config: PretrainConfig, part: MixtureComponent, stream: str) -> Iterator[Worked]:
    """The corpus, or the gold solutions of RL's problems, in another order each time."""
    if part.num_problems is None:
        yield from graphs.corpus(stream, part.operations, part.contexts, part.noise, config.graphs)
    found = graphs.gold(
        graphs.generate(
            part.num_problems or 0,
            part.operations,
            part.contexts,
            part.problems_seed,
            config.graphs,
            graphs.TRAIN,
        )
    )
    rng = random.Random(f"graphs/gold/{stream}")
    while True:
        yield from rng.sample(found, len(found))


def _program_splits(data: DataConfig) -> tuple[list[Problem], list[Problem]]:
    config = data.programs
    return programs.make_splits(config.num_train, config.num_test, config.operations, config.seed)


def _program_test(data: DataConfig, size: int | None, operations: Sequence[int] | None) -> list[Problem]:
    config = data.programs
    return programs.generate(size or config.num_test, operations or config.operations, config.seed, "test")


def _sign_splits(data: DataConfig) -> tuple[list[Problem], list[Problem]]:
    config = data.signs
    return signs.make_splits(config.num_train, config.num_test, config.seed, config)


def _sign_test(data: DataConfig, size: int | None, operations: Sequence[int] | None) -> list[Problem]:
    config = data.signs
    return signs.generate(size or config.num_test, config.seed, config, "test")


FAMILIES = {
    "chains": Family(
        splits=_chain_splits,
        test_split=_chain_test,
        words=lambda config: chains.words(config.modulus),
        corpus=lambda config, part, stream: chains.corpus(
            stream, part.operations, part.noise, config.modulus
        ),
    ),
    "skills": Family(
        splits=_skill_splits,
        test_split=_skill_test,
        words=lambda config: skills.words(config.skills, config.modulus),
        corpus=lambda config, part, stream: skills.corpus(
            stream, part.operations, part.noise, config.skills, config.modulus
        ),
    ),
    "graphs": Family(
        splits=_graph_splits,
        test_split=_graph_test,
        words=lambda config: graphs.words(config.graphs),
        corpus=_graph_documents,
    ),
    "programs": Family(
        splits=_program_splits,
        test_split=_program_test,
        words=lambda config: programs.words(),
        corpus=lambda config, part, stream: programs.corpus(stream, part.operations, part.noise),
    ),
    "signs": Family(
        splits=_sign_splits,
        test_split=_sign_test,
        words=lambda config: signs.words(),
        corpus=lambda config, part, stream: signs.corpus(stream, config.signs),
        picture=(signs.EDGE, signs.CELL),
    ),
}


def reference_solution(problem: Problem) -> str | None:
    """The right solution of a generated problem, worked out step by step; None for problems without a solution graph."""
    graph = problem.extra_info.get("solution_graph")
    if not graph:
        return None
    if "skills" in graph:
        return skills.solution_text(skills.SkillGraph.from_dict(graph))[0]
    if "context" in graph:
        return graphs.solution_text(graphs.Graph.from_dict(graph))
    return chains.solution_text(chains.graph_of(problem))
