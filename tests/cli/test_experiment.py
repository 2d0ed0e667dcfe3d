"""Whole commands on fake pools: what is written, what is not done twice, what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rlvr.cli import evaluate as evaluate_command
from rlvr.cli import experiment
from rlvr.config import ChainsConfig
from rlvr.data.loaders import generated
from rlvr.data.prompts import load_renderer
from rlvr.eval.store import read_samples
from tests.fakes import FakeEngine, FakeLearner

CHAINS = ChainsConfig(num_train=8, num_test=6, operations=[3], seed=1)
SMALL = (
    *(
        "data.chains.num_train=8",
        "data.chains.num_test=6",
        "data.chains.operations=[3]",
        "data.chains.seed=1",
    ),
    "evaluation.num_samples=4",
    "evaluation.chunk_size=2",
    *("rollout.max_prompt_tokens=80", "rollout.max_response_tokens=128", "evaluation.max_tokens=128"),
)
TRAIN = ("train.num_steps=2", "train.prompts_per_step=2", "algorithm.group_size=4")


class Pools:
    """Stands in for both pools; answers every second sample right."""

    def __init__(self, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        renderer = load_renderer(str(model))
        train, test = generated(CHAINS)
        self.truths = {tuple(renderer.render(p)): int(p.ground_truth) for p in [*train, *test]}
        self.model = model
        self.trained: list[str] = []
        self.evaluated: list[tuple[str, int]] = []
        self.die_after: int | None = None
        monkeypatch.setattr(experiment, "training_pools", self.training_pools)
        monkeypatch.setattr(experiment, "rollout_pool", self.rollout_pool)
        # The report has tests of its own, and the study below writes a real one.
        monkeypatch.setattr(evaluate_command, "write_report", lambda folder, *_: folder / "report.html")

    def engine(self) -> FakeEngine:
        return FakeEngine(
            lambda truth, sample: f"# {truth if sample % 2 else truth + 1}",
            index=lambda prompt: self.truths[tuple(prompt)],
            die_after=self.die_after,
        )

    @contextmanager
    def training_pools(self, model: str, *_: Any) -> Iterator[tuple[FakeEngine, FakeLearner]]:
        self.trained.append(model)
        engine, source = self.engine(), self.model

        class Learner(FakeLearner):
            def save(self, folder: Path) -> None:
                shutil.copytree(source, folder)
                (folder / "model.safetensors").write_bytes(b"trained")

        yield engine, Learner(engine)

    @contextmanager
    def rollout_pool(self, model: str, rollout: Any, cluster: Any, seed: int) -> Iterator[FakeEngine]:
        self.evaluated.append((model, seed))
        yield self.engine()


@pytest.fixture
def pools(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Pools:
    return Pools(model_folder, monkeypatch)


@pytest.fixture
def train(rlvr, pools: Pools, tmp_path: Path):
    return lambda *words: rlvr(
        "train", f"model={pools.model}", f"run.dir={tmp_path}/run", *SMALL, *TRAIN, *words
    )


@pytest.fixture
def evaluate(rlvr, pools: Pools, tmp_path: Path):
    return lambda model, *words: rlvr(
        "evaluate", f"model={model}", f"run.dir={tmp_path}/measured", *SMALL, *words
    )


def test_training_writes_its_run_and_nothing_else(train, tmp_path: Path, cwd: Path) -> None:
    result = train()
    assert result.code == 0, result.err
    run = tmp_path / "run"
    names = {"config.json", "metrics.jsonl", "rollouts.jsonl", "trained.json", "model"}
    assert {path.name for path in run.iterdir()} == names
    assert list(cwd.iterdir()) == []
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    config = json.loads((run / "config.json").read_text())
    assert config["train"]["num_steps"] == 2
    assert config["algorithm"]["group_size"] == 4
    record = json.loads((run / "trained.json").read_text())
    assert record["model_sha256"] != record["start_model_sha256"]
    assert {"date", "command", "seed", "config_sha256", "versions", "hardware", "wall_seconds"} <= set(record)


def test_a_trained_run_is_not_trained_again(train, pools: Pools) -> None:
    assert train().code == train().code == 0
    assert len(pools.trained) == 1


def test_a_run_is_not_mixed_with_other_settings(train, pools: Pools) -> None:
    train()
    result = train("seed=1", "learner.learning_rate=0.5")
    assert result.code == 2
    assert "seed: 0 there, 1 now" in result.err
    assert "learner.learning_rate: 1e-06 there, 0.5 now" in result.err
    assert "run.dir" in result.err
    assert len(pools.trained) == 1


def test_an_interrupted_training_is_not_taken_for_a_trained_one(train, pools: Pools, tmp_path: Path) -> None:
    pools.die_after = 1
    assert train().code == 130
    assert not (tmp_path / "run" / "trained.json").exists()
    pools.die_after = None
    assert train().code == 0
    assert len(pools.trained) == 2


def test_an_evaluation_prints_its_table_and_can_be_read(evaluate, pools: Pools, tmp_path: Path) -> None:
    result = evaluate(pools.model)
    assert result.code == 0, result.err
    assert "pass@1" in result.out or "k" in result.out.split()
    assert str(tmp_path / "measured") in result.out.splitlines()[-1]
    rows = list(read_samples(tmp_path / "measured" / "samples" / "samples.jsonl"))
    assert len(rows) == 24
    assert sum(row.score for row in rows) == 12


def test_a_runs_folder_stands_for_its_model(train, evaluate, pools: Pools, tmp_path: Path) -> None:
    train()
    assert evaluate(tmp_path / "run").code == 0
    assert pools.evaluated == [(f"{tmp_path}/run/model", 0)]
    spec = json.loads((tmp_path / "measured" / "samples" / "spec.json").read_text())
    assert spec["model_name"] == "run"


def test_a_finished_evaluation_starts_no_engine(evaluate, pools: Pools) -> None:
    assert evaluate(pools.model).code == evaluate(pools.model).code == 0
    assert len(pools.evaluated) == 1


def test_an_evaluation_is_not_mixed_with_other_settings(evaluate, pools: Pools) -> None:
    evaluate(pools.model)
    result = evaluate(pools.model, "evaluation.temperature=0.5")
    assert result.code == 2
    assert "sampling" in result.err
    assert len(pools.evaluated) == 1


def test_an_interrupted_evaluation_goes_on_with_other_random_numbers(
    evaluate, pools: Pools, tmp_path: Path
) -> None:
    pools.die_after = 2
    assert evaluate(pools.model).code == 130
    pools.die_after = None
    assert evaluate(pools.model).code == 0
    assert len(list(read_samples(tmp_path / "measured" / "samples" / "samples.jsonl"))) == 24
    # An engine that starts from the same seed draws the noise of the stored samples once more.
    [first, second] = [seed for _, seed in pools.evaluated]
    assert first != second


def test_a_study_trains_measures_both_and_reports_once(rlvr, pools: Pools, tmp_path: Path, cwd: Path) -> None:
    words = ("study", f"model={pools.model}", f"run.dir={tmp_path}/study", *SMALL, *TRAIN)
    result = rlvr(*words)
    assert result.code == 0, result.err
    folder = tmp_path / "study"
    assert {"config.json", "trained.json", "report.html", "summary.json"} <= {
        p.name for p in folder.iterdir()
    }
    assert "base" in result.out
    assert "grpo" in result.out
    assert [Path(model).name for model, _ in pools.evaluated] == ["tiny", "model"]
    assert list(cwd.iterdir()) == []

    again = rlvr(*words)
    assert again.code == 0
    assert again.out == result.out
    assert (len(pools.trained), len(pools.evaluated)) == (1, 2)
