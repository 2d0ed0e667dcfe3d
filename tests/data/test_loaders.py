"""Problems to files and back; every fault of a file is named by its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlvr.data.chains import generate
from rlvr.data.loaders import load_problems, problems_hash, save_problems, to_row
from rlvr.errors import DataError
from rlvr.records import Problem
from tests.fakes import problem, problems


def row(index: int = 0, **changes: Any) -> dict[str, Any]:
    return to_row(problem(index)) | changes


def write_lines(path: Path, *lines: object) -> str:
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return str(path)


@pytest.fixture
def chains() -> list[Problem]:
    return generate(12, [3, 4], 0)


@pytest.mark.parametrize("name", ["problems.jsonl", "deeper/problems.jsonl", "problems.parquet"])
def test_problems_survive_a_file(tmp_path: Path, chains: list[Problem], name: str) -> None:
    save_problems(chains, tmp_path / name)
    assert load_problems(str(tmp_path / name)) == chains


def test_problems_survive_a_datasets_folder(tmp_path: Path, chains: list[Problem]) -> None:
    import datasets

    datasets.Dataset.from_list([to_row(problem) for problem in chains]).save_to_disk(str(tmp_path / "saved"))
    assert load_problems(str(tmp_path / "saved")) == chains


def test_columns_are_verls() -> None:
    assert row(3) == {
        "data_source": "fake",
        "prompt": [{"role": "user", "content": "say 3"}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": "3"},
        "extra_info": {"split": "train", "index": 3},
    }


def test_text_of_any_script_survives(tmp_path: Path) -> None:
    text = "Wieviel ist 2 × 3? 答えは？ \u2028 «»"
    path = write_lines(tmp_path / "a.jsonl", row(prompt=[{"role": "user", "content": text}]))
    [loaded] = load_problems(path)
    assert loaded.prompt[0]["content"] == text
    save_problems([loaded], tmp_path / "b.jsonl")
    assert load_problems(str(tmp_path / "b.jsonl")) == [loaded]


def test_a_number_as_ground_truth_becomes_text(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", row(reward_model={"style": "rule", "ground_truth": 42}))
    assert load_problems(path)[0].ground_truth == "42"


@pytest.mark.parametrize(
    ("lines", "place", "words"),
    [
        ([row(0), json.dumps(row(1))[:40]], ":2", "not valid JSON"),
        ([row(0), [1, 2]], ":2", "not an object"),
        ([row(0), {k: v for k, v in row(1).items() if k != "ability"}], ":2", "'ability' is missing"),
        ([row(0, prompt="say 0")], ":1", "chat messages"),
        ([row(0, prompt=[])], ":1", "chat messages"),
        ([row(0, prompt=[{"content": "no role"}])], ":1", "chat messages"),
        ([row(0, reward_model={"style": "rule"})], ":1", "ground_truth"),
        ([row(0, reward_model={"ground_truth": ["4"]})], ":1", "ground_truth"),
        ([row(0), row(1, extra_info={"split": "train"})], ":2", "no index"),
        ([row(0, extra_info=None)], ":1", "no index"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(tmp_path: Path, lines: list, place: str, words: str) -> None:
    path = write_lines(tmp_path / "bad.jsonl", *lines)
    with pytest.raises(DataError, match=words) as caught:
        load_problems(path)
    assert caught.value.where == path + place
    assert caught.value.fix


def test_a_bad_parquet_row_is_named_by_its_number(tmp_path: Path) -> None:
    import datasets

    path = tmp_path / "bad.parquet"
    rows = [row(0), row(1, extra_info={"split": "train", "index": None})]
    datasets.Dataset.from_list(
        [{**r, "prompt": r["prompt"] if i == 0 else []} for i, r in enumerate(rows)]
    ).to_parquet(str(path))
    with pytest.raises(DataError, match="chat messages") as caught:
        load_problems(str(path))
    assert caught.value.where == f"{path}, row 2"


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="empty"):
        load_problems(write_lines(tmp_path / "empty.jsonl"))


def test_doubled_ids_are_refused_with_both_rows(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "twice.jsonl", row(0), row(1), row(0, ability="choice"))
    with pytest.raises(DataError, match="'fake/train/0' occurs twice, in rows 1 and 3") as caught:
        load_problems(path)
    assert caught.value.where == path


def test_rows_that_repeat_another_are_read_once_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_lines(tmp_path / "dapo.jsonl", *[row(0), row(1)] * 100)
    assert [problem.id for problem in load_problems(path)] == ["fake/train/0", "fake/train/1"]
    assert "198 of 200 rows repeat another" in caplog.text


def test_rows_as_dapo_17k_has_them(tmp_path: Path) -> None:
    words = {"style": "rule-lighteval/MATH_v2", "ground_truth": "34"}
    [problem] = load_problems(write_lines(tmp_path / "a.jsonl", row(ability="MATH", reward_model=words)))
    assert (problem.ability, problem.style, problem.ground_truth) == ("math", "rule", "34")


def test_a_mark_before_the_text_and_empty_lines_are_read_over(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", row(0), "", "   ", row(1))
    Path(path).write_bytes(b"\xef\xbb\xbf" + Path(path).read_bytes())
    assert len(load_problems(path)) == 2


@pytest.mark.parametrize(
    ("truth", "text"),
    [(27.0, "27"), (1e-05, "0.00001"), (-3, "-3"), (2.5e20, "250000000000000000000"), ("x ", "x")],
)
def test_numbers_are_answers(tmp_path: Path, truth: object, text: str) -> None:
    path = write_lines(tmp_path / "a.jsonl", row(reward_model={"style": "rule", "ground_truth": truth}))
    assert load_problems(path)[0].ground_truth == text


@pytest.mark.parametrize(
    ("truth", "what"),
    [
        (float("nan"), "ground_truth holds float 'nan'"),
        (float("inf"), "ground_truth holds float 'inf'"),
        (True, "ground_truth holds bool 'True'"),
        (None, "ground_truth holds NoneType"),
        (["1", "2"], "ground_truth holds list"),
        ("  ", "ground_truth holds str"),
        ("NaN", "ground_truth holds str 'NaN'"),
        ("nan", "ground_truth holds str 'nan'"),
        ("7\ud800", "half a character"),
        ("We add and get \\boxed{4}.", "a worked solution"),
        ("2 + 2 = 4\n#### 4", "a worked solution"),
        ("word " * 300, "a worked solution"),
    ],
)
def test_what_is_no_answer_is_named(tmp_path: Path, truth: object, what: str) -> None:
    path = write_lines(tmp_path / "a.jsonl", row(reward_model={"style": "rule", "ground_truth": truth}))
    with pytest.raises(DataError, match=what) as caught:
        load_problems(path)
    assert caught.value.where == f"{path}:1"


def test_another_encoding_and_deep_nesting_are_named_by_line(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", row(0), "[" * 100_000)
    with pytest.raises(DataError, match="nested too deeply") as caught:
        load_problems(path)
    assert caught.value.where == f"{path}:2"
    Path(path).write_bytes(json.dumps(row(0)).encode() + b'\n{"x": "caf\xe9"}\n')
    with pytest.raises(DataError, match="not UTF-8") as caught:
        load_problems(path)
    assert caught.value.where == f"{path}:2"
    assert "latin" in str(caught.value.fix)
    Path(path).write_bytes(json.dumps(row(0)).encode("utf-16"))
    with pytest.raises(DataError, match="the file is UTF-16"):
        load_problems(path)


@pytest.mark.parametrize(
    ("messages", "what"),
    [
        ([{"role": "user", "content": " \n"}], "the prompt is empty"),
        ([{"role": "system", "content": ""}, {"role": "user", "content": ""}], "the prompt is empty"),
        ([{"role": 1, "content": "a"}], "not a list of chat messages"),
        ([{"role": "user", "content": "a\udc00"}], "half a character"),
    ],
)
def test_a_prompt_that_asks_nothing_is_refused(tmp_path: Path, messages: list[object], what: str) -> None:
    path = write_lines(tmp_path / "a.jsonl", row(prompt=messages))
    with pytest.raises(DataError, match=what):
        load_problems(path)


def test_an_unknown_format_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"unknown file format '\.csv'") as caught:
        load_problems(write_lines(tmp_path / "a.csv", "x"))
    assert ".jsonl" in str(caught.value.fix)
    assert ".parquet" in str(caught.value.fix)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist") as caught:
        load_problems(str(tmp_path / "nowhere.jsonl"))
    assert caught.value.where == str(tmp_path / "nowhere.jsonl")


def test_a_folder_with_several_splits_is_refused(tmp_path: Path) -> None:
    import datasets

    table = datasets.Dataset.from_list([row(0)])
    datasets.DatasetDict(train=table, test=table).save_to_disk(str(tmp_path / "both"))
    with pytest.raises(DataError, match="several splits: train, test"):
        load_problems(str(tmp_path / "both"))


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError):
        load_problems(str(tmp_path / "other"))


@pytest.mark.parametrize("name", ["broken.parquet", "broken.jsonl"])
def test_a_file_that_is_no_such_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\xff\xfe\x00\x81 nothing of that kind")
    with pytest.raises(DataError):
        load_problems(str(tmp_path / name))


def test_the_hash_is_of_what_is_asked_and_of_the_answers() -> None:
    same, other = problems_hash(problems(3)), problems_hash([problem(0), problem(1), problem(2, "7")])
    assert same == problems_hash(problems(3))
    assert same != other
    assert same != problems_hash(problems(2))
    assert same != problems_hash([problem(1), problem(0), problem(2)])
