"""Make a tiny base model, from scratch or from another one."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from rlvr.config import PretrainConfig
from rlvr.data.mixture import Realised, first_documents, realised
from rlvr.data.model_folder import check_model_folder, model_hash
from rlvr.errors import ConfigError
from rlvr.pretrain import PretrainProgress, count_parameters, pretrain
from rlvr.provenance import plain_data, provenance
from rlvr.rollout.engine_args import CPU_HEAD_SIZES
from rlvr.run_folder import CONFIG_FILE, PRETRAINED_FILE
from rlvr.tracking.progress import StageProgress, say

LOOKED_AT = 2000
"""Documents of each stage that a plan looks at."""


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
            say(f"stage {number}: {shares_line(part)} ({part.examples:,} and {part.tokens:,})")
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


@dataclass(frozen=True, slots=True)
class StagePlan:
    """What a stage would do, by its first documents."""

    num_steps: int
    parts: list[Realised]
    """Shares of the documents looked at."""
    longest: int
    """Tokens of the longest of them."""


def plan_stages(config: PretrainConfig, num_processes: int = 1) -> list[StagePlan]:
    """What `rlvr pretrain --dry-run` says of the stages, from the first 2,000 documents of each.

    Raises:
        ConfigError: a document is longer than the model's positions.
    """
    plans = []
    for index, stage in enumerate(config.stages):
        parts = [
            part if part.num_problems is None else replace(part, num_problems=min(part.num_problems, 200))
            for part in stage.components
        ]
        stream = f"{config.seed}/{index}/0"
        found = first_documents(config, replace(stage, mixture=parts), stream, LOOKED_AT)
        counts = [[0, 0] for _ in parts]
        for component, length in found:
            counts[component][0] += 1
            counts[component][1] += length
        longest = max(length for _, length in found)
        if longest > config.max_position_embeddings:
            raise ConfigError(
                f"a document of stage {index + 1} has {longest} tokens, and the model {config.max_position_embeddings} positions",
                where="max_position_embeddings",
                fix="a larger number, or fewer operations",
            )
        num_steps = math.ceil(stage.num_tokens / (config.batch_tokens * num_processes))
        plans.append(StagePlan(num_steps, realised(stage, counts), longest))
    return plans


def num_parameters(config: PretrainConfig) -> int:
    """Numbers in the model that a config makes, or goes on from.

    Raises:
        ConfigError: there is no model to go on from.
    """
    if config.init is not None:
        check_model_folder(config.init)
    return count_parameters(config)


def shares_line(part: Realised) -> str:
    """What a component of a stage was to be, and what it was."""
    return (
        f"{part.name}: {part.share:.3%} of {part.shares_in} asked for; {part.share_of_examples:.3%} of examples, "
        f"{part.share_of_tokens:.3%} of tokens"
    )
