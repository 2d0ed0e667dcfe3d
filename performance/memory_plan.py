"""What a learner rank takes on CPU against what a dry run estimates for it.

Randomly initialised models, two optimizer steps each with DeepSpeed ZeRO 2 on one rank, in a process of
its own. Measured is the growth of the process's peak memory from before the model is made;
estimated are all parts of the plan but the runtime. In the last two cases few tokens leave the peak to the optimizer step.
"""

from __future__ import annotations

import os
import resource
from typing import Any

from performance.child import measure
from performance.common import machine, machine_line, own_parser, table, write_result

MIB = 2**20
SIZES = {"vocab_size": 8192, "num_attention_heads": 8, "num_key_value_heads": 2, "tie_word_embeddings": False}
CASES: list[dict[str, Any]] = [
    {"hidden_size": 256, "num_hidden_layers": 8, "intermediate_size": 1024, "tokens": 4096, "checkpointing": False},
    {"hidden_size": 256, "num_hidden_layers": 8, "intermediate_size": 1024, "tokens": 4096, "checkpointing": True},
    {"hidden_size": 256, "num_hidden_layers": 8, "intermediate_size": 1024, "tokens": 1024, "checkpointing": False},
    {"hidden_size": 512, "num_hidden_layers": 12, "intermediate_size": 2048, "tokens": 1024, "checkpointing": False},
    {"hidden_size": 512, "num_hidden_layers": 12, "intermediate_size": 2048, "tokens": 1024, "checkpointing": True},
    {"hidden_size": 1024, "num_hidden_layers": 8, "intermediate_size": 4096, "tokens": 256, "checkpointing": False},
    {"hidden_size": 1024, "num_hidden_layers": 8, "intermediate_size": 4096, "tokens": 256, "checkpointing": False,
     "dtype": "bfloat16"},
]  # fmt: skip
ROW_TOKENS = 256


def main(arguments: list[str]) -> None:
    """Measure each case and print a table."""
    args = own_parser("memory_plan", __doc__).parse_args(arguments)
    found = machine()
    print(machine_line(found), flush=True)
    # What is freed goes back to the system at once, as it goes back to the allocator of a GPU.
    released = {"MALLOC_MMAP_THRESHOLD_": "65536"}
    results = [
        {"dtype": "float32", **case, **measure("performance.memory_plan", "side", case, released)}
        for case in CASES
    ]
    rows = [
        (
            f"{result['parameters'] / 1e6:.1f} M, {result['tokens']} tokens"
            + (", checkpointing" if result["checkpointing"] else "")
            + (", bfloat16" if result["dtype"] == "bfloat16" else ""),
            f"{result['measured_mib']:,.0f}",
            f"{result['estimated_mib']:,.0f}",
            f"{result['estimated_mib'] / result['measured_mib']:.2f}",
        )
        for result in results
    ]
    print(table(("learner", "measured MiB", "estimated MiB", "ratio"), rows))
    write_result(args.json, {"machine": found, "results": results})


def side(settings: dict[str, Any]) -> dict[str, Any]:
    """Two optimizer steps in this process."""
    import tempfile
    from pathlib import Path

    import torch
    from transformers import Qwen2Config

    from rlvr.algorithms.grpo import GRPOConfig
    from rlvr.config import LearnerConfig
    from rlvr.learner.trained_model import join_process_group
    from rlvr.planning.memory import learner_device_memory
    from rlvr.planning.model_shape import model_shape

    learner = LearnerConfig(
        device="cpu",
        dtype=settings.get("dtype", "float32"),
        zero_stage=2,
        micro_batch_tokens=settings["tokens"],
        gradient_checkpointing=settings["checkpointing"],
    )
    join_process_group("cpu", 0, 1, "127.0.0.1", 20_000 + os.getpid() % 20_000, 1, timeout=600)
    config = Qwen2Config(
        **SIZES, **{name: settings[name] for name in settings if name in Qwen2Config().to_dict()}
    )
    _two_steps(
        Qwen2Config(**{**SIZES, "hidden_size": 64, "num_hidden_layers": 1, "vocab_size": 64}), learner, 1
    )
    before = _peak_bytes()
    _two_steps(config, learner, settings["tokens"] // ROW_TOKENS)
    measured = _peak_bytes() - before

    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(Path(folder))
        shape = model_shape(folder)
    parts = learner_device_memory(shape, learner, GRPOConfig().build(), ROW_TOKENS)
    parts.pop("runtime")
    torch.distributed.destroy_process_group()
    return {
        "parameters": shape.num_parameters,
        "measured_mib": measured / MIB,
        "estimated_mib": sum(parts.values()) / MIB,
        "parts_mib": {name: held / MIB for name, held in parts.items()},
    }


def _two_steps(config: Any, learner: Any, rows: int) -> None:
    import torch
    from transformers import Qwen2ForCausalLM

    from rlvr.learner.forward import Policy
    from rlvr.learner.trained_model import TrainedModel

    inner = Qwen2ForCausalLM(config).to(getattr(torch, learner.dtype))
    if learner.gradient_checkpointing:
        inner.gradient_checkpointing_enable()
    model = TrainedModel(Policy(inner), learner, learner.dtype, 1e-5)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(config.vocab_size, (rows, ROW_TOKENS), generator=generator)
    mask = torch.ones(rows, ROW_TOKENS - 1)  # as the plan assumes: all but a word are response
    starts = torch.ones(rows, dtype=torch.int64)
    for _ in range(2):  # the moments are made in the first step
        logprobs, _ = model.ready(train=True)(tokens, starts, mask, 1.0)
        model.backward(logprobs.mean())
        model.step()


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
