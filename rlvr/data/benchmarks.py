"""Benchmarks and training problems, loaded: registered sets (registry.py), generated families, and files of one's own.

A set is read from a file or folder that the config names, from ``data.folder``, or from the Hugging Face hub.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rlvr.config import FORMATS, BenchmarkConfig, DataConfig, EvaluationConfig, SamplingPlan
from rlvr.data.code_training import with_fewer_tests
from rlvr.data.families import FAMILIES
from rlvr.data.hub import hub_rows
from rlvr.data.images import COLUMNS as IMAGES
from rlvr.data.images import images_of
from rlvr.data.loaders import (
    COLUMNS,
    folder_of,
    is_hub_name,
    load_problems,
    parse_row,
    read_rows,
    refuse_doubles,
)
from rlvr.data.mapped import COLUMNS_WORDS
from rlvr.data.registry import BENCHMARKS, BenchmarkEntry, deduplicated
from rlvr.data.templates import PromptTemplate, template
from rlvr.errors import ConfigError, DataError, did_you_mean
from rlvr.records import Problem
from rlvr.rewards.code import ABILITIES


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark with its problems loaded, and how it is measured."""

    name: str
    problems: list[Problem]
    plan: SamplingPlan
    template: PromptTemplate
    out_of_domain: bool = False
    notes: tuple[str, ...] = ()
    """What a user should know before trusting the numbers, such as rows that were left out."""


def entry_of(config: BenchmarkConfig) -> BenchmarkEntry | None:
    """The registered benchmark that a config means; None for a file of one's own.

    Raises:
        ConfigError: neither a registered name nor a file.
    """
    if config.family is not None and config.family not in BENCHMARKS:
        raise ConfigError(
            f"there is no benchmark {config.family!r}",
            where=f"benchmarks.{config.name}.family",
            fix=did_you_mean(config.family, BENCHMARKS),
        )
    entry = BENCHMARKS.get(config.family or config.name)
    if entry is None and config.path is None:
        raise ConfigError(
            f"there is no benchmark {config.name!r}",
            where="benchmarks",
            fix=f"{did_you_mean(config.name, BENCHMARKS)}; or a file, such as ./{config.name}.jsonl",
        )
    return entry


def load_benchmark(
    config: BenchmarkConfig,
    data: DataConfig,
    evaluation: EvaluationConfig,
    prompt: str | None,
    *,
    ask_hub: bool = True,
) -> Benchmark:
    """Load one benchmark.

    Args:
        config: which one.
        data: where from.
        evaluation: sampling that the config names for all benchmarks.
        prompt: name of the template for all benchmarks.
        ask_hub: False leaves a set that is on the hub without problems.

    Raises:
        ConfigError: an unknown benchmark or template.
        DataError: no such file, or a malformed one.
    """
    entry = entry_of(config)
    here = ask_hub or is_here(config, data)
    problems, notes = benchmark_problems(config, data) if here else [], []
    if here and entry and entry.num_problems not in (None, len(problems)) and config.num_problems is None:
        notes.append(f"{len(problems):,} problems where {entry.num_problems:,} were published")
    if evaluation.limit is not None and evaluation.limit < len(problems):
        notes.append(f"the first {evaluation.limit:,} of {len(problems):,} problems (evaluation.limit)")
    return Benchmark(
        name=config.name,
        problems=problems[: evaluation.limit],
        plan=evaluation.plan(entry.plan if entry else SamplingPlan(), config),
        template=template(prompt or (entry.prompt if entry else "chat")),
        out_of_domain=config.out_of_domain,
        notes=tuple(notes),
    )


def is_here(config: BenchmarkConfig, data: DataConfig) -> bool:
    """Whether a benchmark is made or read on this machine, and not fetched from the hub."""
    entry = entry_of(config)
    if config.path is not None:
        return not is_hub_name(config.path)
    return data.folder is not None or (entry is not None and entry.generate is not None)


def training_is_here(data: DataConfig) -> bool:
    """Whether the problems that are trained on are made or read on this machine, and not fetched from the hub."""
    if data.path is None:
        return True
    if data.path in BENCHMARKS:
        return is_here(BenchmarkConfig(data.path), data)
    return not is_hub_name(data.path)


def published_size(config: BenchmarkConfig, evaluation: EvaluationConfig) -> int | None:
    """Problems that a benchmark should have, for one that is not here; None where nobody says."""
    entry = entry_of(config)
    count = config.num_problems or (entry.num_problems if entry else None)
    return min(count, evaluation.limit) if count and evaluation.limit else count


