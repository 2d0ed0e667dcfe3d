"""A run that was killed, or was shorter, and gone on with equals one that was never stopped, bit for bit."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from rlvr.checkpoint import STATE_FILE, Checkpoints
from rlvr.cli.hydra_app import MODELS
from tests.commands import TIMEOUT, assert_nothing_left, long_training, start, stderr, wait_for, workers
from tests.vision import vision_model, visual_set

pytestmark = pytest.mark.faults

COMMON = (
    *("recipe=tiny", "train.num_steps=6", "train.checkpoint_every=3", "train.prompts_per_step=8"),
    *("algorithm.group_size=4", "rollout.num_workers=1", "learner.threads_per_learner=1"),
    # The last problems of the first epoch and the first of the second.
    *("data.skills.num_train=20", "learner.warmup_steps=4"),
)
# Another batch, another limit and other problems, from where the run is cut on.
STAGE = "stages=[{from_step:4,train:{prompts_per_step:12},rollout:{max_response_tokens:64},data:{skills:{operations:[3]}}}]"
ALGORITHMS = {
    "ppo": ("train.minibatch_size=16", "algorithm.kl.coef=0.01"),  # a critic, and a reference model
    "dapo": ("algorithm.max_sampling_factor=4",),  # each step takes as many prompts as it needs
    "grpo": ("train.num_epochs=2",),
    "reinforce_pp": (),
    "rloo": (STAGE,),
    "remax": (),
}
VICTIMS = {"ppo": "learner", "grpo": "learner", "rloo": "terminated"}
"""Of the others the command itself is killed."""
TIMES = ("time/", "throughput/", "process/", "verify/per_second", "verify/latency", "verify/queue")
"""Metrics that say how fast a step was, not what it computed."""


@pytest.mark.timeout(3 * TIMEOUT)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_going_on_equals_never_having_stopped(tmp_path: Path, algorithm: str) -> None:
    words = ("train", *COMMON, f"algorithm={algorithm}", *ALGORITHMS[algorithm])
    assert_goes_on(tmp_path, words, VICTIMS.get(algorithm, "command"), critic=algorithm == "ppo")


@pytest.mark.timeout(3 * TIMEOUT)
def test_going_on_with_images_equals_never_having_stopped(tmp_path: Path) -> None:
    """With all that sees them: the policy, its critic and the reference model, each with a vision tower."""
    visual_set(tmp_path, repeat=5)
    model = vision_model(tmp_path / "model", steps=20)
    words = (
        *("train", *COMMON, "algorithm=ppo", *ALGORITHMS["ppo"], f"model={model}", "prompt=chat"),
        *("data.path=mathvista", f"data.folder={tmp_path}", "rollout.max_response_tokens=8"),
    )
    assert_goes_on(tmp_path, words, "command", critic=True)


def assert_goes_on(tmp_path: Path, words: tuple[str, ...], victim: str, *, critic: bool) -> None:
    """Run a training whole, and another time cut short and gone on with, and compare them."""
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    runs = {name: tmp_path / name / "run" for name in ("whole", "cut")}

    command = start(tmp_path / "whole", *words, f"run.dir={runs['whole']}")
    command.communicate(timeout=TIMEOUT)
    assert command.returncode == 0, stderr(tmp_path / "whole")

    command = start(tmp_path / "cut", *words, f"run.dir={runs['cut']}")
    wait_for((runs["cut"] / "checkpoints" / "step-000003").is_dir, command)
    step = cut_short(command, tmp_path / "cut", victim)
    assert not (runs["cut"] / "trained.json").exists()
    assert [each.step for each in Checkpoints(runs["cut"]).all()][-1] == step < 6

    command = start(tmp_path / "cut", *words, f"run.dir={runs['cut']}")
    command.communicate(timeout=TIMEOUT)
    assert command.returncode == 0, stderr(tmp_path / "cut")
    assert f"going on after step {step}" in stderr(tmp_path / "cut")

    assert_equal_runs(runs["cut"], runs["whole"], critic=critic)


@pytest.mark.timeout(3 * TIMEOUT)
def test_a_finished_run_that_is_made_longer_equals_a_longer_one(tmp_path: Path) -> None:
    """Cut where no checkpoint is due, with a warm-up that is not over and another epoch to come; its start model has moved since."""
    words = ("train", *COMMON, "train.checkpoint_every=4", "algorithm=grpo", "train.num_epochs=2")
    moved = shutil.copytree(MODELS / "tiny", tmp_path / "moved")
    for name, commands in {
        "whole": [(6, MODELS / "tiny")],
        "longer": [(3, MODELS / "tiny"), (6, moved)],
    }.items():
        (tmp_path / name).mkdir()
        for length, model in commands:
            own = (f"train.num_steps={length}", f"model={model}", f"run.dir={tmp_path / name / 'run'}")
            command = start(tmp_path / name, *words, *own)
            command.communicate(timeout=TIMEOUT)
            assert command.returncode == 0, stderr(tmp_path / name)
    assert "going on after step 3" in stderr(tmp_path / "longer")
    assert_equal_runs(tmp_path / "longer" / "run", tmp_path / "whole" / "run", critic=False)


def assert_equal_runs(gone_on: Path, whole_run: Path, *, critic: bool) -> None:
    """Two runs of six steps computed the same, to the last byte."""
    runs = {"whole": whole_run, "cut": gone_on}
    # The responses first: where they differ, all else does.
    assert lines(runs["cut"] / "rollouts.jsonl") == lines(runs["whole"] / "rollouts.jsonl")
    metrics = [[untimed(row) for row in lines(run / "metrics.jsonl")] for run in runs.values()]
    assert [row["step"] for row in metrics[1]] == [1, 2, 3, 4, 5, 6]
    assert metrics[0] == metrics[1]
    # Weights, optimizer states of policy and critic, schedules, random states: every byte of every file.
    whole, cut = (Checkpoints(run).all()[-1] for run in runs.values())
    assert whole.step == cut.step == 6
    assert without_state(whole.files) == without_state(cut.files)
    assert any(name.startswith("learner/policy/") for name in cut.files)
    assert any(name.startswith("learner/critic/") for name in cut.files) == critic
    assert whole.progress().num_drawn == cut.progress().num_drawn > 20  # in the second epoch
    assert whole.progress().watched == cut.progress().watched
    trained = [json.loads((run / "trained.json").read_text())["model_sha256"] for run in runs.values()]
    assert trained[0] == trained[1]


def cut_short(command: subprocess.Popen[str], folder: Path, victim: str) -> int:
    """End a run in its fourth step or later; the step that it is to go on after."""
    if victim == "terminated":  # as Slurm does: the steps that were done are not lost
        command.terminate()
        code, step = 143, None
    elif victim == "learner":
        [learner] = workers(folder, "LearnerActor")
        learner.kill()
        code, step = 3, 3
    else:
        command.kill()
        code, step = -signal.SIGKILL, 3
    command.communicate(timeout=120)
    assert command.returncode == code, stderr(folder)
    assert_nothing_left(folder, killed=victim == "command")
    return lines(folder / "run" / "metrics.jsonl")[-1]["step"] if step is None else step


def test_a_terminated_run_leaves_the_step_that_it_had_finished(tmp_path: Path) -> None:
    """As Slurm does before its limit; no checkpoint was due."""
    command = long_training(tmp_path, "train.checkpoint_every=0")
    command.terminate()
    command.communicate(timeout=60)
    assert command.returncode == 143, stderr(tmp_path)
    assert_nothing_left(tmp_path)
    [checkpoint] = Checkpoints(tmp_path / "run").all()
    assert checkpoint.faults() == []
    assert checkpoint.step == lines(tmp_path / "run" / "metrics.jsonl")[-1]["step"] >= 2
    assert f"checkpoint of step {checkpoint.step} written" in stderr(tmp_path)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def untimed(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not name.startswith(TIMES)}


def without_state(files: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """All but the file that has the wall time and the run's folder."""
    return {name: entry for name, entry in files.items() if name != STATE_FILE}
