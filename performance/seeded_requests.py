"""What a seed per request costs (`train.seed_requests`): rollouts per second with and without it.

One engine samples the same requests in turn with and without seeds. A seeded sample draws from a generator of its own,
one after another, where the others draw from one generator for the whole batch.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from performance.child import measure
from performance.common import machine, machine_line, median, parser, table, write_result

HEADER = ("", "rollouts/s", "rollouts per CPU second")


def main(arguments: list[str]) -> None:
    """Sample in turn, and print the medians and their ratio."""
    made = parser("seeded_requests", __doc__)
    made.add_argument("--prompts", type=int, default=32)
    made.add_argument("--samples", type=int, default=8, help="per prompt")
    made.add_argument("--tokens", type=int, default=128, help="longest response")
    made.add_argument("--rounds", type=int, default=10, help="of both kinds")
    args = made.parse_args(arguments)
    found = machine()
    print(machine_line(found), flush=True)
    settings = {key: value for key, value in vars(args).items() if key not in ("json", "rlvr")}
    rounds = measure("performance.seeded_requests", "side", settings, {})["rounds"]
    medians = {
        kind: [median([each[kind][clock] for each in rounds]) for clock in ("wall", "cpu")]
        for kind in ("without", "seeded")
    }
    print(table(HEADER, [(kind, *(f"{rate:.0f}" for rate in rates)) for kind, rates in medians.items()]))
    wall, cpu = (
        median([each["seeded"][clock] / each["without"][clock] for each in rounds])
        for clock in ("wall", "cpu")
    )
    print(
        f"seeded / without: {wall:.2f} of the rollouts per second, {cpu:.2f} per CPU second (median of pairs)"
    )
    write_result(args.json, {"machine": found, "settings": settings, "rounds": rounds})


def side(settings: dict[str, Any]) -> dict[str, Any]:
    """Rates of every round, after one of each kind that does not count."""
    from rlvr.config import ChainsConfig
    from rlvr.data.chains import make_splits
    from rlvr.data.prompts import load_renderer
    from rlvr.protocols import SampleRequest
    from rlvr.rollout.engine_options import EngineOptions
    from rlvr.rollout.vllm_engine import VLLMEngine

    engine = VLLMEngine(
        EngineOptions(
            model=settings["model"], device="cpu", dtype="float32", max_model_len=80 + settings["tokens"],
            max_num_seqs=256, tensor_parallel_size=1, threads=1, kv_cache_gib=1.0, gpu_memory_utilization=0.5,
            enforce_eager=True, weight_transfer="host", seed=0,
        )
    )  # fmt: skip
    renderer = load_renderer(str(Path(settings["model"])))
    config = ChainsConfig()
    problems = make_splits(settings["prompts"], 1, config.operations, config.seed)[0]
    requests = [
        SampleRequest(key, renderer.render(problem), settings["samples"])
        for key, problem in enumerate(problems)
    ]
    rounds = [
        {
            "without": _rates(engine, requests, settings["tokens"], None),
            "seeded": _rates(engine, requests, settings["tokens"], number),
        }
        for number in range(settings["rounds"] + 1)
    ]
    return {"rounds": rounds[1:]}


def _rates(engine: Any, requests: Any, tokens: int, seed: int | None) -> dict[str, float]:
    """Rollouts per second by the clock and by the processor's time."""
    from rlvr.protocols import SamplingSettings

    wall, cpu = time.perf_counter(), time.process_time()
    settings = SamplingSettings(1.0, tokens, logprobs=True, seed=seed)
    count = sum(len(completions) for found in engine.generate(requests, settings) for _, completions in found)
    return {"wall": count / (time.perf_counter() - wall), "cpu": count / (time.process_time() - cpu)}
