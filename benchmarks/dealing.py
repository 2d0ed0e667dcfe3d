"""Two engines on responses of long-tailed lengths: requests dealt as places become free, against beforehand in turn.

Random weights over many words, which hardly ever end a response by themselves: a response is as long as the context
leaves room for, which is drawn anew from a log-normal distribution for each prompt and round. All prompts are beginnings of one text,
so that they cost next to nothing. Both ways run in one session in turn, and must give the same responses; beforehand is what
comes of letting a worker be handed any number of requests. Counted are also the steps of the engine that takes more of
them: a step takes a GPU about as long however many of its places are filled, and other work on the machine changes nothing
of it.
"""

from __future__ import annotations

import math
import random
import time
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.child import measure
from benchmarks.common import machine, machine_line, median, parser, table, write_result

LONGEST = 1024
WORDS = 4096
CLOCKS = ("seconds", "steps")
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
    result = measure("benchmarks.dealing", "side", settings, {})
    print(
        f"{result['responses']} responses a round; in the last {result['tokens']:,} tokens, "
        f"the longest {result['longest']:,}"
    )
    rows = [
        (way, *(f"{median([each[clock] for each in result['rounds'][way]]):.1f}" for clock in CLOCKS))
        for way in WAYS
    ]
    print(table(("dealt", "seconds", "steps of the busier engine"), rows))
    pairs = list(zip(*(result["rounds"][way] for way in WAYS), strict=True))
    seconds, steps = ([before[clock] / after[clock] for before, after in pairs] for clock in CLOCKS)
    print(
        f"as places become free: {mean(seconds):.2f} times as fast, {mean(steps):.2f} by steps "
        f"({min(steps):.2f} to {max(steps):.2f}; mean of {len(pairs)} draws)"
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
                started, before = time.monotonic(), steps_of(pool)
                found = {
                    key: [list(each.response_tokens) for each in completions]
                    for key, completions in pool.generate(requests, asked)
                }
                seconds = time.monotonic() - started
                first = first or found
                assert found == first
                if number:
                    taken = max(after - start for start, after in zip(before, steps_of(pool), strict=True))
                    rounds[way].append({"seconds": seconds, "steps": taken})
            lengths = [len(response) for responses in first.values() for response in responses]
    return {"rounds": rounds, "responses": len(lengths), "tokens": sum(lengths), "longest": max(lengths)}


def steps_of(pool: Any) -> list[int]:
    """Steps of every engine since it was first asked."""
    import ray

    return ray.get([worker.actor.__ray_call__.remote(count_steps) for worker in pool.workers])


def count_steps(actor: Any) -> int:
    """Runs in an engine's process: the steps so far, counted from the first call on."""
    engine = actor._engine._engine
    if not hasattr(engine, "num_steps"):
        plain, engine.num_steps = engine.step, 0

        def step() -> Any:
            engine.num_steps += 1
            return plain()

        engine.step = step
    return int(engine.num_steps)


def wordy_model(model: str, folder: Path) -> str:
    """Random weights over so many words that the end of text is rare; with the tokenizer of a model."""
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=WORDS, hidden_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=256, max_position_embeddings=LONGEST, eos_token_id=None, bos_token_id=None,
    )  # fmt: skip
    Qwen2ForCausalLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(model).save_pretrained(folder)
    return str(folder)
