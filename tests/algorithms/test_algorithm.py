"""What all algorithms share: the optimizer steps of a driver step, and what the objective must not depend on."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rlvr.algorithms.algorithm import Algorithm, importance_weight
from rlvr.algorithms.registry import ALGORITHMS
from rlvr.batch import Annotations, RolloutBatch, TrainBatch
from tests.algorithms.batches import (
    VOCABULARY,
    annotated,
    close,
    config_of,
    generator,
    moved,
    objective,
    one_step,
    random_rollouts,
    rollouts,
    with_kl,
)

every_algorithm = pytest.mark.parametrize("name", list(ALGORITHMS))
GRPO = config_of("grpo").build()


def loaded(name: str) -> Algorithm:
    """An algorithm with everything switched on that it could have: KL, and the importance cap."""
    return with_kl(config_of(name, importance_cap=1.5), 0.05).build()


# The optimizer steps of one driver step.


def test_minibatches_are_whole_groups_in_order_each_row_once() -> None:
    batch = random_rollouts(0, num_groups=4)
    annotations = annotated(batch)
    steps = GRPO.assign_credit(batch, annotations, 8).minibatches
    assert [len(step) for step in steps] == [8, 8]
    for name in ("tokens", "prompt_lengths", "response_mask", "rollout_logprobs"):
        assert torch.equal(torch.cat([getattr(step, name) for step in steps]), getattr(batch, name))
    for name in ("old_logprobs", "ref_logprobs", "values"):
        assert torch.equal(torch.cat([getattr(step, name) for step in steps]), getattr(annotations, name))


@pytest.mark.parametrize("minibatch", [4, 8, 12])
@every_algorithm
def test_advantages_do_not_depend_on_the_size_of_a_minibatch(name: str, minibatch: int) -> None:
    batch = random_rollouts(1)
    steps = loaded(name).assign_credit(batch, annotated(batch), minibatch).minibatches
    whole = one_step(loaded(name), batch)
    assert torch.equal(torch.cat([step.advantages for step in steps]), whole.advantages)


def test_the_last_step_takes_what_is_left() -> None:
    batch = random_rollouts(2)
    steps = GRPO.assign_credit(batch, annotated(batch), 8).minibatches
    assert [len(step) for step in steps] == [8, 4]
    for step in steps:
        assert step.loss_weights.sum().item() == pytest.approx(1)


def test_an_epoch_goes_through_all_minibatches_again() -> None:
    batch = random_rollouts(2)
    once = GRPO.assign_credit(batch, annotated(batch), 4).minibatches
    thrice = GRPO.assign_credit(batch, annotated(batch), 4, num_epochs=3).minibatches
    assert len(thrice) == 9
    for position, step in enumerate(thrice):
        assert torch.equal(step.tokens, once[position % 3].tokens)
        assert step.old_logprobs is not None  # still those of the policy that sampled


@pytest.mark.parametrize("reduction", ["token_mean", "sequence_mean"])
@pytest.mark.parametrize("minibatch", [4, 8, 16])
def test_the_weights_of_every_minibatch_sum_to_one(reduction: str, minibatch: int) -> None:
    batch = random_rollouts(3, num_groups=4, errors=(1,))
    algorithm = config_of("grpo", reduction=reduction).build()
    for step in algorithm.assign_credit(batch, annotated(batch), minibatch).minibatches:
        assert step.loss_weights.sum().item() == pytest.approx(1)
        assert (step.loss_weights[step.response_mask == 0] == 0).all()


@pytest.mark.parametrize(
    ("reduction", "value"),
    [("token_mean", 14 / 6), ("sequence_mean", 2.0), ("sequence_sum", 7.0), ("constant_length", 0.875)],
)
def test_token_losses_of_two_responses_become_one_number(reduction: str, value: float) -> None:
    batch = rollouts([1, 0], [2, 4], group_size=2, max_response_tokens=8)
    step = one_step(config_of("grpo", group_size=2, reduction=reduction).build(), batch)
    losses = torch.tensor([[1.0, 1, 99, 99], [3, 3, 3, 3]])
    assert (losses * step.loss_weights).sum().item() == pytest.approx(value, abs=1e-5)


def test_a_single_step_needs_no_log_probabilities_of_the_old_policy_and_several_do() -> None:
    batch = random_rollouts(4)
    nothing = Annotations()
    [step] = GRPO.assign_credit(batch, nothing, len(batch)).minibatches
    assert step.old_logprobs is None
    for minibatch, epochs in ((4, 1), (len(batch), 2)):
        with pytest.raises(ValueError, match="old log-probabilities"):
            GRPO.assign_credit(batch, nothing, minibatch, epochs)


@every_algorithm
def test_old_log_probabilities_are_asked_for_where_they_are_used(name: str) -> None:
    algorithm = config_of(name).build()
    assert not algorithm.needs_old_logprobs(1)
    assert algorithm.needs_old_logprobs(2)
    assert with_kl(config_of(name), 0.1, placement="reward").build().needs_old_logprobs(1)
    assert not with_kl(config_of(name), 0.1, placement="loss").build().needs_old_logprobs(1)


@every_algorithm
def test_only_a_critic_has_targets_and_steps_of_its_own(name: str) -> None:
    batch = random_rollouts(5, errors=(2,))
    algorithm = config_of(name).build()
    step = one_step(algorithm, batch)
    if algorithm.critic is None:
        assert step.returns is None
        assert step.value_weights is None
        assert algorithm.value_only_steps == 0
        return
    assert step.returns is not None
    assert step.value_weights is not None
    assert step.value_weights.sum().item() == pytest.approx(1)
    assert (step.value_weights[2] == 0).all()
    assert (step.value_weights[(batch.response_mask > 0) & batch.valid[:, None]].unique()).numel() == 1


# First update: the policy that sampled is the policy that learns.


@every_algorithm
def test_on_policy_the_ratio_is_one_everywhere_and_nothing_is_clipped(name: str) -> None:
    batch = random_rollouts(6)
    algorithm, annotations = config_of(name).build(), annotated(batch)
    assert annotations.old_logprobs is not None
    gradients = []
    for known in (annotations, replace(annotations, old_logprobs=None)):
        step = one_step(algorithm, batch, known)
        logprobs = annotations.old_logprobs.clone().requires_grad_()
        output = algorithm.token_loss(logprobs, step)
        assert (output.ratio == 1).all()
        assert not output.clipped.any()
        gradients.append(objective(algorithm, logprobs, step)[1])
    assert torch.equal(*gradients)  # known or taken from the very forward pass: the same
    # And the gradient of every algorithm is then REINFORCE with its advantages and weights.
    close(gradients[0], -step.advantages * step.loss_weights, 1e-12)


# Truncated importance sampling.


def test_the_importance_weight_is_the_ratio_up_to_its_cap_and_a_constant() -> None:
    old = torch.tensor([-1.0, -1.0, -1.0, 1e4], requires_grad=True)
    engine = torch.tensor([-1.0, -1.0 - math.log(1.5), -1.0 - math.log(9), 0.0])
    weight = importance_weight(old, engine, 2.0)
    close(weight, [1.0, 1.5, 2.0, 2.0])
    assert not weight.requires_grad
    close(importance_weight(-old.detach(), -engine, 2.0)[:3], [1.0, 1 / 1.5, 1 / 9])


@every_algorithm
def test_the_importance_cap_scales_each_tokens_loss_and_nothing_else(name: str) -> None:
    batch = random_rollouts(7)
    annotations = annotated(batch, drift=1.0)
    plain, capped = config_of(name).build(), config_of(name, importance_cap=1.5).build()
    step = one_step(plain, batch, annotations)
    assert step.old_logprobs is not None
    weight = torch.exp(step.old_logprobs - step.rollout_logprobs).clamp(max=1.5)
    assert weight.min() < 0.5
    assert (weight == 1.5).any()
    logprobs = moved(step.old_logprobs, batch.response_mask)
    expected, found = plain.token_loss(logprobs, step), capped.token_loss(logprobs, step)
    close(found.loss, expected.loss * weight, 1e-12)
    assert torch.equal(found.ratio, expected.ratio)
    assert torch.equal(found.clipped, expected.clipped)
    _, gradient = objective(plain, logprobs, step)
    _, capped_gradient = objective(capped, logprobs, step)
    close(capped_gradient, gradient * weight, 1e-12)


def test_without_old_log_probabilities_the_current_ones_stand_against_the_engines() -> None:
    batch = random_rollouts(7)
    annotations = annotated(batch, drift=1.0)
    algorithm = config_of("grpo", importance_cap=1.5).build()
    assert annotations.old_logprobs is not None
    results = []
    for known in (annotations, replace(annotations, old_logprobs=None)):
        logprobs = annotations.old_logprobs.clone().requires_grad_()
        results.append(objective(algorithm, logprobs, one_step(algorithm, batch, known)))
    for with_old, without_old in zip(*results, strict=True):
        assert torch.equal(with_old, without_old)


# Entropy, and responses that were cut off.


@every_algorithm
def test_the_entropy_of_each_token_is_taken_from_its_loss(name: str) -> None:
    batch = random_rollouts(8)
    plain, with_entropy = config_of(name).build(), config_of(name, entropy_coef=0.01).build()
    step = one_step(plain, batch)
    assert step.old_logprobs is not None
    logprobs = moved(step.old_logprobs, batch.response_mask)
    entropies = torch.rand(logprobs.shape, generator=generator(8), dtype=torch.float64).requires_grad_()
    found = with_entropy.token_loss(logprobs, step, entropies)
    close(found.loss, plain.token_loss(logprobs, step).loss - 0.01 * entropies, 1e-12)
    [gradient] = torch.autograd.grad((found.loss * step.loss_weights).sum(), entropies)
    close(gradient, -0.01 * step.loss_weights, 1e-12)  # averaged as the policy's loss is, as verl does


@every_algorithm
def test_masked_responses_have_no_weight_and_still_count_in_their_group(name: str) -> None:
    batch = replace(random_rollouts(9), truncated=torch.arange(12) == 4)
    plain, masked = config_of(name).build(), config_of(name, mask_truncated=True).build()
    before, after = one_step(plain, batch), one_step(masked, batch)
    assert torch.equal(before.advantages, after.advantages)
    assert before.loss_weights[4].sum() > 0
    assert after.loss_weights[4].sum() == 0
    kept = torch.arange(12) != 4
    alone = plain.loss_weights((batch.response_mask * kept[:, None]), batch.max_response_tokens)
    assert torch.equal(after.loss_weights, alone)
    if before.value_weights is not None:
        assert torch.equal(before.value_weights, after.value_weights)  # type: ignore[arg-type]


# The cut into micro-batches and padding.


def parts(
    algorithm: Algorithm,
    parameters: Tensor,
    values: Tensor,
    step: TrainBatch,
    micro_batches: list[TrainBatch],
) -> tuple[Tensor, ...]:
    """Both objectives as sums over micro-batches, and their gradients by shared parameters.

    A token's log-probability is a function of the token alone, its value another.
    """
    policy_loss, critic_loss = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for micro in micro_batches:
        where = micro.prompt_lengths[:, None] + torch.arange(micro.response_mask.shape[1])
        tokens = micro.tokens.gather(1, where.clamp(max=micro.tokens.shape[1] - 1))
        logprobs = -torch.nn.functional.softplus(parameters[tokens]) * micro.response_mask
        policy_loss = policy_loss + (algorithm.token_loss(logprobs, micro).loss * micro.loss_weights).sum()
        if algorithm.critic is not None:
            assert micro.values is not None
            assert micro.returns is not None
            assert micro.value_weights is not None
            loss = algorithm.critic.value_loss(values[tokens], micro.values, micro.returns)
            critic_loss = critic_loss + (loss * micro.value_weights).sum()
    [gradient] = torch.autograd.grad(policy_loss, parameters)
    if algorithm.critic is None:
        return policy_loss.detach(), gradient
    return policy_loss.detach(), gradient, critic_loss.detach(), *torch.autograd.grad(critic_loss, values)


def padded(record: Any, width: int) -> Any:
    """A batch or annotations with ``width`` more columns, in which there is junk and no mask."""
    changes: dict[str, Tensor] = {}
    for spec in fields(record):
        tensor = getattr(record, spec.name)
        if isinstance(tensor, Tensor) and tensor.dim() == 2:
            junk = torch.full((len(tensor), width), 3.0).to(tensor.dtype)
            changes[spec.name] = torch.cat([tensor, junk * (spec.name != "response_mask")], dim=1)
    return replace(record, **changes)


@every_algorithm
@given(seed=st.integers(0, 500), width=st.integers(1, 5), data=st.data())
@settings(max_examples=6)
def test_no_cut_into_micro_batches_and_no_padding_changes_loss_or_gradient(
    name: str, seed: int, width: int, data: st.DataObject
) -> None:
    batch = random_rollouts(seed, errors=(seed % 12,))
    annotations = annotated(batch, drift=0.5)
    algorithm = loaded(name)
    start = torch.randn(2, VOCABULARY, generator=generator(seed), dtype=torch.float64)
    parameters, values = (row.clone().requires_grad_() for row in start)

    order = data.draw(st.permutations(range(len(batch))))
    ends = sorted(data.draw(st.sets(st.integers(1, len(batch) - 1))))
    cuts = [order[a:b] for a, b in zip([0, *ends], [*ends, len(batch)], strict=True)]

    whole = one_step(algorithm, batch, annotations)
    wide = one_step(algorithm, padded(batch, width), padded(annotations, width))
    expected = parts(algorithm, parameters, values, whole, [whole])
    assert expected[1].abs().max() > 1e-6
    for step, micro_batches in (
        (whole, [whole.rows(rows) for rows in cuts]),
        (wide, [wide]),
        (wide, [wide.rows(rows) for rows in cuts]),
    ):
        for found, known in zip(
            parts(algorithm, parameters, values, step, micro_batches), expected, strict=True
        ):
            close(found, known, 1e-10)


# Rows that could not be verified.


def changed_row(batch: RolloutBatch, row: int) -> RolloutBatch:
    """The batch with another reward, other tokens and other log-probabilities in one row."""
    rewards, tokens, logprobs = batch.rewards.clone(), batch.tokens.clone(), batch.rollout_logprobs.clone()
    rewards[row], tokens[row], logprobs[row] = 0.9, 1, -2.0
    return replace(batch, rewards=rewards, tokens=tokens, rollout_logprobs=logprobs)


@every_algorithm
def test_a_row_that_was_not_verified_carries_no_weight_and_changes_no_other(name: str) -> None:
    row, batch = 6, random_rollouts(8, errors=(6,))
    annotations = annotated(batch)
    others = torch.arange(len(batch)) != row
    step = one_step(loaded(name), batch, annotations)
    assert (step.advantages[row] == 0).all()
    assert (step.loss_weights[row] == 0).all()
    assert (step.loss_weights[others][step.response_mask[others] > 0] > 0).all()

    different = {}
    for spec in fields(annotations):
        tensor = getattr(annotations, spec.name).clone()
        tensor[row] -= 5
        different[spec.name] = tensor
    changed = one_step(loaded(name), changed_row(batch, row), Annotations(**different))
    for field in ("advantages", "loss_weights", "returns", "value_weights"):
        before, after = getattr(step, field), getattr(changed, field)
        if before is not None:
            assert torch.equal(before[others], after[others])


@every_algorithm
def test_a_group_that_was_not_verified_is_as_if_it_were_not_there(name: str) -> None:
    batch, without = random_rollouts(9, errors=(4, 5, 6, 7)), random_rollouts(9)
    kept = torch.tensor([0, 1, 2, 3, 8, 9, 10, 11])
    cut = lambda record: {  # noqa: E731
        spec.name: getattr(record, spec.name)[kept]
        for spec in fields(record)
        if isinstance(getattr(record, spec.name), Tensor)
    }
    smaller = replace(without, **cut(without))
    annotations = annotated(batch)
    step = one_step(loaded(name), batch, annotations)
    expected = one_step(loaded(name), smaller, Annotations(**cut(annotations)))
    close(step.advantages[kept], expected.advantages, 1e-12)
    close(step.loss_weights[kept], expected.loss_weights, 1e-12)
    assert (step.loss_weights[4:8] == 0).all()


@every_algorithm
def test_a_batch_without_any_verdict_teaches_nothing_and_divides_by_nothing(name: str) -> None:
    batch = random_rollouts(10, errors=range(12))
    assigned = loaded(name).assign_credit(batch, annotated(batch), len(batch))
    [step] = assigned.minibatches
    assert (step.advantages == 0).all()
    assert (step.loss_weights == 0).all()
    assert all(math.isfinite(value) for value in assigned.metrics.values())
