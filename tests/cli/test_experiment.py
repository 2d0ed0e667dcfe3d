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
from rlvr.cli import experiment, sources
from rlvr.config import ChainsConfig
from rlvr.data.chains import generate, make_splits
from rlvr.data.loaders import save_problems
from rlvr.data.prompts import load_renderer
from rlvr.eval.report import Report, StudyResults
from rlvr.eval.report.analysis import analyse
from rlvr.eval.samples import read_samples
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


def without_files(folder: Path, study: StudyResults, *, seed: int) -> Report:
    """Stands in for ``write_report``: the statistics alone."""
    analyses = analyse(study, seed=seed, num_resamples=20)
    return Report(folder / "report.html", tuple(each.comparison for each in analyses))


class Pools:
    """Stands in for both pools; answers every second sample right."""

    def __init__(self, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        renderer = load_renderer(str(model))
        train, test = make_splits(8, 6, [3], 1)
        longer = generate(4, [5], CHAINS.seed, "test")
        self.truths = {tuple(renderer.render(p)): int(p.ground_truth) for p in [*train, *test, *longer]}
        self.model = model
        self.trained: list[str] = []
        self.evaluated: list[tuple[str, int]] = []
        self.die_after: int | None = None
        """Answered requests of a call after which its engine dies."""
        self.samples_left: int | None = None
        """Samples after which everything dies."""
        self.die_in_training: int | None = None
        """Number of the training run, from 1, that dies in its first step."""
        monkeypatch.setattr(experiment, "training_pools", self.training_pools)
        monkeypatch.setattr(sources, "rollout_pool", self.rollout_pool)
        # The report has tests of its own, and the study below writes a real one.
        monkeypatch.setattr(evaluate_command, "write_report", without_files)

    def engine(self) -> FakeEngine:
        def respond(truth: int, sample: int) -> str:
            if self.samples_left is not None:
                self.samples_left -= 1
                if self.samples_left < 0:
                    raise KeyboardInterrupt
            return f"# {truth if sample % 2 else truth + 1}"

        return FakeEngine(
            respond,
            index=lambda prompt: self.truths[tuple(prompt)],
            die_after=self.die_after,
        )

    @contextmanager
    def training_pools(self, model: str, *_: Any) -> Iterator[tuple[FakeEngine, FakeLearner]]:
        self.trained.append(model)
        engine, source = self.engine(), self.model
        if len(self.trained) == self.die_in_training:
            engine.die_after = 1

        class Learner(FakeLearner):
            def save(self, folder: Path) -> None:
                shutil.copytree(source, folder)
                (folder / "model.safetensors").write_bytes(b"trained")

        yield engine, Learner(engine)

    @contextmanager
    def rollout_pool(
        self, model: str, rollout: Any, cluster: Any, seed: int, *, max_images: int = 0
    ) -> Iterator[FakeEngine]:
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


def test_another_number_of_learners_is_refused_on_going_on(train, pools: Pools) -> None:
    pools.samples_left = 9  # in the second step
    assert train().code == 130
    result = train("learner.num_learners=2")
    assert result.code == 2
    assert "learner.num_learners: 1 there, 2 now" in result.err
    assert len(pools.trained) == 1


def test_an_interrupted_training_is_not_taken_for_a_trained_one(train, pools: Pools, tmp_path: Path) -> None:
    pools.die_after = 1
    assert train().code == 130
    assert not (tmp_path / "run" / "trained.json").exists()
    pools.die_after = None
    assert train().code == 0
    assert len(pools.trained) == 2


def test_an_interrupted_training_goes_on_where_it_stopped(train, pools: Pools, tmp_path: Path) -> None:
    words = ("train.num_steps=5", "train.checkpoint_every=2", "tracking.num_logged_samples=1")
    pools.samples_left = 3 * 8 + 1  # in the fourth step
    stopped = train(*words)
    assert stopped.code == 130
    assert "checkpoint of step 3 written" in stopped.err
    # As if it had been killed later still: rows of a step that no checkpoint holds, and half a row.
    metrics = tmp_path / "run" / "metrics.jsonl"
    written = metrics.read_text()
    metrics.write_text(
        written + written.splitlines()[-1].replace('"step": 3', '"step": 4') + '\n{"step": 5, "rew'
    )
    pools.samples_left = None
    result = train(*words)
    assert result.code == 0, result.err
    assert "going on after step 3" in result.err
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]
    samples = (tmp_path / "run" / "rollouts.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in samples] == [1, 2, 3, 4, 5]


def test_starting_anew_keeps_what_was_there(train, pools: Pools, tmp_path: Path) -> None:
    assert train().code == 0
    result = train("run.resume=never", "seed=1")
    assert result.code == 0, result.err
    assert "run.old1" in result.err
    assert len(pools.trained) == 2
    for folder, seed in (("run.old1", 0), ("run", 1)):
        assert json.loads((tmp_path / folder / "config.json").read_text())["seed"] == seed
        assert (tmp_path / folder / "trained.json").exists()


def test_how_a_run_is_carried_out_may_change(train, pools: Pools, tmp_path: Path) -> None:
    pools.samples_left = 9
    assert train().code == 130
    pools.samples_left = None
    words = ("tracking.num_logged_samples=0", "train.checkpoint_every=1", "cluster.address=auto")
    assert train(*words).code == 0
    assert json.loads((tmp_path / "run" / "config.json").read_text())["train"]["checkpoint_every"] == 1


def test_checkpoints_can_be_listed_and_verified(train, rlvr, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train("train.checkpoint_every=1").code == 0
    listed = rlvr("checkpoints", "list", run)
    assert listed.code == 0, listed.err
    assert [line.split()[0] for line in listed.out.splitlines()] == ["step", "1", "2"]
    assert rlvr("checkpoints", "verify", run).out.count(", whole") == 2
    [file] = (run / "checkpoints" / "step-000002" / "learner").iterdir()
    file.write_text("other")
    verified = rlvr("checkpoints", "verify", run, "--json")
    assert verified.code == 7
    assert [row["whole"] for row in json.loads(verified.out)] == [True, False]
    assert str(file) in verified.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("lst", "."), "did you mean 'list'"),
        (("list",), "one folder"),
        (("verify", "."), "no checkpoints here"),
    ],
)
def test_questions_about_checkpoints_that_make_no_sense(rlvr, words, message: str) -> None:
    result = rlvr("checkpoints", *words)
    assert result.code == 2
    assert message in result.err


