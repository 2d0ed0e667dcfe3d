"""What the configs of all algorithms share: names, groups, KL, importance sampling, and their checks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from rlvr.algorithms.algorithm import Algorithm, PolicyLoss, Sampling
from rlvr.algorithms.kl import ESTIMATORS, KLPenalty
from rlvr.algorithms.losses import clip_loss, reinforce_loss
from rlvr.algorithms.reductions import REDUCTIONS
from rlvr.errors import ConfigError, did_you_mean

PLACEMENTS = ("loss", "reward")
GROUP_BASELINES = ("reward", "reward_minus_kl")
POLICY_LOSSES = ("reinforce", "clip")


@dataclass
class KLConfig:
    """KL penalty towards the start model. The default coefficient 0 is the study's (2504.13837, §4.3)."""

    coef: float = 0.0
    """β; 0 holds no reference model at all (the study's ablation: 0.001 in the loss)."""
    placement: str = "loss"
    """Where it enters: ``loss`` (GRPO) or the ``reward`` of each token (PPO, REINFORCE++, RLOO, ReMax)."""
    estimator: str = "k3"
    """``k1``, ``k2`` or ``k3``; see kl.py."""
    group_baseline: str = "reward"
    """With ``placement: reward``, what a group is compared on: the verifier's ``reward`` alone, each token
    then losing the penalties from itself on (OpenRLHF), or ``reward_minus_kl``, the penalty summed over
    the response and subtracted first (verl, TRL)."""

    def __post_init__(self) -> None:
        """Check the words and the sign."""
        at_least(self, "kl.", "coef", 0)
        one_of(self.placement, PLACEMENTS, "kl.placement")
        one_of(self.estimator, ESTIMATORS, "kl.estimator")
        one_of(self.group_baseline, GROUP_BASELINES, "kl.group_baseline")

    def penalty(self, placement: str) -> KLPenalty | None:
        """The penalty if it belongs at ``placement``; None if it does not, or is off."""
        if self.coef == 0 or self.placement != placement:
            return None
        return KLPenalty(self.coef, ESTIMATORS[self.estimator])

    @property
    def baseline_sees_kl(self) -> bool:
        """Whether groups are compared on reward less KL."""
        return self.group_baseline == "reward_minus_kl"


@dataclass
class AlgorithmConfig:
    """Settings that every algorithm has."""

    name: str = ""
    """Label in tables, plots and folders; decides nothing."""
    group_size: int = 8
    """Responses per prompt (2504.13837, §4.3: 8)."""
    kl: KLConfig = field(default_factory=KLConfig)
    reduction: str = "token_mean"
    """How token losses are averaged: token_mean, sequence_mean, sequence_sum or constant_length."""
    importance_cap: float | None = None
    """C of truncated importance sampling between engine and learner; null is off (verl's default C: 2)."""
    entropy_coef: float = 0.0
    """Weight of the policy's entropy at every token, which the objective gains (SimpleRL-Zoo and Code-R1: 0.001);
    0, the study's, leaves it out."""
    mask_truncated: bool = False
    """Whether responses that were cut off, and are not right, carry no weight in the policy's loss (DAPO's overlong
    filtering, 2503.14476, §3.4). They still count where the responses of a group are compared."""

    def __post_init__(self) -> None:
        """Refuse settings under which the equations mean nothing."""
        at_least(self, "", "group_size", 1)
        one_of(self.reduction, REDUCTIONS, "reduction")
        if self.importance_cap is not None:
            above(self, "", "importance_cap", 0)
        at_least(self, "", "entropy_coef", 0)

    def build(self) -> Algorithm:
        """Compose the algorithm."""
        raise NotImplementedError

    def shared(self) -> dict[str, Any]:
        """The parts of an :class:`Algorithm` that these settings fill in."""
        return {
            "sampling": Sampling(self.group_size),
            "loss_weights": REDUCTIONS[self.reduction],
            "reward_kl": self.kl.penalty("reward"),
            "loss_kl": self.kl.penalty("loss"),
            "importance_cap": self.importance_cap,
            "entropy_coef": self.entropy_coef,
            "mask_truncated": self.mask_truncated,
        }


