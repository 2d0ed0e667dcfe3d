"""Make a tiny base model, from scratch or from another one."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from rlvr.config import PretrainConfig
from rlvr.data.mixture import Realised
from rlvr.data.model_folder import check_model_folder, model_hash
from rlvr.errors import ConfigError
from rlvr.pretrain import PretrainProgress, pretrain
from rlvr.provenance import plain_data, provenance
from rlvr.rollout.engine_args import CPU_HEAD_SIZES
from rlvr.run_folder import CONFIG_FILE
from rlvr.tracking.progress import StageProgress, say

PRETRAINED_FILE = "pretraining.json"


def pretrain_base(config: PretrainConfig, resolved: dict[str, Any] | None = None) -> Path | None:
    """What `rlvr pretrain` does: train a model from scratch on generated problems, with a record of how.

    Args:
        config: shape, corpus and stages.
        resolved: the config as plain data without secrets; made of it by default.

    Returns:
        The model's folder; None in those processes of a launcher that leave the writing to another one.

    Raises:
        ConfigError: there is no model to go on from, or it has not the family's words; or no engine here would sample from
            what came of it.
    """
    resolved = plain_data(config) if resolved is None else resolved
    output = Path(config.output)
    if config.init is None:
        refuse_unsampled(config)
    else:
        check_model_folder(config.init)
        if output.resolve() == Path(config.init).resolve():
            raise ConfigError(
                "the model to go on from would be overwritten",
                where=f"output={output}",
                fix="output=ANOTHER_FOLDER",
            )
    start = None if config.init is None else model_hash(config.init)
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

        shares = pretrain(config, output, show)
    if not (output / CONFIG_FILE).exists():
        return None  # another process of the same run writes
    record = {
        **provenance(resolved),
        "config": resolved,
        "start_model_sha256": start,
        "stages": [[asdict(part) for part in stage] for stage in shares],
        "wall_seconds": round(time.monotonic() - started, 1),
        "model_sha256": model_hash(str(output)),
    }
    (output / PRETRAINED_FILE).write_text(json.dumps(record, indent=2) + "\n")
    for number, stage in enumerate(shares, start=1):
        for part in stage:
            say(f"stage {number}: {sentence(part)}")
    return output


def refuse_unsampled(config: PretrainConfig) -> None:
    """Refuse, where there is no GPU, a shape that vLLM on a CPU does not compute: it would be found out when all is done.

    Raises:
        ConfigError: naming the width of the heads.
    """
    width = config.hidden_size // config.num_heads
    if width not in CPU_HEAD_SIZES and not torch.cuda.is_available():
        raise ConfigError(
            f"attention heads of {width} numbers (hidden_size / num_heads) are none that vLLM on a CPU computes, so nothing "
            "here could sample from this model",
            where="num_heads",
            fix=f"a width of {', '.join(map(str, CPU_HEAD_SIZES))}, such as hidden_size=128 num_heads=4",
        )


def sentence(part: Realised) -> str:
    """What a component of a stage was to be, and what it was."""
    return (
        f"{part.name}: {part.share:.3%} of {part.shares_in} asked for; {part.examples:,} examples "
        f"({part.share_of_examples:.3%}), {part.tokens:,} tokens ({part.share_of_tokens:.3%})"
    )
