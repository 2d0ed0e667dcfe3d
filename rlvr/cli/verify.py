"""``rlvr verify``: judge responses from rows of JSON, with the code that training uses."""

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

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rlvr.data.loaders import HALF, json_row
from rlvr.data.numbers import is_text, plain
from rlvr.errors import ConfigError, DataError, did_you_mean
from rlvr.records import Problem, Status, Verdict
from rlvr.rewards.code import ABILITIES
from rlvr.rewards.config import RewardsConfig
from rlvr.rewards.function import FunctionVerifier
from rlvr.rewards.pool import VerifierPool
from rlvr.rewards.process import ProcessVerifier, is_graph
from rlvr.rewards.registry import VERIFIERS, CheckingVerifier, MixedVerifier

EXAMPLES = """\
rlvr verify: judge responses; rows of JSON in, rows of JSON out in the same order.

Examples:
  rlvr verify rows.jsonl > verdicts.jsonl
  echo '{"id": 1, "kind": "math", "ground_truth": "1/2", "response": "so \\\\\\\\boxed{0.5}"}' | rlvr verify
  rlvr verify rows.jsonl math.units=required math.decimal_tolerance=1e-3
  rlvr verify rows.jsonl function=mine.py:judge         a function of yours in place of the verifiers
  rlvr verify programs.jsonl sandbox.require=namespaces num_workers=8

A row has id, kind, response, and by kind:
  math     ground_truth: the answer in LaTeX or plain text
  choice   ground_truth: a letter or a number; choices (optional): the texts of the options
  process  ground_truth: a solution graph, as in extra_info.solution_graph of generated problems
  code     tests, of programs (livecodebench: the same, by its own grader's conventions):
           [{"stdin": "...", "stdout": "..."}, ...]
           or {"entry_point": "f", "cases": [{"args": [...], "expected": ...}, ...]}
finish_reason (optional) is "stop" or "length": a response that was cut off has not answered.

Writes {"id", "score", "status", "answer", "seconds"}; seconds run from the moment that a row was read. A ground
truth of kind math that has no meaning for the verifier is compared as text, and its row says "as_text": true.
Settings are key=value of the section `rewards` (rewards/config.py, docs/rewards.md).
A row that cannot be used ends the command with exit code 2 and names its line; the rows before it are judged.
"""
KINDS = (*VERIFIERS, "process")
NUM_AHEAD = 64
"""Rows read ahead of the one that is written next, per worker."""


@dataclass(frozen=True, slots=True)
class Row:
    """One checked line of input."""

    id: Any
    problem: Problem
    response: str
    finish_reason: str


def run(arguments: list[str]) -> None:
    """Run the command."""
    if "--help" in arguments or "-h" in arguments:
        print(EXAMPLES)
        return
    path, config = parse_arguments(arguments)
    source = sys.stdin if path in (None, "-") else open_rows(str(path))
    verifiers = Verifiers(config)
    with VerifierPool(MixedVerifier(verifiers), config.num_workers) as pool:
        for words in verdicts(
            read_rows(source, path or "-", verifiers), pool, NUM_AHEAD * config.num_workers
        ):
            print(json.dumps(words, ensure_ascii=False), flush=True)


def parse_arguments(arguments: list[str]) -> tuple[str | None, RewardsConfig]:
    """A file name, or none for standard input, and key=value settings."""
    settings = [word for word in arguments if "=" in word and not word.startswith("-")]
    paths = [word for word in arguments if word not in settings]
    for word in paths:
        if word.startswith("-") and word != "-":
            raise ConfigError(f"unknown flag {word!r}", where="rlvr verify", fix="`rlvr verify --help`")
    if len(paths) > 1:
        raise ConfigError(
            f"{len(paths)} files are given", where="rlvr verify", fix="one file, or standard input"
        )
    try:
        merged = OmegaConf.merge(OmegaConf.structured(RewardsConfig), OmegaConf.from_dotlist(settings))
        config = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(reason, where="rewards", fix="see rewards/config.py for the keys") from error
    assert isinstance(config, RewardsConfig)
    return (paths[0] if paths else None), config


def open_rows(path: str) -> IO[str]:
    """Open the input."""
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
    label = "standard input" if name == "-" else name
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
    """One line of input."""

    def check(condition: bool, what: str, fix: str) -> None:
        if not condition:
            raise DataError(what, where=where, fix=fix)

    row = json_row(line, where)
    check(isinstance(row, dict), "the row is not an object", '{"id": …, "kind": …, "response": …}')
    for column in ("id", "kind", "response"):
        check(column in row, f"column {column!r} is missing", f"found: {', '.join(map(str, row))}")
    kind, response = row["kind"], row["response"]
    check(isinstance(kind, str) and kind in KINDS, f"unknown kind {kind!r}", did_you_mean(str(kind), KINDS))
    check(isinstance(response, str), "response is not text", "a string")
    column = "tests" if kind in ABILITIES else "ground_truth"
    truth = row.get(column)
    check(
        truth is not None,
        f"{column} is missing",
        "`rlvr verify --help`",
    )
    finish_reason = row.get("finish_reason", "stop")
    check(finish_reason in ("stop", "length"), f"finish_reason is {finish_reason!r}", "stop or length")
    extra: dict[str, Any] = {"choices": row.get("choices")}
    if kind == "process":
        check(
            is_graph(truth),
            "ground_truth is no solution graph",
            "extra_info.solution_graph of a generated problem",
        )
        extra["solution_graph"] = truth
        truth = truth["nodes"][-1]["value"]
    text: str | None
    if kind in ABILITIES:
        text = truth if isinstance(truth, str) else json.dumps(truth)
    else:
        text = truth if isinstance(truth, str) and not truth.strip() else plain(truth)
    if text is None:
        raise DataError(
            f"ground_truth holds {type(truth).__name__} {str(truth)[:40]!r}",
            where=where,
            fix='one answer, as text or as a finite number; several in one text: "1, 2"',
        )
    check(is_text(text), f"{column} holds half a character", HALF)
    problem = Problem(
        id=where, prompt=(), data_source="rows", ground_truth=text, ability=kind, extra_info=extra
    )
    return Row(row["id"], problem, response, finish_reason)


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
