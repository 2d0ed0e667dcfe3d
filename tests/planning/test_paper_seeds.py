"""``rlvr paper 'seeds=[…]'``: several training runs for every study that names no seeds of its own."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from rlvr.config import PaperConfig
from rlvr.errors import ConfigError
from rlvr.eval.claims import Condition, effects_of
from rlvr.workflows.paper import Command, StudyOf
from rlvr.workflows.paper_plan import DONE, PARTLY, Plan, plan_lines, to_run
from tests.fabricate import evaluation, study_folder

TRAINED = StudyOf("it", "a study", 10, recipe="tiny")


def measured(folder: Path, *models: str) -> None:
    """Evaluations of these models and the report of them."""
    for name in ("base", *models):
        evaluation(folder / "evaluation/toy" / name, name, [1, 2, 3])
    (folder / "report.html").touch()


def test_seeds_go_to_what_trains_and_names_none_of_its_own(tmp_path: Path) -> None:
    seeds, shared = (0, 1), f"run.reuse_from={tmp_path}"
    [words] = to_run(TRAINED, tmp_path / "it", ["train.num_steps=4"], seeds)
    assert words == [
        "study", "recipe=tiny", "seeds=[0,1]", "train.num_steps=4", shared, f"run.dir={tmp_path}/it"
    ]  # fmt: skip
    own = StudyOf("it", "a study", 10, recipe="tiny", overrides=("seeds=[3,4,5]",))
    assert "seeds=[0,1]" not in to_run(own, tmp_path / "it", (), seeds)[0]
    commands = (
        Command("pretrain output={folder}/base", "base/pretraining.json"),
        Command("study recipe=x run.dir={folder}/study", "study/report.html"),
        Command("train seed={seed} run.dir={folder}/rl{-seed}", "rl{-seed}/model/config.json"),
        Command(
            "evaluate 'models={base: {root}/b, a{-seed}: {folder}/rl{-seed}, c: d}' run.dir={folder}/m",
            "m/report.html",
        ),
    )
    study = StudyOf("it", "a study", 10, commands=commands)
    here = tmp_path / "it"
    assert to_run(study, here, (), seeds) == [
        ["pretrain", f"output={here}/base"],
        ["study", "recipe=x", f"run.dir={here}/study", shared, "seeds=[0,1]"],
        ["train", "seed=0", f"run.dir={here}/rl-seed0", shared],
        ["train", "seed=1", f"run.dir={here}/rl-seed1", shared],
        ["evaluate", f"models={{base: {tmp_path}/b, a-seed0: {here}/rl-seed0, a-seed1: {here}/rl-seed1, c: d}}",
         f"run.dir={here}/m", shared],
    ]  # fmt: skip
    assert to_run(study, here)[2:] == [
        ["train", "seed=0", f"run.dir={here}/rl", shared],
        ["evaluate", f"models={{base: {tmp_path}/b, a: {here}/rl, c: d}}", f"run.dir={here}/m", shared],
    ]


def test_a_finished_study_takes_further_seeds(tmp_path: Path) -> None:
    study_folder(tmp_path / "it", ("base", "grpo-seed0", "grpo-seed1"))
    for seeds, lacking in (((), 0), ((0, 1), 0), ((1, 0), 0), ((0, 1, 2), 1)):
        assert len(to_run(TRAINED, tmp_path / "it", (), seeds)) == lacking
    commands = (Command("evaluate 'models={a{-seed}: x{-seed}}' run.dir={folder}/m", "m/report.html"),)
    study = StudyOf("that", "a study", 10, commands=commands)
    measured(tmp_path / "that/m", "a-seed0", "a-seed1", "b")
    assert not to_run(study, tmp_path / "that", (), (0, 1))
    assert len(to_run(study, tmp_path / "that", (), (0, 1, 2))) == 1
    # Begun with a third seed and stopped: the report there is the one of before.
    evaluation(tmp_path / "that/m/evaluation/toy/a-seed2", "a-seed2", [1, 2, 3])
    [samples] = (tmp_path / "that/m/evaluation/toy/a-seed2").glob("samples*")
    lines = gzip.decompress(samples.read_bytes()).splitlines(keepends=True)
    samples.write_bytes(gzip.compress(b"".join(lines[:-1])))
    assert len(to_run(study, tmp_path / "that", (), (0, 1, 2))) == 1


@pytest.mark.parametrize("kind", ["recipe", "command"])
def test_runs_without_seeds_are_kept_apart_before_anything_starts(tmp_path: Path, kind: str) -> None:
    study_folder(tmp_path / "it", ("base", "grpo"))
    study = TRAINED
    if kind == "command":
        (tmp_path / "it/report.html").touch()
        study = StudyOf("it", "a study", 10, commands=(Command("study run.dir={folder}", "report.html"),))
    with pytest.raises(ConfigError, match=r"holds one run each, and seeds=\[0,1\] asks for several"):
        Plan.of({"it": study}, ["it"], tmp_path, (), (0, 1))
    assert Plan.of({"it": study}, ["it"], tmp_path).there["it"].state == DONE
    # Below another folder, and with it named, they are taken over.
    [words] = to_run(TRAINED, tmp_path / "new/it", [f"run.reuse_from={tmp_path}"], (0, 1))
    assert words[2:4] == ["seeds=[0,1]", f"run.reuse_from={tmp_path}"]
    assert sum(word.startswith("run.reuse_from=") for word in words) == 1


def test_the_plan_counts_every_seed_and_says_whom_they_do_not_reach(tmp_path: Path) -> None:
    fixed = StudyOf("fixed", "its own", 20, recipe="tiny", overrides=("seeds=[0,1,2,3]",))
    plan = Plan.of({"it": TRAINED, "fixed": fixed}, ["it", "fixed"], tmp_path, (), (0, 1, 2))
    assert plan.seconds_left() == 60 * (3 * 10 + 20)
    assert plan_lines(plan)[-1] == "seeds=[0,1,2] reaches no command of fixed"
    # What is done is compared with as many minutes.
    study_folder(tmp_path / "it", ("base", "grpo-seed0", "grpo-seed1"))  # 30 s a run
    assert Plan.of({"it": TRAINED}, ["it"], tmp_path, (), (0, 1)).speed == pytest.approx(60 / 1200)
    assert Plan.of({"it": TRAINED}, ["it"], tmp_path, (), (0, 1, 2)).there["it"].state == PARTLY


@pytest.mark.parametrize("seeds", [[0], [1, 1], [-1, 2]])
def test_seeds_are_several_different_ones(seeds: list[int]) -> None:
    with pytest.raises(ConfigError, match="the training seeds are"):
        PaperConfig(seeds=seeds)


def test_checkpoints_of_several_seeds_stand_as_their_mean(tmp_path: Path) -> None:
    counts = {
        "base": [0, 1, 2, 3], "grpo-seed0-step2": [1, 1, 2, 4], "grpo-seed0": [2, 2, 2, 4],
        "grpo-seed1-step2": [1, 2, 4, 4], "grpo-seed1": [3, 3, 4, 4],
    }  # fmt: skip
    found = [evaluation(tmp_path / name, name, each) for name, each in counts.items()]
    n = int(found[0].num_samples.min())
    [effect], num_runs = effects_of(Condition.parse("grpo@1 - grpo-step2@1 > 0", "x"), found)
    wanted = (
        np.mean([np.subtract(counts[f"grpo-seed{i}"], counts[f"grpo-seed{i}-step2"]) for i in (0, 1)]) / n
    )
    assert effect.difference.estimate == pytest.approx(wanted)
    assert num_runs == 2
