"""The audit of reasoning: a right answer may come from a wrong chain of thought.

For the hardest solvable problems (solved, but in fewer than 5 % of the samples) every correct
response is exported for a person to read, or judged on the problem's solution graph where there is one. What counts
is the problems with at least one valid chain (arXiv 2504.13837, section 3.2). Where *all* correct responses have been
judged, CoT-pass@k counts only those whose chain is valid too (arXiv 2506.14245).

Verdicts lie beside the samples they judge, in ``audit.json``. A reader also says whether the answer
itself is right, and so measures the verifier.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np

from rlvr.errors import DataError
from rlvr.eval.samples import Sample
from rlvr.eval.statistics import Interval
from rlvr.eval.store import Evaluation
from rlvr.files import write_json
from rlvr.records import Problem, Status
from rlvr.rewards.process import right_steps
from rlvr.run_folder import AUDIT_FILE

HARD = 0.05
"""Accuracy below which a problem that is solved at all is one of the hardest solvable ones."""
BY_PEOPLE, BY_GRAPH = "people", "solution graph"
CHAIN, ANSWER = {"valid": True, "invalid": False}, {"right": True, "wrong": False}
"""The words that a reader may write."""


@dataclass(frozen=True, slots=True)
class ReadResponse:
    """The verdict on one response that the verifier called correct."""

    problem: str
    sample: int
    chain: bool
    """Whether the reasoning is valid."""
    answer: bool | None = None
    """Whether the answer is right after all; None where nobody said."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Audit:
    """The verdicts on one model's responses to one benchmark."""

    by: str
    """``people`` or ``solution graph``."""
    model_sha256: str
    problems_sha256: str
    rows: tuple[ReadResponse, ...]


def hardest(evaluation: Evaluation) -> tuple[str, ...]:
    """Ids of the problems that are solved in fewer than 5 % of the samples, but solved."""
    accuracy = evaluation.num_correct / np.maximum(evaluation.num_samples, 1)
    return tuple(i for i, share in zip(evaluation.problem_ids, accuracy, strict=True) if 0 < share < HARD)


def correct_samples(evaluation: Evaluation, problems: Sequence[str] | None = None) -> Iterator[Sample]:
    """Responses that the verifier called correct, of some problems or of all."""
    wanted = None if problems is None else set(problems)
    for sample in evaluation.samples():
        if sample.status is Status.CORRECT and (wanted is None or sample.problem in wanted):
            yield sample


def judge_by_graph(evaluation: Evaluation, problems: Sequence[Problem]) -> Audit:
    """Judge every correct response on its problem's solution graph: valid if every step is there and right.

    Raises:
        DataError: a problem has no solution graph.
    """
    graphs = {problem.id: problem.extra_info.get("solution_graph") for problem in problems}
    for problem_id in evaluation.problem_ids:
        if not graphs.get(problem_id):
            raise DataError(
                f"problem {problem_id} has no solution graph, so its reasoning cannot be judged automatically",
                where=str(evaluation.folder),
                fix="let people read it: rlvr audit FOLDER write=to_read.jsonl",
            )
    rows = tuple(
        ReadResponse(each.problem, each.sample, right_steps(graphs[each.problem] or {}, each.text) == 1.0)
        for each in correct_samples(evaluation)
    )
    return Audit(BY_GRAPH, evaluation.spec.model_sha256, evaluation.spec.problems_sha256, rows)


def rows_to_read(
    evaluations: Sequence[Evaluation], problems: Sequence[Problem], seed: int = 0
) -> list[dict[str, Any]]:
    """What people read: every correct response to a model's hardest problems.

    The rows are shuffled and do not name the model, so that nobody can favour one.
    """
    asked = {problem.id: problem for problem in problems}
    rows = [
        {
            "id": response_id(evaluation, sample),
            "problem": sample.problem,
            "prompt": [dict(message) for message in asked[sample.problem].prompt] if asked else [],
            "ground_truth": asked[sample.problem].ground_truth if asked else "",
            "response": sample.text,
            "chain": None,
            "answer": None,
            "note": "",
        }
        for evaluation in evaluations
        for sample in correct_samples(evaluation, hardest(evaluation))
    ]
    random.Random(seed).shuffle(rows)
    return rows


