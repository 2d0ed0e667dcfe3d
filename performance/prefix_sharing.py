"""Prompt tokens that an engine computes for n samples of a prompt, with and without shared prefixes.

The requests are the evaluator's: chunks of samples of one problem, one after another. Both sides run our engine on
the same model and requests; only vLLM's prefix cache is switched off on one. Without sharing every sample would
compute its prompt again. What remains with sharing is the first sample of a problem and the last, unfilled block of
each prompt (a block has 128 tokens on a CPU, 16 on a GPU).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from performance.child import measure
from performance.common import machine, machine_line, parser, table, write_result

HEADER = ("", "prompt tokens asked", "found in the cache", "computed", "seconds")


def main(arguments: list[str]) -> None:
    """Run both sides and print what each computed."""
    made = parser("prefix_sharing", __doc__)
    made.add_argument("--problems", type=int, default=8)
    made.add_argument("--samples", type=int, default=64, help="samples per problem")
    made.add_argument("--chunk", type=int, default=32, help="samples of one request")
    made.add_argument("--prompt-tokens", type=int, default=1000)
    made.add_argument("--response-tokens", type=int, default=16)
    args = made.parse_args(arguments)
    found = machine()
    print(machine_line(found))
    settings = {key: value for key, value in vars(args).items() if key not in ("json", "rlvr")}
    sides = {
        name: measure("performance.prefix_sharing", "side", {**settings, "sharing": sharing}, {})
        for name, sharing in (("shared", True), ("not shared", False))
    }
    rows = [
        (name, f"{s['asked']:,}", f"{s['hits']:,}", f"{s['asked'] - s['hits']:,}", f"{s['seconds']:.1f}")
        for name, s in sides.items()
    ]
    print(table(HEADER, rows))
    share = 1 - sides["shared"]["hits"] / sides["shared"]["asked"]
    once = 1 / args.samples
    print(
        f"computed with sharing: {share:.1%} of the prompt tokens (once per problem would be {once:.1%}); "
        f"time {sides['shared']['seconds'] / sides['not shared']['seconds']:.2f} of that without"
    )
    write_result(args.json, {"machine": found, "settings": settings, "sides": sides})


def side(settings: dict[str, Any]) -> dict[str, Any]:
    """One engine on all requests."""
    import vllm

    from rlvr.protocols import SampleRequest, SamplingSettings
    from rlvr.rollout.engine_options import EngineOptions, prepare_environment
    from rlvr.rollout.vllm_engine import VLLMEngine

    length = settings["prompt_tokens"] + settings["response_tokens"] + 1
    options = EngineOptions(
        model=longer_model(settings["model"], Path(settings["folder"]) / "model", length),
        device="cpu", dtype="float32", max_model_len=length, max_num_seqs=64, tensor_parallel_size=1, threads=1,
        kv_cache_gib=1.0, gpu_memory_utilization=0.5, enforce_eager=True, weight_transfer="host", seed=0,
    )  # fmt: skip
    prepare_environment(options)
    plain = vllm.LLM
    # Not by engine_args: log statistics, which count what is shared, are off in every engine of ours.
    changed = {"disable_log_stats": False, "enable_prefix_caching": settings["sharing"]}
    vllm.LLM = lambda **given: plain(**{**given, **changed})
    engine = VLLMEngine(options)
    tokens = [
        [(7 * i + 3 * problem) % 40 + 1 for i in range(settings["prompt_tokens"])]
        for problem in range(settings["problems"])
    ]
    requests = [
        SampleRequest(0, prompt, min(settings["chunk"], settings["samples"] - start))
        for prompt in tokens
        for start in range(0, settings["samples"], settings["chunk"])
    ]
    before = counters(engine)
    started = time.monotonic()
    for _ in engine.generate(requests, SamplingSettings(1.0, settings["response_tokens"])):
        pass
    seconds = time.monotonic() - started
    after = counters(engine)
    return {
        "seconds": seconds,
        "asked": settings["problems"] * settings["samples"] * settings["prompt_tokens"],
        "hits": after - before,
    }


def counters(engine: Any) -> int:
    """Prompt tokens found in the prefix cache so far, by vLLM's own metrics."""
    found = [metric.value for metric in engine._llm.get_metrics() if metric.name == "vllm:prefix_cache_hits"]
    return int(sum(found))


def longer_model(model: str, folder: Path, length: int) -> str:
    """The model with as many positions as the prompts need; what it says is of no interest here."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    config = AutoConfig.from_pretrained(model)
    config.max_position_embeddings = max(length, config.max_position_embeddings)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(model).save_pretrained(folder)
    return str(folder)
