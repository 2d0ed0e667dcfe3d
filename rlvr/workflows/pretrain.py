"""Make a tiny base model from scratch."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from rlvr.config import PretrainConfig
from rlvr.data.model_folder import model_hash
from rlvr.pretrain import PretrainProgress, pretrain
from rlvr.provenance import plain_data, provenance
from rlvr.run_folder import CONFIG_FILE
from rlvr.tracking.progress import StageProgress

PRETRAINED_FILE = "pretraining.json"


def pretrain_base(config: PretrainConfig, resolved: dict[str, Any] | None = None) -> Path | None:
    """What `rlvr pretrain` does: train a model from scratch on generated problems, with a record of how.

    Args:
        config: shape, corpus and stages.
        resolved: the config as plain data without secrets; made of it by default.

    Returns:
        The model's folder; None in those processes of a launcher that leave the writing to another one.
    """
    resolved = plain_data(config) if resolved is None else resolved
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
    if not (output / CONFIG_FILE).exists():
        return None  # another process of the same run writes
    record = {
        **provenance(resolved),
        "config": resolved,
        "wall_seconds": round(time.monotonic() - started, 1),
        "model_sha256": model_hash(str(output)),
    }
    (output / PRETRAINED_FILE).write_text(json.dumps(record, indent=2) + "\n")
    return output
