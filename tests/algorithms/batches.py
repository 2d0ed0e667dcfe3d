"""Fabricated batches for the algorithms: ragged, with holes in the mask, in double precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from rlvr.algorithms.algorithm import Algorithm
from rlvr.algorithms.registry import ALGORITHMS
from rlvr.algorithms.settings import AlgorithmConfig, KLConfig
from rlvr.batch import Annotations, RolloutBatch, TrainBatch

VOCABULARY = 11
LIMIT = 12
"""Longest response allowed in these batches."""


def config_of(name: str, **changes: Any) -> Any:
    """A config of the registry with groups of four and other changes."""
    return replace(ALGORITHMS[name], **{"group_size": 4, **changes})


def with_kl(config: AlgorithmConfig, coef: float, **changes: Any) -> Any:
    """The same config with a KL penalty of this coefficient."""
    kl: KLConfig = replace(config.kl, coef=coef, **changes)
    return replace(config, kl=kl)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def masked(lengths: Sequence[int], holes: Sequence[tuple[int, int]] = ()) -> Tensor:
    """A mask with responses of these lengths and holes at these (row, step)."""
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).double()
    for row, step in holes:
        mask[row, step] = 0
    return mask


def rollouts(
    rewards: Sequence[float],
    lengths: Sequence[int],
    *,
    group_size: int,
    holes: Sequence[tuple[int, int]] = (),
    errors: Sequence[int] = (),
    truncated: Sequence[int] = (),
    baseline_rewards: Sequence[float] | None = None,
    max_response_tokens: int = LIMIT,
    seed: int = 0,
) -> RolloutBatch:
    """A batch with these rewards and lengths; tokens, prompts and log-probabilities are random."""
    num_rows, mask, rng = len(rewards), masked(lengths, holes), generator(seed)
    prompt_lengths = torch.randint(1, 4, (num_rows,), generator=rng)
    width = int((prompt_lengths + torch.tensor(lengths)).max())
    valid = torch.ones(num_rows, dtype=torch.bool)
    valid[list(errors)] = False
    return RolloutBatch(
        group_size=group_size,
        tokens=torch.randint(VOCABULARY, (num_rows, width), generator=rng),
        prompt_lengths=prompt_lengths,
        response_mask=mask,
        rollout_logprobs=-3 * torch.rand(mask.shape, generator=rng, dtype=torch.float64) * mask,
        rewards=torch.tensor(rewards, dtype=torch.float64),
        valid=valid,
        policy_version=torch.zeros(mask.shape, dtype=torch.int64),
        truncated=torch.isin(torch.arange(num_rows), torch.tensor(truncated)),
        max_response_tokens=max_response_tokens,
        baseline_rewards=None
        if baseline_rewards is None
        else torch.tensor(baseline_rewards, dtype=torch.float64),
    )


def random_rollouts(
    seed: int, *, group_size: int = 4, num_groups: int = 3, errors: Sequence[int] = ()
) -> RolloutBatch:
    """Rewards in [0, 1], lengths of 1 to 9, holes in some rows, a greedy baseline for every prompt."""
    rng, num_rows = generator(1000 + seed), group_size * num_groups
    lengths = torch.randint(1, 10, (num_rows,), generator=rng).tolist()
    holes = [(row, lengths[row] // 2) for row in range(0, num_rows, 3) if lengths[row] > 2]
    baselines = torch.rand(num_groups, generator=rng).repeat_interleave(group_size)
    return rollouts(
        torch.rand(num_rows, generator=rng).tolist(),
        lengths,
        group_size=group_size,
        holes=holes,
        errors=errors,
        baseline_rewards=baselines.tolist(),
        seed=seed,
    )


def annotated(batch: RolloutBatch, seed: int = 0, drift: float = 0.1) -> Annotations:
    """Random annotations; the engine's log-probabilities are ``drift`` from the learner's."""
    rng = generator(2000 + seed)
    noise = lambda scale: scale * torch.randn(batch.response_mask.shape, generator=rng, dtype=torch.float64)  # noqa: E731
    return Annotations(
        old_logprobs=(batch.rollout_logprobs + noise(drift)) * batch.response_mask,
        ref_logprobs=(batch.rollout_logprobs + noise(0.5)) * batch.response_mask,
        values=noise(0.5) * batch.response_mask,
    )


def one_step(algorithm: Algorithm, batch: RolloutBatch, annotations: Annotations | None = None) -> TrainBatch:
    """The batch as a single optimizer step."""
    found = annotated(batch) if annotations is None else annotations
    [step] = algorithm.assign_credit(batch, found, len(batch)).minibatches
    return step


def moved(old_logprobs: Tensor, mask: Tensor, seed: int = 0, distance: float = 0.3) -> Tensor:
    """Log-probabilities of a policy that has moved since, a leaf that takes gradients."""
    noise = torch.randn(mask.shape, generator=generator(3000 + seed), dtype=torch.float64)
    return ((old_logprobs + distance * noise) * mask).requires_grad_()


def objective(algorithm: Algorithm, logprobs: Tensor, step: TrainBatch) -> tuple[Tensor, Tensor]:
    """The objective of an optimizer step and its gradient by the log-probabilities."""
    loss = (algorithm.token_loss(logprobs, step).loss * step.loss_weights).sum()
    [gradient] = torch.autograd.grad(loss, logprobs)
    return loss.detach(), gradient


def same_gradient(first: Tensor, second: Tensor, leaf: Tensor, tolerance: float) -> None:
    """Two scalars have the same gradient by a leaf."""
    gradients = [torch.autograd.grad(value, leaf)[0] for value in (first, second)]
    close(gradients[0], gradients[1], tolerance)


def close(actual: Any, expected: Any, tolerance: float = 1e-5) -> None:
    """Equal to an absolute tolerance."""
    torch.testing.assert_close(
        torch.as_tensor(actual, dtype=torch.float64),
        torch.as_tensor(expected, dtype=torch.float64),
        atol=tolerance,
        rtol=0,
    )
