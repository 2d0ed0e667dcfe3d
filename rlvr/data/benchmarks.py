"""The registered benchmarks: where each comes from, how its rows are read, and how the study measures on it.

A set is read from a file or folder that the config names, from ``data.folder``, or from the Hugging Face hub.
The repository carries none of them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rlvr.config import FORMATS, BenchmarkConfig, DataConfig, EvaluationConfig, SamplingPlan
from rlvr.data import skills
from rlvr.data.columns import (
    Parser,
    after_the_hashes,
    answer_or_box,
    code,
    code_between,
    final_answers,
    questions,
    visual,
)
from rlvr.data.families import FAMILIES
from rlvr.data.hub import HubSource, hub_rows
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
from rlvr.data.templates import PromptTemplate, template
from rlvr.errors import ConfigError, DataError, did_you_mean
from rlvr.records import Problem

Choose = Callable[[Sequence[Problem], int], list[Problem]]
"""All problems of a source and ``data.split_seed`` → those of the benchmark."""
Generate = Callable[[BenchmarkConfig, DataConfig], list[Problem]]


@dataclass(frozen=True, slots=True)
class BenchmarkEntry:
    """What is known of a benchmark before any of it is loaded."""

    name: str
    about: str
    prompt: str
    """Name of its prompt template, unless the config names one."""
    plan: SamplingPlan
    """The study's sampling on it."""
    num_problems: int | None = None
    """As published; a set of another size is loaded with a warning. None where the config decides."""
    source: HubSource | None = None
    parse: Parser | None = None
    file: str = ""
    """Name of its file or folder in ``data.folder``, without an ending; its own name by default."""
    choose: Choose | None = None
    """The part of the source that it is."""
    generate: Generate | None = None
    """Makes the problems, for a family that is generated."""
    verifier: str = "math"
    """Ability of its problems, which chooses the verifier (docs/rewards.md)."""
    has_images: bool = False
    """Whether its problems are about images, one each at least."""


def deduplicated(problems: Sequence[Problem]) -> list[Problem]:
    """The first of each group of problems with the same question, white space aside."""
    first: dict[str, Problem] = {}
    for problem in problems:
        first.setdefault(" ".join(problem.prompt[0]["content"].split()), problem)
    return list(first.values())


OMNI_TRAIN = 2000
"""Training problems of the study's split (arXiv 2504.13837 §4.3)."""


def _split(part: str) -> Choose:
    """A part of the seeded split of the problems without doubles; each part in the order of the source."""

    def choose(problems: Sequence[Problem], seed: int) -> list[Problem]:
        unique = deduplicated(problems)
        order = list(range(len(unique)))
        random.Random(seed).shuffle(order)
        chosen = order[:OMNI_TRAIN] if part == "train" else order[OMNI_TRAIN:]
        return [_moved(unique[index], part) for index in sorted(chosen)]

    return choose


def _moved(problem: Problem, split: str) -> Problem:
    source, _, index = problem.id.split("/")
    return replace(problem, id=f"{source}/{split}/{index}", extra_info={**problem.extra_info, "split": split})


def _family(name: str) -> Generate:
    return lambda benchmark, data: FAMILIES[name].test_split(
        data, benchmark.num_problems, benchmark.operations
    )


def _longer_chains(benchmark: BenchmarkConfig, data: DataConfig) -> list[Problem]:
    """More operations than the tiny models see in training."""
    operations = benchmark.operations or [9, 10, 11, 12]
    return FAMILIES["chains"].test_split(data, benchmark.num_problems or 40, operations)


def _skills(name: str, operations: Sequence[int] | None = None, mixed: bool = False) -> Generate:
    """Problems with named operations that the tiny models do not see in training."""
    return lambda benchmark, data: skills.generate(
        benchmark.num_problems or 40,
        benchmark.operations or operations or data.skills.operations,
        data.skills.seed,
        data.skills,
        "test",
        modulus=data.skills.modulus,
        mixed=mixed,
        name=name,
    )


WIDE, DEEP, ALGORITHMS = SamplingPlan(), SamplingPlan(num_samples=1024), SamplingPlan(num_samples=256)
TINY = SamplingPlan(num_samples=128, temperature=1.0, top_p=1.0, max_tokens=160)
PROBLEM = ("problem", "question")


def _omni(name: str, about: str, num_problems: int, choose: Choose | None = None) -> BenchmarkEntry:
    return BenchmarkEntry(
        name, about, "think_answer", ALGORITHMS, num_problems,
        HubSource(files=("https://raw.githubusercontent.com/KbsdJames/omni-math-rule/main/omni_math_rule.jsonl",)),
        questions(*PROBLEM), "omni_math_rule", choose,
    )  # fmt: skip


