"""``rlvr data``: what it lists, shows and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlvr.data.benchmarks import BENCHMARKS
from rlvr.data.loaders import to_row
from rlvr.data.templates import TEMPLATES
from tests.cli.conftest import Rlvr
from tests.fakes import problems

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"


def own(path: Path, *more: object) -> Path:
    rows = [json.dumps(to_row(problem)) for problem in problems(3)]
    path.write_text("\n".join([*rows, *map(str, more)]) + "\n")
    return path


def test_everything_registered_is_listed_and_documented(rlvr: Rlvr) -> None:
    result = rlvr("data", "show")
    assert result.code == 0, result.err
    for name in (*BENCHMARKS, *TEMPLATES):
        assert f"\n{name} " in result.out
        assert f"`{name}`" in DOCUMENT.read_text()


def test_a_benchmark_is_shown_as_it_is_asked_and_measured(rlvr: Rlvr, model_folder: Path) -> None:
    result = rlvr("data", "show", "chains", f"model={model_folder}")
    assert result.code == 0, result.err
    assert "n 128, temperature 1.0" in result.out
    assert "<|assistant|>" in result.out
    assert "tokens of prompt" in result.out
    assert "ground truth: " in result.out


def test_a_file_is_shown_in_a_template(rlvr: Rlvr, cwd: Path) -> None:
    own(cwd / "own.jsonl")
    result = rlvr("data", "show", "own.jsonl", "prompt=think_answer")
    assert result.code == 0, result.err
    assert "User: say 0 Assistant:" in result.out


def test_a_file_without_faults(rlvr: Rlvr, cwd: Path, model_folder: Path) -> None:
    own(cwd / "own.jsonl")
    result = rlvr("data", "validate", "own.jsonl", f"model={model_folder}")
    assert result.code == 0, result.err
    assert "3 rows" in result.out
    assert result.out.endswith("no faults\n")


def test_ground_truths_that_are_compared_as_text_are_counted(rlvr: Rlvr, cwd: Path) -> None:
    row = to_row(problems(4)[3])
    row["reward_model"]["ground_truth"] = r"\{ x \colon 2 \mid x \}"
    own(cwd / "own.jsonl", json.dumps(row))
    result = rlvr("data", "validate", "own.jsonl")
    assert result.code == 0, result.err
    assert "as text    1 answers" in result.out
    assert "own.jsonl:4: " in result.out


def test_what_loading_reads_over_is_no_fault(rlvr: Rlvr, cwd: Path) -> None:
    row = json.dumps(to_row(problems(1)[0]))
    path = own(cwd / "own.jsonl", "", row, row, "")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    result = rlvr("data", "validate", "own.jsonl")
    assert result.code == 0, result.err
    assert "own.jsonl: 5 rows" in result.out
    assert "problems   3" in result.out
    assert "repeats    2 rows repeat another" in result.out
    path.write_bytes(b'{"x": "caf\xe9"}\n' + row.encode() + b"\n")
    result = rlvr("data", "validate", "own.jsonl")
    assert "the line is not UTF-8" in result.err
    assert "own.jsonl:1" in result.err


def test_a_sentence_as_ground_truth_is_counted(rlvr: Rlvr, cwd: Path) -> None:
    row = to_row(problems(4)[3])
    row["ability"], row["reward_model"]["ground_truth"] = "math", "It is seven because of that."
    own(cwd / "own.jsonl", json.dumps(row))
    assert "own.jsonl:4: a sentence, compared word by word" in rlvr("data", "validate", "own.jsonl").out


def test_all_faults_are_named_by_their_lines(rlvr: Rlvr, cwd: Path) -> None:
    rows = [to_row(problem) for problem in problems(6)]
    rows[3]["reward_model"]["ground_truth"] = "$$"
    rows[4]["ability"] = "maths"
    del rows[5]["prompt"]
    rows[0]["reward_model"]["ground_truth"] = "12"
    own(cwd / "own.jsonl", '{"cut": ', *map(json.dumps, rows[3:]), json.dumps(rows[0]))
    result = rlvr("data", "validate", "own.jsonl")
    assert result.code == 2
    assert "5 rows have faults" in result.err
    for line, words in (
        (4, "not valid JSON"),
        (5, "'$$' is empty"),
        (6, "'maths'"),
        (7, "'prompt' is missing"),
    ):
        assert f"own.jsonl:{line}: " in result.err
        assert words in result.err
    assert "own.jsonl:8: problem id 'fake/train/0' stands at own.jsonl:1 already" in result.err


def test_rows_with_the_same_fault_share_one_entry_that_counts_them(rlvr: Rlvr, cwd: Path) -> None:
    row = to_row(problems(1)[0])
    cut = [json.dumps({key: row[key] for key in row if key != "prompt"})] * 20
    odd = json.dumps({**row, "ability": "maths"})
    result = rlvr("data", "validate", own(cwd / "own.jsonl", *cut[:12], odd, *cut[12:]).name)
    assert result.code == 2
    assert "21 rows have faults" in result.err
    assert "20 rows (own.jsonl:4, own.jsonl:5, own.jsonl:6, …): column 'prompt' is missing" in result.err
    assert result.err.count("is missing") == 1
    assert "own.jsonl:16: " in result.err


def test_a_file_in_the_columns_of_a_registered_benchmark(rlvr: Rlvr, cwd: Path) -> None:
    (cwd / "rows.jsonl").write_text('{"question": "2?", "answer": "#### 2"}\n{"question": "3?"}\n')
    result = rlvr("data", "validate", "rows.jsonl", "family=gsm8k")
    assert result.code == 2
    assert "where: rows.jsonl:2" in result.err
    assert "'answer' is missing" in result.err


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("sho",), "'show'?"),
        (("show", "math50"), "'math500'?"),
        (("show", "math500", "folder=x"), "'data.folder'?"),
        (("validate",), "no file is named"),
        (("validate", "nowhere.jsonl"), "does not exist"),
        (("validate", "math500"), "rlvr data show math500"),
        (("show", "chains", "data.split_seed=x"), "where: data.split_seed"),
        (("show", "a.jsonl", "b.jsonl"), "one word too many"),
    ],
)
def test_a_mistake(rlvr: Rlvr, words: tuple[str, ...], found: str) -> None:
    result = rlvr("data", *words)
    assert result.code == 2
    assert found in result.err
