"""What an engine is started with, and what vLLM reads from the environment then."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What one engine is started with; every value is already resolved."""

    model: str
    device: str
    """``cpu`` or ``cuda``."""
    dtype: str
    max_model_len: int
    """Longest prompt + response, tokens."""
    max_num_seqs: int
    tensor_parallel_size: int
    threads: int
    """CPU threads (device ``cpu``)."""
    kv_cache_gib: float
    """KV cache (device ``cpu``)."""
    gpu_memory_utilization: float
    enforce_eager: bool
    weight_transfer: str | None
    """Backend by which weights come; None: they stay as they are."""
    seed: int
    max_images: int = 0
    """Images of one prompt."""
    sleep: bool = False
    """Whether the engine can sleep (device ``cuda``)."""
    cache_at_update: str | None = None
    """What becomes of the KV cache of responses that are being written when weights come: ``recompute`` or ``keep``.
    None: none may be, and an update is refused while one is."""
    engine_args: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of vLLM, checked by :func:`~rlvr.rollout.engine_args.check_engine_args`."""


def prepare_environment(options: EngineOptions) -> None:
    """Set what vLLM reads from the environment; must run before vllm is imported.

    The engine runs inside the worker process: a Ray actor is already a process of its own,
    and a second one only adds start-up time (23 s instead of 3 s, measured on 2 CPU cores).
    """
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ["VLLM_NO_USAGE_STATS"] = "1"
    # For top-p, FlashInfer's sampler would be compiled with nvcc at first use, which most images lack; vLLM's own
    # needs no compiler, and is also the one that gives the log-probabilities of what is sampled from.
    os.environ.setdefault("VLLM_USE_FLASHINFER_SAMPLER", "0")
    if options.device == "cpu":
        # vLLM's own binding would leave one of two cores idle; the number of threads rules instead.
        os.environ["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
        os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(max(1, round(options.kv_cache_gib)))
