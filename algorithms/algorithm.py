"""An algorithm is a composition of four functions; the trainer never asks its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from rlvr.batch import Annotations, RolloutBatch, TrainBatch


class PolicyLoss(Protocol):
    """Per-token loss of the policy."""

    def __call__(self, logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor) -> PolicyLossOutput:
        """All (…) of one shape; see losses.py."""


@dataclass(frozen=True, slots=True)
class PolicyLossOutput:
    """The loss of each token and the diagnostics that go with it."""

    loss: Tensor
    """Same shape as the log-probabilities."""
    ratio: Tensor
    """π/π_old of each token."""
    clipped: Tensor
    """Whether the clip was active on each token."""


@dataclass(frozen=True, slots=True)
class Algorithm:
    """What distinguishes one algorithm from another, and nothing that they share."""

    group_size: int
    """Rollouts per prompt."""
    advantage: Callable[[RolloutBatch], Tensor]
    """(B, T) advantages, zero outside the response."""
    policy_loss: PolicyLoss
    loss_weights: Callable[[Tensor], Tensor]
    """Response mask (B, T) of an optimizer minibatch → weights (B, T); the objective is the
    weighted sum of the token losses."""

    def assign_credit(
        self, batch: RolloutBatch, minibatch_size: int, annotations: Annotations | None
    ) -> Sequence[TrainBatch]:
        """Turn a rollout batch into the optimizer steps of one driver step.

        Args:
            batch: B rollouts.
            minibatch_size: rollouts per optimizer step; divides B.
            annotations: log-probabilities before the step; may be None when there is only
                one optimizer step, during which the policy has not moved.

        Returns:
            B / minibatch_size batches in order; groups stay whole.
        """
        if len(batch) % minibatch_size or (annotations is None and minibatch_size != len(batch)):
            raise ValueError(f"{len(batch)} rollouts do not make minibatches of {minibatch_size}, annotated")
        advantages = self.advantage(batch)
        mask = batch.response_mask * batch.valid[:, None]
        steps = []
        for start in range(0, len(batch), minibatch_size):
            rows = slice(start, start + minibatch_size)
            steps.append(
                TrainBatch(
                    tokens=batch.tokens[rows],
                    prompt_lengths=batch.prompt_lengths[rows],
                    response_mask=batch.response_mask[rows],
                    rollout_logprobs=batch.rollout_logprobs[rows],
                    old_logprobs=None if annotations is None else annotations.old_logprobs[rows],
                    advantages=advantages[rows],
                    loss_weights=self.loss_weights(mask[rows]),
                )
            )
        return steps
