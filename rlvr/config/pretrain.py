"""``rlvr pretrain``."""

from __future__ import annotations

from dataclasses import dataclass, field

from rlvr.config.checks import require, require_one_of, require_positive
from rlvr.config.data import (
    FAMILIES,
    MAX_OPERATIONS,
    MIN_MODULUS,
    GraphsWorld,
    SignsWorld,
    SkillsWorld,
    is_prime,
)

SHARES_IN = ("tokens", "examples")
SCHEDULES = ("wsd", "cosine")
OPTIMIZERS = ("muon", "adamw")


def _check_corpus(part: MixtureComponent | PretrainStage, where: str) -> None:
    """Check what a stage and a component of its mixture both state."""
    require(0 <= part.noise < 1, f"noise is {part.noise}", f"{where}.noise", "at least 0, below 1")
    require(
        bool(part.operations) and all(1 <= number <= MAX_OPERATIONS for number in part.operations),
        f"operations {list(part.operations)} must be numbers from 1 to {MAX_OPERATIONS}",
        f"{where}.operations",
        "for example [1,2,3,4,5,6,7]",
    )


@dataclass
class MixtureComponent:
    """One kind of document of a stage, with its share."""

    share: float = 1.0
    """Of the stage, relative to the other components'; 0 leaves it out."""
    operations: list[int] = field(default_factory=lambda: [2, 3, 4])
    """Difficulties, in operations; each equally often."""
    contexts: list[str] = field(default_factory=lambda: ["zoo"])
    """Words that the problems of ``graphs`` are told in; each equally often."""
    noise: float = 0.0
    """Share of the steps that are wrong."""
    num_problems: int | None = None
    """Instead of a corpus: the first so many problems that RL trains on with the same operations, contexts and seed
    (``data.graphs``), with their right solutions, gone through again and again. Null takes the corpus."""
    problems_seed: int = 2026
    """Seed of those problems, as ``data.graphs.seed``."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        _check_corpus(self, "stages.mixture")
        require(self.share >= 0, f"share is {self.share}", "stages.mixture.share", "a number from 0")
        require(
            self.num_problems is None or self.num_problems > 0,
            f"num_problems is {self.num_problems}",
            "stages.mixture.num_problems",
            "a number above 0, or null for the corpus",
        )

    @property
    def name(self) -> str:
        """Of its documents, in tables."""
        kind = "" if self.num_problems is None else f", gold of {self.num_problems} problems"
        return f"op {','.join(map(str, self.operations))}, {'+'.join(self.contexts)}{kind}"


@dataclass
class PretrainStage:
    """One stage of pre-training: optimizer and schedule start anew in each."""

    num_tokens: int = 30_000_000
    """Budget over all processes, padding included."""
    noise: float = 0.1
    """Share of the corpus's steps that are wrong."""
    operations: list[int] = field(default_factory=lambda: [1, 2, 3, 4, 5, 6, 7])
    """Difficulties of the stage's problems, in operations; each equally often."""
    mixture: list[MixtureComponent] = field(default_factory=list)
    """Documents of several kinds, in place of the two above."""
    shares_in: str = "tokens"
    """What the mixture's shares are shares of: ``tokens`` (problem and solution) or ``examples``."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        _check_corpus(self, "stages")
        require_positive(self, "stages", "num_tokens")
        require_one_of(self.shares_in, SHARES_IN, "stages.shares_in")
        require(
            not self.mixture or any(part.share > 0 for part in self.mixture),
            "no component of the mixture has a share",
            "stages.mixture",
            "share=1 for one of them",
        )

    @property
    def components(self) -> list[MixtureComponent]:
        """What the stage is made of: those of the mixture that have a share, or the stage itself."""
        whole = MixtureComponent(operations=self.operations, noise=self.noise)
        return [part for part in self.mixture if part.share > 0] or [whole]


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
    """What the corpus is made of: ``chains``, ``skills``, ``graphs``, ``programs`` or ``signs``."""
    init: str | None = None
    """Folder of a model of the same family to go on from (mid-training, or fine-tuning on gold solutions), whose shape
    and vocabulary it keeps; null starts from scratch."""
    modulus: int = 23
    """Of the arithmetic in ``chains`` and ``skills``."""
    skills: SkillsWorld = field(default_factory=SkillsWorld)
    """The named operations of ``skills``."""
    graphs: GraphsWorld = field(default_factory=GraphsWorld)
    """What the problems of ``graphs`` are like."""
    signs: SignsWorld = field(default_factory=SignsWorld)
    """The signs of ``signs``, whose stages know neither noise nor operations."""
    hidden_size: int = 128
    """Width of the model."""
    num_layers: int = 3
    """Transformer blocks."""
    num_heads: int = 4
    """Attention heads; they divide ``hidden_size``."""
    num_kv_heads: int | None = None
    """Heads of keys and values; null takes as many as there are heads."""
    intermediate_size: int = 384
    """Width of the feed-forward layers."""
    max_position_embeddings: int = 256
    """Longest text, in tokens, that the model is made for."""
    rope_theta: float = 10_000.0
    """Base of the rotary embedding's wavelengths."""
    tie_embeddings: bool = False
    """One matrix for the embedding of tokens and for the head."""
    point_heads: bool = True
    """Start the heads of the first layer looking back by one token, two, and so on, which saves a tiny model most of
    its training (rlvr/pretrain.py). For models from scratch whose keys have as many heads as their queries."""
    optimizer: str = "muon"
    """``muon`` for the matrices of the layers and AdamW for the rest, or ``adamw`` for all."""
    schedule: str = "wsd"
    """After the warm-up: constant, then down over the last quarter of a stage (``wsd``), or ``cosine`` throughout."""
    learning_rate: float = 3e-3
    """Peak of each stage."""
    end_learning_rate: float = 0.0
    """Of each stage's last step."""
    weight_decay: float = 0.01
    """Of all optimizers."""
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
        require_one_of(self.optimizer, OPTIMIZERS, "optimizer")
        require_one_of(self.schedule, SCHEDULES, "schedule")
        require(
            0 <= self.end_learning_rate <= self.learning_rate,
            f"end_learning_rate is {self.end_learning_rate}",
            "end_learning_rate",
            f"from 0 to the learning_rate, {self.learning_rate}",
        )
        require_positive(self, "", "batch_tokens", "report_every", "num_heads", "num_layers", "hidden_size")
        self._check_heads()
        self._check_gold()
        require(
            self.modulus >= MIN_MODULUS and is_prime(self.modulus),
            f"modulus {self.modulus} is not a prime ≥ {MIN_MODULUS}",
            "modulus",
            f"a prime such as {MIN_MODULUS}",
        )

    def _check_heads(self) -> None:
        """Check that the width and the heads of keys go into the heads."""
        require(
            self.hidden_size % self.num_heads == 0,
            f"hidden_size {self.hidden_size} is not divisible by num_heads {self.num_heads}",
            "num_heads",
            f"a divisor of {self.hidden_size}",
        )
        groups = self.num_kv_heads
        require(
            groups is None or (groups > 0 and self.num_heads % groups == 0),
            f"num_heads {self.num_heads} is not divisible by num_kv_heads {groups}",
            "num_kv_heads",
            f"a divisor of {self.num_heads}, or null",
        )
        require(
            not (self.point_heads and groups not in (None, self.num_heads)),
            "the heads of the first layer cannot be pointed back where several share their keys",
            "point_heads",
            "point_heads=false, or num_kv_heads=null",
        )

    def _check_gold(self) -> None:
        """Only one family gives its training problems with their solutions."""
        require(
            self.family == "graphs"
            or all(part.num_problems is None for stage in self.stages for part in stage.mixture),
            f"the family {self.family} does not give the solutions of its training problems",
            "stages.mixture.num_problems",
            "family=graphs, or num_problems=null",
        )
