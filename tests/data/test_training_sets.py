"""Sets that the study's systems were trained on, in the columns in which they are published; the rows are our own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest

from rlvr.config import DataConfig
from rlvr.data import hub
from rlvr.data.benchmarks import training_problems
from rlvr.data.templates import TEMPLATES
from rlvr.errors import ConfigError, DataError
from rlvr.records import Problem, Status
from rlvr.rewards.code import LIVECODEBENCH, CodeVerifier
from rlvr.rewards.config import SandboxConfig

RENDERED = "<|im_start|>user\nWhat is 1 + 1?<|im_end|>\n<|im_start|>assistant\n"
VERL = {"ability": "math", "extra_info": {"split": "train", "index": 0}}
SIMPLERL = {
    **VERL, "data_source": "simplelr", "prompt": [{"role": "user", "content": RENDERED}],
    "reward_model": {"style": "rule", "ground_truth": "2"}, "question": "What is 1 + 1?",
    "answer": "We add, and find $\\boxed{2}$.", "gt_answer": "2", "level": 3,
}  # fmt: skip
DAPO: dict[str, Any] = {
    **VERL, "data_source": "math_dapo", "ability": "MATH", "reward_model": {"style": "rule-lighteval/MATH_v2", "ground_truth": "34"},
    "prompt": [{"role": "user", "content": str(TEMPLATES["dapo"].user).format(question="Find $x$ if $x = 34$.")}],
}  # fmt: skip
SYSTEM = {"role": "system", "content": "You are a helpful programming assistant."}


def code_r1_row(tests: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return {
        "data_source": "code", "prompt": [SYSTEM, {"role": "user", "content": "Double a number."}], "ability": "coding",
        "reward_model": {"style": "rule", "ground_truth": json.dumps(tests)},
        "extra_info": {"split": "train", "index": index, "reference": ""},
    }  # fmt: skip


LEETCODE = {
    "functional": "def check(candidate):\n    assert candidate(numbers = [1, 2], extra = 3) == 6\n"
    "    assert candidate(numbers = [], extra = -1) == -1\n\ncheck(Solution().addUp)"
}
TACO = {
    "functional": "_inputs = [[1.5], [2]]\n_outputs = [[3.0], [4]]\nimport math\ndef _deep_eq(a, b, tol=1e-5):\n    return a == b\n\n"
    "for i, o in zip(_inputs, _outputs):\n    assert _deep_eq(double(*i), o[0])"
}
STDIO = {"inputs": ["2\n", "10\n"], "outputs": ["4\n", "20\n"]}
ADD_UP = "```python\nclass Solution:\n    def addUp(self, numbers: List[int], extra: int) -> int:\n        return sum(numbers) + extra\n```"
DOUBLE = "```python\ndef double(x):\n    return 2 * x\n```"
READS = "```python\nprint(2 * int(input()))\n```"


def training(tmp_path: Path, name: str, *rows: dict[str, Any], **settings: Any) -> list[Problem]:
    (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return training_problems(DataConfig(path=name, folder=str(tmp_path), **settings))


def statuses(judge: CodeVerifier, problem: Problem, right: str) -> list[Status]:
    """Of a right program, and of one that doubles or adds wrongly; under an id of its own, for tests are read once."""
    problem = replace(problem, id=str(hash(problem.ground_truth)))
    wrong = right.replace("2 *", "3 *").replace("+ extra", "- extra")
    assert wrong != right
    return [judge.verify(problem, program, "stop").status for program in (right, wrong)]


@pytest.fixture(scope="module")
def judge() -> Any:
    verifier = CodeVerifier(SandboxConfig(require="rlimits"), LIVECODEBENCH)
    yield verifier
    verifier.close()


@pytest.mark.parametrize("name", ["simplerl_zoo_easy", "simplerl_zoo_hard"])
def test_simplerl_zoos_rows_are_read_by_their_bare_questions(tmp_path: Path, name: str) -> None:
    [problem] = training(tmp_path, name, SIMPLERL)
    assert problem.prompt == ({"role": "user", "content": "What is 1 + 1?"},)
    assert (problem.ground_truth, problem.id) == ("2", f"{name}/train/0")


def test_oat_zeros_rows_have_the_final_answer_beside_the_worked_one(tmp_path: Path) -> None:
    row = {"problem": "What is 1 + 1?", "answer": "… $\\boxed{2}$", "gt_answer": "2", "level": 4}
    [problem] = training(tmp_path, "math_levels_3_to_5", row)
    assert problem.ground_truth == "2"


def test_dapos_rows_come_once_and_without_the_words_of_its_template(tmp_path: Path) -> None:
    other = {
        **DAPO,
        "prompt": [{"role": "user", "content": DAPO["prompt"][0]["content"].replace("34", "35")}],
    }
    problems = training(tmp_path, "dapo_17k", DAPO, other, DAPO, DAPO)
    assert [problem.prompt[0]["content"] for problem in problems] == [
        "Find $x$ if $x = 34$.",
        "Find $x$ if $x = 35$.",
    ]
    assert TEMPLATES["dapo"].messages(problems[0]) == DAPO["prompt"]


def test_dapos_rows_with_other_words_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not have the words of its template"):
        training(tmp_path, "dapo_17k", {**DAPO, "prompt": [{"role": "user", "content": "Find $x$."}]})


@pytest.mark.parametrize(("tests", "right"), [(LEETCODE, ADD_UP), (TACO, DOUBLE), (STDIO, READS)])
def test_code_r1s_tests_judge_programs(tmp_path: Path, judge: CodeVerifier, tests: Any, right: str) -> None:
    [problem] = training(tmp_path, "code_r1_12k", code_r1_row(tests))
    assert problem.prompt[0] == SYSTEM
    assert statuses(judge, problem, right) == [Status.CORRECT, Status.INCORRECT]


def test_code_r1s_rows_whose_tests_are_no_literals_are_left_out(tmp_path: Path) -> None:
    lists = {
        "functional": "def check(candidate):\n    assert is_same_list(candidate(list_node([1])), list_node([1]))\n\ncheck(Solution().f)"
    }
    problems = training(tmp_path, "code_r1_12k", code_r1_row(lists), code_r1_row(STDIO, 1))
    assert [problem.id for problem in problems] == ["code_r1_12k/train/1"]


DEEPCODER: dict[str, tuple[dict[str, Any], str]] = {
    "primeintellect": ({"tests": json.dumps([{"fn_name": "double", "input": [2], "output": 4}])}, DOUBLE),
    "a program of primeintellect": (
        {"tests": json.dumps([{"type": "stdin_stdout", "input": "2\n", "output": "4\n"}])}, READS),
    "taco": ({"tests": json.dumps({"inputs": [["2"]], "outputs": [["4"]]})}, READS),
    "a function of taco": ({"tests": json.dumps({"fn_name": "double", "inputs": [[2]], "outputs": [4]})}, DOUBLE),
    "packed results": ({"tests": json.dumps({"fn_name": "double", "inputs": [[2], [3]], "outputs": [[4], [6]]})}, DOUBLE),
    "livecodebench": (
        {"tests": json.dumps([{"input": "[1, 2]\n3", "output": "6", "testtype": "functional"}]),
         "metadata": {"func_name": "addUp"}, "starter_code": "class Solution:\n    def addUp(self, numbers, extra):"}, ADD_UP),
}  # fmt: skip


@pytest.mark.parametrize("kind", DEEPCODER)
def test_deepcoders_tests_judge_programs(tmp_path: Path, judge: CodeVerifier, kind: str) -> None:
    columns, right = DEEPCODER[kind]
    [problem] = training(tmp_path, "deepcoder_preview", {"problem": f"Do as {kind} says.", **columns})
    assert statuses(judge, problem, right) == [Status.CORRECT, Status.INCORRECT]


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("code_r1_12k", code_r1_row({"inputs": [], "outputs": []})),
        ("deepcoder_preview", {"problem": "Double.", "tests": "[]"}),
        ("deepcoder_preview", {"problem": "Double.", "tests": "not JSON"}),
    ],
)
def test_rows_without_tests_are_refused(tmp_path: Path, name: str, row: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="tests of the row cannot be read"):
        training(tmp_path, name, row)


@pytest.mark.parametrize(
    ("choice", "kept"),
    [("longest", ["22\n", "4444\n"]), ("shortest", ["1\n", "22\n"]), ("first", ["4444\n", "1\n"])],
)
def test_training_may_run_fewer_tests(tmp_path: Path, choice: str, kept: list[str]) -> None:
    tests = {"inputs": ["4444\n", "1\n", "22\n"], "outputs": ["8888\n", "2\n", "44\n"]}
    [problem] = training(tmp_path, "code_r1_12k", code_r1_row(tests), max_tests=2, choose_tests=choice)
    assert sorted(test["stdin"] for test in json.loads(problem.ground_truth)) == sorted(kept)


def test_fewer_cases_of_a_function_keep_its_name_and_tolerance(tmp_path: Path) -> None:
    [problem] = training(tmp_path, "code_r1_12k", code_r1_row(TACO), max_tests=1, choose_tests="first")
    assert json.loads(problem.ground_truth) == {
        "entry_point": "double",
        "tolerance": 1e-5,
        "cases": [{"args": [1.5], "expected": 3.0}],
    }


def test_choosing_tests_of_problems_without_programs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no problem is about a program"):
        training(tmp_path, "simplerl_zoo_hard", SIMPLERL, max_tests=3)


def test_geometry3ks_rows_have_an_image(tmp_path: Path) -> None:
    from PIL import Image

    picture = tmp_path / "figure.png"
    Image.new("RGB", (8, 8)).save(picture)
    features = datasets.Features(
        {
            "images": datasets.List(datasets.Image()),
            "problem": datasets.Value("string"),
            "answer": datasets.Value("string"),
        }
    )
    row = {"images": [[str(picture)]], "problem": ["<image>Find x."], "answer": ["3"]}
    datasets.Dataset.from_dict(row, features=features).save_to_disk(str(tmp_path / "geometry3k"))
    [problem] = training_problems(DataConfig(path="geometry3k", folder=str(tmp_path)))
    assert len(problem.images) == 1
    assert problem.ground_truth == "3"


def test_files_of_other_kinds_and_several_parts_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub's client itself, on local files in place of addresses."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    for number in (1, 2):
        folder = tmp_path / f"repo/part{number}"
        folder.mkdir(parents=True)
        datasets.Dataset.from_list([{"number": number}]).to_parquet(str(folder / "train-0.parquet"))
    card = "---\nconfigs:\n" + "".join(
        f"- config_name: part{number}\n  data_files:\n  - split: train\n    path: part{number}/train-0.parquet\n"
        for number in (1, 2)
    )
    (tmp_path / "repo" / "README.md").write_text(card + "---\n")
    source = hub.HubSource(str(tmp_path / "repo"), ("part1", "part2"), "train")
    rows = list(hub.hub_rows(source, "…"))
    assert [row["number"] for row, _ in rows] == [1, 2]
    assert rows[1][1].endswith("repo/part2, row 1")
    datasets.Dataset.from_list([{"number": 3}]).save_to_disk(str(tmp_path / "arrow"))
    [file] = (tmp_path / "arrow").glob("*.arrow")
    [(row, _)] = hub.hub_rows(hub.HubSource(files=(str(file),)), "…")
    assert row["number"] == 3
