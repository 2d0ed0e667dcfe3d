"""Rows with a question and an answer in columns of any name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlvr.config import ColumnsConfig
from rlvr.data.numbers import plain
from rlvr.errors import DataError
from rlvr.records import Problem
from rlvr.rewards.extract import final_answer

QUESTIONS = ("question", "problem", "prompt", "query", "instruction", "input", "text")
ANSWERS = (
    "answer",
    "final_answer",
    "expected_answer",
    "ground_truth",
    "solution",
    "target",
    "output",
    "label",
)
"""Names that sets give to their columns, the likeliest first."""
COLUMNS_WORDS = "columns.question=QUESTION columns.answer=ANSWER"
"""What tells a command which column is which, with a place for each name."""
MAX_ANSWER_CHARACTERS = 1000
"""The verifier reads no longer answer (rewards.math.max_answer_chars)."""


def parse_mapped(row: Any, index: int, where: str, columns: ColumnsConfig, name: str, split: str) -> Problem:
    """One row made a problem.

    Args:
        row: its columns.
        index: its number in the set, from 0.
        where: its place.
        columns: which of them hold what.
        name: of the set, for the problem's id.
        split: likewise.

    Raises:
        DataError: a column is missing, or holds no question or no answer.
    """
    if not isinstance(row, Mapping):
        raise DataError("the row is not an object", where=where, fix="one JSON object per line")
    question = _cell(row, str(columns.question), where)
    if not isinstance(question, str) or not question.strip():
        raise DataError(
            f"column {columns.question!r} holds {question!r:.60}", where=where, fix="the question, as text"
        )
    held = plain(_cell(row, str(columns.answer), where))
    truth = held if held is None or columns.answer_in == "whole" else final_answer(held, columns.answer_in)
    if not truth:
        raise DataError(
            f"column {columns.answer!r} holds no answer ({columns.answer_in}): {held!r:.60}",
            where=where,
            fix="columns.answer_in: whole, boxed, hashes, answer_tag or last_number; or leave the row out",
        )
    if columns.ability == "math" and is_solution(truth):
        raise DataError(
            f"column {columns.answer!r} holds a worked solution: {truth[:40]!r}…",
            where=where,
            fix="columns.answer_in=boxed, or hashes: where the final answer stands in it",
        )
    key = index if columns.id is None else _cell(row, columns.id, where)
    return Problem(
        id=f"{name}/{split}/{key}",
        prompt=({"role": "user", "content": question},),
        data_source=name,
        ground_truth=truth,
        ability=columns.ability,
        extra_info={"split": split, "index": index, "question": question},
    )


def how_to_map(row: Mapping[str, Any], words: str) -> str:
    """How to say which columns of a row hold its question and its answer.

    Args:
        row: that lacks verl's columns.
        words: of the command at hand, such as :data:`COLUMNS_WORDS`.
    """
    by_name = {name.lower(): name for name in map(str, row)}
    for place, names in (("QUESTION", QUESTIONS), ("ANSWER", ANSWERS)):
        words = words.replace(place, next((by_name[name] for name in names if name in by_name), place))
    return f"{words} reads a question and its answer from any columns"


def _cell(row: Mapping[str, Any], column: str, where: str) -> Any:
    if column not in row:
        raise DataError(
            f"column {column!r} is missing", where=where, fix=f"the row has: {', '.join(map(str, row))}"
        )
    return row[column]


def is_solution(truth: str) -> bool:
    """Whether a ground truth holds the way to an answer and not the answer alone."""
    return "\\boxed" in truth or "####" in truth or len(truth) > MAX_ANSWER_CHARACTERS
