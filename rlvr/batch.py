"""Batches between the stages, one type per stage; shapes stand beside each field.

B = rollouts, prompt-major: ``row = prompt * group_size + sample``.
T = longest response, S = longest prompt + response of the batch.

Images are encoded files, and each learner makes pixels of those of a micro-batch (learner/vision.py): as pixels, those
of a batch would fill the memory of the driver. The rows of a prompt share them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import torch
from torch import Tensor

from rlvr.records import Problem, Rollout, RolloutGroup, Status

Images = tuple[tuple[bytes, ...], ...]
"""(B,) rows of encoded images, in the order of their places in the prompt; a place is all the tokens that it takes."""


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
    """(B,) float32: what the responses earn."""
    valid: Tensor
    """(B,) bool: False where the verifier itself failed; such a row carries no weight."""
    policy_version: Tensor
    """(B, T) int64: version of the weights that wrote the token; 0 on padding."""
    truncated: Tensor
    """(B,) bool: the response was cut off, and is not right."""
    max_response_tokens: int
    """Responses were cut off at this length."""
    baseline_rewards: Tensor | None = None
    """(B,) float32: what the greedy response earns to the row's prompt, where one was asked for."""
    images: Images | None = None
    """Where the prompts have some."""

    def __len__(self) -> int:
        """Number of rollouts."""
        return len(self.tokens)


@dataclass(frozen=True, slots=True)
class Annotations:
    """What the learner computes about a batch before it moves; None where nothing asks for it."""

    old_logprobs: Tensor | None = None
    """(B, T) float32: log-probabilities under the weights that start the step."""
    ref_logprobs: Tensor | None = None
    """(B, T) float32: log-probabilities under the frozen reference model."""
    values: Tensor | None = None
    """(B, T) float32: the critic's value of the state before each response token."""


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
    ref_logprobs: Tensor | None = None
    """(B, T) float32, where the loss has a KL term."""
    values: Tensor | None = None
    """(B, T) float32, where there is a critic: its values before the step."""
    returns: Tensor | None = None
    """(B, T) float32, where there is a critic: its targets."""
    value_weights: Tensor | None = None
    """(B, T) float32, where there is a critic: as ``loss_weights``, for its loss."""
    images: Images | None = None
    """Where the prompts have some."""

    def __len__(self) -> int:
        """Number of rollouts."""
        return len(self.tokens)

    @classmethod
    def of_tokens(
        cls, tokens: Tensor, prompt_lengths: Tensor, response_mask: Tensor, images: Images | None = None
    ) -> Self:
        """A batch to look at, with nothing to learn from it."""
        nothing = torch.zeros_like(response_mask)
        return cls(tokens, prompt_lengths, response_mask, nothing, None, nothing, nothing, images=images)

    @property
    def lengths(self) -> Tensor:
        """(B,) int64: tokens of each row, prompt and response."""
        return self.prompt_lengths + response_lengths(self.response_mask)

    def rows(self, index: Tensor | Sequence[int]) -> Self:
        """The rows of ``index``, trimmed to their own longest sequence."""
        index = torch.as_tensor(index)
        response_length = int(response_lengths(self.response_mask[index]).max())
        widths = {"tokens": int(self.lengths[index].max()), "prompt_lengths": None}
        chosen: dict[str, Any] = {}
        for name, tensor in self.tensors().items():
            width = widths.get(name, response_length)
            chosen[name] = None if tensor is None else tensor[index][..., :width]
        images = None if self.images is None else tuple(self.images[row] for row in index.tolist())
        return type(self)(**chosen, images=images)

    def to(self, device: torch.device) -> Self:
        """The same on another device."""
        moved: dict[str, Any] = {
            name: None if tensor is None else tensor.to(device) for name, tensor in self.tensors().items()
        }
        return type(self)(**moved, images=self.images)

    def tensors(self) -> dict[str, Tensor | None]:
        """All fields but the images."""
        return {spec.name: getattr(self, spec.name) for spec in fields(self) if spec.name != "images"}


def response_lengths(mask: Tensor) -> Tensor:
    """Position after the last response token of each row; holes in the mask count: (B, T) → (B,) int64."""
    return ((mask > 0) * torch.arange(1, mask.shape[1] + 1, device=mask.device)).amax(1)


def score_of(problem: Problem, rollout: Rollout) -> float:
    """The verifier's score, and nothing else, as reward."""
    return rollout.verdict.score


def collate(
    groups: Sequence[RolloutGroup],
    max_response_tokens: int,
    reward: Callable[[Problem, Rollout], float] = score_of,
) -> RolloutBatch:
    """Pad groups of equal size into one prompt-major batch.

    Args:
        groups: rollouts by prompt; greedy baselines for all of them or for none.
        max_response_tokens: where responses were cut off.
        reward: what a response to a problem earns.

    Raises:
        ValueError: the groups are empty or differ in size.
    """
    sizes = {len(group.rollouts) for group in groups}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(f"groups must be of one size above 0, found sizes {sorted(sizes)}")
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    completions = [rollout.completion for rollout in rollouts]
    prompt_lengths = torch.tensor([len(c.prompt_tokens) for c in completions])
    lengths = torch.tensor([len(c.response_tokens) for c in completions])
    num_rows, longest = len(rollouts), int(lengths.max())
    tokens = torch.zeros(num_rows, int((prompt_lengths + lengths).max()), dtype=torch.int64)
    logprobs = torch.zeros(num_rows, longest)
    versions = torch.zeros(num_rows, longest, dtype=torch.int64)
    for row, completion in enumerate(completions):
        ids = [*completion.prompt_tokens, *completion.response_tokens]
        tokens[row, : len(ids)] = torch.tensor(ids)
        versions[row, : len(completion.response_tokens)] = torch.tensor(completion.token_versions)
        if completion.logprobs is not None:
            logprobs[row, : len(completion.response_tokens)] = torch.tensor(completion.logprobs)
    # A row whose baseline could not be judged has no advantage either.
    judged = [
        group.baseline is None or group.baseline.verdict.is_valid for group in groups for _ in group.rollouts
    ]
    valid = torch.tensor([rollout.verdict.is_valid for rollout in rollouts]) & torch.tensor(judged)
    mask = (torch.arange(longest) < lengths[:, None]).float()
    group_size = sizes.pop()
    greedy = [reward(group.problem, group.baseline) for group in groups if group.baseline is not None]
    return RolloutBatch(
        group_size=group_size,
        tokens=tokens,
        prompt_lengths=prompt_lengths,
        response_mask=mask,
        rollout_logprobs=logprobs,
        rewards=torch.tensor(
            [reward(group.problem, rollout) for group in groups for rollout in group.rollouts],
            dtype=torch.float32,
        ),
        valid=valid,
        policy_version=versions,
        truncated=torch.tensor(
            [
                rollout.completion.finish_reason == "length" and rollout.verdict.status is not Status.CORRECT
                for rollout in rollouts
            ]
        ),
        max_response_tokens=max_response_tokens,
        baseline_rewards=torch.tensor(greedy, dtype=torch.float32).repeat_interleave(group_size)
        if greedy
        else None,
        images=tuple(group.images for group in groups for _ in group.rollouts)
        if any(group.images for group in groups)
        else None,
    )
