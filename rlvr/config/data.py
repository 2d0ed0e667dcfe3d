"""Where problems come from: files, registered benchmarks, and the generated families."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from rlvr.config.checks import require, require_one_of, require_positive

FORMATS = (".jsonl", ".parquet")
"""Of data files."""
FAMILIES = ("chains", "skills", "graphs", "programs", "signs")
"""Generated problem families (rlvr/data/families.py)."""
# Limits of the generated family, as rlvr/data/chains.py has them; data stands on config, not under it.
MIN_MODULUS = 23
MAX_OPERATIONS = 25


@dataclass
class ChainsConfig:
    """The generated problem family ``chains`` (see rlvr/data/chains.py)."""

    operations: list[int] = field(default_factory=lambda: [4, 5, 6, 7, 8])
    """Difficulties, in operations; every one equally often."""
    num_train: int = 8192
    """Problems in the train split."""
    num_test: int = 100
    """Problems in the test split."""
    seed: int = 2026
    """Seed of both splits. Apart from the run's seed, so that runs share their problems."""
    modulus: int = 23
    """Prime modulus of the arithmetic, at least 23."""

    def __post_init__(self) -> None:
        """Check the sizes; the generator checks the rest."""
        require_positive(self, "data.chains", "num_train", "num_test")


def is_prime(number: int) -> bool:
    """Whether a number above 1 has no other divisors than 1 and itself."""
    return all(number % divisor for divisor in range(2, math.isqrt(number) + 1))


def _check_rates(world: SkillsWorld | SignsWorld, where: str) -> None:
    """Check how often authors read something rightly."""
    for name in ("known_rates", "rare_rates"):
        value = getattr(world, name)
        require(
            len(value) == 2 and 0 < value[0] <= value[1] <= 1,
            f"{name} is {list(value)}",
            f"{where}.{name}",
            "the lowest and the highest rate, above 0 and at most 1",
        )


@dataclass
class SkillsWorld:
    """The named operations of the family ``skills``, and how often authors read each one rightly."""

    num_skills: int = 600
    """Named operations that problems draw from: ``f0``, ``f1``, … Fewer are the first ones of more, so a base
    trained on 600 can be given problems with 30."""
    named_fraction: float = 0.5
    """Probability that an operation is a named one; the others are ``+``, ``-`` and ``*``."""
    num_asked: int = 3
    """Values that a problem asks for, the last ones of its chain. A blind guess is right once in modulus to
    this power."""
    known_fraction: float = 0.5
    """Probability that a skill is one that most authors know."""
    known_rates: list[float] = field(default_factory=lambda: [0.5, 0.95])
    """Range of the rate at which authors read such a skill rightly, drawn uniformly."""
    rare_rates: list[float] = field(default_factory=lambda: [0.004, 0.5])
    """Range of the rate for the other skills, drawn log-uniformly: most authors misread them."""
    world_seed: int = 7
    """Seed of the skills' readings and rates. A base and the problems it is asked must share it."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require_positive(self, "skills", "num_skills", "num_asked")
        for name in ("named_fraction", "known_fraction"):
            value = getattr(self, name)
            require(0 <= value <= 1, f"{name} is {value}", f"skills.{name}", "a number from 0 to 1")
        _check_rates(self, "skills")


@dataclass
class SkillsConfig(SkillsWorld):
    """The generated problem family ``skills`` (see rlvr/data/skills.py)."""

    operations: list[int] = field(default_factory=lambda: [3, 4, 5])
    """Difficulties, in operations; every one equally often."""
    num_train: int = 8192
    """Problems in the train split."""
    num_test: int = 300
    """Problems in the test split."""
    seed: int = 2026
    """Seed of both splits. Apart from the run's seed, so that runs share their problems."""
    modulus: int = 23
    """Prime modulus of the arithmetic, at least 23."""

    def __post_init__(self) -> None:
        """Check the sizes; the generator checks the rest."""
        super().__post_init__()
        require_positive(self, "data.skills", "num_train", "num_test")


