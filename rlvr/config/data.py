"""Where problems come from: files, registered benchmarks, and the generated families."""

from __future__ import annotations

from dataclasses import dataclass, field

from rlvr.config.checks import require_one_of, require_positive

FORMATS = (".jsonl", ".parquet")
"""Of data files."""
FAMILIES = ("chains", "programs")
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
class DataConfig:
    """Where problems come from: a file, a registered benchmark, or a generated family."""

    path: str | None = None
    """What is trained on: a JSONL or parquet file, or a folder saved by ``datasets``, in verl's columns; or the
    name of a registered benchmark, such as ``omni_math_train``. Null generates ``family``."""
    family: str = "chains"
    """``chains`` (arithmetic) or ``programs`` (functions, judged by running them)."""
    folder: str | None = None
    """Folder with local copies of registered benchmarks, ``NAME.jsonl``, ``NAME.parquet`` or ``NAME/``; null
    fetches them from the Hugging Face hub."""
    split_seed: int = 2026
    """Seed of the split of Omni-MATH-Rule into train and test; the study does not publish its own."""
    chains: ChainsConfig = field(default_factory=ChainsConfig)
    programs: ProgramsConfig = field(default_factory=ProgramsConfig)

    def __post_init__(self) -> None:
        """Check the family."""
        require_one_of(self.family, FAMILIES, "data.family")
