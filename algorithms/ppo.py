"""PPO: Proximal Policy Optimization (Schulman et al. 2017, arXiv 1707.06347), with a critic.

Every response token is an action a_t in the state s_t of all tokens before it.

(1) reward     r_t = 1[t last]·R − β k_t                                        KL in the reward
(2) advantage  δ_t = r_t + γ V(s_{t+1}) − V(s_t),   A_t = Σ_l (γλ)^l δ_{t+l}        eq. 11, 12
               Â_t = (A_t − mean(A)) / sqrt(var(A) + 1e-8) over all tokens of the batch
(3) ratio      ρ_t = π(a_t | s_t) / π_old(a_t | s_t)
(4) loss       ℓ_t = −min(ρ_t Â_t, clip(ρ_t, 1 − ε_low, 1 + ε_high) Â_t)            eq. 7
(5) critic     ℓ^V_t = ½ max((V − R̂_t)², (clip(V, V_old ± ε_V) − R̂_t)²),   R̂_t = A_t + V_old(s_t)
(6) objective  means of (4) and of (5) over all tokens; V is a model of its own
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from rlvr.algorithms.advantages import gae, token_rewards, whiten
from rlvr.algorithms.algorithm import Algorithm, Credit, Critic, Scored
from rlvr.algorithms.losses import value_loss
from rlvr.algorithms.settings import ClippedConfig, KLConfig, above, at_least, share, zero_or_one


@dataclass
class CriticConfig:
    """The value model: the start model's architecture and weights with a value head."""

    learning_rate: float | None = None
    """AdamW; null takes ten times ``learner.learning_rate`` (verl: 1e-5 beside 1e-6, OpenRLHF: 9e-6 beside 1e-6)."""
    value_clip: float | None = 0.2
    """ε_V of (5); null does not clip (PPO's released code: 0.2, verl and OpenRLHF: 0.5)."""
    warmup_steps: int = 0
    """Steps at the start that train the critic alone (the study states none)."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.learning_rate is not None:
            at_least(self, "critic.", "learning_rate", 0)
        if self.value_clip is not None:
            above(self, "critic.", "value_clip", 0)
        at_least(self, "critic.", "warmup_steps", 0)


@dataclass
class PPOConfig(ClippedConfig):
    """Defaults: the paper's clip; γ = λ = 1 as in verl and OpenRLHF, where the reward comes at the end."""

    name: str = "ppo"
    gamma: float = 1.0
    """γ of (2)."""
    lam: float = 1.0
    """λ of (2)."""
    ddof: int = 1
    """The variance of (2) divides by N − ddof (verl: 1, OpenRLHF: 0)."""
    kl: KLConfig = field(default_factory=lambda: KLConfig(placement="reward", estimator="k1"))
    """β of (1)."""
    critic: CriticConfig = field(default_factory=CriticConfig)

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        for name in ("gamma", "lam"):
            share(self, "", name)
        zero_or_one(self, "ddof")

    def build(self) -> Algorithm:
        """Compose the algorithm from the numbered equations."""
        return Algorithm(
            **self.shared(),  # samples, β of (1), (6)
            advantage=partial(advantage, config=self),  # (1), (2)
            policy_loss=self.clip_loss(),  # (3), (4)
            critic=Critic(
                value_loss=partial(value_loss, clip=self.critic.value_clip),  # (5)
                learning_rate=self.critic.learning_rate,
                warmup_steps=self.critic.warmup_steps,
            ),
        )


def advantage(scored: Scored, *, config: PPOConfig) -> Credit:
    """Equations (1) and (2), and the returns of (5)."""
    assert scored.values is not None
    rewards = token_rewards(scored.rewards, scored.kl_penalty, scored.mask)
    advantages, returns = gae(rewards, scored.values, scored.mask, gamma=config.gamma, lam=config.lam)
    return Credit(whiten(advantages, scored.mask, ddof=config.ddof), returns)
