"""Two engines on responses of long-tailed lengths: requests dealt as places become free, against beforehand in turn.

Random weights over many words, which hardly ever end a response by themselves: a response is as long as the context
leaves room for, which is drawn anew from a log-normal distribution for each prompt and round. All prompts are beginnings of one text,
so that they cost next to nothing. Both ways run in one session in turn, and must give the same responses; beforehand is what
comes of letting a worker be handed any number of requests. Measured is also how long one engine has nothing left to do
while the other still samples.
"""

from __future__ import annotations

import math
import random
import time
from pathlib import Path
from statistics import mean
from typing import Any

from performance.child import measure
from performance.common import machine, machine_line, median, parser, table, write_result

LONGEST = 1024
WORDS = 4096
CLOCKS = ("seconds", "idle")
WAYS = ("beforehand", "as places become free")


def main(arguments: list[str]) -> None:
    """Sample in turn, and print medians and the ratio."""
    made = parser("dealing", __doc__)
    made.add_argument("--prompts", type=int, default=64)
    made.add_argument("--samples", type=int, default=8, help="per prompt")
    made.add_argument("--places", type=int, default=16, help="sequences that an engine decodes together")
    made.add_argument("--median", type=float, default=64.0, help="tokens of a response")
    made.add_argument("--spread", type=float, default=1.2, help="standard deviation of the logarithm")
    made.add_argument("--rounds", type=int, default=10, help="of both ways, each with other lengths")
    args = made.parse_args(arguments)
    found = machine()
    print(machine_line(found), flush=True)
    settings = {key: value for key, value in vars(args).items() if key not in ("json", "rlvr")}
    result = measure("performance.dealing", "side", settings, {})
    print(
        f"{result['responses']} responses a round; in the last {result['tokens']:,} tokens, "
        f"the longest {result['longest']:,}"
    )
    rows = [
        (way, *(f"{median([each[clock] for each in result['rounds'][way]]):.1f}" for clock in CLOCKS))
        for way in WAYS
    ]
    print(table(("dealt", "seconds", "of these one engine idle"), rows))
    before, after = (result["rounds"][way] for way in WAYS)
    ratios = [slow["seconds"] / fast["seconds"] for slow, fast in zip(before, after, strict=True)]
    shares = [
        sum(each["idle"] for each in way) / sum(each["seconds"] for each in way) for way in (before, after)
    ]
    print(
        f"one engine idle for {shares[0]:.1%} of the time before, {shares[1]:.1%} after; "
        f"{mean(ratios):.2f} times as fast (mean of {len(ratios)} draws, {min(ratios):.2f} to {max(ratios):.2f})"
    )
    write_result(args.json, {"machine": found, "settings": settings, **result})


def side(settings: dict[str, Any]) -> dict[str, Any]:
    """Seconds of every round, after one of each way that does not count."""
    from rlvr.cluster import rollout_pool
    from rlvr.config import ClusterConfig, RolloutConfig
    from rlvr.protocols import SampleRequest, SamplingSettings

    model = wordy_model(settings["model"], Path(settings["folder"]) / "model")
    drawn = random.Random(0)
    text = [drawn.randrange(10, 60) for _ in range(LONGEST)]
    rollout = RolloutConfig(
        num_workers=2, max_num_seqs=settings["places"], max_prompt_tokens=LONGEST - 8, max_response_tokens=8
    )
    asked = SamplingSettings(1.0, LONGEST, seed=0)
    lengths: list[int] = []
    rounds: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with rollout_pool(model, rollout, ClusterConfig(), 0) as pool:
        dealt = pool.places
        last_steps(pool)
        for number in range(settings["rounds"] + 1):
            rooms = [
                round(drawn.lognormvariate(math.log(settings["median"]), settings["spread"]))
                for _ in range(settings["prompts"])
            ]
            requests = [
                SampleRequest(key, text[: LONGEST - min(LONGEST - 16, max(8, room))], settings["samples"])
                for key, room in enumerate(rooms)
            ]
            first: dict[int, list[list[int]]] = {}
            for way in WAYS:
                pool.places = math.inf if way == WAYS[0] else dealt
                started = time.monotonic()
                found = {
                    key: [list(each.response_tokens) for each in completions]
                    for key, completions in pool.generate(requests, asked)
                }
                seconds = time.monotonic() - started
                first = first or found
                assert found == first
                if number:
                    ends = last_steps(pool)
                    rounds[way].append({"seconds": seconds, "idle": max(ends) - min(ends)})
            lengths = [len(response) for responses in first.values() for response in responses]
    return {"rounds": rounds, "responses": len(lengths), "tokens": sum(lengths), "longest": max(lengths)}


def last_steps(pool: Any) -> list[float]:
    """When every engine last took a step, by the clock that all processes of a machine share."""
    import ray

    return ray.get([worker.actor.__ray_call__.remote(last_step) for worker in pool.workers])


def last_step(actor: Any) -> float:
    """Runs in an engine's process; noted from the first call on."""
    engine = actor._engine._engine
    if not hasattr(engine, "last_step"):
        plain, engine.last_step = engine.step, 0.0

        def step() -> Any:
            found = plain()
            engine.last_step = time.monotonic()
            return found

        engine.step = step
    return float(engine.last_step)


def wordy_model(model: str, folder: Path) -> str:
    """Random weights, always the same, over so many words that the end of text is rare; with the tokenizer of a model."""
    import torch
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=WORDS, hidden_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=256, max_position_embeddings=LONGEST, eos_token_id=None, bos_token_id=None,
    )  # fmt: skip
    torch.manual_seed(0)
    Qwen2ForCausalLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(model).save_pretrained(folder)
    return str(folder)