@dataclass
class ClippedConfig(AlgorithmConfig):
    """Settings of the algorithms that clip the ratio π/π_old."""

    clip_low: float = 0.2
    """ε_low (PPO, 1707.06347, §6.1: 0.2; verl, OpenRLHF and TRL alike)."""
    clip_high: float = 0.2
    """ε_high."""
    dual_clip: float | None = None
    """c: where the advantage is negative, the loss of a token is at most −c·A; null is off (verl: 3)."""

    def __post_init__(self) -> None:
        """Check the clip."""
        super().__post_init__()
        for name in ("clip_low", "clip_high"):
            above(self, "", name, 0)
        if self.dual_clip is not None:
            above(self, "", "dual_clip", 1)

    def clip_loss(self) -> PolicyLoss:
        """The clipped surrogate with these bounds."""
        return partial(clip_loss, clip_low=self.clip_low, clip_high=self.clip_high, dual_clip=self.dual_clip)


@dataclass
class ReinforceConfig(ClippedConfig):
    """Settings of the algorithms whose papers use REINFORCE, and others' code PPO's surrogate."""

    policy_loss: str = "reinforce"
    """``reinforce``: −A·log π; ``clip``: PPO's surrogate per token, the only one that uses the clip_* values."""
    reduction: str = "sequence_sum"

    def __post_init__(self) -> None:
        """Check the word."""
        super().__post_init__()
        one_of(self.policy_loss, POLICY_LOSSES, "policy_loss")

    def surrogate(self) -> PolicyLoss:
        """The loss that was chosen."""
        return self.clip_loss() if self.policy_loss == "clip" else reinforce_loss


def refuse_single(config: AlgorithmConfig, title: str) -> None:
    """Raise a ConfigError for a group of one, in which there is nothing to compare."""
    if config.group_size < 2:
        raise ConfigError(
            f"{title} compares the responses of a group, and a group of {config.group_size} has nothing to compare",
            where="algorithm.group_size",
            fix="2 or more (the study uses 8)",
        )


def refuse_dual_clip(config: ClippedConfig, title: str) -> None:
    """Raise a ConfigError for a dual clip in an algorithm whose loss has none."""
    if config.dual_clip is not None:
        raise ConfigError(f"{title} has no dual clip", where="algorithm.dual_clip", fix="dual_clip=null")


def one_of(value: str, known: Collection[str], key: str) -> None:
    """Raise a ConfigError unless ``value`` is a known word."""
    if value not in known:
        raise ConfigError(
            f"{value!r} is not a choice here", where=f"algorithm.{key}", fix=did_you_mean(value, known)
        )


def above(config: Any, prefix: str, name: str, limit: float) -> None:
    """Raise a ConfigError unless a field is above ``limit``."""
    if getattr(config, name) <= limit:
        raise ConfigError(
            f"{name} is {getattr(config, name)}", where=f"algorithm.{prefix}{name}", fix=f"above {limit:g}"
        )


def at_least(config: Any, prefix: str, name: str, limit: float) -> None:
    """Raise a ConfigError if a field is below ``limit``."""
    if getattr(config, name) < limit:
        raise ConfigError(
            f"{name} is {getattr(config, name)}", where=f"algorithm.{prefix}{name}", fix=f"{limit:g} or more"
        )


def share(config: Any, prefix: str, name: str) -> None:
    """Raise a ConfigError unless a field is at least 0 and at most 1."""
    if not 0 <= getattr(config, name) <= 1:
        raise ConfigError(
            f"{name} is {getattr(config, name)}",
            where=f"algorithm.{prefix}{name}",
            fix="a number from 0 to 1",
        )


def zero_or_one(config: Any, name: str) -> None:
    """Raise a ConfigError unless a field is 0 or 1."""
    if getattr(config, name) not in (0, 1):
        raise ConfigError(f"{name} is {getattr(config, name)}", where=f"algorithm.{name}", fix="0 or 1")
