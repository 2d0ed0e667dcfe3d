"""``rlvr pretrain``: make a tiny base model from scratch."""

from __future__ import annotations

import json
import time
from pathlib import Path
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
    from rlvr.data.model_folder import model_hash
    from rlvr.pretrain import PretrainProgress, pretrain
    from rlvr.provenance import provenance
    from rlvr.tracking.progress import StageProgress

    output = Path(config.output)
    started = time.monotonic()
    budgets = [stage.num_tokens for stage in config.stages]
    with StageProgress("pretrain", sum(budgets)) as progress:

        def show(now: PretrainProgress) -> None:
            ended = now.step == now.num_steps
            done = budgets[now.stage] if ended else min(now.tokens, budgets[now.stage])
            progress.update(
                sum(budgets[: now.stage]) + done,
                f"tokens  loss {now.loss:.3f} nats/solution (noise floor {now.noise_floor:.3f})  "
                f"{now.tokens_per_second:,.0f} tok/s",
            )

        pretrain(config, output, show)
    if not (output / "config.json").exists():
        return  # another process of the same run writes
    record = {
        **provenance(resolved),
        "config": resolved,
        "wall_seconds": round(time.monotonic() - started, 1),
        "model_sha256": model_hash(str(output)),
    }
    (output / "pretraining.json").write_text(json.dumps(record, indent=2) + "\n")
    print(f"model: {output}")
