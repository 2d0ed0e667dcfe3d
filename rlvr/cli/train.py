"""``rlvr train``: train a model with verifiable rewards."""

from __future__ import annotations

from typing import Any

from rlvr.algorithms.registry import name_of
from rlvr.cli import hydra_app
from rlvr.cli.experiment import check_training, claim_run, run_training
from rlvr.config import ExperimentConfig
from rlvr.tracking.progress import say

EXAMPLES = """\
rlvr train: train a model with verifiable rewards.

Examples:
  rlvr train recipe=tiny
  rlvr train recipe=tiny run.dir=runs/slow learner.learning_rate=5e-5
  rlvr train -m recipe=tiny algorithm.group_size=4,8,16       one run each
  rlvr train model=Qwen/Qwen2.5-7B data.path=train.parquet run.dir=runs/qwen

Writes config.json, metrics.jsonl, rollouts.jsonl and model/ (a Hugging Face folder) into run.dir.
"""


def run(arguments: list[str]) -> None:
    """Run the command."""
    hydra_app.run("train", ExperimentConfig, app, arguments, folder="experiment", examples=EXAMPLES)


def app(config: ExperimentConfig, resolved: dict[str, Any]) -> None:
    """One training run."""
    check_training(config)
    from pathlib import Path

    claim_run(Path(config.run.dir), resolved)
    model = run_training(config, resolved, name_of(config.algorithm))
    say(f"trained model: {model}")
