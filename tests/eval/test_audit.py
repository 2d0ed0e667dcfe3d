"""The audit of reasoning: on solution graphs, by people, and in the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from rlvr.data.chains import generate, graph_of, solution_text
from rlvr.errors import DataError
from rlvr.eval.audit import (
    compounded,
    hardest,
    judge_by_graph,
    read_audit,
    read_rows,
    rows_to_read,
    share_interval,
    take_over,
    with_valid_chains,
    write_audit,
)
from rlvr.eval.samples import Sample, encode_samples
from rlvr.eval.store import Evaluation, load_evaluation
from rlvr.records import Problem, Status
from rlvr.run_folder import SAMPLES_FILE
from tests.fabricate import evaluation

PROBLEMS = generate(3, [4], seed=1, split="test")
N = 40
HARD_COUNTS = [1, 0, 1, 20, 40]
"""Two of five problems are solved once in 40 samples."""


def with_texts(
    folder: Path, name: str, problems: Sequence[Problem], texts: Sequence[Sequence[str]]
) -> Evaluation:
    """An evaluation whose samples are all right answers, with these texts."""
    n = len(texts[0])
    evaluation(folder, name, [n] * len(problems), samples=n, problems=problems)
    rows = [
        Sample(problem.id, s, 1.0, Status.CORRECT, "1", text, 5, "stop")
        for problem, each in zip(problems, texts, strict=True)
        for s, text in enumerate(each)
    ]
    (folder / SAMPLES_FILE).write_bytes(encode_samples(rows))
    return load_evaluation(folder, [problem.id for problem in problems])


def broken(problem: Problem) -> str:
    """A solution whose answer is right and whose last step but one is wrong."""
    *steps, last, answer = solution_text(graph_of(problem)).split(" ; ")
    return " ; ".join([*steps[:-1], steps[-1] + "0", last, answer])


def test_a_right_answer_with_a_wrong_step_is_not_valid(tmp_path: Path) -> None:
    good, bad = [[f(p) for p in PROBLEMS] for f in (lambda p: solution_text(graph_of(p)), broken)]
    texts = [[good[0]] * 4, [bad[1]] * 4, [good[2], bad[2], "# 1", good[2]]]
    found = with_texts(tmp_path / "base", "base", PROBLEMS, texts)
    audit = judge_by_graph(found, PROBLEMS)
    assert [row.chain for row in audit.rows] == [True] * 4 + [False] * 4 + [True, False, False, True]
    write_audit(found.folder, audit)
    assert read_audit(found) == audit
    valid = with_valid_chains(found, audit)
    assert valid is not None
    assert valid.num_correct.tolist() == [4, 0, 2]


def test_problems_without_a_graph_are_named(tmp_path: Path) -> None:
    found = evaluation(tmp_path / "base", "base", [1, 2])
    with pytest.raises(DataError, match="toy/test/0 has no solution graph"):
        judge_by_graph(found, [])


def filled(rows: list[dict], path: Path, **words: object) -> Path:
    """Rows as a reader leaves them."""
    path.write_text("".join(json.dumps({**row, **words}) + "\n" for row in rows))
    return path


def test_people_read_the_hardest_problems_without_knowing_the_model(tmp_path: Path) -> None:
    models = [
        evaluation(tmp_path / name, name, counts, samples=N)
        for name, counts in (("base", HARD_COUNTS), ("grpo", [40, 1, 0, 0, 0]))
    ]
    assert hardest(models[0]) == ("toy/test/0", "toy/test/2")
    rows = rows_to_read(models, [])
    assert len(rows) == 3
    assert not any(name in json.dumps(rows) for name in ("base", "grpo"))
    rows[0]["chain"], rows[1]["chain"], rows[1]["answer"] = "valid", "invalid", "wrong"
    audits = take_over(models, read_rows(filled(rows, tmp_path / "read.jsonl")))
    judged = [row for audit in audits for row in audit.rows]
    assert sorted((row.chain, row.answer) for row in judged) == [(False, False), (True, None)]
    assert with_valid_chains(models[0], audits[0]) is None  # not every right answer was read


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"chain": "yes"}, "chain is 'yes'"),
        ({"answer": "maybe"}, "answer is 'maybe'"),
        ({"id": "x"}, "twice"),
    ],
)
def test_a_readers_mistake_is_named_by_line(tmp_path: Path, words: dict, message: str) -> None:
    found = evaluation(tmp_path / "base", "base", HARD_COUNTS, samples=N)
    path = filled(rows_to_read([found], []), tmp_path / "read.jsonl", **words)
    with pytest.raises(DataError, match=message) as error:
        read_rows(path)
    assert f"{path}:" in str(error.value.where)


def test_rows_of_other_responses_are_refused(tmp_path: Path) -> None:
    found = evaluation(tmp_path / "base", "base", HARD_COUNTS, samples=N)
    other = evaluation(tmp_path / "other", "other", HARD_COUNTS, samples=N)
    path = filled(rows_to_read([other], []), tmp_path / "read.jsonl", chain="valid")
    with pytest.raises(DataError, match="2 of 2 rows belong to no response here"):
        take_over([found], read_rows(path))


def test_the_audit_of_another_model_is_refused(tmp_path: Path) -> None:
    found = evaluation(tmp_path / "base", "base", HARD_COUNTS, samples=N)
    other = evaluation(tmp_path / "other", "other", HARD_COUNTS, samples=N)
    write_audit(other.folder, take_over([found], {})[0])
    with pytest.raises(DataError, match="of another model"):
        read_audit(other)


def test_share_interval_against_known_values() -> None:
    # R's prop.test(7, 20, correct = FALSE) gives 0.1812 to 0.5671.
    found = share_interval(7, 20)
    assert [found.low, found.high] == pytest.approx([0.1812, 0.5671], abs=5e-5)
    assert share_interval(0, 10).low == 0.0
    assert share_interval(10, 10).high == 1.0


def test_errors_compound() -> None:
    assert compounded(0.01, 1) == pytest.approx(0.01)
    assert compounded(0.001, 1024) == pytest.approx(1 - 0.999**1024)
