"""`rlvr study` on fake pools: one base, every algorithm, every benchmark, one report."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest

from rlvr.eval.samples import read_samples
from tests.cli.pools import SMALL, TRAIN, Pools
from tests.cli.test_refusals import refused

CHAINS_BENCHMARKS = (
    "+benchmarks.longer={family: chains, operations: [5], num_problems: 4, out_of_domain: true}",
    "+benchmarks.chains={family: chains}",
)

KINDS = {"a study": "study", "a training run": "run", "an evaluation": "measured"}


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


def test_models_are_measured_with_what_training_leaves_free(
    study, pools: Pools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "cpu_count", lambda: 8)
    pools.samples_left = 16 + 40 + 24  # training, the base, the trained model on the first benchmark
    words = ("learner.threads_per_learner=3", "rollout.device=cpu", "learner.device=cpu")
    assert study(*words, "rollout.num_workers=1").code == 130
    assert pools.engines == [4]  # one pool for both models
    config = tmp_path / "study" / "config.json"
    stored = json.loads(config.read_text())
    del stored["evaluation"]["num_workers"]  # as a version has it that measured with rollout.num_workers
    config.write_text(json.dumps(stored))
    pools.samples_left = None
    result = study(*words, "rollout.num_workers=1", "evaluation.num_workers=2")
    assert result.code == 0, result.err
    assert "evaluate grpo: 16 samples to draw, 24 already there, on 2 engines\n" in result.err
    assert pools.engines == [4, 2]
    rows = list(read_samples(tmp_path / "study" / "evaluation" / "chains" / "grpo" / "samples.jsonl.gz"))
    assert len({(row.problem, row.sample) for row in rows}) == len(rows) == 24


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
        assert config["tracking"]["wandb_group"] == "study"
        assert config["run"]["dir"] == str(tmp_path / "study" / name)
    assert configs["grpo_verl"]["algorithm"]["dual_clip"] == 3
    summary = json.loads((tmp_path / "study" / "summary.json").read_text())
    assert list(summary["models"]) == ["base", "grpo", "rloo", "remax", "grpo_verl"]


def test_a_study_goes_on_with_the_algorithm_at_which_it_stopped(study, pools: Pools, tmp_path: Path) -> None:
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


def test_a_longer_study_keeps_what_it_measured_as_a_checkpoint(study, pools: Pools, tmp_path: Path) -> None:
    kept = ("train.keep_model_every=1", "evaluation.checkpoints=true")
    evaluation = tmp_path / "study" / "evaluation" / "chains"
    assert study(*kept).code == 0
    before = (evaluation / "grpo" / "samples.jsonl.gz").read_bytes()
    pools.evaluated = []
    result = study(*kept, "train.num_steps=4")
    assert result.code == 0, result.err
    assert "going on after step 2" in result.err
    # What was measured after two steps is not measured again, and stands under the name of that checkpoint.
    assert (evaluation / "grpo-step2" / "samples.jsonl.gz").read_bytes() == before
    assert [Path(model).parts[-2] for model, _ in pools.evaluated] == ["grpo", "step-000003"]
    summary = json.loads((tmp_path / "study" / "summary.json").read_text())
    assert summary["steps"]["grpo"]["step"] == [0, 1, 2, 3, 4]


def test_a_study_that_is_half_measured_is_not_made_longer(study, pools: Pools, tmp_path: Path) -> None:
    pools.samples_left = 2 * 8 + (6 + 4) * 4 + 5  # two steps, the base, and some of the trained model
    assert study().code == 130
    pools.samples_left = None
    result = study("train.num_steps=4")
    assert result.code == 2
    assert "of its model after 2 steps" in result.err
    assert "train.num_steps=2 draws the others first" in result.err
    assert json.loads((tmp_path / "study" / "config.json").read_text())["train"]["num_steps"] == 2
    assert len(pools.trained) == 1
    assert study().code == study("train.num_steps=4").code == 0


def test_a_study_whose_last_run_does_not_fit_trains_none(study, pools: Pools, tmp_path: Path) -> None:
    words = ("algorithms=[grpo,rloo]",)
    assert study(*words).code == 0
    (tmp_path / "study" / "rloo" / "checkpoints").rename(tmp_path / "lost")
    result = study(*words, "train.num_steps=4")
    assert result.code == 2
    assert "rloo ended after 2 steps and left no checkpoint" in result.err
    assert len(pools.trained) == 2


def test_each_algorithm_is_trained_from_every_seed(study, pools: Pools, tmp_path: Path) -> None:
    result = study("algorithms=[grpo,rloo]", "seeds=[0,3]", "seed=5")
    assert result.code == 0, result.err
    folder = tmp_path / "study"
    runs = ["grpo-seed0", "grpo-seed3", "rloo-seed0", "rloo-seed3"]
    summary = json.loads((folder / "summary.json").read_text())
    assert list(summary["models"]) == ["base", *runs]
    assert {name: mean["runs"] for name, mean in summary["mean_of_runs"].items()} == {
        "grpo": runs[:2],
        "rloo": runs[2:],
    }
    assert "grpo (mean of 2 runs)" in result.out
    settings = summary["training"]["rloo-seed3"]
    assert (settings["algorithm.name"], settings["seed"], settings["train.num_steps"]) == ("rloo", 3, 2)
    assert settings["algorithm.group_size"] == 4
    prompt = summary["evaluation"]["rendered_prompt"]
    assert prompt == (folder / "evaluation/chains/base/prompt.txt").read_text()
    assert prompt
    for name in runs:
        config = json.loads((folder / name / "config.json").read_text())
        assert (config["seed"], config["seeds"]) == (int(name[-1]), [])
        assert config["algorithm"]["name"] == name[:4]
    # The seed of the study is that of its evaluations.
    assert json.loads((folder / "evaluation/chains/grpo-seed3/spec.json").read_text())["seed"] == 5
    again = study("algorithms=[grpo,rloo]", "seeds=[0,3]", "seed=5")
    assert (again.code, len(pools.trained)) == (0, 4)


def test_a_study_takes_further_seeds_algorithms_and_benchmarks(study, pools: Pools, tmp_path: Path) -> None:
    assert study("algorithms=[grpo]", "seeds=[0,3]").code == 0
    pools.evaluated = []
    more = study(
        "algorithms=[grpo,rloo]", "seeds=[3,0,1]", "+benchmarks.third={family: chains, num_problems: 3}"
    )
    assert more.code == 0, more.err
    assert len(pools.trained) == 6  # two before, and four that are new
    summary = json.loads((tmp_path / "study/summary.json").read_text())
    assert set(summary["models"]) == {"base", *(f"{a}-seed{i}" for a in ("grpo", "rloo") for i in (0, 1, 3))}
    fewer = study(
        "algorithms=[grpo,rloo]", "seeds=[0,1]", "+benchmarks.third={family: chains, num_problems: 3}"
    )
    refused(fewer, "rlvr study: ", "seeds: [3, 0, 1] there, [0, 1] now")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["seeds=[1,1]"], "each once"),
        (["seeds=[-1]"], "numbers from 0"),
        (["seeds=[0,1]", "+variants={a: ['seed=3']}"], "the variant 'a' sets a seed"),
        (["seeds=[0,1]", "seed=2,3", "-m"], "the jobs of -m set a seed"),
        (["+variants={a-seed1: []}"], "no run can be called 'a-seed1'"),
    ],
)
def test_seeds_that_do_not_fit_are_refused(study, pools: Pools, words: list[str], said: str) -> None:
    result = study(*words)
    assert result.code == 2
    assert said in result.err
    assert pools.trained == []


def test_train_takes_no_seeds(rlvr, pools: Pools, tmp_path: Path) -> None:
    result = rlvr("train", f"model={pools.model}", f"run.dir={tmp_path}/run", *SMALL, *TRAIN, "seeds=[0,1]")
    assert result.code == 2
    assert "`rlvr train` trains one algorithm, once" in result.err


def test_a_study_a_run_and_an_evaluation_have_folders_of_their_own(
    study, rlvr, train, evaluate, pools: Pools, tmp_path: Path
) -> None:
    """Even where their settings are the same: a study of one algorithm has those of its training run."""
    assert study().code == train().code == evaluate(pools.model).code == 0
    trained, measured = len(pools.trained), len(pools.evaluated)
    into = {kind: f"run.dir={tmp_path}/{name}" for kind, name in KINDS.items()}
    for words, kind in (
        ((train, into["a study"]), "a study"),
        ((train, into["an evaluation"]), "an evaluation"),
        ((study, into["a training run"]), "a training run"),
        ((study, into["an evaluation"]), "an evaluation"),
    ):
        command, folder = words
        result = command(folder)
        assert result.code == 2
        assert f"holds {kind}, and this would be" in result.err
    for kind in ("a study", "a training run"):
        there = sorted((tmp_path / KINDS[kind]).rglob("*"))
        for more in ((), ("run.resume=never",), ("--dry-run",)):
            result = evaluate(pools.model, into[kind], *more)
            assert result.code == 2
            assert f"holds {kind}, and this would be an evaluation" in result.err
        result = rlvr("evaluate", f"regrade={tmp_path}/measured", into[kind])
        assert result.code == 2
        assert f"holds {kind}, and this would be an evaluation" in result.err
        assert sorted((tmp_path / KINDS[kind]).rglob("*")) == there
    assert (len(pools.trained), len(pools.evaluated)) == (trained, measured)
    result = evaluate(tmp_path / "study", f"run.dir={tmp_path}/elsewhere")
    assert result.code == 2
    assert f"{tmp_path}/study/grpo/model" in result.err
