"""Seconds of a weight update and how exactly engine and learner then agree, in float32.

Every update follows an optimizer step on random tokens with random advantages at a high
learning rate, so that each moves all weights. It is published as in training: sent to every
rollout worker, then proved by the log-probabilities of probe tokens on both sides
(rollout/proof.py). The tolerance is lifted here, so that the difference is measured instead of stopping the run.
"""

from __future__ import annotations

import time
from typing import Any

from performance.child import measure
from performance.common import machine, machine_line, median, parser, recipe, section, table, write_result

SEED = 0
NUM_PROBES, PROMPT_TOKENS, RESPONSE_TOKENS = 4, 40, 80
ROWS = 32


def main(arguments: list[str]) -> None:
    """Measure each number of workers and print a table."""
    args = _arguments(arguments)
    found = machine()
    print(machine_line(found), flush=True)
    results = []
    for workers in args.workers:
        changes = [
            f"rollout.num_workers={workers}",
            "rollout.dtype=float32",
            "learner.dtype=float32",
            "rollout.probe_tolerance=1e9",
            f"learner.learning_rate={args.learning_rate}",
        ]
        settings = {"model": args.model, "recipe": recipe([*args.rlvr, *changes]), "updates": args.updates}
        results.append({"workers": workers, **measure("performance.weight_update", "side", settings)})
    header = (
        "workers",
        "updates",
        "publish ms (median)",
        "worst",
        "probing ms",
        "KiB",
        "largest |Δ log p|",
        "mean",
        "moved by",
    )
    rows = [
        (
            result["workers"],
            args.updates,
            f"{1000 * median(result['publish_seconds']):.0f}",
            f"{1000 * max(result['publish_seconds']):.0f}",
            f"{1000 * median(result['probe_seconds']):.0f}",
            f"{result['num_bytes'] / 1024:,.0f}",
            f"{max(result['differences']):.1e}",
            f"{median(result['means']):.1e}",
            f"{median(result['moves']):.2g}",
        )
        for result in results
    ]
    print(table(header, rows))
    print(
        "publish: send and prove; probing: the engines' log-probabilities alone; Δ: over "
        f"{NUM_PROBES} × {RESPONSE_TOKENS} probe tokens, in nats, the largest of all updates and the median mean;\n"
        "moved by: largest change of a probe token's log-probability from one update to the next, "
        "which a lost update would leave as Δ"
    )
    write_result(args.json, {"machine": found, "results": results})


def _arguments(arguments: list[str]) -> Any:
    made = parser("weight_update", __doc__)
    made.add_argument("--updates", type=int, default=20, help="random updates for each number of workers")
    made.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of rollout workers")
    made.add_argument("--learning-rate", type=float, default=1e-4, help="size of the random updates")
    return made.parse_args(arguments)


def side(settings: dict[str, Any]) -> dict[str, Any]:
    """All updates for one number of workers."""
    import torch
    from transformers import AutoConfig

    from rlvr.algorithms.grpo import GRPOConfig
    from rlvr.batch import TrainBatch
    from rlvr.cluster import training_pools
    from rlvr.config import ClusterConfig
    from rlvr.protocols import Probe

    generator = torch.Generator().manual_seed(SEED)
    vocabulary = AutoConfig.from_pretrained(settings["model"]).vocab_size
    length = PROMPT_TOKENS + RESPONSE_TOKENS
    shape = (ROWS, RESPONSE_TOKENS)

    def random_tokens(rows: int) -> torch.Tensor:
        return torch.randint(vocabulary, (rows, length), generator=generator)

    def random_batch() -> TrainBatch:
        return TrainBatch(
            tokens=random_tokens(ROWS),
            prompt_lengths=torch.full((ROWS,), PROMPT_TOKENS),
            response_mask=torch.ones(shape),
            rollout_logprobs=torch.zeros(shape),
            old_logprobs=None,
            advantages=torch.randn(shape, generator=generator),
            loss_weights=torch.full(shape, 1 / ROWS / RESPONSE_TOKENS),
        )

    probes = [Probe(row, PROMPT_TOKENS) for row in random_tokens(NUM_PROBES).tolist()]
    rollout = section(settings, "rollout")
    columns = ("publish_seconds", "probe_seconds", "differences", "means", "moves")
    result: dict[str, Any] = {column: [] for column in columns}
    with training_pools(
        settings["model"],
        rollout,
        section(settings, "learner"),
        ClusterConfig(),
        GRPOConfig().build(),
        1.0,
        SEED,
    ) as (engine, learner):
        learner.publish(0, probes)
        before = torch.tensor([[each.logprobs for each in worker] for worker in engine.probe(probes)])
        for version in range(1, settings["updates"] + 1):
            learner.update([random_batch()])
            started = time.perf_counter()
            report = learner.publish(version, probes)
            result["publish_seconds"].append(time.perf_counter() - started)
            started = time.perf_counter()
            after = torch.tensor([[each.logprobs for each in worker] for worker in engine.probe(probes)])
            result["probe_seconds"].append(time.perf_counter() - started)
            result["differences"].append(report.probe_max_abs)
            result["means"].append(report.probe_mean_abs)
            result["moves"].append((after - before).abs().max().item())
            before = after
    return {**result, "num_bytes": report.num_bytes}
