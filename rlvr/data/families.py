"""The generated problem families by name: chains, skills, programs and signs, each in its own file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rlvr.config import DataConfig, PretrainConfig, PretrainStage
from rlvr.data import chains, programs, signs, skills
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
    corpus: Callable[[PretrainConfig, PretrainStage, str], Iterator[Worked]]
    """Endless documents of a stage, the same for the same stream name."""
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
        corpus=lambda config, stage, stream: chains.corpus(
            stream, stage.operations, stage.noise, config.modulus
        ),
    ),
    "skills": Family(
        splits=_skill_splits,
        test_split=_skill_test,
        words=lambda config: skills.words(config.skills, config.modulus),
        corpus=lambda config, stage, stream: skills.corpus(
            stream, stage.operations, stage.noise, config.skills, config.modulus
        ),
    ),
    "programs": Family(
        splits=_program_splits,
        test_split=_program_test,
        words=lambda config: programs.words(),
        corpus=lambda config, stage, stream: programs.corpus(stream, stage.operations, stage.noise),
    ),
    "signs": Family(
        splits=_sign_splits,
        test_split=_sign_test,
        words=lambda config: signs.words(),
        corpus=lambda config, stage, stream: signs.corpus(stream, config.signs),
        picture=(signs.EDGE, signs.CELL),
    ),
}