_ALL = (
    BenchmarkEntry(
        "gsm8k", "grade-school word problems, test split", "think_answer", WIDE, 1319,
        HubSource("openai/gsm8k", "main"), questions("question", truth=after_the_hashes),
    ),
    BenchmarkEntry(
        "math500", "500 problems of MATH", "think_answer", WIDE, 500,
        HubSource("HuggingFaceH4/MATH-500"), questions(*PROBLEM),
    ),
    BenchmarkEntry(
        "minerva_math", "undergraduate science, Minerva's set", "think_answer", WIDE, 272,
        HubSource("math-ai/minervamath"), questions(*PROBLEM, truth=answer_or_box),
    ),
    BenchmarkEntry(
        "olympiadbench", "olympiad mathematics, open-ended, English, text only", "think_answer", WIDE, 675,
        HubSource("math-ai/olympiadbench"),
        questions("question", truth=final_answers, context="context"),
    ),
    BenchmarkEntry(
        "aime24", "AIME 2024 I and II", "think_answer", DEEP, 30,
        HubSource("HuggingFaceH4/aime_2024", split="train"), questions(*PROBLEM),
    ),
    BenchmarkEntry(
        "aime25", "AIME 2025 I and II", "think_answer", DEEP, 30,
        HubSource("math-ai/aime25"), questions(*PROBLEM),
    ),
    BenchmarkEntry(
        "amc23", "AMC 12 of 2023", "think_answer", DEEP, 40,
        HubSource("math-ai/amc23"), questions(*PROBLEM),
    ),
    _omni("omni_math_rule", "olympiad problems that rules can grade, all rows", 2821),
    _omni("omni_math_train", "2,000 of them without doubles, by data.split_seed", OMNI_TRAIN, _split("train")),
    _omni("omni_math_test", "the others, by the same seed", 816, _split("test")),
    BenchmarkEntry(
        "livecodebench", "release v5, contests of August 2024 to January 2025", "livecodebench", WIDE, 279,
        HubSource(files=tuple(
            f"hf://datasets/livecodebench/code_generation_lite/test{number}.jsonl" for number in ("", 2, 3, 4, 5)
        )),
        code_between("2024-08-01", "2025-02-01"), verifier="livecodebench",
    ),
    BenchmarkEntry(
        "humanevalplus", "HumanEval with EvalPlus's tests", "evalplus", WIDE, 164,
        HubSource("evalplus/humanevalplus"), code, verifier="code",
    ),
    BenchmarkEntry(
        "mbppplus", "MBPP with EvalPlus's tests", "evalplus", WIDE, 378,
        HubSource("evalplus/mbppplus"), code, verifier="code",
    ),
    BenchmarkEntry(
        "mathvista", "questions about images, testmini, without multiple choice", "boxed", WIDE, 460,
        HubSource("AI4Math/MathVista", split="testmini"),
        visual(lambda row: row.get("question_type") == "multi_choice", "query", "question"), has_images=True,
    ),
    BenchmarkEntry(
        "mathvision", "competition problems with images, testmini, without multiple choice", "boxed", WIDE, None,
        HubSource("MathLLMs/MathVision", split="testmini"),
        visual(lambda row: bool(row.get("options")), "question"), has_images=True,
    ),
    BenchmarkEntry(
        "chains", "generated arithmetic, test split of data.chains", "chat", TINY,
        generate=_family("chains"), verifier="arithmetic",
    ),
    BenchmarkEntry(
        "chains_long", "longer chains than the tiny models are trained on", "chat", TINY,
        generate=_longer_chains, verifier="arithmetic",
    ),
    BenchmarkEntry(
        "skills", "arithmetic with named operations, test split of data.skills", "chat", TINY,
        generate=_family("skills"), verifier="arithmetic",
    ),
    BenchmarkEntry(
        "skills_long", "longer chains than the tiny models are trained on", "chat", TINY,
        generate=_skills("skills_long", [7, 8]), verifier="arithmetic",
    ),
    BenchmarkEntry(
        "skills_mixed", "named operations that never occur together in training", "chat", TINY,
        generate=_skills("skills_mixed", mixed=True), verifier="arithmetic",
    ),
    BenchmarkEntry(
        "programs", "generated functions, test split of data.programs", "chat", TINY,
        generate=_family("programs"), verifier="code",
    ),
)  # fmt: skip
BENCHMARKS: Mapping[str, BenchmarkEntry] = {entry.name: entry for entry in _ALL}


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
        problems = load_problems(str(config.path), config.columns)
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
    found = [parse_entry(entry, row, index, where, base) for index, (row, where) in enumerate(rows)]
    problems = [problem for problem in found if problem is not None]
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
    if entry.parse is None or all(column in row for column in COLUMNS):
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
        return FAMILIES[data.family].splits(data)[0]
    if data.path in BENCHMARKS:
        return benchmark_problems(BenchmarkConfig(data.path), data)
    return load_problems(data.path, data.columns, split="train")


def training_template(data: DataConfig, prompt: str | None) -> PromptTemplate:
    """The prompt template of training: the config's, the registered benchmark's, or the data's own messages."""
    entry = BENCHMARKS.get(data.path or "")
    return template(prompt or (entry.prompt if entry else "chat"))
