"""The registered benchmarks: sizes of the real sets, rows in their public layouts, and what is refused.

Set RLVR_DATA to a folder with aime24.jsonl, math500.jsonl, …; without one the tests of real sets are skipped.
The rows below are our own.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rlvr.config import BenchmarkConfig, ChainsConfig, DataConfig, EvaluationConfig, as_benchmarks
from rlvr.data import benchmarks
from rlvr.data.benchmarks import (
    BENCHMARKS,
    benchmark_problems,
    load_benchmark,
    training_problems,
    training_template,
)
from rlvr.data.hub import HubSource
from rlvr.data.loaders import to_row
from rlvr.data.templates import TEMPLATES
from rlvr.errors import ConfigError, DataError
from rlvr.rewards.registry import VERIFIERS
from tests.fakes import problems
from tests.vision import picture

REAL = Path(os.environ.get("RLVR_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
SIZES = {
    "aime24": 30, "amc23": 40, "math500": 500, "minerva_math": 272, "olympiadbench": 675, "gsm8k": 1319,
    "omni_math_rule": 2821,
}  # fmt: skip
LAYOUTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "gsm8k": ({"question": "2 hens?", "answer": "It is 2.\n#### 2", "idx": 0}, "2 hens?", "2"),
    "math500": ({"problem": "Find $x$.", "solution": "…", "answer": "\\frac{1}{2}"}, "Find $x$.", "\\frac{1}{2}"),
    "minerva_math": ({"problem": "How far?", "solution": "So \\boxed{1.6} m", "idx": 0}, "How far?", "1.6"),
    "olympiadbench": (
        {"id": 7, "context": "Let $n$ be odd.", "question": "Find all.", "final_answer": ["1,2"], "unit": None},
        "Let $n$ be odd.\n\nFind all.",
        "1,2",
    ),
    "aime24": ({"id": 60, "problem": "Find $m+n$.", "answer": "204"}, "Find $m+n$.", "204"),
    "aime25": ({"id": "0", "problem": "Find $n$.", "answer": "70"}, "Find $n$.", "70"),
    "amc23": ({"id": 0, "question": "How many?", "answer": 27.0}, "How many?", "27"),
    "omni_math_rule": ({"problem": "Prove?", "answer": "115440", "difficulty": 8.0}, "Prove?", "115440"),
}  # fmt: skip


def write(path: Path, *rows: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path


def real(name: str, **changes: Any) -> list[Any]:
    if not (REAL / f"{BENCHMARKS[name].file or name}.jsonl").exists():
        pytest.skip(f"{name} is not there: set RLVR_DATA to a folder with the sets")
    return benchmark_problems(BenchmarkConfig(name), DataConfig(folder=str(REAL), **changes))


@pytest.mark.parametrize(("name", "size"), SIZES.items())
def test_a_real_set_has_its_known_size(name: str, size: int) -> None:
    found = real(name)
    assert len(found) == size == BENCHMARKS[name].num_problems
    assert all(problem.ground_truth and problem.prompt[0]["content"] for problem in found)


def test_omni_math_is_split_without_doubles_by_its_seed() -> None:
    train, test = real("omni_math_train"), real("omni_math_test")
    assert (len(train), len(test)) == (2000, 816)
    questions = {problem.prompt[0]["content"] for problem in [*train, *test]}
    assert len(questions) == 2816
    assert real("omni_math_train") == train
    other = real("omni_math_train", split_seed=1)
    assert {p.id for p in other} != {p.id for p in train}
    assert train[0].id.startswith("omni_math_rule/train/")


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("ending", [".jsonl", ".parquet", ""])
def test_rows_are_read_in_their_public_columns(tmp_path: Path, name: str, ending: str) -> None:
    import datasets

    row, question, answer = LAYOUTS[name]
    table = datasets.Dataset.from_list([row])
    if ending == ".jsonl":
        write(tmp_path / f"{name}.jsonl", row)
    elif ending:
        table.to_parquet(str(tmp_path / f"{name}.parquet"))
    else:
        table.save_to_disk(str(tmp_path / name))
    [problem] = benchmark_problems(BenchmarkConfig(name), DataConfig(folder=str(tmp_path)))
    assert (problem.id, problem.ground_truth) == (f"{name}/test/0", answer)
    assert problem.prompt == ({"role": "user", "content": question},)


def test_a_set_comes_from_the_hub_where_no_folder_is_named(tmp_path: Path, monkeypatch) -> None:
    """``datasets.load_dataset`` itself, on a folder in the layout of a hub repository."""
    row, _, _ = LAYOUTS["math500"]
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    repo = write(tmp_path / "repo" / "test.jsonl", row, row | {"problem": "Find $y$."}).parent
    entry = replace(BENCHMARKS["math500"], source=HubSource(str(repo)))
    monkeypatch.setattr(benchmarks, "BENCHMARKS", {"math500": entry})
    found = benchmark_problems(BenchmarkConfig("math500"), DataConfig())
    assert [problem.prompt[0]["content"] for problem in found] == ["Find $x$.", "Find $y$."]

    files = replace(entry, source=HubSource(files=(str(repo / "test.jsonl"),)))
    monkeypatch.setattr(benchmarks, "BENCHMARKS", {"math500": files})
    assert benchmark_problems(BenchmarkConfig("math500"), DataConfig()) == found


def test_a_set_that_cannot_be_fetched_is_an_error_with_a_way_out() -> None:
    with pytest.raises(DataError, match="the set cannot be fetched from the hub") as caught:
        benchmark_problems(BenchmarkConfig("aime25"), DataConfig())
    assert caught.value.where == "math-ai/aime25"
    assert "data.folder" in str(caught.value.fix)


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("math500", {"problem": 3}, "holds int '3', not text"),
        ("math500", {"problem": None}, "'problem' is missing"),
        ("math500", {"answer": None}, "no answer: answer is 'None'"),
        ("math500", {"answer": ["1"]}, "no answer"),
        ("gsm8k", {"answer": "It is 2."}, "no answer"),
        ("gsm8k", {"answer": 2}, "'answer' holds int"),
        ("minerva_math", {"solution": "So 1.6 m"}, "no answer"),
        ("olympiadbench", {"final_answer": None}, "no answer: final_answer is 'None'"),
        ("olympiadbench", {"context": 5}, "'context' holds int"),
        ("amc23", {"answer": True}, "no answer"),
    ],
)
def test_a_wrong_row_is_named_by_file_and_line(
    tmp_path: Path, name: str, changes: dict[str, Any], words: str
) -> None:
    row = LAYOUTS[name][0]
    path = write(tmp_path / f"{name}.jsonl", row, {**row, **changes})
    with pytest.raises(DataError, match=words) as caught:
        benchmark_problems(BenchmarkConfig(name), DataConfig(folder=str(tmp_path)))
    assert caught.value.where == f"{path}:2"
    assert caught.value.fix


@pytest.mark.parametrize("name", SIZES)
def test_a_truncated_real_set_is_named_by_file_and_line(tmp_path: Path, name: str) -> None:
    real(name)
    text = (REAL / f"{name}.jsonl").read_text(encoding="utf-8")
    path = tmp_path / f"{name}.jsonl"
    path.write_text(text[: len(text) // 2], encoding="utf-8")
    with pytest.raises(DataError, match="not valid JSON") as caught:
        benchmark_problems(BenchmarkConfig(name), DataConfig(folder=str(tmp_path)))
    cut = text[: len(text) // 2].count("\n") + 1
    assert caught.value.where == f"{path}:{cut}"


def test_livecodebench_is_what_its_window_of_contests_says(tmp_path: Path) -> None:
    row = {
        "question_content": "Read n and print its double.", "starter_code": "", "metadata": "{}",
        "public_test_cases": json.dumps([{"input": "2\n", "output": "4\n", "testtype": "stdin"}]),
        "private_test_cases": "[]",
    }  # fmt: skip
    dates = ("2024-07-31T23:00:00", "2024-08-01T00:00:00", "2025-01-31T00:00:00", "2025-02-01T00:00:00")
    rows = [{**row, "question_id": f"q{i}", "contest_date": date} for i, date in enumerate(dates)]
    write(tmp_path / "livecodebench.jsonl", *rows)
    data = DataConfig(folder=str(tmp_path))
    found = load_benchmark(BenchmarkConfig("livecodebench"), data, EvaluationConfig(), None)
    assert [problem.id[-2:] for problem in found.problems] == ["q1", "q2"]
    assert found.notes == ("2 problems where 279 were published",)
    [words] = [message["content"] for message in found.template.messages(found.problems[0])[1:]]
    assert words.startswith("### Question:\nRead n and print its double.\n\n### Format: Read the inputs from")


VISTA = {
    "question": "How long?", "query": "Hint: a number.\nQuestion: How long?", "question_type": "free_form",
    "answer": "1.2", "image": "images/1.jpg",
}  # fmt: skip
VISION = {"id": "4", "question": "<image1> How many?", "options": [], "answer": "6", "image": "images/4.jpg"}


@pytest.mark.parametrize(
    ("name", "row", "choice"),
    [
        ("mathvista", VISTA, {"question_type": "multi_choice"}),
        ("mathvision", VISION, {"options": ["1", "2"]}),
    ],
)
def test_visual_sets_are_without_multiple_choice(
    tmp_path: Path, name: str, row: dict[str, Any], choice: dict[str, Any]
) -> None:
    write(tmp_path / f"{name}.jsonl", {**row, **choice}, row)
    image = tmp_path / row["image"]
    image.parent.mkdir()
    picture("1").save(image)
    [problem] = benchmark_problems(BenchmarkConfig(name), DataConfig(folder=str(tmp_path)))
    assert problem.id == f"{name}/testmini/1"
    assert problem.ground_truth == row["answer"]
    assert [each.path for each in problem.images] == [str(image)]
    assert "<" not in problem.prompt[0]["content"]


def test_rows_in_verls_columns_are_read_under_any_name(tmp_path: Path) -> None:
    path = write(tmp_path / "math500.jsonl", *map(to_row, problems(3)))
    assert benchmark_problems(BenchmarkConfig("math500", str(path)), DataConfig()) == problems(3)
    mine = BenchmarkConfig("mine", str(path), num_problems=2)
    assert benchmark_problems(mine, DataConfig()) == problems(2)


def test_a_variant_has_the_columns_and_the_sampling_of_its_family(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", LAYOUTS["aime24"][0])
    variant = BenchmarkConfig("mine", str(path), family="aime24")
    found = load_benchmark(variant, DataConfig(), EvaluationConfig(temperature=0.7), None)
    assert (found.name, found.plan.num_samples, found.plan.temperature) == ("mine", 1024, 0.7)
    assert found.template.name == "think_answer"
    assert load_benchmark(variant, DataConfig(), EvaluationConfig(), "boxed").template.name == "boxed"


def test_generated_families_come_from_the_config() -> None:
    data = DataConfig(chains=ChainsConfig(num_train=8, num_test=4, operations=[3]))
    train, test = training_problems(data), benchmark_problems(BenchmarkConfig("chains"), data)
    assert [p.extra_info["split"] for p in train] == ["train"] * 8
    assert [p.extra_info["split"] for p in test] == ["test"] * 4
    longer = BenchmarkConfig("longer", family="chains", operations=[5], num_problems=2)
    assert [p.extra_info["num_operations"] for p in benchmark_problems(longer, data)] == [5, 5]
    hard = benchmark_problems(BenchmarkConfig("chains_long"), data)
    assert (len(hard), {p.extra_info["num_operations"] for p in hard}) == (40, {9, 10, 11, 12})


GENERATED = [name for name, entry in BENCHMARKS.items() if entry.generate is not None]


def test_ids_of_generated_problems_say_their_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So those of two benchmarks of one family differ, registered ones and a user's own."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)  # where pictures are kept
    configs = [*map(BenchmarkConfig, GENERATED), BenchmarkConfig("mine", family="chains", operations=[5])]
    found = {
        config.name: [problem.id for problem in benchmark_problems(config, DataConfig())]
        for config in configs
    }
    assert set(found) == {
        "chains", "chains_long", "skills", "skills_long", "skills_mixed", "graphs", "graphs_zoo",
        "graphs_school", "graphs_festival", "programs", "signs", "signs_blank", "mine",
    }  # fmt: skip
    for name, ids in found.items():
        assert all(each.startswith(f"{name}/test/") for each in ids)
    every = [each for ids in found.values() for each in ids]
    assert len(set(every)) == len(every)


def test_training_takes_a_registered_set_with_its_prompt(tmp_path: Path) -> None:
    write(tmp_path / "math500.jsonl", LAYOUTS["math500"][0])
    data = DataConfig(path="math500", folder=str(tmp_path))
    assert training_problems(data)[0].ground_truth == "\\frac{1}{2}"
    assert training_template(data, None).name == "think_answer"
    assert training_template(data, "boxed").name == "boxed"
    assert training_template(DataConfig(), None).name == "chat"
    own = DataConfig(path=str(write(tmp_path / "own.jsonl", *map(to_row, problems(2)))))
    assert training_problems(own) == problems(2)


def test_every_entry_is_complete() -> None:
    for name, entry in BENCHMARKS.items():
        assert entry.name == name
        assert entry.prompt in TEMPLATES
        assert entry.verifier in VERIFIERS
        assert (entry.generate is None) == (entry.source is not None) == (entry.parse is not None)
        assert 1 <= entry.plan.num_samples <= 1024


def test_benchmarks_are_named_alike_in_all_commands() -> None:
    found = as_benchmarks(["math500", "data/own.jsonl", "saved/folder"])
    assert [(each.name, each.path) for each in found.values()] == [
        ("math500", None),
        ("own", "data/own.jsonl"),
        ("folder", "saved/folder"),
    ]
    assert as_benchmarks({"aime24": None})["aime24"] == BenchmarkConfig("aime24")


def test_an_unknown_benchmark_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="no benchmark 'math50'") as caught:
        benchmark_problems(BenchmarkConfig("math50"), DataConfig())
    assert "'math500'" in str(caught.value.fix)
