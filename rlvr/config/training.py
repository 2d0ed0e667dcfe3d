"""The training loop: its length, its batch, and when it is stopped."""

from __future__ import annotations

from dataclasses import dataclass, field

from rlvr.config.checks import require, require_one_of, require_positive, require_share
from rlvr.rewards.training import TrainingReward


@dataclass
class TrainConfig:
    """Length and batch of the training loop."""

    num_steps: int = 100
    """Driver iterations: sample, verify, update, publish. May grow within a run, also after its end: no step
    depends on it."""
    prompts_per_step: int = 32
    """Prompts in one step; each is sampled ``algorithm.group_size`` times."""
    minibatch_size: int | None = None
    """Rollouts in one optimizer step; null takes the whole step (strictly on-policy)."""
    num_epochs: int = 1
    """Times that a step's rollouts are gone through (PPO's K; the study: 1)."""
    max_staleness: int = 0
    """Steps by which the weights that sample a batch may be older than those that it is trained on. 0: sampling and
    learning alternate. 1: each batch is sampled while the one before is learned. 2 or more: responses are written on
    through updates of the weights, and the engines never wait for a batch to be whole. From 1 on it needs
    ``algorithm.importance_cap`` and separate devices for the two pools."""
    correct_staleness: bool = True
    """Whether a batch of older weights needs ``algorithm.importance_cap``. false trains on it as if the newest weights had
    sampled it: to measure what that costs."""
    temperature: float = 1.0
    """Sampling temperature; log-probabilities are computed at it on both sides."""
    top_p: float = 1.0
    """Only 1: a truncated distribution is not the one whose log-probabilities the learner computes."""
    top_k: int = -1
    """Only -1 (off), for the same reason."""
    min_p: float = 0.0
    """Only 0 (off), for the same reason."""
    reward: TrainingReward = field(default_factory=TrainingReward)
    """What a response earns, by its verdict and its form."""
    max_error_share: float = 0.05
    """Stop when the verifier itself fails on more than this share of a step's rollouts."""
    seed_requests: bool = True
    """Give every response a random seed of its own, derived from the run's seed, the step and its prompt, so
    that an interrupted run draws the responses that it would have drawn. false leaves it to the engine, which
    on CUDA may sample faster."""
    checkpoint_every: int = 20
    """Steps between checkpoints, from which an interrupted run goes on, and a longer one from the last; 0 writes one
    only when a signal stops the run."""
    keep_checkpoints: int = 2
    """Checkpoints kept to go on from; older ones are deleted."""
    keep_model_every: int = 0
    """Steps whose model is kept for good, in ``checkpoints/step-N/model``; 0 keeps the last one only."""

    def __post_init__(self) -> None:
        """Check the sizes."""
        require_positive(self, "train", "num_steps", "prompts_per_step", "num_epochs", "temperature")
        for name, off in (("top_p", 1.0), ("top_k", -1), ("min_p", 0.0)):
            require(
                getattr(self, name) == off,
                f"training with {name}={getattr(self, name)} would make the ratio π/π_old wrong: the engine "
                "would draw from a truncated distribution, the learner computes the whole one",
                f"train.{name}",
                f"{name}={off}; shape the distribution by train.temperature, which both sides apply",
            )
        require(
            self.max_staleness >= 0,
            f"a batch cannot be {self.max_staleness} steps old",
            "train.max_staleness",
            "0 (sampling and learning alternate), 1 (one batch ahead), or more (in flight)",
        )
        require_share(self.max_error_share, "train.max_error_share")
        require_positive(self, "train", "keep_checkpoints")
        for name in ("checkpoint_every", "keep_model_every"):
            require(getattr(self, name) >= 0, f"{name} is negative", f"train.{name}", "0 or more")


@dataclass
class GuardsConfig:
    """When a training run is warned about or stopped, because something has gone wrong."""

    max_bad_steps: int = 3
    """Stop after so many steps in a row with a gradient that held NaN or infinity. Such a gradient is left out,
    and its batch is kept in ``bad-batches/``."""
    max_ratio_mean: float = 10.0
    """Stop when the mean of π/π_old over a step's tokens is above this; it is near 1 as long as all is well."""
    max_mismatch_kl: float = 1.0
    """Stop when ``mismatch/kl``, by which the policy has left the weights that sampled a step, is above this many nats a
    token. Rounding makes 1e-3 of it, old weights (``train.max_staleness``) some hundredths; at 1 the responses could as
    well be another model's."""
    window: int = 10
    """Steps before a step that it is compared with, for the two jumps below."""
    reward_jump: float = 0.3
    """Warn when the mean reward differs from that of the steps before by more than this."""
    error_jump: float = 0.02
    """Warn when the share of responses that the verifier failed on differs by more than this;
    ``train.max_error_share`` stops."""
    on_jump: str = "warn"
    """``warn``, or ``stop`` the run before the step is trained on."""

    def __post_init__(self) -> None:
        """Check words and sizes."""
        require_positive(
            self,
            "guards",
            "max_bad_steps",
            "max_ratio_mean",
            "max_mismatch_kl",
            "window",
            "reward_jump",
            "error_jump",
        )
        require_one_of(self.on_jump, ("warn", "stop"), "guards.on_jump")
