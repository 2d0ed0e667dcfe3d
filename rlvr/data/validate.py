"""All faults of a data file at once, each with its place, where loading stops at the first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr.config import ColumnsConfig
from rlvr.data.benchmarks import BenchmarkEntry, parse_entry
from rlvr.data.loaders import folder_of, json_row, parse_row, read_rows, unreadable
from rlvr.data.mapped import parse_mapped
from rlvr.errors import DataError
from rlvr.records import Problem
from rlvr.rewards.config import RewardsConfig
from rlvr.rewards.registry import compared_as_text, faults


@dataclass(frozen=True, slots=True)
class Validation:
    """What a file holds."""

    num_rows: int
    problems: list[Problem]
    """Those that could be read."""
    left_out: int
    """Rows that the registered benchmark leaves out by design, such as other dates."""
    faults: list[DataError]
    """In the order of the rows."""
    as_text: dict[str, str]
    """Place of each ground truth that is compared as text only, and why."""


def validate(
    path: Path, entry: BenchmarkEntry | None, rewards: RewardsConfig, columns: ColumnsConfig | None = None
) -> Validation:
    """Read every row and check every ground truth.

    Args:
        path: JSONL or parquet file, or a folder saved by ``datasets``.
        entry: the registered benchmark whose columns it has; None for verl's.
        rewards: how responses would be judged.
        columns: what its columns hold, if they are neither.

    Raises:
        DataError: the file as a whole cannot be read.
    """
    rows, base = list(_rows(path)), folder_of(path)
    found: list[DataError] = []
    places: dict[str, str] = {}
    problems: list[Problem] = []
    problem: Problem | None
    left_out = 0
    for index, (row, where) in enumerate(rows):
        if isinstance(row, DataError):
            found.append(row)
            continue
        try:
            if columns is not None and columns.question is not None:
                problem = parse_mapped(row, index, where, columns, path.stem, columns.split or "test")
            elif entry:
                problem = parse_entry(entry, row, index, where, base)
            else:
                problem = parse_row(row, where, base)
        except DataError as error:
            found.append(error)
            continue
        if problem is None:
            left_out += 1
        elif problem.id in places:
            found.append(
                DataError(
                    f"problem id {problem.id!r} stands at {places[problem.id]} already",
                    where=where,
                    fix="ids are data_source/split/index: give every row its own extra_info.index",
                )
            )
        else:
            places[problem.id] = where
            problems.append(problem)
    for problem_id, fault in faults(problems, rewards).items():
        found.append(DataError(fault.what, where=places[problem_id], fix=fault.fix))
    order = {where: index for index, (_, where) in enumerate(rows)}
    found.sort(key=lambda error: order[str(error.where)])
    as_text = {places[name]: reason for name, reason in compared_as_text(problems, rewards).items()}
    return Validation(len(rows), problems, left_out, found, as_text)


def _rows(path: Path) -> Iterator[tuple[Any, str]]:
    """As :func:`read_rows`, with a DataError in place of a line that is not JSON."""
    if path.suffix != ".jsonl" or not path.is_file():
        yield from read_rows(path)
        return
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise unreadable(path, error) from error
    for number, line in enumerate(lines[:-1] if lines[-1] == "" else lines, start=1):
        where = f"{path}:{number}"
        try:
            yield json_row(line, where), where
        except DataError as error:
            yield error, where
