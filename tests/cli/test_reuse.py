"""``run.reuse_from``: what another study has made is copied where it is the same, and made where it is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlvr.run_folder import read_provenance
from tests.cli.pools import SMALL, TRAIN, Pools
from tests.cli.refusing import refused


@pytest.fixture
def study(rlvr, pools: Pools, tmp_path: Path):
    def run(name: str, *words: str):
        model = f"model={pools.model}"
        asked = "benchmarks={chains: {family: chains}}"
        return rlvr("study", model, f"run.dir={tmp_path}/{name}", *SMALL, *TRAIN, asked, *words)

    return run


def test_runs_and_evaluations_of_another_study_are_taken_over(study, pools: Pools, tmp_path: Path) -> None:
    assert study("first", 'variants={old: ["seed=0"]}').code == 0
    assert (len(pools.trained), [name for name, _ in pools.evaluated].count(str(pools.model))) == (1, 1)
    sampled = len(pools.evaluated)
    result = study("second", 'variants={same: ["seed=0"], other: ["seed=1"]}', f"run.reuse_from={tmp_path}")
    assert result.code == 0, result.err
    assert (
        f"{tmp_path}/second/same is the same run as {tmp_path}/first/old, and taken from there" in result.err
    )
    assert f"evaluate base on chains: the same as {tmp_path}/first/evaluation/chains/base" in result.err
    assert len(pools.trained) == 2  # `other` alone
    assert len(pools.evaluated) == sampled  # whatever it is trained by, the stand-in makes the same model
    assert read_provenance(tmp_path / "second/same")["taken_from"] == f"{tmp_path}/first/old"
    assert "taken_from" not in read_provenance(tmp_path / "second/other")
    models = json.loads((tmp_path / "second/summary.json").read_text())["models"]
    assert list(models) == ["base", "same", "other"]
    spec = json.loads((tmp_path / "second/evaluation/chains/same/spec.json").read_text())
    assert spec["model_name"] == "same"
    # What was taken over is like one's own: the same command has nothing left to do.
    assert study("second", 'variants={same: ["seed=0"], other: ["seed=1"]}').code == 0
    assert (len(pools.trained), len(pools.evaluated)) == (2, sampled)


@pytest.mark.parametrize(
    ("words", "trained", "sampled"),
    [
        # Whatever it is trained by, the stand-in makes the same model, so its samples are taken over.
        (["learner.learning_rate=2e-6"], 1, 0),
        (["train.num_steps=3"], 1, 0),
        (["evaluation.num_samples=6"], 0, 2),
    ],
)
def test_what_differs_is_made_anew(
    study, pools: Pools, tmp_path: Path, words: list[str], trained: int, sampled: int
) -> None:
    assert study("first").code == 0
    before = len(pools.trained), len(pools.evaluated)
    result = study("second", f"run.reuse_from={tmp_path}", *words)
    assert result.code == 0, result.err
    assert (len(pools.trained) - before[0], len(pools.evaluated) - before[1]) == (trained, sampled)


def test_a_run_that_has_begun_goes_on_by_itself(study, pools: Pools, tmp_path: Path) -> None:
    assert study("first").code == 0
    pools.die_in_training = 2
    assert study("second", "train.checkpoint_every=1").code != 0
    if (tmp_path / "second/grpo/metrics.jsonl").exists():
        assert study("second", "train.checkpoint_every=1", f"run.reuse_from={tmp_path}").code == 0
        assert "taken_from" not in read_provenance(tmp_path / "second/grpo")


def test_evaluations_share_samples_whatever_their_models_are_called(
    rlvr, evaluate, pools: Pools, tmp_path: Path
) -> None:
    assert evaluate(pools.model).code == 0
    words = [f"models={{renamed: {pools.model}}}", f"run.dir={tmp_path}/again", "benchmark=chains", *SMALL]
    result = rlvr("evaluate", *words, f"run.reuse_from={tmp_path}")
    assert result.code == 0, result.err
    assert len(pools.evaluated) == 1
    counts = [
        json.loads(path.read_text())["correct"] for path in tmp_path.glob("*/evaluation/chains/*/counts.json")
    ]
    assert len(counts) == 2
    assert counts[0] == counts[1]


def test_to_begin_anew_and_to_take_over_is_refused(study, tmp_path: Path) -> None:
    words = ["run.resume=never", f"run.reuse_from={tmp_path}"]
    refused(study("first", *words), "run.reuse_from", "one of the two")


def test_the_folder_must_be_there(study) -> None:
    refused(study("first", "run.reuse_from=nowhere"), "run.reuse_from", "no such folder: nowhere")
