"""What the commands do, called from Python: the block of docs/python.md, and what only a caller can get wrong."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rlvr.algorithms.grpo import GRPOConfig
from rlvr.config import EntropyConfig, ExperimentConfig, PerplexityConfig, RunConfig
from rlvr.errors import ConfigError
from rlvr.eval.report import write
from rlvr.provenance import plain_data
from rlvr.workflows.study import from_python, training_runs
from rlvr.workflows.train import train_model
from tests.cli.pools import Pools
from tests.test_python_page import PAGE

SECTION = PAGE.read_text().partition("## Commands as functions")[2].partition("\n## ")[0]


def test_the_block_trains_measures_and_studies(
    pools: Pools, cwd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "write_figure", lambda *_: None)
    (cwd / "models").mkdir()
    (cwd / "models" / "tiny").symlink_to(pools.model)
    [block] = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(block, str(PAGE), "exec"), names)
    assert names["model"] == Path("runs/mine/model")
    assert [each.name for each in names["measured"].comparisons[0].models] == ["base", "mine"]
    assert names["measured"].comparisons[0].num_samples == 4
    assert names["study"].path == Path("runs/study/report.html")
    assert list(json.loads((cwd / "runs/study/summary.json").read_text())["models"]) == [
        *("base", "grpo-seed0", "grpo-seed1")
    ]
    assert names["report"].comparisons[0].models[0].name == "base"
    config = json.loads((cwd / "runs/study/grpo-seed1/config.json").read_text())
    assert (config["seed"], config["run"]["dir"], config["seeds"]) == (1, "runs/study/grpo-seed1", [])
    names["run_study"](names["experiment"])  # goes on with what is there: nothing is trained again
    assert len(pools.trained) == 3


def experiment(**changes: Any) -> ExperimentConfig:
    return replace(ExperimentConfig(GRPOConfig(), model="m", run=RunConfig(dir="runs/x")), **changes)


def test_algorithms_of_a_study_are_configs_with_their_defaults() -> None:
    found = experiment(algorithms=["ppo", "rloo"], seeds=[3])
    runs = training_runs(found, from_python(found))
    assert list(runs) == ["ppo-seed3", "rloo-seed3"]
    config, resolved = runs["rloo-seed3"]
    assert (config.algorithm.name, config.seed, config.run.dir) == ("rloo", 3, "runs/x/rloo-seed3")
    assert resolved == plain_data(config)
    assert found.run.dir == "runs/x"


def test_variants_are_words_of_the_command_line() -> None:
    found = experiment(variants={"slow": ["learner.learning_rate=1e-6"]})
    with pytest.raises(ConfigError, match="words of the command line"):
        training_runs(found, from_python(found))


def test_one_run_is_one_run() -> None:
    with pytest.raises(ConfigError, match="trains one algorithm, once"):
        train_model(experiment(seeds=[1, 2]))


@pytest.mark.parametrize("config", [PerplexityConfig, EntropyConfig])
def test_numbers_of_the_analyses_are_checked(config: Any) -> None:
    with pytest.raises(ConfigError, match="responses is 0"):
        config(["runs"], responses=0)