def test_an_evaluation_prints_its_table_and_can_be_read(evaluate, pools: Pools, tmp_path: Path) -> None:
    result = evaluate(pools.model)
    assert result.code == 0, result.err
    assert "pass@1" in result.out or "k" in result.out.split()
    assert str(tmp_path / "measured") in result.out.splitlines()[-1]
    rows = list(
        read_samples(tmp_path / "measured" / "evaluation" / "chains" / pools.model.name / "samples.jsonl.gz")
    )
    assert len(rows) == 24
    assert sum(row.score for row in rows) == 12


def test_a_runs_folder_stands_for_its_model(train, evaluate, pools: Pools, tmp_path: Path) -> None:
    train()
    assert evaluate(tmp_path / "run").code == 0
    assert pools.evaluated == [(f"{tmp_path}/run/model", 0)]
    spec = json.loads((tmp_path / "measured" / "evaluation" / "chains" / "run" / "spec.json").read_text())
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
    assert (
        len(
            list(
                read_samples(
                    tmp_path / "measured" / "evaluation" / "chains" / pools.model.name / "samples.jsonl.gz"
                )
            )
        )
        == 24
    )
    # An engine that starts from the same seed draws the noise of the stored samples once more.
    [first, second] = [seed for _, seed in pools.evaluated]
    assert first != second


def test_several_models_on_several_benchmarks_in_one_command(rlvr, pools: Pools, tmp_path: Path) -> None:
    other = shutil.copytree(pools.model, tmp_path / "other")
    (other / "model.safetensors").write_bytes(b"other weights")
    words = (
        f"models={{base: {pools.model}, mine: {other}}}",
        "benchmarks={chains: {}, longer: {family: chains, operations: [5], num_problems: 4}}",
    )
    result = rlvr("evaluate", *words, f"run.dir={tmp_path}/both", *SMALL)
    assert result.code == 0, result.err
    # One start of the engines per model, for both benchmarks.
    assert [model for model, _ in pools.evaluated] == [str(pools.model), str(other)]
    for benchmark, size in (("chains", 6), ("longer", 4)):
        for model in ("base", "mine"):
            place = tmp_path / "both" / "evaluation" / benchmark / model
            assert len(list(read_samples(place / "samples.jsonl.gz"))) == size * 4
            assert json.loads((place / "spec.json").read_text())["prompt_template"].startswith("chat:")
    assert "mine" in result.out
    again = rlvr("evaluate", *words, f"run.dir={tmp_path}/both", *SMALL)
    assert (again.out, len(pools.evaluated)) == (result.out, 2)


def test_benchmarks_are_sampled_as_each_asks_unless_the_command_does(
    rlvr, pools: Pools, tmp_path: Path
) -> None:
    own = tmp_path / "own.jsonl"
    save_problems(make_splits(8, 6, [3], 1)[1], own)
    words = ("evaluate", f"model={pools.model}", f"benchmark={own}", f"run.dir={tmp_path}/own")
    result = rlvr(*words, "num_samples=2", "evaluation.max_tokens=128")
    assert result.code == 0, result.err
    [place] = (tmp_path / "own" / "evaluation").glob("*/*")
    spec = json.loads((place / "spec.json").read_text())
    assert (spec["benchmark"], spec["num_samples"]) == ("own", 2)
    assert spec["sampling"] == {"temperature": 0.6, "top_p": 0.95, "max_tokens": 128}


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
