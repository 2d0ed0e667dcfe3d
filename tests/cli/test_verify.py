"""``rlvr verify``: rows in, rows out, in the same order; bad rows by line."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Rlvr

GRAPH = {
    "modulus": 23,
    "nodes": [
        {"name": "a", "left": "3", "operator": None, "right": None, "value": 3},
        {"name": "b", "left": "a", "operator": "+", "right": "4", "value": 7},
    ],
}
ROWS: list[tuple[dict[str, Any], str, float]] = [
    ({"id": 1, "kind": "math", "ground_truth": "1/2", "response": r"\boxed{0.5}"}, "correct", 1.0),
    ({"id": "b", "kind": "math", "ground_truth": "7", "response": "7"}, "unparsed", 0.0),
    ({"id": [3], "kind": "choice", "ground_truth": "B", "response": "<answer>(b)</answer>"}, "correct", 1.0),
    (
        {"id": 4, "kind": "code", "tests": [{"stdin": "2", "stdout": "4"}], "response": "print(int(input()) * 2)"},
        "correct",
        1.0,
    ),
    (
        {
            "id": 5,
            "kind": "code",
            "tests": {"entry_point": "f", "cases": [{"args": [2], "expected": 4}]},
            "response": "import os\nos._exit(0)",
        },
        "incorrect",
        0.0,
    ),
    ({"id": 6, "kind": "process", "ground_truth": GRAPH, "response": "a = 3 ; b = a + 4 = 3 + 4 = 7 ; # 7"}, "correct", 1.0),
    (
        {
            "id": 9,
            "kind": "livecodebench",
            "tests": [{"stdin": "2", "stdout": "4"}],
            "response": "d = deque([2 * int(input())])\nprint(f'{d[0]}.0')\nraise SystemExit(1)",
        },
        "correct",
        1.0,
    ),
    (
        {
            "id": 10,
            "kind": "code",
            "tests": [{"stdin": "2", "stdout": "4"}],
            "response": "d = deque([2 * int(input())])\nprint(d[0])",
        },
        "incorrect",
        0.0,
    ),
    ({"id": 1, "kind": "math", "ground_truth": "x+1", "response": r"\boxed{1+x}"}, "correct", 1.0),
    ({"id": 8, "kind": "math", "ground_truth": "7", "response": r"\boxed{7}", "finish_reason": "length"}, "unparsed", 0.0),
]  # fmt: skip


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize("source", ["file", "stdin"])
def test_every_row_is_answered_in_its_place(
    rlvr: Rlvr, cwd: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    text = lines(*(row for row, _, _ in ROWS))
    (cwd / "rows.jsonl").write_text(text)
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    result = rlvr("verify", *(["rows.jsonl"] if source == "file" else []), "sandbox.packages=[]")
    assert result.code == 0, result.err
    found = [json.loads(line) for line in result.out.splitlines()]
    assert [(row["id"], row["status"], row["score"]) for row in found] == [
        (row["id"], status, score) for row, status, score in ROWS
    ]
    assert all(
        list(row) == ["id", "score", "status", "answer", "seconds"] and row["seconds"] >= 0 for row in found
    )
    assert found[0]["answer"] == "0.5"


def test_a_ground_truth_without_a_meaning_is_marked(rlvr: Rlvr, cwd: Path) -> None:
    gold = r"\{ x \colon 2 \mid x \}"
    row = {"id": 1, "kind": "math", "ground_truth": gold}
    text = lines({**row, "response": rf"\boxed{{{gold}}}"}, {**row, "response": r"\boxed{7}"})
    (cwd / "rows.jsonl").write_text(text + lines(ROWS[0][0]))
    result = rlvr("verify", "rows.jsonl")
    assert result.code == 0, result.err
    found = [json.loads(line) for line in result.out.splitlines()]
    assert [(row["status"], row.get("as_text")) for row in found] == [
        ("correct", True), ("incorrect", True), ("correct", None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "not valid JSON"),
        ("[]", "not an object"),
        (lines({"kind": "math", "ground_truth": "7", "response": ""}), "'id' is missing"),
        (lines({"id": 1, "kind": "maths", "ground_truth": "7", "response": ""}), "did you mean 'math'?"),
        (lines({"id": 1, "kind": "math", "response": ""}), "ground_truth is missing"),
        (lines({"id": 1, "kind": "math", "ground_truth": " ", "response": ""}), "is empty"),
        (lines({"id": 1, "kind": "math", "ground_truth": "7", "response": 7}), "response is not text"),
        (lines({"id": 1, "kind": "math", "ground_truth": True, "response": ""}), "holds bool"),
        (lines({"id": 1, "kind": "math", "ground_truth": float("nan"), "response": ""}), "holds float 'nan'"),
        (lines({"id": 1, "kind": "math", "ground_truth": ["7"], "response": ""}), "holds list"),
        (lines({"id": 1, "kind": "math", "ground_truth": "NaN", "response": ""}), "holds str 'NaN'"),
        (lines({"id": 1, "kind": "math", "ground_truth": "7\ud800", "response": ""}), "half a character"),
        (
            lines({"id": 1, "kind": "choice", "ground_truth": "A", "choices": 5, "response": ""}),
            "choices is 5",
        ),
        (
            lines({"id": 1, "kind": "process", "ground_truth": {"nodes": {"a": 1}}, "response": ""}),
            "no solution graph",
        ),
        ("[" * 100_000, "nested too deeply"),
        (lines({"id": 1, "kind": "code", "tests": [], "response": ""}), "no tests"),
        (lines({"id": 1, "kind": "livecodebench", "ground_truth": "7", "response": ""}), "tests is missing"),
        (lines({"id": 1, "kind": "process", "ground_truth": "7", "response": ""}), "no solution graph"),
        (
            lines({"id": 1, "kind": "math", "ground_truth": "7", "response": "", "finish_reason": "eos"}),
            "finish_reason",
        ),
    ],
)
def test_a_bad_row_is_named_and_those_before_it_are_answered(
    rlvr: Rlvr, cwd: Path, line: str, words: str
) -> None:
    (cwd / "rows.jsonl").write_text(lines(ROWS[0][0], ROWS[1][0]) + "\n" + line)
    result = rlvr("verify", "rows.jsonl", "sandbox.packages=[]")
    assert result.code == 2
    assert [json.loads(row)["id"] for row in result.out.splitlines()] == [1, "b"]
    assert words in result.err
    assert "rows.jsonl:4" in result.err


def test_a_mark_before_the_text_and_numbers_as_ground_truths_are_read(rlvr: Rlvr, cwd: Path) -> None:
    row = {"id": 1, "kind": "math", "ground_truth": 1e-05, "response": r"\boxed{0.00001}"}
    (cwd / "rows.jsonl").write_bytes(b"\xef\xbb\xbf" + lines(row).encode() + b"\n\n")
    result = rlvr("verify", "rows.jsonl")
    assert json.loads(result.out)["status"] == "correct"


def test_another_encoding_is_named(rlvr: Rlvr, cwd: Path) -> None:
    (cwd / "rows.jsonl").write_bytes(lines(ROWS[0][0]).encode() + b'{"id": "caf\xe9"}\n')
    result = rlvr("verify", "rows.jsonl")
    assert result.code == 2
    assert "not UTF-8" in result.err


def test_settings_reach_the_verifier(rlvr: Rlvr, cwd: Path) -> None:
    row = {"id": 1, "kind": "math", "ground_truth": r"5\text{ cm}", "response": r"\boxed{5}"}
    (cwd / "rows.jsonl").write_text(lines(row))
    assert '"correct"' in rlvr("verify", "rows.jsonl").out
    assert '"incorrect"' in rlvr("verify", "rows.jsonl", "math.units=required").out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.jsonl"], "cannot be read"),
        (["a.jsonl", "b.jsonl"], "one word too many: 'b.jsonl'"),
        (["--fast"], "unknown flag"),
        (["math.unit=required"], "unit"),
        (["math.units=never"], "not a choice"),
        (["num_workers=0"], "num_workers"),
    ],
)
def test_wrong_arguments_are_refused(rlvr: Rlvr, arguments: list[str], words: str) -> None:
    result = rlvr("verify", *arguments)
    assert result.code == 2
    assert words in result.err
    assert result.out == ""


def test_help_begins_with_examples(rlvr: Rlvr) -> None:
    out = rlvr("verify", "--help").out
    assert out.index("Examples:") < out.index("finish_reason")
