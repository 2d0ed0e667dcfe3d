"""Responses from rows of JSON, judged by the verifiers that training uses."""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from rlvr.config import VerifyConfig
from rlvr.data.loaders import HALF, json_row
from rlvr.data.numbers import is_text, plain
from rlvr.errors import DataError, did_you_mean
from rlvr.records import Problem, Status, Verdict
from rlvr.rewards.code import ABILITIES
from rlvr.rewards.config import RewardsConfig
from rlvr.rewards.function import FunctionVerifier
from rlvr.rewards.pool import VerifierPool
from rlvr.rewards.process import ProcessVerifier, is_graph
from rlvr.rewards.registry import VERIFIERS, CheckingVerifier, MixedVerifier

STDIN = "-"
KINDS = (*VERIFIERS, "process")
EXTRA = {"choice": {"choices": "choices"}, "process": {"solution_graph": "ground_truth"}}
"""What the verifier of a kind reads besides the ground truth, and the column that has it."""
NUM_AHEAD = 64
"""Rows read ahead of the one that is written next, per worker."""


@dataclass(frozen=True, slots=True)
class Row:
    """One checked line of input."""

    id: Any
    problem: Problem
    response: str
    finish_reason: str


def judge_rows(config: VerifyConfig) -> Iterator[dict[str, Any]]:
    """What `rlvr verify` does: a row of verdict for each row of the file, in the same order.

    Raises:
        DataError: a row cannot be used; those before it have been yielded.
    """
    source, verifiers = open_rows(config.file), Verifiers(config)
    with VerifierPool(MixedVerifier(verifiers), config.num_workers) as pool:
        yield from verdicts(read_rows(source, config.file, verifiers), pool, NUM_AHEAD * config.num_workers)


def open_rows(path: str) -> IO[str]:
    """Open the input."""
    if path == STDIN:
        return sys.stdin
    try:
        return Path(path).open(encoding="utf-8")
    except OSError as error:
        raise DataError(
            f"the file cannot be read: {error.strerror}", where=path, fix="check the path"
        ) from error


class Verifiers(dict[str, CheckingVerifier]):
    """Verifiers by kind, each made when the first row of its kind is read."""

    def __init__(self, config: RewardsConfig) -> None:
        """Remember the settings."""
        super().__init__()
        self.config = config

    def __missing__(self, kind: str) -> CheckingVerifier:
        made: CheckingVerifier
        if self.config.function is not None:
            made = FunctionVerifier(self.config.function)
        elif kind == "process":
            mix = self.config.process
            made = ProcessVerifier(mix)
        else:
            made = VERIFIERS[kind](self.config)
        self[kind] = made
        return made


def read_rows(source: IO[str], name: str, verifiers: Verifiers) -> Iterator[Row]:
    """Check every line and its ground truth.

    Raises:
        DataError: a line that cannot be used, named by number.
    """
    label = "standard input" if name == STDIN else name
    for number, line in enumerate(utf8_lines(source, label), start=1):
        if line.strip():
            where = f"{label}:{number}"
            row = parse_row(line, where)
            try:
                verifiers[row.problem.ability].check([row.problem])
            except DataError as error:
                raise DataError(error.what, where=where, fix=error.fix) from error
            yield row


def utf8_lines(source: IO[str], label: str) -> Iterator[str]:
    """Lines without the mark that some editors put in front of a file.

    Raises:
        DataError: the text is in another encoding.
    """
    number = 0
    try:
        for number, line in enumerate(source, start=1):  # noqa: B007 - of the line before the fault
            yield line.removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise DataError(
            f"the text is not UTF-8 (byte {error.object[error.start]:#04x})",
            where=f"{label}, after line {number}",
            fix="convert it: iconv -f latin1 -t utf-8, if it is latin-1",
        ) from error


