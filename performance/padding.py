"""Share of padding in the learner's micro-batches: is packing worth it?

A step of 256 prompts × 8 responses with lengths as long responses have them (log-normal, cut at the
limit) is planned as the learner plans it (rlvr/learner/micro_batches.py). Shown are padded tokens over
all tokens computed, the work of the busiest rank over the mean, and the same for rows in the order in
which they come, which is what sorting by length saves.
"""

from __future__ import annotations

import argparse
import random

from performance.common import table, write_result
from rlvr.learner.micro_batches import plan_micro_batches

PROMPTS, GROUP, RANKS = 256, 8, 8
CASES = [(512, 0.6), (1024, 0.8), (2048, 1.0), (4096, 1.0)]
"""Median response in tokens, and the spread of its logarithm."""


def main(arguments: list[str]) -> None:
    """Plan each case and print a table."""
    made = argparse.ArgumentParser(prog="python -m performance padding", description=__doc__)
    made.add_argument("--budget", type=int, default=16_384, help="learner.micro_batch_tokens")
    made.add_argument("--longest", type=int, default=8192, help="longest response")
    made.add_argument("--model", help=argparse.SUPPRESS)  # shared by all benchmarks
    made.add_argument("--json", metavar="FILE")
    args = made.parse_args(arguments)
    results = [measured(median, spread, args.budget, args.longest) for median, spread in CASES]
    rows = [
        (
            f"median {result['median']}, spread {result['spread']}",
            f"{100 * result['padding']:.1f} %",
            f"{100 * result['padding_unsorted']:.1f} %",
            f"{result['busiest_over_mean']:.3f}",
        )
        for result in results
    ]
    print(table(("response lengths", "padding", "in order of arrival", "busiest rank / mean"), rows))
    write_result(args.json, {"results": results})


def measured(median: int, spread: float, budget: int, longest: int) -> dict[str, float]:
    """One step's plan."""
    draw = random.Random(0)
    lengths = []
    for _ in range(PROMPTS):
        prompt = draw.randint(60, 400)
        lengths += [
            prompt + min(longest, int(median * draw.lognormvariate(0, spread)) + 1) for _ in range(GROUP)
        ]
    rounds = plan_micro_batches(lengths, budget, RANKS)
    work = [
        sum(len(ranks[rank]) * max((lengths[row] for row in ranks[rank]), default=0) for ranks in rounds)
        for rank in range(RANKS)
    ]
    return {
        "median": median,
        "spread": spread,
        "padding": 1 - sum(lengths) / sum(work),
        "padding_unsorted": 1 - sum(lengths) / in_order(lengths, budget),
        "busiest_over_mean": max(work) * RANKS / sum(work),
    }


def in_order(lengths: list[int], budget: int) -> int:
    """Tokens computed when rows fill micro-batches in the order in which they come."""
    computed, rows, widest = 0, 0, 0
    for length in lengths:
        if rows and (rows + 1) * max(widest, length) > budget:
            computed, rows, widest = computed + rows * widest, 0, 0
        rows, widest = rows + 1, max(widest, length)
    return computed + rows * widest


if __name__ == "__main__":
    main([])
