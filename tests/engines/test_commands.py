"""The commands as a user runs them: whole, and (`make test-faults`) interrupted or with a worker that dies."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlvr.eval.store import read_samples
from tests.cli.test_contributing import write_example
from tests.commands import (
    TIMEOUT,
    assert_nothing_left,
    end_all,
    long_training,
    processes,
    start,
    stderr,
    wait_for,
    workers,
)
from tests.tiny import TINY


@pytest.fixture(autouse=True)
def end_what_was_started(tmp_path: Path) -> Iterator[None]:
    """A failed test must not leave a run behind that slows down the others."""
    yield
    end_all(tmp_path)


def test_study_end_to_end(tmp_path: Path) -> None:
    """A recipe of the paper at the scale of this machine: two rollout workers, two learners, ZeRO 3.

    With a greedy baseline, and with an algorithm from a file that the workers do not have.
    """
    run = tmp_path / "run"
    plugin, _ = write_example(tmp_path)
    command = start(
        tmp_path,
        "study",
        "--plugin",
        str(plugin),
        "recipe=deep_analysis",
        "scale=tiny",
        "algorithms=[remax,opo]",
        f"run.dir={run}",
        "tracking.wandb=offline",
        "tracking.tensorboard=true",
    )
    output, _ = command.communicate(timeout=TIMEOUT)
    assert command.returncode == 0, stderr(tmp_path)
    assert "pass@1" in output
    assert "opo" in output

    config = json.loads((run / "config.json").read_text())
    assert (config["rollout"]["num_workers"], config["learner"]["num_learners"]) == (2, 2)
    assert config["learner"]["zero_stage"] == 3
    summary = json.loads((run / "summary.json").read_text())
    assert summary["k"] == [1, 2, 4, 8]
    assert set(summary["models"]) == {"base", "remax", "opo"}
    assert set(summary["benchmarks"]) == {"skills", "skills_long"}
    for model in summary["models"].values():
        assert len(model["pass_at_k"]) == len(model["ci_low"]) == len(model["ci_high"]) == 4
    assert sum(summary["coverage"]["opo"][key] for key in ("both", "base_only", "rl_only", "neither")) == 8
    assert set(summary["wall_seconds"]) >= {"train", "evaluate"}
    assert summary["seed"] == 0
    assert summary["versions"]["rlvr"]

    for name in ("remax", "opo"):
        metrics = (run / name / "metrics.jsonl").read_text()
        rows = [json.loads(line) for line in metrics.splitlines()]
        assert [row["step"] for row in rows] == [1, 2]
        assert all(row["sync/version"] == row["step"] and row["sync/proved_share"] == 1 for row in rows)
        assert all(("baseline/reward_mean" in row) == (name == "remax") for row in rows)
    assert list((run / "opo" / "tensorboard").glob("events.*"))
    assert list((run / "opo" / "wandb").glob("offline-run-*"))
    for name in ("base", "remax", "opo"):
        samples = list(read_samples(run / "evaluation" / "skills" / name / "samples.jsonl.gz"))
        assert len({(sample.problem, sample.sample) for sample in samples}) == len(samples) == 64
    assert "<html" in (run / "report.html").read_text()

    from transformers import AutoModelForCausalLM, AutoTokenizer

    AutoModelForCausalLM.from_pretrained(run / "opo" / "model")
    assert AutoTokenizer.from_pretrained(run / "opo" / "model").chat_template
    assert_nothing_left(tmp_path)


def test_programs_are_run_in_the_sandbox_while_the_model_trains(tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = start(
        tmp_path, "train", "recipe=tiny_code", f"run.dir={run}", "train.num_steps=2",
        "train.prompts_per_step=8", "algorithm.group_size=4", "data.programs.num_train=32",
    )  # fmt: skip
    command.communicate(timeout=TIMEOUT)
    assert command.returncode == 0, stderr(tmp_path)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    assert all(row["verify/error"] == 0 and row["verify/correct"] > 0 for row in rows)
    assert all(0.05 < row["reward/mean"] < 0.95 for row in rows)
    assert "def f(x):" in (run / "rollouts.jsonl").read_text()
    assert_nothing_left(tmp_path)


def test_two_models_are_measured_on_programs(tmp_path: Path) -> None:
    """A recipe of the paper at the scale of this machine, with the same small model on both sides."""
    run = tmp_path / "run"
    command = start(tmp_path, "evaluate", "recipe=code_r1", "scale=tiny_code", f"run.dir={run}")
    output, _ = command.communicate(timeout=TIMEOUT)
    assert command.returncode == 0, stderr(tmp_path)
    assert "pass@8" in output
    assert "<html" in (run / "report.html").read_text()
    models = json.loads((run / "summary.json").read_text())["models"]
    assert set(models) == {"base", "rl"}
    for name in models:
        samples = list(read_samples(run / "evaluation" / "programs" / name / "samples.jsonl.gz"))
        assert len({(sample.problem, sample.sample) for sample in samples}) == len(samples) == 64
        assert all(sample.status != "error" for sample in samples)
        assert 0.05 < sum(sample.score for sample in samples) / len(samples) < 0.95
        assert all("def f(x):" in sample.text for sample in samples if sample.status == "correct")
    assert_nothing_left(tmp_path)


@pytest.mark.faults
def test_interrupt_leaves_no_process(tmp_path: Path) -> None:
    command = long_training(tmp_path)
    assert len(processes(tmp_path)) > 3
    os.killpg(command.pid, signal.SIGINT)  # as a terminal does: to the whole foreground group
    command.communicate(timeout=60)
    assert command.returncode == 130
    message = stderr(tmp_path)[stderr(tmp_path).rindex("rlvr train:") :]
    assert "interrupted" in message
    assert "Traceback" not in stderr(tmp_path)
    assert_nothing_left(tmp_path)


@pytest.mark.faults
def test_dead_worker_ends_the_run_with_its_cause(tmp_path: Path) -> None:
    command = long_training(tmp_path, "cluster.max_restarts=0")
    engines = workers(tmp_path, "EngineActor")
    assert len(engines) == 2
    engines[0].kill()
    command.communicate(timeout=120)
    assert command.returncode == 3
    message = stderr(tmp_path)[stderr(tmp_path).rindex("rlvr train:") :]
    assert "died" in message
    assert "rollout worker" in message
    assert len(message.splitlines()) < 25
    assert "Traceback" not in message
    assert_nothing_left(tmp_path)


@pytest.mark.faults
def test_killed_evaluation_goes_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = (
        "evaluate", f"model={TINY}", "benchmark=skills", "num_samples=64", "data.skills.num_test=40",
        f"run.dir={run}", "rollout.num_workers=2", "evaluation.chunk_size=8",
    )  # fmt: skip
    samples = run / "evaluation" / "skills" / "tiny" / "samples.jsonl.gz"
    command = start(tmp_path, *arguments)
    wait_for(lambda: samples.exists() and samples.stat().st_size > 20_000, command)
    command.kill()
    command.communicate(timeout=60)
    assert_nothing_left(tmp_path, killed=True)
    stored = len(list(read_samples(samples)))
    assert 0 < stored < 40 * 64

    command = start(tmp_path, *arguments)
    output, _ = command.communicate(timeout=TIMEOUT)
    assert command.returncode == 0, stderr(tmp_path)
    assert f"{stored:,} already there" in stderr(tmp_path)
    assert "pass@64" in output
    rows = list(read_samples(samples))
    assert len({(row.problem, row.sample) for row in rows}) == len(rows) == 40 * 64
