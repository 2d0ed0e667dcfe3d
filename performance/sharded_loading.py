"""What a rank holds in memory while models are loaded and saved at ZeRO stage 3, against its share of them.

CPU ranks, so that host and device are one, on a model of random weights: the policy alone is loaded, then a learner
with a critic and a reference model is started, then the policy is saved. Measured is how much anonymous memory each rank
has at its peak beyond an idle one; allocations go back to the system as they are freed. A rank's share is
1/ranks of the weights, and of gradients and float32 copies where a model is trained. The bound is 1.3 shares and one
gather group; rank 0, which writes, also holds the whole policy while saving.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from performance.child import measure
from performance.common import machine, machine_line, own_parser, table, write_result

MIB = 2**20
PHASES = ("loading the policy", "starting a learner", "saving the policy")
TRAINED, FROZEN = 12, 4
"""Bytes of a parameter before the first step: weight, float32 copy and gradient, or the weight alone."""


def main(arguments: list[str]) -> None:
    """Measure, print a table, and fail when the bound does not hold."""
    args = _arguments(arguments)
    found = machine()
    print(machine_line(found), flush=True)
    result = measure("performance.sharded_loading", "side", vars(args), {"MALLOC_MMAP_THRESHOLD_": "65536"})
    rows = [
        (
            phase,
            f"{result['shares'][phase]:,.0f}",
            f"{result['bounds'][phase]:,.0f}",
            f"{max(peaks[phase] for peaks in result['peaks'][1:]):,.0f}",
            f"{result['peaks'][0][phase]:,.0f}",
        )
        for phase in PHASES
    ]
    print(f"{result['parameters'] / 1e6:.0f} M parameters in float32, {args.ranks} ranks; MiB")
    print(table(("", "share", "bound", "peak of the other ranks", "of rank 0"), rows))
    write_result(args.json, {"machine": found, **result})
    others = [peaks[phase] > result["bounds"][phase] for peaks in result["peaks"][1:] for phase in PHASES]
    if any(others) or any(result["peaks"][0][phase] > result["bounds"][phase] for phase in PHASES[:2]):
        sys.exit("the bound does not hold")


def _arguments(arguments: list[str]) -> Any:
    made = own_parser("sharded_loading", __doc__)
    made.add_argument("--ranks", type=int, default=4)
    made.add_argument("--layers", type=int, default=20, help="20 make 205 M parameters")
    return made.parse_args(arguments)


def side(settings: dict[str, Any]) -> dict[str, Any]:
    """Write a model, load it in as many processes as ranks, and gather what they measured."""
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    from performance.common import TINY_MODEL
    from rlvr.learner.trained_model import GATHER_BYTES

    folder, ranks = Path(settings["folder"]) / "model", settings["ranks"]
    config = Qwen2Config(
        vocab_size=32_000, hidden_size=768, num_hidden_layers=settings["layers"], num_attention_heads=12,
        num_key_value_heads=4, intermediate_size=2688, tie_word_embeddings=False,
    )  # fmt: skip
    model = Qwen2ForCausalLM(config)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    model.save_pretrained(folder)
    del model
    AutoTokenizer.from_pretrained(TINY_MODEL).save_pretrained(folder)

    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    port = 20_000 + os.getpid() % 20_000
    started = [context.Process(target=rank, args=(i, ranks, port, str(folder), queue)) for i in range(ranks)]
    for process in started:
        process.start()
    peaks = dict(queue.get(timeout=900) for _ in started)
    for process in started:
        process.join()
    share = parameters / ranks / MIB
    shares = dict(zip(PHASES, (FROZEN * share, *[(2 * TRAINED + FROZEN) * share] * 2), strict=True))
    return {
        "parameters": parameters,
        "peaks": [peaks[i] for i in range(ranks)],
        "shares": shares,
        "bounds": {phase: 1.3 * held + GATHER_BYTES / MIB for phase, held in shares.items()},
    }


def rank(index: int, ranks: int, port: int, model: str, queue: Any) -> None:
    """One rank: peaks of each phase in MiB, beyond what it held before any model."""
    import tempfile

    import torch

    from performance.common import TINY_MODEL
    from rlvr.algorithms.ppo import PPOConfig
    from rlvr.algorithms.settings import KLConfig
    from rlvr.config import LearnerConfig
    from rlvr.learner.deepspeed_learner import DeepSpeedLearner, LearnerOptions
    from rlvr.learner.loading import load_model
    from rlvr.learner.trained_model import deepspeed_config, join_process_group

    settings = LearnerConfig(num_learners=ranks, threads_per_learner=1, device="cpu", zero_stage=3)
    join_process_group("cpu", index, ranks, "127.0.0.1", port, 1, timeout=600)
    sharding = deepspeed_config(settings, "float32")
    warm = load_model(str(TINY_MODEL), torch.float32, sharding=sharding)
    del warm
    peak = Peak()
    load_model(model, torch.float32, sharding=sharding)
    peaks = [peak.lap()]
    algorithm = PPOConfig(kl=KLConfig(coef=0.01, placement="loss")).build()
    options = LearnerOptions(
        model=model, device="cpu", dtype="float32", rank=index, num_ranks=ranks, master_address="127.0.0.1",
        master_port=port, seed=0, temperature=1.0, timeout=600, settings=settings,
    )  # fmt: skip
    learner = DeepSpeedLearner(options, algorithm)
    peaks.append(peak.lap())
    with tempfile.TemporaryDirectory() as folder:
        learner.save(Path(folder))
    peaks.append(peak.lap())
    queue.put((index, dict(zip(PHASES, peaks, strict=True))))
    torch.distributed.barrier()


class Peak(threading.Thread):
    """The most anonymous memory that this process has had since the last lap, looked at every 10 ms."""

    def __init__(self) -> None:
        """Begin."""
        super().__init__(daemon=True)
        self._most = self._before = anonymous_bytes()
        self.start()

    def run(self) -> None:
        """Look for ever."""
        while True:
            self._most = max(self._most, anonymous_bytes())
            time.sleep(0.01)

    def lap(self) -> float:
        """MiB beyond the beginning."""
        most, self._most = self._most, anonymous_bytes()
        return (most - self._before) / MIB


def anonymous_bytes() -> int:
    """Of this process; pages of files that it reads are not counted."""
    lines = Path("/proc/self/status").read_text().splitlines()
    [size] = [line.split()[1] for line in lines if line.startswith("RssAnon:")]
    return int(size) * 1024