def benchmark_problems(config: BenchmarkConfig, data: DataConfig) -> list[Problem]:
    """The problems that are measured.

    Raises:
        ConfigError: an unknown benchmark.
        DataError: no such file, or a malformed one.
    """
    entry = entry_of(config)
    if entry is None:
        columns = "columns: {question: QUESTION, answer: ANSWER}"
        words = f"'benchmarks={{{config.name}: {{path: {config.path}, {columns}}}}}'"
        problems = load_problems(str(config.path), config.columns, words=words)
    elif entry.generate is not None and config.path is None:
        return [named(problem, config.name) for problem in entry.generate(config, data)]
    else:
        problems = registered_problems(entry, config.path, data)
    return problems[: config.num_problems]


def named(problem: Problem, benchmark: str) -> Problem:
    """A generated problem under its benchmark's name: of one family there are several, and ids tell them apart."""
    _, _, rest = problem.id.partition("/")
    return replace(problem, id=f"{benchmark}/{rest}", data_source=benchmark)


def registered_problems(entry: BenchmarkEntry, path: str | None, data: DataConfig) -> list[Problem]:
    """The problems of a registered benchmark, from a file, ``data.folder`` or the hub.

    Raises:
        DataError: it is not there, or a row is malformed; named by file and line.
    """
    place = path or (str(local_copy(entry, Path(data.folder))) if data.folder is not None else None)
    if place is not None:
        rows = read_rows(Path(place))
    elif entry.source is not None:
        rows = hub_rows(entry.source, f"data.folder=FOLDER with {entry.file or entry.name}.jsonl in it")
    else:
        raise ConfigError(
            f"{entry.name} is generated and has no file", where="data.path", fix="data.path=null"
        )
    base = folder_of(Path(place)) if place is not None else Path()
    found = (parse_entry(entry, row, index, where, base) for index, (row, where) in enumerate(rows))
    kept = (problem for problem in found if problem is not None)
    problems = deduplicated(kept) if entry.without_doubles else list(kept)
    if entry.choose is not None:
        problems = entry.choose(problems, data.split_seed)
    where = place or (entry.source.address if entry.source else entry.name)
    if not problems:
        raise DataError(f"there is no problem of {entry.name} here", where=where, fix="check the file")
    refuse_doubles(problems, where)
    return problems


def parse_entry(entry: BenchmarkEntry, row: Any, index: int, where: str, base: Path) -> Problem | None:
    """One row, in the set's own columns or in verl's; None for a row that the study leaves out.

    Raises:
        DataError: a column is missing or of the wrong type, or an image cannot be read.
    """
    if not isinstance(row, dict):
        raise DataError("the row is not an object", where=where, fix="one JSON object per line")
    if entry.parse is None or (not entry.own_columns and all(column in row for column in COLUMNS)):
        return parse_row(row, where, base)
    problem = entry.parse(row, entry.file or entry.name, index, where)
    if problem is None or not entry.has_images:
        return problem
    images = images_of(row, base, where)
    if not images:
        raise DataError("the row has no image", where=where, fix=f"one of the columns {', '.join(IMAGES)}")
    return replace(problem, images=images)


def local_copy(entry: BenchmarkEntry, folder: Path) -> Path:
    """Where ``data.folder`` holds a benchmark.

    Raises:
        DataError: it does not; the names that were looked for are listed.
    """
    stem = entry.file or entry.name
    tried = [folder / f"{stem}{ending}" for ending in FORMATS] + [folder / stem]
    for path in tried:
        if path.exists():
            return path
    raise DataError(
        f"data.folder does not hold {entry.name}",
        where=str(folder),
        fix=f"one of {', '.join(path.name for path in tried)}; data.folder=null fetches it from the hub",
    )


def training_problems(data: DataConfig) -> list[Problem]:
    """The problems that a config trains on.

    Raises:
        DataError: no such file, or a malformed one.
    """
    if data.path is None:
        problems = FAMILIES[data.family].splits(data)[0]
    elif data.path in BENCHMARKS:
        problems = benchmark_problems(BenchmarkConfig(data.path), data)
    else:
        problems = load_problems(
            data.path, data.columns, split="train", words=COLUMNS_WORDS.replace("columns.", "data.columns.")
        )
    if data.max_tests is None:
        return problems
    if all(problem.ability not in ABILITIES for problem in problems):
        raise ConfigError(
            "tests are chosen, and no problem is about a program",
            where="data.max_tests",
            fix="data.max_tests=null",
        )
    return [with_fewer_tests(problem, data.max_tests, data.choose_tests) for problem in problems]


def training_template(data: DataConfig, prompt: str | None) -> PromptTemplate:
    """The prompt template of training: the config's, the registered benchmark's, or the data's own messages."""
    entry = BENCHMARKS.get(data.path or "")
    return template(prompt or (entry.prompt if entry else "chat"))
