"""``rlvr perplexity`` and ``rlvr entropy``: what engines measure of evaluations that are there."""

from __future__ import annotations

from dataclasses import dataclass, field

from rlvr.config.checks import require, require_positive
from rlvr.config.pools import ClusterConfig, RolloutConfig

HOTTEST = 10.0
"""Temperatures are below it."""


@dataclass
class PerplexityConfig:
    """``rlvr perplexity``: how likely each model finds what it and the others wrote."""

    folders: list[str]
    """Of studies or evaluations."""
    responses: int = 32
    """Per problem, the first ones by sample index (arXiv 2504.13837, Figure 6)."""
    reference: str | None = None
    """JSONL file with ``problem`` (an id) and ``response`` in each row; generated problems bring their own solutions."""
    benchmarks: list[str] = field(default_factory=list)
    """Names of those to score; none scores all."""
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)

    def __post_init__(self) -> None:
        """Check the numbers."""
        require_positive(self, "", "responses")


@dataclass
class EntropyConfig:
    """``rlvr entropy``: entropy per token as sampled, and the temperature that matches the base's."""

    folders: list[str]
    """Of studies or evaluations."""
    responses: int = 4
    """New ones per problem: tokens are many, so few responses give a narrow interval."""
    match: list[float] = field(default_factory=list)
    """Temperatures at which all models but the base are measured too, to find the one at which a model's entropy is that
    of the base."""
    benchmarks: list[str] = field(default_factory=list)
    """Names of those to measure on; none measures all."""
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)

    def __post_init__(self) -> None:
        """Check the numbers."""
        require_positive(self, "", "responses")
        for temperature in self.match:
            require(
                0 < temperature < HOTTEST,
                f"match is '{temperature:g}'",
                "match",
                "temperatures, such as match=0.8,1.0,1.2",
            )