@dataclass
class GraphsWorld:
    """What the problems of the family ``graphs`` are like."""

    modulus: int = 11
    """Prime modulus of the arithmetic, at least 7."""
    num_names: int = 16
    """Names of quantities in a context, 26 at most; a problem of so many operations needs one more than it has operations."""
    num_asked: int = 3
    """Quantities that a problem asks for, the last ones of its solution. A blind guess is right once in modulus to
    this power."""
    reuse: float = 0.5
    """Probability that an operation's second operand is an earlier quantity; otherwise it is a number."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require_positive(self, "graphs", "num_asked")
        require(
            self.modulus >= 7 and is_prime(self.modulus),
            f"modulus {self.modulus} is not a prime ≥ 7",
            "graphs.modulus",
            "a prime such as 11",
        )
        require(2 <= self.num_names <= 26, f"num_names is {self.num_names}", "graphs.num_names", "2 to 26")
        require(0 <= self.reuse <= 1, f"reuse is {self.reuse}", "graphs.reuse", "a number from 0 to 1")


@dataclass
class GraphsConfig(GraphsWorld):
    """The generated problem family ``graphs`` (see rlvr/data/graphs.py)."""

    operations: list[int] = field(default_factory=lambda: [6, 7])
    """Difficulties, in operations; every one equally often."""
    contexts: list[str] = field(default_factory=lambda: ["zoo"])
    """Words that problems are told in: ``zoo``, ``school`` and ``festival``, taken in turn; one named twice has twice
    the share."""
    num_train: int = 8192
    """Problems in the train split."""
    num_test: int = 200
    """Problems in the test split."""
    seed: int = 2026
    """Seed of both splits. Apart from the run's seed, so that runs share their problems."""

    def __post_init__(self) -> None:
        """Check the sizes; the generator checks the rest."""
        super().__post_init__()
        require_positive(self, "data.graphs", "num_train", "num_test")


@dataclass
class ProgramsConfig:
    """The generated problem family ``programs`` (see rlvr/data/programs.py)."""

    operations: list[int] = field(default_factory=lambda: [3, 4, 5, 6])
    """Difficulties, in steps of the function; every one equally often."""
    num_train: int = 2048
    """Problems in the train split."""
    num_test: int = 60
    """Problems in the test split."""
    seed: int = 2026
    """Seed of both splits. Apart from the run's seed, so that runs share their problems."""

    def __post_init__(self) -> None:
        """Check the sizes; the generator checks the rest."""
        require_positive(self, "data.programs", "num_train", "num_test")


@dataclass
class SignsWorld:
    """The signs of the family ``signs``, and how often authors read each one rightly."""

    num_signs: int = 48
    """Signs that pictures are made of."""
    num_asked: int = 3
    """Cells that a problem asks for, 1 to 9. A blind guess is right once in 23 to this power."""
    known_fraction: float = 0.7
    """Probability that a sign is one that most authors know."""
    known_rates: list[float] = field(default_factory=lambda: [0.6, 0.95])
    """Range of the rate at which authors read such a sign rightly, drawn uniformly."""
    rare_rates: list[float] = field(default_factory=lambda: [0.01, 0.5])
    """Range of the rate for the other signs, drawn log-uniformly: most authors misread them."""
    world_seed: int = 7
    """Seed of the signs, their readings and rates. A base and the problems it is asked must share it."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require_positive(self, "signs", "num_signs")
        require(1 <= self.num_asked <= 9, f"num_asked is {self.num_asked}", "signs.num_asked", "1 to 9 cells")
        require(
            0 <= self.known_fraction <= 1,
            f"known_fraction is {self.known_fraction}",
            "signs.known_fraction",
            "a number from 0 to 1",
        )
        _check_rates(self, "signs")


@dataclass
class SignsConfig(SignsWorld):
    """The generated problem family ``signs`` (see rlvr/data/signs.py)."""

    num_train: int = 4096
    """Problems in the train split."""
    num_test: int = 200
    """Problems in the test split."""
    seed: int = 2026
    """Seed of both splits. Apart from the run's seed, so that runs share their problems."""

    def __post_init__(self) -> None:
        """Check the sizes and the ranges."""
        super().__post_init__()
        require_positive(self, "data.signs", "num_train", "num_test")


