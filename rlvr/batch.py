"""Batches between the stages, one type per stage; shapes stand beside each field.

B = rollouts, prompt-major: ``row = prompt * group_size + sample``.
T = longest response, S = longest prompt + response of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from rlvr.records import RolloutGroup


@dataclass(frozen=True, slots=True)
class RolloutBatch:
    """What was sampled and verified: the input of credit assignment."""

    group_size: int
    """Rollouts per prompt; rows of one prompt are contiguous."""
    tokens: Tensor
    """(B, S) int64: prompt, response, then padding on the right."""
    prompt_lengths: Tensor
    """(B,) int64: response token t of a row stands at ``tokens[row, prompt_lengths[row] + t]``."""
    response_mask: Tensor
    """(B, T) float32: 1 on response tokens, 0 on padding."""
    rollout_logprobs: Tensor
    """(B, T) float32: the engine's log-probabilities at the sampling temperature, nats."""
    rewards: Tensor
    """(B,) float32: the verifier's scores."""
    valid: Tensor
    """(B,) bool: False where the verifier itself failed; such a row carries no weight."""
    policy_version: Tensor
    """(B,) int64: version of the weights that sampled the row."""

    def __len__(self) -> int:
        """Number of rollouts."""
        return len(self.tokens)


@dataclass(frozen=True, slots=True)
class Annotations:
    """What the learner computes about a batch before it moves."""

    old_logprobs: Tensor
    """(B, T) float32: log-probabilities under the weights that start the step."""


@dataclass(frozen=True, slots=True)
class TrainBatch:
    """One optimizer step: everything the loss needs, and nothing else."""

    tokens: Tensor
    """(B, S) int64."""
    prompt_lengths: Tensor
    """(B,) int64."""
    response_mask: Tensor
    """(B, T) float32."""
    rollout_logprobs: Tensor
    """(B, T) float32."""
    old_logprobs: Tensor | None
    """(B, T) float32, or None on the first optimizer step after sampling: the policy has not
    moved, so the current log-probabilities are the old ones and the ratio is 1."""
    advantages: Tensor
    """(B, T) float32."""
    loss_weights: Tensor
    """(B, T) float32: the objective is the sum of loss x weight over the whole minibatch,
    so neither micro-batches nor the number of learners can change it."""

    def __len__(self) -> int:
        """Number of rollouts."""
        return len(self.tokens)

    def rows(self, index: Tensor | Sequence[int]) -> Self:
        """The rows of ``index``, trimmed to their own longest sequence."""
        index = torch.as_tensor(index)
        response_length = int(self.response_mask[index].sum(1).max().item())
        lengths = self.prompt_lengths[index] + self.response_mask[index].sum(1).long()
        total_length = int(lengths.max().item())
        return type(self)(
            tokens=self.tokens[index, :total_length],
            prompt_lengths=self.prompt_lengths[index],
            response_mask=self.response_mask[index, :response_length],
            rollout_logprobs=self.rollout_logprobs[index, :response_length],
            old_logprobs=None if self.old_logprobs is None else self.old_logprobs[index, :response_length],
            advantages=self.advantages[index, :response_length],
            loss_weights=self.loss_weights[index, :response_length],
        )


def collate(groups: Sequence[RolloutGroup]) -> RolloutBatch:
    """Pad groups of equal size into one prompt-major batch.

    Raises:
        ValueError: the groups are empty or differ in size.
    """
    sizes = {len(group.rollouts) for group in groups}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(f"groups must be of one size above 0, found sizes {sorted(sizes)}")
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    completions = [rollout.completion for rollout in rollouts]
    prompt_lengths = torch.tensor([len(c.prompt_tokens) for c in completions])
    response_lengths = torch.tensor([len(c.response_tokens) for c in completions])
    num_rows, longest = len(rollouts), int(response_lengths.max())
    tokens = torch.zeros(num_rows, int((prompt_lengths + response_lengths).max()), dtype=torch.int64)
    logprobs = torch.zeros(num_rows, longest)
    for row, completion in enumerate(completions):
        ids = [*completion.prompt_tokens, *completion.response_tokens]
        tokens[row, : len(ids)] = torch.tensor(ids)
        if completion.logprobs is not None:
            logprobs[row, : len(completion.response_tokens)] = torch.tensor(completion.logprobs)
    valid = torch.tensor([rollout.verdict.counts for rollout in rollouts])
    mask = (torch.arange(longest) < response_lengths[:, None]).float()
    return RolloutBatch(
        group_size=sizes.pop(),
        tokens=tokens,
        prompt_lengths=prompt_lengths,
        response_mask=mask,
        rollout_logprobs=logprobs,
        rewards=torch.tensor([rollout.verdict.score for rollout in rollouts]),
        valid=valid,
        policy_version=torch.tensor([c.policy_version for c in completions]),
    )
