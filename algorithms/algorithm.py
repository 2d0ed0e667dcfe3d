"""An algorithm is a composition of functions; the trainer never asks its name.

The path of every algorithm, of which each file in this folder fills in the parts::

    rollouts ─ shape_reward ─ reward_kl ─ advantage ─┬─ policy_loss × importance cap + loss_kl − entropy ─ × loss_weights
                                                     └─ value_loss (with a critic)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rlvr.algorithms.kl import KLPenalty
from rlvr.algorithms.losses import MAX_LOG_RATIO, PolicyLossOutput
from rlvr.algorithms.reductions import Reduction, token_mean
from rlvr.records import RolloutGroup

if TYPE_CHECKING:
    from torch import Tensor

    from rlvr.batch import Annotations, RolloutBatch, TrainBatch


class PolicyLoss(Protocol):
    """Per-token loss of the policy."""

    def __call__(
        self, logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, mask: Tensor
    ) -> PolicyLossOutput:
        """All (…, T) of one shape; see losses.py."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """What is asked of the rollout engines for every prompt."""

    group_size: int
    """Rollouts per prompt."""
    greedy_baseline: bool = False
    """Also sample one greedy response, whose score becomes the batch's ``baseline_rewards``."""
    keep_group: Callable[[RolloutGroup], bool] | None = None
    """Dynamic sampling: groups it refuses are replaced by groups of the next prompts."""
    max_sampling_factor: float = 1.0
    """Most groups sampled in a step, as a multiple of the groups wanted."""


@dataclass(frozen=True, slots=True)
class Critic:
    """A value model beside the policy, trained on the returns."""

    value_loss: Callable[[Tensor, Tensor, Tensor], Tensor]
    """(values, old values, returns) → loss per token; see losses.py."""
    learning_rate: float | None
    """None: ten times the policy's."""
    warmup_steps: int
    """Driver steps at the start that train the critic alone."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A batch as credit assignment sees it. Rows that the verifier failed on have an empty mask."""

    group_size: int
    mask: Tensor
    """(B, T) float32: response tokens of valid rows."""
    valid: Tensor
    """(B,) bool."""
    rewards: Tensor
    """(B,) score of each response, shaped."""
    baseline_rewards: Tensor | None
    """(B,) score of the greedy response to the same prompt."""
    kl_penalty: Tensor | None
    """(B, T) what each token loses for leaving the reference model; None without KL in the reward."""
    values: Tensor | None
    """(B, T) the critic's values."""


