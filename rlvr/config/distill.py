"""``rlvr distill``."""

from __future__ import annotations

from dataclasses import dataclass, field

from rlvr.config.checks import require, require_positive, require_share
from rlvr.config.run import MISSING_PATH, require_model


@dataclass
class DistillConfig:
    """``rlvr distill``: a student learns a teacher's verified responses."""

    model: str = MISSING_PATH
    """Hugging Face folder or hub name of the student, as it starts."""
    teacher: list[str] = field(default_factory=list)
    """Folders with evaluations of the teacher, on problems that nothing is measured on."""
    prompt: str = "chat"
    """Prompt template, by name (rlvr/data/templates.py), that the student learns to answer: the one that it is
    measured with."""
    output: str = "runs/distill"
    """Folder of the finished student."""
    seed: int = 0
    """Seed of the order of the examples."""
    max_per_problem: int = 8
    """Most different right responses to one problem."""
    max_tokens: int = 16_384
    """Longest prompt and response together; longer examples are left out."""
    num_epochs: int = 3
    """Times that the examples are gone through."""
    learning_rate: float = 1e-5
    """AdamW, linear warm-up, then cosine to 0."""
    weight_decay: float = 0.0
    """AdamW's, decoupled from the gradient."""
    warmup_share: float = 0.03
    """Share of the steps."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm."""
    batch_tokens: int = 32_768
    """Padded tokens of one optimizer step on one process; a longer example stands alone."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass to save memory."""
    report_every: int = 10
    """Steps between progress lines."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require_model(self.model)
        require(
            bool(self.teacher),
            "no teacher is given",
            "teacher",
            "teacher=[FOLDER]: an evaluation of it, made by `rlvr evaluate`",
        )
        require_positive(
            self, "", "max_per_problem", "max_tokens", "num_epochs", "learning_rate", "batch_tokens",
            "report_every", "max_grad_norm",
        )  # fmt: skip
        require_share(self.warmup_share, "warmup_share")
