"""Sets with a question and an answer in columns of any name, from files and from the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from rlvr.config import BenchmarkConfig, ColumnsConfig, DataConfig, as_benchmarks
from rlvr.data.benchmarks import benchmark_problems, training_problems
from rlvr.data.loaders import is_hub_name, load_problems
from rlvr.errors import ConfigError, DataError

ROWS = [
    {"q": "2 + 2?", "solution": "It is #### 4", "key": "a"},
    {"q": "Half of 3?", "solution": "3/2, so #### 1.5", "key": "b"},
]
COLUMNS = {"question": "q", "answer": "solution", "answer_in": "hashes"}


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_a_file_is_read_by_the_names_of_its_columns(tmp_path: Path) -> None:
    found = load_problems(write(tmp_path / "own.jsonl", ROWS), ColumnsConfig(**COLUMNS))
    assert [problem.ground_truth for problem in found] == ["4", "1.5"]
    assert [problem.id for problem in found] == ["own/test/0", "own/test/1"]
    assert found[0].prompt == ({"role": "user", "content": "2 + 2?"},)
    assert (found[0].ability, found[0].extra_info["question"]) == ("math", "2 + 2?")


def test_ids_come_from_a_column_that_is_named(tmp_path: Path) -> None:
    found = load_problems(write(tmp_path / "own.jsonl", ROWS), ColumnsConfig(**COLUMNS, id="key"))
    assert [problem.id for problem in found] == ["own/test/a", "own/test/b"]


@pytest.mark.parametrize(
    ("row", "columns", "message", "fix"),
    [
        ({"q": "?"}, {}, "column 'solution' is missing", "the row has: q"),
        ({"q": "", "solution": "#### 4"}, {}, "column 'q' holds ''", "the question"),
        ({"q": "?", "solution": "4"}, {}, "holds no answer .hashes.", "answer_in"),
        ({"q": "?", "solution": ["4"]}, {}, "holds no answer", "answer_in"),
        ({"q": "?", "solution": "a #### 4"}, {"answer_in": "whole"}, "a worked solution", "hashes"),
    ],
)
def test_a_row_that_does_not_fit_is_named(
    tmp_path: Path, row: dict[str, Any], columns: dict[str, str], message: str, fix: str
) -> None:
    path = write(tmp_path / "own.jsonl", [row])
    with pytest.raises(DataError, match=message) as caught:
        load_problems(path, ColumnsConfig(**{**COLUMNS, **columns}))
    assert caught.value.where == f"{path}:1"
    assert fix in str(caught.value.fix)


def test_numbers_are_answers_too(tmp_path: Path) -> None:
    path = write(tmp_path / "own.jsonl", [{"q": "2 + 2?", "a": 4}, {"q": "1/2?", "a": 0.5}])
    found = load_problems(path, ColumnsConfig(question="q", answer="a"))
    assert [problem.ground_truth for problem in found] == ["4", "0.5"]


def test_training_and_benchmarks_take_sets_from_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``datasets.load_dataset`` itself, on a folder in the layout of a hub repository, under a hub's name."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    repo = tmp_path / "repo"
    repo.mkdir()
    write(repo / "train.jsonl", ROWS)
    write(repo / "test.jsonl", ROWS[:1])
    plain, asked = datasets.load_dataset, []

    def load_dataset(name: str, config: str | None, *, split: str) -> Any:
        asked.append((name, config, split))
        return plain(str(repo), config, split=split)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    data = DataConfig(path="some/set", columns=ColumnsConfig(**COLUMNS))
    assert [problem.id for problem in training_problems(data)] == ["set/train/0", "set/train/1"]
    benchmark = as_benchmarks({"own": {"path": "some/set", "columns": {**COLUMNS, "id": "key"}}})["own"]
    assert [problem.id for problem in benchmark_problems(benchmark, DataConfig())] == ["set/test/a"]
    assert asked == [("some/set", None, "train"), ("some/set", None, "test")]


def test_a_hub_name_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "set").mkdir()
    assert is_hub_name("openai/gsm8k")
    for path in ("own/set", "own/set.jsonl", "./a", "/a", "a", "a/b/c", ""):
        assert not is_hub_name(path)


@pytest.mark.parametrize(
    ("columns", "key"),
    [
        ({"question": "q"}, "columns"),
        ({"question": "q", "answer": "a", "answer_in": "box"}, "columns.answer_in"),
        ({"question": "q", "answer": "a", "ability": "poetry"}, "columns.ability"),
        ({"qestion": "q"}, "benchmarks.own.columns.qestion"),
    ],
)
def test_columns_that_cannot_be_meant_are_refused(columns: dict[str, str], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        as_benchmarks({"own": {"path": "own.jsonl", "columns": columns}})
    assert caught.value.where == key


def test_no_columns_are_verls() -> None:
    assert BenchmarkConfig("own", path="own.jsonl").columns is None
    assert DataConfig().columns == ColumnsConfig()
