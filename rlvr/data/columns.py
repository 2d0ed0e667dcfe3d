"""Rows of the public math and visual sets, in the columns in which they are published.

A parser makes one row a problem whose only message is the bare question: the words around it are the prompt
template's. It returns None for a row that the study leaves out, and names the column that is missing or of the wrong
type. Rows of code sets: code_sets.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from rlvr.data.code_sets import parse_code_row
from rlvr.data.numbers import plain
from rlvr.errors import DataError
from rlvr.records import Problem
from rlvr.rewards.extract import after_hashes, last_boxed

Row = Mapping[str, Any]
Parser = Callable[[Row, str, int, str], Problem | None]
"""Row, name of the set, index of the row, and where it stands → problem, or None."""
Answer = Callable[[Row, str], str | None]
"""Row and where it stands → ground truth; None where the row has none."""


def text_in(row: Row, names: tuple[str, ...], where: str) -> str:
    """The text of the first of these columns that the row has.

    Raises:
        DataError: it has none of them, or no text in it.
    """
    found = next((name for name in names if row.get(name) is not None), None)
    if found is None:
        raise DataError(
            f"column {names[0]!r} is missing",
            where=where,
            fix=f"one of {', '.join(names)}; the row has: {', '.join(map(str, row))}",
        )
    value = row[found]
    if not isinstance(value, str) or not value.strip():
        raise DataError(
            f"column {found!r} holds {type(value).__name__} {str(value)[:40]!r}, not text",
            where=where,
            fix="write the row again: the question is text",
        )
    return value.strip()


def answer(row: Row, where: str) -> str | None:
    """Column ``answer``: text or a number."""
    return plain(row.get("answer"))


def after_the_hashes(row: Row, where: str) -> str | None:
    """GSM8K: what follows ``####`` in the worked answer."""
    return after_hashes(text_in(row, ("answer",), where))


def answer_or_box(row: Row, where: str) -> str | None:
    """Minerva: column ``answer`` where there is one, or else the last box of the solution."""
    return plain(row["answer"]) if "answer" in row else last_boxed(text_in(row, ("solution",), where))


def final_answers(row: Row, where: str) -> str | None:
    """OlympiadBench: the list ``final_answer``, one text that may itself list several."""
    found = row.get("final_answer")
    texts = [plain(each) for each in found] if isinstance(found, (list, tuple)) else [None]
    return ", ".join(str(text) for text in texts) if texts and None not in texts else None


def gold_answer(row: Row, where: str) -> str | None:
    """SimpleRL-Zoo and Oat-Zero: the final answer beside a worked one, which ``answer`` may hold."""
    found = [
        plain(row[name])
        for name in ("gt_answer", "ground_truth_answer", "answer")
        if row.get(name) is not None
    ]
    return found[0] if found else None


def questions(*names: str, truth: Answer = answer, context: str | None = None, split: str = "test") -> Parser:
    """A parser of rows with a question and an answer.

    Args:
        names: columns that hold the question, the first one that a row has.
        truth: how the ground truth is found.
        context: column of a text that stands before the question, where a row has one.
        split: of the ids.
    """

    def parse(row: Row, name: str, index: int, where: str) -> Problem:
        question = text_in(row, names, where)
        if context and row.get(context):
            question = f"{text_in(row, (context,), where)}\n\n{question}"
        gold = truth(row, where)
        if not gold or not gold.strip():
            raise DataError(
                "the row has no answer: "
                + ", ".join(
                    f"{key} is {str(row[key])[:40]!r}" for key in ("answer", "final_answer") if key in row
                ),
                where=where,
                fix="write the row again: an answer is text or a number",
            )
        return Problem(
            id=f"{name}/{split}/{index}",
            prompt=({"role": "user", "content": question},),
            data_source=name,
            ground_truth=gold.strip(),
            extra_info={"split": split, "index": index},
        )

    return parse


def unwrapped(words: str) -> Parser:
    """A parser of verl's rows whose prompts hold the words of a template, which come from the config here.

    Args:
        words: of the template, with ``{question}`` in the place of the question.

    The rows have no index of their own that tells problems apart, so they are counted.
    """
    before, _, after = words.partition("{question}")

    def parse(row: Row, name: str, index: int, where: str) -> Problem:
        try:
            words, gold = row["prompt"][-1]["content"].strip(), plain(row["reward_model"]["ground_truth"])
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise DataError(
                f"the row has no prompt or no reward_model.ground_truth ({type(error).__name__}: {error})",
                where=where,
                fix=f"verl's columns; the row has: {', '.join(map(str, row))}",
            ) from error
        question = words.removeprefix(before.strip()).removesuffix(after.strip()).strip()
        if not (words.startswith(before.strip()) and words.endswith(after.strip()) and question and gold):
            raise DataError(
                f"the prompt does not have the words of its template, or there is no answer: {words[:60]!r}…",
                where=where,
                fix="data.path=FILE prompt=chat sends prompts as the rows have them",
            )
        return Problem(
            id=f"{name}/train/{index}",
            prompt=({"role": "user", "content": question},),
            data_source=name,
            ground_truth=gold,
            extra_info={"split": "train", "index": index},
        )

    return parse


def visual(choices: Callable[[Row], bool], *names: str) -> Parser:
    """A parser of questions about an image, without those of multiple choice, which could be guessed.

    The image itself comes from columns that are the same in all sets (images.py). Numbered marks for it, as MathVision
    has them in its texts, are taken out: it comes before the question.

    Args:
        choices: whether a row is of multiple choice.
        names: columns that hold the question, the first one that a row has.
    """
    read = questions(*names, split="testmini")

    def parse(row: Row, name: str, index: int, where: str) -> Problem | None:
        if choices(row):
            return None
        problem = read(row, name, index, where)
        assert problem is not None
        [message] = problem.prompt
        question = re.sub(r"<image\d+>", "", message["content"]).strip()
        return replace(problem, prompt=({**message, "content": question},))

    return parse


def code(row: Row, name: str, index: int, where: str) -> Problem:
    """HumanEval+, MBPP+ and LiveCodeBench."""
    return parse_code_row(row, where)


def code_between(first: str, after: str) -> Parser:
    """LiveCodeBench's problems of contests from the day ``first`` on, up to and without ``after`` (ISO dates)."""

    def parse(row: Row, name: str, index: int, where: str) -> Problem | None:
        date = str(text_in(row, ("contest_date",), where))[:10]
        return parse_code_row(row, where) if first <= date < after else None

    return parse
