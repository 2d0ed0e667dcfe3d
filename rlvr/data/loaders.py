"""Problems from files, and back, in verl's column convention.

Columns: ``data_source``, ``prompt`` (chat messages), ``ability``,
``reward_model = {style, ground_truth}``, ``extra_info = {split, index, …}``. Rows of the public code
sets are read from their own columns (code_sets.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rlvr.config import BenchmarkConfig, DataConfig
from rlvr.data.code_sets import is_code_row, parse_code_row
from rlvr.data.families import FAMILIES
from rlvr.errors import ConfigError, DataError
from rlvr.records import Problem

COLUMNS = ("data_source", "prompt", "ability", "reward_model", "extra_info")
FORMATS = (".jsonl", ".parquet")


def training_problems(config: DataConfig) -> list[Problem]:
    """The train split that a config names."""
    return load_problems(config.path) if config.path else FAMILIES[config.family].splits(config)[0]


def benchmark_problems(benchmark: BenchmarkConfig, data: DataConfig) -> list[Problem]:
    """The problems that are measured.

    Raises:
        DataError: no such file, or a malformed one.
        ConfigError: ``benchmark=file`` without a path.
    """
    if benchmark.path:
        return load_problems(benchmark.path)
    if benchmark.family:
        return FAMILIES[benchmark.family].test_split(data, benchmark.num_problems, benchmark.operations)
    raise ConfigError(
        f"benchmark {benchmark.name!r} has no file",
        where="benchmark.path",
        fix=f"benchmark.path=FILE.jsonl, or one that is generated: benchmark={' or '.join(FAMILIES)}",
    )


def load_problems(path: str) -> list[Problem]:
    """Read a JSONL or parquet file, or a folder written by ``datasets``.

    Raises:
        DataError: missing, empty or malformed; a bad row is named by file and line (JSONL)
            or row (parquet and folders), counted from 1.
    """
    source = Path(path)
    if not source.exists():
        raise DataError("the data file does not exist", where=path, fix="check the path")
    try:
        problems = [parse_row(row, where) for row, where in read_rows(source)]
    except DataError:
        raise
    except Exception as error:  # pyarrow and datasets raise many types for a file that is not theirs
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"the data cannot be read: {reason}", where=path, fix="write the file again"
        ) from error
    if not problems:
        raise DataError("the data set is empty", where=path, fix="it must hold at least one problem")
    seen: dict[str, int] = {}
    for number, problem in enumerate(problems, start=1):
        if problem.id in seen:
            raise DataError(
                f"problem id {problem.id!r} occurs twice, in rows {seen[problem.id]} and {number}",
                where=path,
                fix="ids are data_source/split/index: give every row its own extra_info.index",
            )
        seen[problem.id] = number
    return problems


def read_rows(source: Path) -> Iterator[tuple[Any, str]]:
    """Yield every row with the words that say where it stands."""
    if source.suffix == ".jsonl":
        with source.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                where = f"{source}:{number}"
                try:
                    yield json.loads(line), where
                except json.JSONDecodeError as error:
                    raise DataError(
                        f"the line is not valid JSON ({error.msg} at column {error.colno})",
                        where=where,
                        fix="the line is often cut off: write the file again, or delete the line",
                    ) from error
        return
    import datasets

    if source.is_dir():
        table = datasets.load_from_disk(str(source))
    elif source.suffix == ".parquet":
        table = datasets.Dataset.from_parquet(str(source))
    else:
        raise DataError(
            f"unknown file format {source.suffix!r}", where=str(source), fix=f"one of {', '.join(FORMATS)}"
        )
    if not isinstance(table, datasets.Dataset):
        raise DataError(
            f"the folder holds several splits: {', '.join(table)}", where=str(source), fix="name one of them"
        )
    for number, row in enumerate(table, start=1):
        yield row, f"{source}, row {number}"


def parse_row(row: Any, where: str) -> Problem:
    """Check one row and make it a problem.

    Raises:
        DataError: a column is missing or of the wrong type.
    """

    def check(condition: bool, what: str, fix: str) -> None:
        if not condition:
            raise DataError(what, where=where, fix=fix)

    check(isinstance(row, dict), "the row is not an object", f"an object with {', '.join(COLUMNS)}")
    if is_code_row(row):
        return parse_code_row(row, where)
    for column in COLUMNS:
        check(column in row, f"column {column!r} is missing", f"found: {', '.join(map(str, row))}")
    prompt, reward_model, extra = row["prompt"], row["reward_model"], row["extra_info"]
    check(
        isinstance(prompt, list)
        and len(prompt) > 0
        and all(isinstance(m, dict) and isinstance(m.get("content"), str) and "role" in m for m in prompt),
        "prompt is not a list of chat messages",
        'for example [{"role": "user", "content": "…"}]',
    )
    check(
        isinstance(reward_model, dict) and isinstance(reward_model.get("ground_truth"), (str, int, float)),
        "reward_model has no ground_truth",
        'for example {"style": "rule", "ground_truth": "42"}',
    )
    check(
        isinstance(extra, dict) and "index" in extra,
        "extra_info has no index",
        '{"split": "train", "index": 0}',
    )
    return Problem(
        id=f"{row['data_source']}/{extra.get('split', 'all')}/{extra['index']}",
        prompt=tuple({"role": m["role"], "content": m["content"]} for m in prompt),
        data_source=str(row["data_source"]),
        ground_truth=str(reward_model["ground_truth"]),
        style=str(reward_model.get("style", "rule")),
        ability=str(row["ability"]),
        extra_info=extra,
    )


def to_row(problem: Problem) -> dict[str, Any]:
    """Inverse of :func:`parse_row`."""
    return {
        "data_source": problem.data_source,
        "prompt": [dict(message) for message in problem.prompt],
        "ability": problem.ability,
        "reward_model": {"style": problem.style, "ground_truth": problem.ground_truth},
        "extra_info": dict(problem.extra_info),
    }


def save_problems(problems: Sequence[Problem], path: Path) -> None:
    """Write ``.jsonl`` or ``.parquet`` through ``datasets``."""
    import datasets

    table = datasets.Dataset.from_list([to_row(problem) for problem in problems])
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        table.to_parquet(str(path))
    else:
        table.to_json(str(path), force_ascii=False)


def problems_hash(problems: Iterable[Problem]) -> str:
    """SHA-256 over prompts and ground truths: the identity of a benchmark."""
    digest = hashlib.sha256()
    for problem in problems:
        row = [problem.id, [dict(message) for message in problem.prompt], problem.ground_truth]
        digest.update(json.dumps(row, sort_keys=True).encode())
    return digest.hexdigest()
