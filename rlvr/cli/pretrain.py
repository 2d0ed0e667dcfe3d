"""``rlvr pretrain``: make a base model from scratch, or train one on."""

from __future__ import annotations

from typing import Any

from rlvr.cli import hydra_app
from rlvr.config import PretrainConfig

EXAMPLES = """\
rlvr pretrain: a Qwen2 model on generated problems, from scratch or from another one.

Examples:
  rlvr pretrain recipe=tiny                       the base model shipped with rlvr, made again
  rlvr pretrain 'stages=[{num_tokens: 2_000_000}]' output=runs/quick
  rlvr pretrain recipe=tiny_mid                   mid-training: goes on from init=FOLDER with a mixture of its own
  rlvr pretrain recipe=interplay --dry-run        size, steps and shares of a base of 100 M parameters
  accelerate launch -m rlvr.cli.main pretrain recipe=tiny      on several processes

A mixture's shares are of tokens or of examples (stages.shares_in); both are printed, and kept in pretraining.json.
"""


def run(arguments: list[str]) -> None:
    """Run the command."""
    hydra_app.run(
        "pretrain", PretrainConfig, app, arguments, folder="pretrain", examples=EXAMPLES, dry_run=show
    )


def show(config: PretrainConfig, resolved: dict[str, Any], pace: str) -> None:
    """The dry run: size, steps, and what the shares come to in tokens and in examples."""
    from rlvr.workflows.pretrain import num_parameters, plan_stages, shares_line

    size = num_parameters(config)
    print(f"model: {size / 1e6:,.1f} M parameters" + (f", from {config.init}" if config.init else ""))
    for number, (stage, plan) in enumerate(zip(config.stages, plan_stages(config), strict=True), start=1):
        print(
            f"stage {number}: {stage.num_tokens:,} tokens ({stage.num_tokens / size:,.0f} a parameter), {plan.num_steps:,} steps "
            f"of one process; longest of the first documents {plan.longest} tokens; by these:"
        )
        for part in plan.parts:
            print(f"  {shares_line(part)}")
    print(f"writes {config.output}; nothing was started")


def app(config: PretrainConfig, resolved: dict[str, Any]) -> None:
    """One pre-training run."""
    from rlvr.workflows.pretrain import pretrain_base

    if (model := pretrain_base(config, resolved)) is not None:
        print(f"model: {model}")
