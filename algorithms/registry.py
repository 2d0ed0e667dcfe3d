"""Algorithms by name: the only list of them."""

from __future__ import annotations

from rlvr.algorithms.grpo import GRPOConfig

ALGORITHMS = {"grpo": GRPOConfig}
"""Name (Hydra group ``algorithm``, tables, plots) → config dataclass with a ``build()``."""


def name_of(config: object) -> str:
    """The name under which an algorithm's config is registered."""
    return next(name for name, cls in ALGORITHMS.items() if type(config) is cls)
