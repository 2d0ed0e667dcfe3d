"""`rlvr study` on fake pools: one base, every algorithm, every benchmark, one report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlvr.eval.samples import read_samples
from tests.cli.pools import SMALL, TRAIN, Pools

CHAINS_BENCHMARKS = (
    "+benchmarks.longer={family: chains, operations: [5], num_problems: 4, out_of_domain: true}",
    "+benchmarks.chains={family: chains}",
)


@pytest.fixture
def study(rlvr, pools: Pools, tmp_path: Path):
    return lambda *words: rlvr(
        "study",
        f"model={pools.model}",
        f"run.dir={tmp_path}/study",
        *SMALL,
        *TRAIN,
        *CHAINS_BENCHMARKS,
        *words,
    )


def test_a_study_trains_measures_both_and_reports_once(
    study, pools: Pools, tmp_path: Path, cwd: Path
) -> None:
    result = study()
    assert result.code == 0, result.err
    folder = tmp_path / "study"
    assert {path.name for path in folder.iterdir()} == {
        *("config.json", "report.html", "summary.json", "figures"),
        *("grpo", "evaluation"),
    }
    assert (folder / "grpo" / "trained.json").exists()
    assert "base" in result.out
    assert "grpo" in result.out
    # One start of the engines per model, for both benchmarks.
    assert [Path(model).name for model, _ in pools.evaluated] == ["tiny", "model"]
    for benchmark, size in (("chains", 6), ("longer", 4)):
        for model in ("base", "grpo"):
            rows = list(read_samples(folder / "evaluation" / benchmark / model / "samples.jsonl.gz"))
            assert len(rows) == size * 4
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["evaluation"]["benchmark"] == "chains"  # the in-domain one leads, whatever the order
    assert list(cwd.iterdir()) == []

    again = study()
    assert again.code == 0
    assert again.out == result.out
    assert (len(pools.trained), len(pools.evaluated)) == (1, 2)


def test_several_algorithms_start_from_the_same_base(study, pools: Pools, tmp_path: Path) -> None:
    result = study("algorithms=[grpo,rloo,remax,grpo_verl]")
    assert result.code == 0, result.err
    assert pools.trained == [str(pools.model)] * 4
    assert len(pools.evaluated) == 5  # the base once
    configs = {
        name: json.loads((tmp_path / "study" / name / "config.json").read_text())
        for name in ("grpo", "rloo", "remax", "grpo_verl")
    }
    for name, config in configs.items():
        assert config["algorithm"]["name"] == name
        assert config["algorithm"]["group_size"] == 4  # overrides hold for each
        # What `rlvr train` would write for the same run.
        assert config["algorithms"] == []
        assert config["run"]["dir"] == str(tmp_path / "study" / name)
    assert configs["grpo_verl"]["algorithm"]["dual_clip"] == 3
    summary = json.loads((tmp_path / "study" / "summary.json").read_text())
    assert list(summary["models"]) == ["base", "grpo", "rloo", "remax", "grpo_verl"]


def test_a_study_goes_on_with_the_algorithm_at_which_it_stopped(study, pools: Pools, tmp_path: Path) -> None:
    assert study("algorithms=[grpo]").code == 0
    again = study("algorithms=[grpo,rloo]")
    assert again.code == 2  # another study
    assert "algorithms" in again.err

    words = (f"run.dir={tmp_path}/other", "algorithms=[grpo,rloo]")
    pools.trained, pools.die_in_training = [], 2
    assert study(*words).code == 130
    pools.trained, pools.die_in_training = [], None
    assert study(*words).code == 0
    assert len(pools.trained) == 1  # GRPO was there


def test_checkpoints_are_measured_on_demand(study, pools: Pools, tmp_path: Path) -> None:
    result = study("train.keep_model_every=1", "evaluation.checkpoints=true")
    assert result.code == 0, result.err
    assert [Path(model).name for model, _ in pools.evaluated] == ["tiny", "model", "model"]
    assert Path(pools.evaluated[-1][0]).parts[-3:] == ("checkpoints", "step-000001", "model")
    assert (tmp_path / "study" / "evaluation" / "chains" / "grpo-step1").is_dir()
