"""``rlvr pretrain``."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from rlvr.config.checks import require, require_one_of, require_positive
from rlvr.config.data import FAMILIES, MAX_OPERATIONS, MIN_MODULUS, SignsWorld, SkillsWorld


@dataclass
class PretrainStage:
    """One stage of pre-training: optimizer and schedule start anew in each."""

    num_tokens: int = 30_000_000
    """Budget over all processes, padding included."""
    noise: float = 0.1
    """Share of the corpus's steps that are wrong."""
    operations: list[int] = field(default_factory=lambda: [1, 2, 3, 4, 5, 6, 7])
    """Difficulties of the stage's problems, in operations; each equally often."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(0 <= self.noise < 1, f"noise is {self.noise}", "stages.noise", "at least 0, below 1")
        require_positive(self, "stages", "num_tokens")
        require(
            bool(self.operations) and all(1 <= number <= MAX_OPERATIONS for number in self.operations),
            f"operations {list(self.operations)} must be numbers from 1 to {MAX_OPERATIONS}",
            "stages.operations",
            "for example [1,2,3,4,5,6,7]",
        )


@dataclass
class PretrainConfig:
    """``rlvr pretrain``: a tiny model from scratch on a generated family, Qwen2 or, for pictures, Idefics3."""

    output: str = "runs/pretrain"
    """Folder of the finished model."""
    seed: int = 0
    """Seed of the start weights and of the corpus."""
    stages: list[PretrainStage] = field(default_factory=lambda: [PretrainStage()])
    """Gone through in order, each with its own optimizers, schedule and stream of the corpus."""
    family: str = "chains"
    """What the corpus is made of: ``chains``, ``skills``, ``programs`` or ``signs``."""
    modulus: int = 23
    """Of the arithmetic in ``chains`` and ``skills``."""
    skills: SkillsWorld = field(default_factory=SkillsWorld)
    """The named operations of ``skills``."""
    signs: SignsWorld = field(default_factory=SignsWorld)
    """The signs of ``signs``, whose stages know neither noise nor operations."""
    hidden_size: int = 128
    """Width of the model."""
    num_layers: int = 3
    """Transformer blocks."""
    num_heads: int = 4
    """Attention heads; they divide ``hidden_size``."""
    intermediate_size: int = 384
    """Width of the feed-forward layers."""
    max_position_embeddings: int = 256
    """Longest text, in tokens, that the model is made for."""
    learning_rate: float = 3e-3
    """Peak of each stage, which ends at 0."""
    weight_decay: float = 0.01
    """Of both optimizers, Muon for the matrices and AdamW for the rest."""
    warmup_share: float = 0.03
    """Fraction of a stage's steps in which the learning rate rises from 0."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm."""
    batch_tokens: int = 10_000
    """Tokens of one optimizer step on one process."""
    report_every: int = 100
    """Steps between progress lines."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(
            bool(self.stages), "there is no stage", "stages", "at least one, such as {num_tokens: 1000000}"
        )
        require_one_of(self.family, FAMILIES, "family")
        require_positive(self, "", "batch_tokens", "report_every", "num_heads", "num_layers", "hidden_size")
        require(
            self.hidden_size % self.num_heads == 0,
            f"hidden_size {self.hidden_size} is not divisible by num_heads {self.num_heads}",
            "num_heads",
            f"a divisor of {self.hidden_size}",
        )
        require(
            self.modulus >= MIN_MODULUS
            and all(self.modulus % divisor for divisor in range(2, math.isqrt(self.modulus) + 1)),
            f"modulus {self.modulus} is not a prime ≥ {MIN_MODULUS}",
            "modulus",
            f"a prime such as {MIN_MODULUS}",
        )
