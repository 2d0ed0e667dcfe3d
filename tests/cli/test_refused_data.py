"""Mistakes in data: exit code 2, what, where and the fix; nothing started, nothing written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlvr.data.loaders import to_row
from tests.cli.refusing import FIT, refused
from tests.fakes import problems
from tests.vision import picture, vision_model, visual_set

ROW = {"Question": "1 + 1?", "final_answer": "2", "note": "x"}


def data_file(path: Path, rows: int, cut: int = 0) -> Path:
    text = "".join(json.dumps(to_row(problem)) + "\n" for problem in problems(rows))
    path.write_text(text[: len(text) - cut])
    return path


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_a_truncated_data_file_is_named_by_its_line(rlvr, cwd, tmp_path, model: Path, command: str) -> None:
    path = data_file(tmp_path / "cut.jsonl", rows=3, cut=30)
    key = "data.path" if command == "train" else "benchmark"
    refused(rlvr(command, f"model={model}", *FIT, f"{key}={path}"), "not valid JSON", f"where: {path}:3")
    assert list(cwd.iterdir()) == []


def test_questions_about_images(rlvr, cwd: Path, model: Path, tmp_path: Path) -> None:
    visual_set(tmp_path)
    words = ("benchmark=mathvista", f"data.folder={tmp_path}")
    refused(rlvr("evaluate", f"model={model}", *words), "reads no images", f"where: {model}")
    refused(
        rlvr("evaluate", f"model={model}", *words, "prompt=plain"), "no place for the image", "where: prompt"
    )
    (tmp_path / "mathvista" / "images" / "2.png").unlink()
    refused(
        rlvr("evaluate", f"model={model}", *words), "2.png cannot be read", f"{tmp_path}/mathvista.jsonl:3"
    )
    assert list(cwd.iterdir()) == []


@pytest.mark.parametrize("flags", [(), ("--dry-run",)])
def test_training_on_images(rlvr, cwd: Path, model: Path, tmp_path: Path, flags: tuple[str, ...]) -> None:
    """The same words, whether the run would start or only be planned."""
    file = visual_set(tmp_path)
    words = ("train", *FIT, *flags, "data.path=mathvista", f"data.folder={tmp_path}")
    refused(rlvr(*words, f"model={model}"), "the model reads no images", f"where: {model}")
    reader = vision_model(tmp_path / "reader", steps=0)
    refused(rlvr(*words, f"model={reader}", "prompt=plain"), "no place for the image", "where: prompt")
    short = rlvr(*words, f"model={reader}", "prompt=chat", "rollout.max_prompt_tokens=8")
    refused(short, "the prompt has 11 tokens, of which its images take 7", "rollout.max_prompt_tokens=11")

    config = json.loads((reader / "tokenizer_config.json").read_text())
    for path in reader.glob("chat_template.*"):
        path.write_text(path.read_text().replace("<image>", ""))
    if "chat_template" in config:
        config["chat_template"] = config["chat_template"].replace("<image>", "")
        (reader / "tokenizer_config.json").write_text(json.dumps(config))
    refused(rlvr(*words, f"model={reader}", "prompt=chat"), "0 places for 1 images", f"where: {reader}")

    image = tmp_path / "mathvista" / "images" / "2.png"
    image.write_bytes(b"no image")
    refused(rlvr(*words, f"model={reader}"), "2.png is no image that can be read", f"{file}:3")
    image.unlink()
    refused(rlvr(*words, f"model={reader}"), "2.png cannot be read", f"{file}:3")
    assert list(cwd.iterdir()) == []


def test_problems_of_which_some_have_images(rlvr, cwd: Path, tmp_path: Path) -> None:
    picture("1").save(tmp_path / "1.png")
    rows = [to_row(problem) for problem in problems(2)]
    rows[1]["images"] = ["1.png"]
    path = tmp_path / "mixed.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    reader = vision_model(tmp_path / "reader", steps=0)
    mixed = rlvr("train", f"model={reader}", *FIT, f"data.path={path}")
    refused(mixed, "some training problems have images", "where: data.path")
    assert list(cwd.iterdir()) == []


def test_an_empty_data_file(rlvr, tmp_path: Path, model: Path) -> None:
    path = data_file(tmp_path / "empty.jsonl", rows=0)
    refused(rlvr("train", f"model={model}", *FIT, f"data.path={path}"), "empty", f"where: {path}")


def test_a_missing_data_file(rlvr, tmp_path: Path, model: Path) -> None:
    refused(rlvr("train", f"model={model}", *FIT, f"data.path={tmp_path}/no.jsonl"), "does not exist")


@pytest.mark.parametrize("words", [["data.chains.modulus=24"], ["data.chains.operations=[0]"]])
def test_impossible_problems(rlvr, model: Path, words: list[str]) -> None:
    refused(rlvr("train", f"model={model}", *FIT, *words), words[0].partition("=")[0])


def test_prompts_that_are_too_long(rlvr, model: Path) -> None:
    refused(
        rlvr("train", f"model={model}", "data.chains.num_train=8", *FIT, "rollout.max_prompt_tokens=10"),
        "rollout.max_prompt_tokens is 10",
        "where: problem chains/train/",
    )


def test_a_ground_truth_without_a_verifier(rlvr, tmp_path: Path, model: Path) -> None:
    path = tmp_path / "words.jsonl"
    rows = [to_row(problem) for problem in problems(2)]
    rows[1].update(ability="arithmetic", reward_model={"style": "rule", "ground_truth": "1/2"})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    refused(
        rlvr("train", f"model={model}", *FIT, f"data.path={path}"),
        "no verifier for ground truth '1/2'",
        "where: problem fake/train/1",
    )


@pytest.mark.parametrize(
    ("command", "mapped"),
    [
        (("data", "validate", "{}"), "columns.question=Question columns.answer=final_answer"),
        (
            ("train", "model={model}", "data.path={}"),
            "data.columns.question=Question data.columns.answer=final_answer",
        ),
        (
            ("evaluate", "model={model}", "benchmark={}"),
            "'benchmarks={own: {path: {}, columns: {question: Question, answer: final_answer}}}'",
        ),
    ],
)
def test_a_file_without_verls_columns_is_told_how_to_map_them(
    rlvr, model: Path, tmp_path: Path, command: tuple[str, ...], mapped: str
) -> None:
    """And the words do what they say."""
    path = tmp_path / "own.jsonl"
    path.write_text(json.dumps(ROW) + "\n")
    words = [word.replace("{model}", str(model)).replace("{}", str(path)) for word in command]
    mapped = mapped.replace("{}", str(path))
    result = rlvr(*words)
    assert result.code == 2
    assert "column 'data_source' is missing" in result.err
    assert f"found: Question, final_answer, note; {mapped} reads" in result.err
    assert ("`rlvr data validate" in result.err) == (command[0] != "data")
    kept = [word for word in words if not word.startswith("benchmark=")]
    result = rlvr(*kept, *mapped.strip("'").split(" " if "{" not in mapped else "\n"), *_dry(command))
    assert "is missing" not in result.err


def _dry(command: tuple[str, ...]) -> tuple[str, ...]:
    return () if command[0] == "data" else ("--dry-run", *FIT)


def test_the_first_bad_row_of_a_training_file_points_at_the_command_that_names_all(
    rlvr, model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "own.jsonl"
    rows = [{"q": "1 + 1?", "a": "2"}, {"q": "1 + 2?"}, {"a": "2"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = rlvr(
        "train", f"model={model}", f"data.path={path}", "data.columns={question: q, answer: a}", "--dry-run"
    )
    refused(result, f"{path}:2", f"`rlvr data validate {path} columns.question=q columns.answer=a`")
    result = rlvr("data", "validate", path, "columns.question=q", "columns.answer=a")
    assert f"{path}:2" in result.err
    assert f"{path}:3" in result.err


def test_an_answer_that_cannot_be_judged_points_at_the_command_that_names_all(
    rlvr, model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text(json.dumps(to_row(problems(1)[0]) | {"ability": "poetry"}) + "\n")
    result = rlvr("train", f"model={model}", f"data.path={path}", *FIT, "--dry-run")
    refused(result, "no verifier for ability 'poetry'", f"`rlvr data validate {path}`")
    assert "no verifier for ability 'poetry'" in rlvr("data", "validate", path).err
