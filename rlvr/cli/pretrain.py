"""``rlvr pretrain``: make a tiny base model from scratch."""

from __future__ import annotations

from typing import Any

from rlvr.cli import hydra_app
from rlvr.config import PretrainConfig

EXAMPLES = """\
rlvr pretrain: a tiny Qwen2 model from scratch, on generated chains with noisy steps.

Examples:
  rlvr pretrain recipe=tiny                       the base model shipped with rlvr, made again
  rlvr pretrain 'stages=[{num_tokens: 2_000_000}]' output=runs/quick
  accelerate launch -m rlvr.cli.main pretrain recipe=tiny      on several processes
"""


def run(arguments: list[str]) -> None:
    """Run the command."""
    hydra_app.run("pretrain", PretrainConfig, app, arguments, folder="pretrain", examples=EXAMPLES)


def app(config: PretrainConfig, resolved: dict[str, Any]) -> None:
    """One pre-training run."""
    from rlvr.workflows.pretrain import pretrain_base

    if (model := pretrain_base(config, resolved)) is not None:
        print(f"model: {model}")
