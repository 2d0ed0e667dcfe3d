"""All faults of a data file at once, each with its place, where loading stops at the first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr.config import ColumnsConfig
from rlvr.data.benchmarks import BenchmarkEntry, parse_entry
from rlvr.data.loaders import folder_of, lines_of, parse_row, read_rows, row_in
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
    repeats: int
    """Rows that repeat another, which loading leaves out."""
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
    problems: dict[str, Problem] = {}
    problem: Problem | None
    left_out = repeats = 0
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
        elif problems.get(problem.id) == problem:
            repeats += 1
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
            problems[problem.id] = problem
    read = list(problems.values())
    for problem_id, fault in faults(read, rewards).items():
        found.append(DataError(fault.what, where=places[problem_id], fix=fault.fix))
    order = {where: index for index, (_, where) in enumerate(rows)}
    found.sort(key=lambda error: order[str(error.where)])
    as_text = {places[name]: reason for name, reason in compared_as_text(read, rewards).items()}
    return Validation(len(rows), read, left_out, found, repeats, as_text)


def _rows(path: Path) -> Iterator[tuple[Any, str]]:
    """As :func:`read_rows`, with a DataError in place of a line that cannot be read."""
    if path.suffix != ".jsonl" or not path.is_file():
        yield from read_rows(path)
        return
    for line, where in lines_of(path):
        try:
            if (row := row_in(line, where)) is not None:
                yield row[0], where
        except DataError as error:
            yield error, where
