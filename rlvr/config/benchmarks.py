"""What a model is measured on: the key ``benchmarks``, in each of the forms that a command line may give it."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from rlvr.config.checks import require, require_positive
from rlvr.config.data import FORMATS, ColumnsConfig
from rlvr.errors import did_you_mean

PLANNED = ("num_samples", "temperature", "top_p", "top_k", "max_tokens")
"""What a benchmark and ``evaluation`` may both state of the sampling."""
NAME = re.compile(r"[\w+-][\w.+-]*")


@dataclass
class BenchmarkConfig:
    """What is measured: a registered benchmark, or a file."""

    name: str = ""
    """Name in tables and results."""
    path: str | None = None
    """JSONL or parquet file, folder saved by ``datasets``, or set on the hub: in the columns of the registered benchmark,
    or in verl's. Null takes it from ``data.folder`` or the hub."""
    columns: ColumnsConfig | None = None
    """What the columns of ``path`` hold, if they are neither; as for ``data.columns``."""
    family: str | None = None
    """The registered benchmark whose columns, generator, prompt and sampling it has; null takes the one of its
    own name."""
    operations: list[int] | None = None
    """Difficulties of generated problems; null takes the family's own."""
    num_problems: int | None = None
    """How many are generated, or taken from the beginning of a set; null takes the family's own, or all."""
    num_samples: int | None = None
    """Samples per problem of this benchmark, as are the next four its own; null takes ``evaluation``'s."""
    temperature: float | None = None
    """As ``evaluation.temperature``, of this benchmark; null takes that."""
    top_p: float | None = None
    """As ``evaluation.top_p``, of this benchmark; null takes that."""
    top_k: int | None = None
    """As ``evaluation.top_k``, of this benchmark; null takes that."""
    max_tokens: int | None = None
    """As ``evaluation.max_tokens``, of this benchmark; null takes that."""
    out_of_domain: bool = False
    """Unlike the training problems: reported beside the in-domain benchmark, never mixed with it."""

    def __post_init__(self) -> None:
        """Check number and spelling; names are looked up in the registry (rlvr/data/registry.py)."""
        require(
            not self.name or NAME.fullmatch(self.name) is not None,
            f"no benchmark can be called {self.name!r}, since its name becomes a folder's",
            "benchmark.name",
            "letters, digits, dots and dashes, not beginning with a dot",
        )
        if self.num_problems is not None:
            require_positive(self, f"benchmarks.{self.name}", "num_problems")


def as_benchmarks(value: Any) -> dict[str, BenchmarkConfig]:
    """``benchmarks``: names and files as ``[math500, own.jsonl]``, or settings as ``{own: {path: own.jsonl}}``.

    Raises:
        ConfigError: neither of them, a name twice, or a key that a benchmark does not have.
    """
    if isinstance(value, dict):
        return {name: as_benchmark(name, settings) for name, settings in value.items()}
    require(
        isinstance(value, list) and all(isinstance(word, str) for word in value),
        f"{value!r} is no list of benchmarks",
        "benchmarks",
        "for example benchmarks=[math500,aime24], or [own.jsonl]",
    )
    found: dict[str, BenchmarkConfig] = {}
    for word in value:
        path = Path(word)
        is_file = path.suffix in FORMATS or "/" in word
        name = path.stem if is_file else word
        require(
            name not in found,
            f"two benchmarks are called {name!r}",
            "benchmarks",
            f"{{NAME: {{path: {word}}}}}",
        )
        found[name] = BenchmarkConfig(name, path=word if is_file else None)
    return found


def as_benchmark(name: str, value: Any) -> BenchmarkConfig:
    """One of ``benchmarks``, which a command line gives as a plain dictionary.

    Raises:
        ConfigError: it is none, or has a key that a benchmark does not have.
    """
    if isinstance(value, BenchmarkConfig):
        return value
    value = {} if value is None else value
    key = f"benchmarks.{name}"
    require(isinstance(value, dict), f"{value!r} is no benchmark", key, "for example {family: chains}")
    refuse_unknown(value, BenchmarkConfig, key)
    columns = value.get("columns")
    if isinstance(columns, dict):
        refuse_unknown(columns, ColumnsConfig, f"{key}.columns")
        columns = ColumnsConfig(**columns)
    return BenchmarkConfig(**{"name": name, **value, "columns": columns})


def refuse_unknown(value: dict[str, Any], kind: type, key: str) -> None:
    """Raise a ConfigError for the first key that a section does not have."""
    known = [spec.name for spec in fields(kind)]
    for word in value:
        require(word in known, f"unknown key {word!r}", f"{key}.{word}", did_you_mean(word, known))
