"""``rlvr train``: train a model with verifiable rewards."""

from __future__ import annotations

from typing import Any

from rlvr.cli import hydra_app
from rlvr.config import ExperimentConfig

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
  rlvr train recipe=tiny --dry-run=runs/tiny                  plan, disk, and the time by the speed of a past run

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
        dry_run=show,
    )


def show(config: ExperimentConfig, resolved: dict[str, Any], pace: str) -> None:
    """The dry run of one training run, which measures nothing."""
    from rlvr.cli.dry_run import show_training
    from rlvr.workflows.forecast import pace_of
    from rlvr.workflows.inputs import training_inputs
    from rlvr.workflows.preflight import prepare_training
    from rlvr.workflows.train import refuse_other_run, refuse_several

    refuse_several(config)
    prepared = prepare_training(config, ask_hub=False)
    refuse_other_run(config, resolved, training_inputs(config, prepared))
    name = config.algorithm.name
    show_training({name: config}, {name: prepared}, resolved, pace_of(pace))


def app(config: ExperimentConfig, resolved: dict[str, Any]) -> None:
    """One training run."""
    from rlvr.tracking.progress import say
    from rlvr.workflows.train import train_model

    say(f"trained model: {train_model(config, resolved)}")
