"""``rlvr train``: train a model with verifiable rewards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlvr.cli import hydra_app
from rlvr.cli.claim import claim_training
from rlvr.cli.dry_run import show_training
from rlvr.cli.experiment import check_training, run_training
from rlvr.config import ExperimentConfig
from rlvr.errors import ConfigError
from rlvr.tracking.progress import say

EXAMPLES = """\
rlvr train: train a model with verifiable rewards.

Examples:
  rlvr train recipe=tiny
  rlvr train recipe=tiny run.dir=runs/slow learner.learning_rate=5e-5
  rlvr train recipe=tiny algorithm=ppo run.dir=runs/ppo       also: reinforce_pp, rloo, remax, dapo, …
  rlvr train recipe=tiny algorithm=grpo_verl                  as verl computes it
  rlvr train -m recipe=tiny algorithm.group_size=4,8,16       one run each
  rlvr train recipe=tiny train.num_steps=80                   goes on with a finished run of 40, in the same folder
  rlvr train model=Qwen/Qwen2.5-7B data.path=train.parquet run.dir=runs/qwen

Writes config.json, metrics.jsonl, rollouts.jsonl and model/ (a Hugging Face folder) into run.dir.
"""


def run(arguments: list[str]) -> None:
    """Run the command."""
    hydra_app.run(
        "train",
        ExperimentConfig,
        app,
        arguments,
        folder="experiment",
        examples=EXAMPLES,
        dry_run=show_training,
    )


def app(config: ExperimentConfig, resolved: dict[str, Any]) -> None:
    """One training run."""
    for key in ("algorithms", "variants", "seeds"):
        if getattr(config, key):
            raise ConfigError(
                "`rlvr train` trains one algorithm, once",
                where=key,
                fix="algorithm=NAME, seed=N and overrides here, or `rlvr study` for several from one start",
            )
    check_training(config)
    claim_training(Path(config.run.dir), resolved)
    say(f"trained model: {run_training(config, resolved)}")
