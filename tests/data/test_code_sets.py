"""Rows in the public layouts of code benchmarks; texts and programs are our own."""

from __future__ import annotations

import base64
import json
import pickle
import zlib
from pathlib import Path
from typing import Any

import pytest

from rlvr.data.loaders import load_problems
from rlvr.errors import DataError
from rlvr.rewards.code import parse_tests


def packed(tests: list[dict[str, str]]) -> str:
    """As LiveCodeBench packs its private tests."""
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(tests)))).decode()


LIVE = {
    "question_title": "Twice", "question_content": "Read a number and print its double.", "platform": "own",
    "question_id": "own_1", "contest_id": "c", "contest_date": "2026-01-01T00:00:00", "starter_code": "",
    "difficulty": "easy", "metadata": "{}",
    "public_test_cases": json.dumps([{"input": "2\n", "output": "4\n", "testtype": "stdin"}]),
    "private_test_cases": packed([{"input": "5\n", "output": "10\n", "testtype": "stdin"}]),
}  # fmt: skip
LIVE_CALL = {
    **LIVE, "question_id": "own_2", "question_content": "Add up a list, and a number to each.",
    "starter_code": "class Solution:\n    def addUp(self, numbers: list[int], extra: int) -> int:\n        ",
    "metadata": json.dumps({"func_name": "addUp"}),
    "public_test_cases": json.dumps([{"input": "[1, 2]\n3", "output": "9", "testtype": "functional"}]),
    "private_test_cases": "[]",
}  # fmt: skip
HARNESS = """
import numpy as np
def assertion(out, exp, atol):
    assert out == exp
"""
HUMAN = {
    "task_id": "HumanEval/900", "entry_point": "halves", "canonical_solution": "    return [x / 2 for x in xs]\n",
    "prompt": 'def halves(xs):\n    """Half of each."""\n',
    "test": HARNESS + "def check(candidate):\n    inputs = [[[1, 2]], [[]]]\n    results = [[0.5, 1.0], []]\n"
    "    for i, (inp, exp) in enumerate(zip(inputs, results)):\n        assertion(candidate(*inp), exp, 0)\n",
}  # fmt: skip
MBPP = {
    "task_id": 901, "code": "def pairs(s):\n    return {(a, a) for a in s}", "prompt": "Pair every element with itself.",
    "source_file": "own", "test_imports": [], "test_list": ["assert pairs((1,)) == {(1, 1)}"],
    "test": HARNESS + "inputs = [[(1, 2)], [()], [(float_max,)]]\n".replace("float_max", "inf")
    + "results = [{(1, 1), (2, 2)}, set(), {(inf, inf)}]\n"
    "for i, (inp, exp) in enumerate(zip(inputs, results)):\n    assertion(pairs(*inp), exp, 0)\n",
}  # fmt: skip


def load(tmp_path: Path, *rows: dict[str, Any]) -> list[Any]:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_problems(str(path))


def test_scripts_of_livecodebench(tmp_path: Path) -> None:
    [problem] = load(tmp_path, LIVE)
    assert (problem.id, problem.ability) == ("livecodebench/test/own_1", "livecodebench")
    assert "print its double" in problem.prompt[0]["content"]
    assert json.loads(problem.ground_truth) == [
        {"stdin": "2\n", "stdout": "4\n"},
        {"stdin": "5\n", "stdout": "10\n"},
    ]


def test_methods_of_livecodebench(tmp_path: Path) -> None:
    [problem] = load(tmp_path, LIVE_CALL)
    [test] = parse_tests(problem.ground_truth, "here")
    assert test.call == {"entry_point": "addUp", "args": [[1, 2], 3]}
    assert test.expected == 9
    assert "def addUp" in problem.prompt[0]["content"]


def test_humanevalplus(tmp_path: Path) -> None:
    [problem] = load(tmp_path, HUMAN)
    first, second = parse_tests(problem.ground_truth, "here")
    assert problem.id == "humanevalplus/test/900"
    assert (first.call, first.expected, first.tolerance) == (
        {"entry_point": "halves", "args": [[1, 2]]},
        [0.5, 1.0],
        1e-6,
    )
    assert second.expected == []


def test_mbppplus(tmp_path: Path) -> None:
    [problem] = load(tmp_path, MBPP)
    tests = parse_tests(problem.ground_truth, "here")
    assert problem.id == "mbppplus/test/901"
    assert [test.expected for test in tests] == [{(1, 1), (2, 2)}, set(), {(float("inf"), float("inf"))}]
    assert tests[0].call == {"entry_point": "pairs", "args": [{"$tuple": [1, 2]}]}
    assert tests[0].tolerance == 0


class Evil:
    """What a hostile data file would pickle."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('executed')",))


@pytest.mark.parametrize(
    "row",
    [
        {**LIVE, "private_test_cases": base64.b64encode(zlib.compress(pickle.dumps(Evil()))).decode()},
        {**LIVE, "private_test_cases": "not base64!"},
        {**LIVE, "public_test_cases": "[]", "private_test_cases": "[]"},
        {**LIVE, "public_test_cases": "{"},
        {**HUMAN, "test": "import os\nos._exit(7)"},
        {**HUMAN, "test": "inputs = [[1]]\nresults = [open('x')]"},
        {**HUMAN, "test": "inputs = [[1]]\nresults = []"},
        {**HUMAN, "test": "def ("},
    ],
)
def test_a_row_whose_tests_cannot_be_read_is_refused_and_never_executed(
    tmp_path: Path, row: dict[str, Any]
) -> None:
    with pytest.raises(DataError) as caught:
        load(tmp_path, LIVE_CALL, row)
    assert str(caught.value.where).endswith("rows.jsonl:2")