@dataclass(frozen=True, slots=True)
class Credit:
    """What credit assignment concludes."""

    advantages: Tensor
    """(B, T), zero outside the mask."""
    returns: Tensor | None = None
    """(B, T) targets of the critic."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """The optimizer steps of one driver step."""

    minibatches: Sequence[TrainBatch]
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm:
    """What distinguishes one algorithm from another, and nothing that they share."""

    sampling: Sampling
    advantage: Callable[[Scored], Credit]
    policy_loss: PolicyLoss
    loss_weights: Reduction
    """How token losses become one number, as weights; see reductions.py."""
    shape_reward: Callable[[RolloutBatch], Tensor] | None = None
    """(B,) to be added to the verifier's scores, such as a length penalty."""
    reward_kl: KLPenalty | None = None
    """Subtracted from the reward of each token."""
    loss_kl: KLPenalty | None = None
    """Added to the loss of each token."""
    importance_cap: float | None = None
    """C of truncated importance sampling: each token's loss is multiplied by
    min(π_old / π_engine, C), which corrects for engine and learner computing slightly
    different probabilities (Yao et al. 2025, "Your Efficient RL Framework Secretly Brings
    You Off-Policy RL Training")."""
    entropy_coef: float = 0.0
    """Times the entropy of each token's distribution, subtracted from the token's loss."""
    mask_truncated: bool = False
    """Whether responses that were cut off, and are not right, have no weight in the loss."""
    critic: Critic | None = None

    @property
    def group_size(self) -> int:
        """Rollouts per prompt."""
        return self.sampling.group_size

    @property
    def needs_reference(self) -> bool:
        """Whether a frozen copy of the start model has to be held."""
        return self.reward_kl is not None or self.loss_kl is not None

    def needs_old_logprobs(self, num_updates: int) -> bool:
        """Whether the policy's log-probabilities before the step are needed.

        With a single optimizer step the policy has not moved when the loss is computed, and the
        log-probabilities of that very forward pass are the old ones.
        """
        return num_updates > 1 or self.reward_kl is not None

    @property
    def value_only_steps(self) -> int:
        """Driver steps at the start in which the policy stands still."""
        return self.critic.warmup_steps if self.critic else 0

    def assign_credit(
        self, batch: RolloutBatch, annotations: Annotations, minibatch_size: int, num_epochs: int = 1
    ) -> Assigned:
        """Turn a rollout batch into the optimizer steps of one driver step.

        Args:
            batch: B rollouts.
            annotations: what the learner said about them; ``old_logprobs`` may be None when
                there is a single optimizer step, during which the policy has not moved.
            minibatch_size: rollouts per optimizer step, a multiple of the group size; the last
                step of an epoch takes what is left.
            num_epochs: times that the batch is gone through.
        """
        from rlvr.batch import TrainBatch  # here, so that help and a typo in a setting need no torch

        scored = self._score(batch, annotations)
        credit = self.advantage(scored)
        learned = scored.mask * ~batch.truncated[:, None] if self.mask_truncated else scored.mask
        minibatches = []
        for start in range(0, len(batch), minibatch_size):
            rows = slice(start, start + minibatch_size)
            cut = lambda tensor, rows=rows: None if tensor is None else tensor[rows]  # noqa: E731
            minibatches.append(
                TrainBatch(
                    tokens=batch.tokens[rows],
                    prompt_lengths=batch.prompt_lengths[rows],
                    response_mask=batch.response_mask[rows],
                    rollout_logprobs=batch.rollout_logprobs[rows],
                    old_logprobs=cut(annotations.old_logprobs),
                    advantages=credit.advantages[rows],
                    loss_weights=self.loss_weights(learned[rows], batch.max_response_tokens),
                    ref_logprobs=cut(annotations.ref_logprobs),
                    values=cut(annotations.values),
                    returns=cut(credit.returns),
                    value_weights=token_mean(scored.mask[rows], batch.max_response_tokens)
                    if self.critic
                    else None,
                    images=None if batch.images is None else batch.images[rows],
                )
            )
        if annotations.old_logprobs is None and len(minibatches) * num_epochs > 1:
            raise ValueError(f"{len(minibatches)} × {num_epochs} optimizer steps need old log-probabilities")
        return Assigned(minibatches * num_epochs, credit_metrics(scored, credit))

    def _score(self, batch: RolloutBatch, annotations: Annotations) -> Scored:
        mask = batch.response_mask * batch.valid[:, None]
        penalty = None
        if self.reward_kl is not None:
            assert annotations.old_logprobs is not None
            assert annotations.ref_logprobs is not None
            penalty = self.reward_kl(annotations.old_logprobs, annotations.ref_logprobs) * mask
        shaping = 0.0 if self.shape_reward is None else self.shape_reward(batch)
        return Scored(
            group_size=batch.group_size,
            mask=mask,
            valid=batch.valid,
            rewards=batch.rewards + shaping,
            baseline_rewards=batch.baseline_rewards,
            kl_penalty=penalty,
            values=annotations.values,
        )

    def token_loss(
        self, logprobs: Tensor, batch: TrainBatch, entropies: Tensor | None = None
    ) -> PolicyLossOutput:
        """The loss of each token of a (micro-)batch, before it is weighed.

        Args:
            logprobs: (b, T) of the policy, with gradient.
            batch: b rows on the same device.
            entropies: (b, T) of the policy, with gradient; needed where they have a weight.
        """
        old_logprobs = logprobs.detach() if batch.old_logprobs is None else batch.old_logprobs
        output = self.policy_loss(logprobs, old_logprobs, batch.advantages, batch.response_mask)
        loss = output.loss
        if self.importance_cap is not None:
            loss = loss * importance_weight(old_logprobs, batch.rollout_logprobs, self.importance_cap)
        if self.loss_kl is not None:
            assert batch.ref_logprobs is not None
            loss = loss + self.loss_kl(logprobs, batch.ref_logprobs)
        if self.entropy_coef:
            assert entropies is not None
            loss = loss - self.entropy_coef * entropies
        return PolicyLossOutput(loss, output.ratio, output.clipped)


def importance_weight(old_logprobs: Tensor, rollout_logprobs: Tensor, cap: float) -> Tensor:
    """min(π_old / π_engine, C) of each token, a constant to the gradient."""
    log_ratio = (old_logprobs - rollout_logprobs).detach().clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return log_ratio.exp().clamp(max=cap)


def credit_metrics(scored: Scored, credit: Credit) -> dict[str, float]:
    """Means over valid responses (``reward/…``, ``baseline/…``) and tokens (``advantage/…``, ``critic/…``)."""
    num_tokens = scored.mask.sum().clamp(min=1)
    mean = lambda tensor: float((tensor * scored.mask).sum() / num_tokens)  # noqa: E731
    metrics = {
        "reward/shaped_mean": float(scored.rewards[scored.valid].mean()) if scored.valid.any() else 0.0,
        "advantage/mean": mean(credit.advantages),
        "advantage/abs_mean": mean(credit.advantages.abs()),
    }
    if scored.kl_penalty is not None:
        metrics["reward/kl_penalty_mean"] = mean(scored.kl_penalty)
    if scored.baseline_rewards is not None:
        judged = scored.baseline_rewards[scored.valid]
        metrics["baseline/reward_mean"] = float(judged.mean()) if len(judged) else 0.0
    if credit.returns is not None and scored.values is not None:
        error, returns = credit.returns - scored.values, credit.returns
        spread = mean((returns - mean(returns)).square())
        metrics["critic/value_mean"] = mean(scored.values)
        metrics["critic/return_mean"] = mean(returns)
        metrics["critic/explained_variance"] = 1 - mean((error - mean(error)).square()) / max(spread, 1e-8)
    return metrics