def parse_row(line: str, where: str) -> Row:
    """One line of input.

    Raises:
        DataError: something in it cannot be used.
    """
    row = json_row(line, where)
    _require(isinstance(row, dict), "the row is not an object", where, '{"id": …, "kind": …, "response": …}')
    for column in ("id", "kind", "response"):
        found = f"found: {', '.join(map(str, row))}"
        _require(column in row, f"column {column!r} is missing", where, found)
    kind, response = row["kind"], row["response"]
    is_kind = isinstance(kind, str) and kind in KINDS
    _require(is_kind, f"unknown kind {kind!r}", where, did_you_mean(str(kind), KINDS))
    _require(isinstance(response, str), "response is not text", where, "a string")
    finish_reason = row.get("finish_reason", "stop")
    is_reason = finish_reason in ("stop", "length")
    _require(is_reason, f"finish_reason is {finish_reason!r}", where, "stop or length")
    problem = Problem(
        id=where,
        prompt=(),
        data_source="rows",
        ground_truth=ground_truth(row, where),
        ability=kind,
        extra_info={key: row[column] for key, column in EXTRA.get(kind, {}).items() if column in row},
    )
    return Row(row["id"], problem, response, finish_reason)


def ground_truth(row: dict[str, Any], where: str) -> str:
    """What a row's response is judged by, as the verifier of its kind reads it.

    Raises:
        DataError: it is missing, or not what the kind needs.
    """
    kind, is_code = row["kind"], row["kind"] in ABILITIES
    column = "tests" if is_code else "ground_truth"
    truth: Any = row.get(column)
    _require(truth is not None, f"{column} is missing", where, "`rlvr verify --help`")
    if kind == "process":
        graph = "extra_info.solution_graph of a generated problem"
        _require(is_graph(truth), "ground_truth is no solution graph", where, graph)
        truth = truth["nodes"][-1]["value"]
    text: str | None
    if is_code:
        text = truth if isinstance(truth, str) else json.dumps(truth)
    else:
        text = truth if isinstance(truth, str) and not truth.strip() else plain(truth)
    if text is None:
        raise DataError(
            f"ground_truth holds {type(truth).__name__} {str(truth)[:40]!r}",
            where=where,
            fix='one answer, as text or as a finite number; several in one text: "1, 2"',
        )
    _require(is_text(text), f"{column} holds half a character", where, HALF)
    return text


def _require(condition: bool, what: str, where: str, fix: str) -> None:
    if not condition:
        raise DataError(what, where=where, fix=fix)


def verdicts(rows: Iterator[Row], pool: VerifierPool, num_ahead: int) -> Iterator[dict[str, Any]]:
    """Judge rows side by side and yield the results in the order of the rows.

    A row that cannot be used is reported once everything before it has been written.
    """
    waiting: deque[tuple[Row, Future[tuple[Verdict, float]]]] = deque()
    trouble: DataError | None = None
    while True:
        try:
            row = next(rows)
        except StopIteration:
            break
        except DataError as error:
            trouble = error
            break
        waiting.append((row, timed(pool, row)))
        while waiting and (len(waiting) > num_ahead or waiting[0][1].done()):
            yield result(*waiting.popleft())
    for entry in waiting:
        yield result(*entry)
    if trouble is not None:
        raise trouble


def timed(pool: VerifierPool, row: Row) -> Future[tuple[Verdict, float]]:
    """Hand in a row; the future holds its verdict and the seconds until then."""
    started = time.monotonic()
    timed_future: Future[tuple[Verdict, float]] = Future()
    future = pool.submit(row.problem, row.response, row.finish_reason)
    future.add_done_callback(
        lambda done: timed_future.set_result(
            (
                Verdict(0.0, Status.ERROR, "interrupted") if done.cancelled() else done.result(),
                time.monotonic() - started,
            )
        )
    )
    return timed_future


def result(row: Row, future: Future[tuple[Verdict, float]]) -> dict[str, Any]:
    """One row of output."""
    verdict, seconds = future.result()
    return {
        "id": row.id,
        "score": verdict.score,
        "status": verdict.status.value,
        "answer": verdict.answer,
        "seconds": round(seconds, 6),
    } | ({"as_text": True} if verdict.as_text else {})
