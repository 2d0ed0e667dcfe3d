"""``-m``: a job for every combination, each in a folder of its own, here or in a launcher's process."""

from __future__ import annotations

import importlib
import multiprocessing
import signal
from pathlib import Path
from typing import Any

import pytest

from rlvr.errors import ConfigError


def test_a_multirun_gives_every_job_a_folder_of_its_own(composed, tmp_path: Path) -> None:
    jobs = composed(
        "train", "-m", "recipe=tiny", f"run.dir={tmp_path}/sweep", "seed=0,1", "train.num_steps=2,3"
    )
    assert [(checked.seed, checked.train.num_steps) for checked, _ in jobs] == [
        (0, 2),
        (0, 3),
        (1, 2),
        (1, 3),
    ]
    folders = [Path(checked.run.dir) for checked, _ in jobs]
    assert len(set(folders)) == 4
    assert {folder.parent for folder in folders} == {tmp_path / "sweep"}
    for checked, resolved in jobs:
        assert resolved["run"]["dir"] == checked.run.dir
    assert folders[0].name == "seed_0_train.num_steps_2"


def test_jobs_are_named_by_what_differs(composed, tmp_path: Path) -> None:
    fixed = (
        *("recipe=tiny", f"run.dir={tmp_path}/sweep", f"model={'/a/long/path' * 20}"),
        *("'benchmarks={" + ", ".join(f"name{i}: {{family: chains}}" for i in range(20)) + "}'",),
    )
    jobs = composed("train", "-m", *(word.strip("'") for word in fixed), "algorithm.group_size=4,8", "seed=1")
    assert [Path(checked.run.dir).name for checked, _ in jobs] == [
        "algorithm.group_size_4",
        "algorithm.group_size_8",
    ]


def test_wandb_is_told_which_job_of_which_multirun_it_has(composed, tmp_path: Path) -> None:
    words = (
        "train",
        "-m",
        "recipe=tiny",
        f"run.dir={tmp_path}/sweep",
        "seed=0,1",
        "tracking.wandb_tags=[mine]",
    )
    jobs = composed(*words)
    assert [checked.tracking.wandb_group for checked, _ in jobs] == ["sweep", "sweep"]
    assert [checked.tracking.wandb_tags for checked, _ in jobs] == [["mine", "seed=0"], ["mine", "seed=1"]]
    named = composed(*words, "tracking.wandb_group=ours")
    assert [checked.tracking.wandb_group for checked, _ in named] == ["ours", "ours"]
    [(alone, _)] = composed("train", "recipe=tiny")
    assert (alone.tracking.wandb_group, alone.tracking.wandb_tags) == (None, [])


def test_long_values_that_are_swept_are_cut_and_stay_apart(composed, tmp_path: Path) -> None:
    base = "/models/" + "x" * 300
    words = ("train", "-m", "recipe=tiny", f"run.dir={tmp_path}/sweep", f"model={base}a,{base}b")
    names = [Path(checked.run.dir).name for checked, _ in composed(*words)]
    assert len(set(names)) == 2
    assert all(len(name) <= 100 for name in names)
    assert names == [Path(checked.run.dir).name for checked, _ in composed(*words)]


def test_a_multirun_of_one_job_needs_no_folder_to_tell_it_apart(composed, tmp_path: Path) -> None:
    [(checked, _)] = composed("train", "-m", "recipe=tiny", f"run.dir={tmp_path}/one", "seed=3")
    assert checked.run.dir == f"{tmp_path}/one"


def test_benchmarks_may_be_swept(composed, tmp_path: Path) -> None:
    jobs = composed(
        "study", "-m", "recipe=tiny", f"run.dir={tmp_path}/b", "benchmarks=[chains],[skills,chains]"
    )
    assert [list(checked.benchmarks) for checked, _ in jobs] == [["chains"], ["skills", "chains"]]
    assert [Path(checked.run.dir).name for checked, _ in jobs] == [
        "benchmarks_chains",
        "benchmarks_skills_chains",
    ]


def test_a_folder_of_a_multirun_can_be_named_on_the_command_line(composed, tmp_path: Path) -> None:
    jobs = composed(
        "train", "-m", "recipe=tiny", f"run.dir={tmp_path}/sweep", "seed=0,1", "train.num_steps=2"
    )
    for checked, _ in jobs:
        [(evaluate, _)] = composed("evaluate", f"model={checked.run.dir}/model")
        assert evaluate.model == f"{checked.run.dir}/model"


def test_a_multirun_writes_nothing_beside_its_runs(composed, cwd: Path, tmp_path: Path) -> None:
    composed("train", "-m", "recipe=tiny", "seed=0,1", f"run.dir={tmp_path}/sweep")
    assert list(cwd.iterdir()) == []


@pytest.fixture
def launched_elsewhere(monkeypatch) -> None:
    """As submitit's launcher does: a process for the jobs, which takes no SIGTERM, and whose outcomes come back."""
    from hydra._internal.core_plugins.basic_launcher import BasicLauncher

    launch = BasicLauncher.launch

    def elsewhere(self: Any, *arguments: Any, **named: Any) -> Any:
        context = multiprocessing.get_context("fork")
        outcomes = context.SimpleQueue()

        def run() -> None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            outcomes.put(launch(self, *arguments, **named))

        process = context.Process(target=run)
        process.start()
        found = outcomes.get()
        process.join()
        return found

    monkeypatch.setattr(BasicLauncher, "launch", elsewhere)


def test_a_job_that_fails_in_a_launchers_process_is_not_lost(rlvr, cwd: Path, launched_elsewhere) -> None:
    result = rlvr("train", "-m", "recipe=tiny", "model=no/where/model", "seed=0,1")
    assert result.code == 2
    assert "the model folder does not exist" in result.err


def test_a_job_in_a_launchers_process_can_be_stopped(
    rlvr, cwd: Path, monkeypatch, launched_elsewhere
) -> None:
    def app(config: Any, resolved: Any) -> None:
        raise ConfigError(f"SIGTERM is ignored: {signal.getsignal(signal.SIGTERM) == signal.SIG_IGN}")

    monkeypatch.setattr(importlib.import_module("rlvr.cli.train"), "app", app)
    assert "SIGTERM is ignored: False" in rlvr("train", "-m", "recipe=tiny", "seed=0,1").err


def test_a_launcher_that_is_not_installed(rlvr, cwd: Path) -> None:
    result = rlvr("train", "-m", "recipe=tiny", "seed=0,1", "hydra/launcher=submitit_slrm")
    assert result.code == 2
    assert "there is no launcher 'submitit_slrm'" in result.err
    assert "pip install hydra-submitit-launcher" in result.err
