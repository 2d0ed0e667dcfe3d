"""A run whose problems, verifier or functions have changed since it began is not taken for the same run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rlvr.algorithms.registry import ALGORITHMS, PLUGINS
from rlvr.data.chains import make_splits
from rlvr.data.loaders import save_problems
from rlvr.data.model_folder import model_hash
from tests.broken import merge
from tests.cli.conftest import Result
from tests.cli.pools import SMALL, TRAIN, Pools

JUDGE = """
def judge(problem, response):
    return response.strip().endswith(problem.ground_truth)

def brevity(problem, response):
    return 0.5
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Training problems in a file."""
    path = tmp_path / "train.jsonl"
    save_problems(make_splits(8, 6, [3], 1)[0], path)
    return path


@pytest.fixture
def judge(tmp_path: Path) -> Path:
    """A file with a verifier and a reward function."""
    path = tmp_path / "judge.py"
    path.write_text(JUDGE)
    return path


def shorten(data: Path) -> None:
    data.write_text("".join(data.read_text().splitlines(keepends=True)[:-1]))


def rewritten(judge: Path) -> None:
    judge.write_text(JUDGE.replace("0.5", "0.25"))


def refused(result: Result, *words: str) -> None:
    assert result.code == 2, result.err
    for word in (*words, "since the run began", "another run.dir", "put back", "run.resume=never"):
        assert word in result.err
    assert "nothing to do" not in result.err


@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["run", "dry run"])
def test_a_finished_run_of_other_problems_is_not_taken_for_done(
    train, pools: Pools, data: Path, dry: tuple[str, ...]
) -> None:
    word = f"data.path={data}"
    assert train(word).code == train(word).code == train(word, *dry).code == 0
    shorten(data)
    refused(train(word, *dry), f"the training problems in {data} have changed")
    assert len(pools.trained) == 1


def test_a_finished_run_is_not_made_longer_with_other_problems(train, pools: Pools, data: Path) -> None:
    assert train(f"data.path={data}").code == 0
    shorten(data)
    refused(train(f"data.path={data}", "train.num_steps=3"), "the training problems")
    assert len(pools.trained) == 1


def test_an_unfinished_run_of_other_problems_is_refused_in_the_same_words(
    train, pools: Pools, data: Path
) -> None:
    pools.samples_left = 9  # in the second step
    assert train(f"data.path={data}").code == 130
    pools.samples_left = None
    shorten(data)
    refused(train(f"data.path={data}"), f"the training problems in {data} have changed")
    assert train(f"data.path={data}", "run.resume=never").code == 0


@pytest.mark.parametrize(
    ("word", "named"),
    [
        ("rewards.function={}:judge", "the verifier has changed"),
        ("train.reward.functions=[{{function: '{}:brevity'}}]", "the reward functions"),
    ],
)
def test_a_finished_run_of_another_function_is_not_taken_for_done(
    train, pools: Pools, judge: Path, word: str, named: str
) -> None:
    word = word.format(judge)
    assert train(word).code == train(word).code == 0
    rewritten(judge)
    refused(train(word), named, "judge.py:")
    assert len(pools.trained) == 1


def test_a_function_can_be_mended_in_an_unfinished_run(train, pools: Pools, judge: Path) -> None:
    word = f"rewards.function={judge}:judge"
    pools.samples_left = 9
    assert train(word).code == 130
    pools.samples_left = None
    rewritten(judge)
    result = train(word)
    assert result.code == 0, result.err
    assert "WARNING: the verifier has changed since the run began: judge.py:judge/" in result.err


def test_a_finished_run_of_another_plugin_is_not_taken_for_done(train, pools: Pools, tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from dataclasses import dataclass\n"
        "from rlvr.algorithms.grpo import GRPOConfig\n"
        "from rlvr.algorithms.registry import register\n"
        "@dataclass\n"
        "class Mine(GRPOConfig):\n"
        "    name: str = 'mine'\n"
        "register(Mine())\n"
    )

    def again() -> Result:
        """As a process of its own, which knows no plugin yet."""
        ALGORITHMS.pop("mine", None)
        PLUGINS.clear()
        return train(f"--plugin={plugin}", "algorithm=mine")

    try:
        assert again().code == again().code == 0
        plugin.write_text(plugin.read_text() + "# another one\n")
        refused(again(), "the file of the algorithm has changed", "mine.py/")
    finally:
        ALGORITHMS.pop("mine", None)
        PLUGINS.clear()
    assert len(pools.trained) == 1


def test_a_study_of_other_problems_is_not_reported_again(
    rlvr, pools: Pools, data: Path, tmp_path: Path
) -> None:
    words = (
        "study",
        f"model={pools.model}",
        f"run.dir={tmp_path}/study",
        f"data.path={data}",
        "+benchmarks.chains={family: chains}",
        *SMALL,
        *TRAIN,
    )
    assert rlvr(*words).code == rlvr(*words).code == 0
    shorten(data)
    refused(rlvr(*words), f"the training problems in {data} have changed", f"{tmp_path}/study/grpo")
    refused(rlvr(*words, "--dry-run"), "the training problems")


def test_a_run_that_an_older_version_finished_is_accepted(train, pools: Pools, tmp_path: Path) -> None:
    assert train().code == 0
    path = tmp_path / "run" / "trained.json"
    record = json.loads(path.read_text())
    for key in ("problems_sha256", "verifier", "reward_functions", "algorithm_file"):
        del record[key]
    path.write_text(json.dumps(record))
    assert train().code == 0
    assert len(pools.trained) == 1


def study_of(model: Path, folder: Path) -> tuple[str, ...]:
    """The words of a study."""
    return (
        *("study", f"model={model}", f"run.dir={folder}", *SMALL, *TRAIN),
        *("+benchmarks.chains={family: chains}", "train.checkpoint_every=0"),
    )


def test_a_study_goes_on_with_its_start_model_at_another_place(
    rlvr, pools: Pools, model: Path, tmp_path: Path
) -> None:
    folder, moved = tmp_path / "study", tmp_path / "clone" / "model"
    pools.samples_left = 3  # in the first step: nothing but the configs is there
    assert rlvr(*study_of(model, folder)).code == 130
    moved.parent.mkdir()
    model.rename(moved)
    pools.samples_left = 16 + 24 + 8  # the trained model is half measured
    assert rlvr(*study_of(moved, folder)).code == 130
    shutil.copytree(moved, model)
    pools.samples_left = None
    assert rlvr(*study_of(model, folder), "--dry-run").code == 0
    assert rlvr(*study_of(model, folder)).code == 0
    assert pools.trained == [str(model), str(moved)]
    for path in (folder, folder / "grpo"):
        assert json.loads((path / "config.json").read_text())["model"] == str(model)
    # What measures the base again, such as `rlvr perplexity`, finds it.
    spec = json.loads((folder / "evaluation" / "chains" / "base" / "spec.json").read_text())
    assert spec["model_path"] == str(model)


def test_another_start_model_is_refused_wherever_it_lies(
    rlvr, train, pools: Pools, model: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(model, tmp_path / "other")
    merge(other / "generation_config.json", eos_token_id=[1, 5])
    assert train(f"model={model}").code == 0
    result = train(f"model={other}")
    assert result.code == 2
    assert f"model: '{model}, sha256 {model_hash(str(model))}' there, '{other}, sha256" in result.err
    merge(model / "generation_config.json", eos_token_id=[1, 5])
    result = train(f"model={model}", "--dry-run")
    assert result.code == 2
    assert f"model: '{model}, sha256 " in result.err
    assert len(pools.trained) == 1


def test_a_start_model_whose_hash_an_older_version_did_not_keep_is_known_by_its_path(
    train, pools: Pools, model: Path, tmp_path: Path
) -> None:
    assert train().code == 0
    path = tmp_path / "run" / "config.json"
    stored = json.loads(path.read_text())
    del stored["start_model_sha256"]
    path.write_text(json.dumps(stored))
    result = train(f"model={model}")
    assert result.code == 2
    assert f"model: '{pools.model}' there, '{model}' now" in result.err
    assert train().code == 0
    assert train(f"model={model}").code == 0  # kept since