TEST_CHOICES = ("longest", "shortest", "first")
ANSWER_PLACES = ("whole", "boxed", "hashes", "answer_tag", "last_number")


@dataclass
class ColumnsConfig:
    """What the columns of a set hold, where they are not verl's: a question and its answer."""

    question: str | None = None
    """Name of the column with the question; null reads verl's columns."""
    answer: str | None = None
    """Name of the column with the answer."""
    answer_in: str = "whole"
    """Where the answer stands in its column: the ``whole`` of it, the last box (``boxed``), after ``####`` (``hashes``), in
    ``<answer>`` (``answer_tag``), or the last number (``last_number``)."""
    id: str | None = None
    """Name of a column that tells problems apart; null counts the rows."""
    ability: str = "math"
    """What judges the answers: ``math`` or ``choice``."""
    subset: str | None = None
    """Of a set on the hub that has several."""
    split: str | None = None
    """Of a set on the hub; null takes ``train`` for training, and ``test`` for measuring."""

    def __post_init__(self) -> None:
        """Check that both columns are named, and the words."""
        require(
            (self.question is None) == (self.answer is None),
            f"question is {self.question}, and answer is {self.answer}",
            "columns",
            "both, or neither",
        )
        require_one_of(self.answer_in, ANSWER_PLACES, "columns.answer_in")
        require_one_of(self.ability, ("math", "choice", "arithmetic"), "columns.ability")


@dataclass
class DataConfig:
    """Where problems come from: a file, a registered benchmark, or a generated family."""

    path: str | None = None
    """What is trained on: a JSONL or parquet file, a folder saved by ``datasets``, or a set on the hub, ``owner/name``; or
    the name of a registered benchmark, such as ``omni_math_train``. Null generates ``family``."""
    columns: ColumnsConfig = field(default_factory=ColumnsConfig)
    """What the columns of ``path`` hold, if they are not verl's."""
    family: str = "chains"
    """``chains`` (arithmetic), ``skills`` (arithmetic with named operations that most authors misread),
    ``graphs`` (arithmetic told in the words of several contexts), ``programs`` (functions, judged by running them) or ``signs`` (questions about pictures)."""
    folder: str | None = None
    """Folder with local copies of registered benchmarks, ``NAME.jsonl``, ``NAME.parquet`` or ``NAME/``; null
    fetches them from the Hugging Face hub."""
    max_tests: int | None = None
    """Tests of a program that training runs, where a problem has more; null runs all. Benchmarks run all of theirs."""
    choose_tests: str = "longest"
    """Which of them: those with the ``longest`` inputs (DeepCoder: 15), the ``shortest`` (Code-R1: 8), or the
    ``first``."""
    split_seed: int = 2026
    """Seed of the split of Omni-MATH-Rule into train and test; the study does not publish its own."""
    chains: ChainsConfig = field(default_factory=ChainsConfig)
    skills: SkillsConfig = field(default_factory=SkillsConfig)
    graphs: GraphsConfig = field(default_factory=GraphsConfig)
    programs: ProgramsConfig = field(default_factory=ProgramsConfig)
    signs: SignsConfig = field(default_factory=SignsConfig)

    def __post_init__(self) -> None:
        """Check the family."""
        require_one_of(self.family, FAMILIES, "data.family")
        require_one_of(self.choose_tests, TEST_CHOICES, "data.choose_tests")
        require(
            self.max_tests is None or self.max_tests > 0,
            f"max_tests is {self.max_tests}",
            "data.max_tests",
            "a number above 0, or null for all",
        )