def response_id(evaluation: Evaluation, sample: Sample) -> str:
    """Tells a response from all others without saying whose it is."""
    words = (evaluation.spec.model_sha256, evaluation.spec.problems_sha256, sample.problem, sample.sample)
    return hashlib.sha256(repr(words).encode()).hexdigest()[:16]


def take_over(evaluations: Sequence[Evaluation], read: Mapping[str, dict[str, Any]]) -> list[Audit]:
    """The readers' verdicts, sorted by model.

    Args:
        evaluations: the models whose responses were read.
        read: rows by id, as :func:`read_rows` returns them.

    Raises:
        DataError: a row belongs to none of these responses.
    """
    left, audits = dict(read), []
    for evaluation in evaluations:
        found = []
        for sample in correct_samples(evaluation, hardest(evaluation)):
            row = left.pop(response_id(evaluation, sample), None)
            if row is not None and row["chain"] is not None:
                answer = None if row["answer"] is None else ANSWER[row["answer"]]
                found.append(
                    ReadResponse(sample.problem, sample.sample, CHAIN[row["chain"]], answer, row["note"])
                )
        spec = evaluation.spec
        audits.append(Audit(BY_PEOPLE, spec.model_sha256, spec.problems_sha256, tuple(found)))
    if left:
        raise DataError(
            f"{len(left)} of {len(read)} rows belong to no response here, the first one is {next(iter(left))!r}",
            fix="name the folders that the rows were exported from",
        )
    return audits


def read_rows(path: Path) -> dict[str, dict[str, Any]]:
    """The rows of a file that people have filled in, by id.

    Raises:
        DataError: a row is malformed, doubled, or its words are others than asked for; by file and line.
    """
    rows: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            row = json.loads(line)
            row_id = str(row["id"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"not a row of an audit: {error}", where=where, fix="export anew") from error
        for key, words in (("chain", CHAIN), ("answer", ANSWER)):
            if row.setdefault(key, None) is not None and row[key] not in words:
                raise DataError(
                    f"{key} is {row[key]!r}",
                    where=where,
                    fix=f"write {' or '.join(map(repr, words))}, or null",
                )
        if row_id in rows:
            raise DataError(f"the row {row_id!r} is there twice", where=where, fix="delete one of them")
        rows[row_id] = {**row, "note": str(row.get("note") or "")}
    return rows


def write_audit(folder: Path, audit: Audit) -> None:
    """Keep the verdicts beside the samples."""
    write_json(folder / AUDIT_FILE, asdict(audit))


def read_audit(evaluation: Evaluation) -> Audit | None:
    """The verdicts beside an evaluation's samples; None where there are none.

    Raises:
        DataError: they judge another model's responses, or the file is malformed.
    """
    path = evaluation.folder / AUDIT_FILE
    if not path.exists():
        return None
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        audit = Audit(**{**raw, "rows": tuple(ReadResponse(**row) for row in raw["rows"])})
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"malformed audit: {error}", where=str(path), fix="delete it and run `rlvr audit` again"
        ) from error
    spec = evaluation.spec
    if (audit.model_sha256, audit.problems_sha256) != (spec.model_sha256, spec.problems_sha256):
        raise DataError(
            "the audit judges the responses of another model or to other problems",
            where=str(path),
            fix="delete it and run `rlvr audit` again",
        )
    return audit


def with_valid_chains(evaluation: Evaluation, audit: Audit) -> Evaluation | None:
    """The evaluation counting only responses whose chain is valid too; None unless all correct ones were judged."""
    judged = Counter(row.problem for row in audit.rows)
    if any(
        judged[i] != correct
        for i, correct in zip(evaluation.problem_ids, evaluation.num_correct.tolist(), strict=True)
    ):
        return None
    valid = Counter(row.problem for row in audit.rows if row.chain)
    return replace(evaluation, num_correct=np.array([valid[i] for i in evaluation.problem_ids]))


def share_interval(successes: int, trials: int) -> Interval:
    """A share with its 95 % interval (Wilson 1927), for trials that are independent."""
    if not trials:
        return Interval(float("nan"), 0.0, 1.0)
    z, share = 1.959964, successes / trials
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    low = 0.0 if not successes else middle - half
    return Interval(share, low, 1.0 if successes == trials else middle + half)


def compounded(false_positives: float, k: int) -> float:
    """Chance that at least one of k wrong answers passes a verifier with this rate of false positives."""
    return 1.0 - (1.0 - false_positives) ** k
