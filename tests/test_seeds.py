"""Seeds derived from seeds."""

from __future__ import annotations

from itertools import product

from rlvr.seeds import derive_seed


def test_every_part_counts() -> None:
    parts = [*product(range(20), range(20)), *((number,) for number in range(20)), (0, 0, 0)]
    seeds = {derive_seed(*each) for each in parts}
    assert len(seeds) == len(parts)
    assert all(0 <= seed < 2**48 for seed in seeds)


def test_it_is_the_same_in_every_version() -> None:
    # A run must go on with the version that follows.
    assert derive_seed(0, 1) == 186_059_962_863_770
