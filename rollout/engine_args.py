"""Which of vLLM's own start-up options may be passed through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlvr.errors import ConfigError, did_you_mean

OWNED = {
    "model": "model",
    "tokenizer": "model",
    "dtype": "rollout.dtype",
    "seed": "seed",
    "max_model_len": "rollout.max_prompt_tokens and rollout.max_response_tokens",
    "max_num_seqs": "rollout.max_num_seqs",
    "limit_mm_per_prompt": "nothing to set: the problems say how many images a prompt has",
    "tensor_parallel_size": "rollout.tensor_parallel_size",
    "gpu_memory_utilization": "rollout.gpu_memory_utilization",
    "enforce_eager": "rollout.enforce_eager",
    "enable_sleep_mode": "cluster.sleep",
    "weight_transfer_config": "rollout.weight_transfer",
    "distributed_executor_backend": "rollout.tensor_parallel_size",
    "worker_extension_cls": "nothing to set: rlvr's own reads the weights for their proof",
}
"""Options that rlvr sets, and the key that does it."""
FIXED = (
    "logprobs_mode",
    "generation_config",
    "override_generation_config",
    "disable_log_stats",
    "load_format",
    "trust_remote_code",
)
"""Options whose change would make results something else than they are said to be, or run a model folder's code."""
CPU_HEAD_SIZES = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""Widths of an attention head that vLLM's attention on a CPU computes (``CPUAttentionBackend``, vLLM 0.32)."""


def check_engine_args(engine_args: Mapping[str, Any], device: str) -> None:
    """Check names against the installed vLLM, which is imported only if there are any.

    Args:
        engine_args: vLLM's options by its own names.
        device: what the engines run on, ``cpu`` or ``cuda``.

    Raises:
        ConfigError: rlvr sets the option itself, vLLM does not know it, or it does not work on the device.
    """
    if not engine_args:
        return
    from dataclasses import fields

    from vllm.engine.arg_utils import EngineArgs

    known = {spec.name for spec in fields(EngineArgs)} - {*OWNED, *FIXED}
    for name in engine_args:
        where = f"rollout.engine_args.{name}"
        if name in OWNED:
            raise ConfigError(f"vLLM's {name} has a key of its own", where=where, fix=OWNED[name])
        if name in FIXED:
            raise ConfigError(
                f"vLLM's {name} is fixed, so that results are what they are called and a model folder runs no code",
                where=where,
                fix="leave it out",
            )
        if name not in known:
            raise ConfigError(f"vLLM has no option {name!r}", where=where, fix=did_you_mean(name, known))
        if name == "enable_chunked_prefill" and device == "cpu" and engine_args[name] is not False:
            raise ConfigError(
                "vLLM cannot sample with a seed after part of a prompt on a CPU, so prompts are not cut there",
                where=where,
                fix="leave it out, or rollout.device=cuda",
            )
