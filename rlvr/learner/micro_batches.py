"""Cutting a minibatch into micro-batches of bounded size, the same number for every rank."""

from __future__ import annotations

from collections.abc import Sequence


def plan_micro_batches(lengths: Sequence[int], token_budget: int, num_ranks: int) -> list[list[list[int]]]:
    """Group rows of like length, so that padding stays small and ranks get equal work.

    Deterministic: every rank computes the same plan and takes its own column.

    Args:
        lengths: tokens of each row, prompt and response.
        token_budget: most padded tokens in a micro-batch; a longer row stands alone.
        num_ranks: data-parallel ranks.

    Returns:
        Rounds; each holds one list of row indices per rank. A rank's list may be empty
        where the rows do not go round; it then still takes part in the collectives.
    """
    if not lengths:
        return []
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    # One round at least: cut the budget so that the rows spread over all ranks.
    budget = min(token_budget, max(1, -(-sum(lengths) // num_ranks)))
    bins: list[list[int]] = []
    for row in order:
        if not bins or (len(bins[-1]) + 1) * lengths[bins[-1][0]] > budget:
            bins.append([])
        bins[-1].append(row)
    while len(bins) % num_ranks:
        largest = max(bins, key=len)
        half = len(largest) // 2
        bins.append(largest[half:] if half else [])
        if half:
            del largest[half:]
    # Bins of like size share a round, so that no rank waits long for another.
    bins.sort(key=lambda rows: -len(rows) * max((lengths[row] for row in rows), default=0))
    return [bins[i : i + num_ranks] for i in range(0, len(bins), num_ranks)]
