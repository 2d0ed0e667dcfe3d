"""The estimators of the KL divergence, and where the penalty enters."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlvr.algorithms.kl import ESTIMATORS, KLPenalty, k1, k2, k3
from rlvr.algorithms.registry import ALGORITHMS
from rlvr.algorithms.settings import KLConfig
from tests.algorithms.batches import (
    annotated,
    close,
    config_of,
    generator,
    moved,
    objective,
    one_step,
    random_rollouts,
    with_kl,
)

BETA = 0.3


@pytest.mark.parametrize(("name", "value"), [("k1", 0.5), ("k2", 0.125), ("k3", 0.106531)])
def test_a_token_twice_as_likely_as_before(name: str, value: float) -> None:
    penalty = KLPenalty(1.0, ESTIMATORS[name])
    close(penalty(torch.tensor([-1.0]), torch.tensor([-1.5])), [value])
    close(KLPenalty(BETA, ESTIMATORS[name])(torch.tensor([-1.0]), torch.tensor([-1.5])), [BETA * value])


@given(st.floats(-15, 15))
def test_only_k1_is_ever_negative_and_all_are_zero_without_a_difference(delta: float) -> None:
    difference = torch.tensor(delta, dtype=torch.float64)
    assert k2(difference) >= 0
    assert k3(difference) >= 0
    assert k1(difference) == difference
    for estimator in ESTIMATORS.values():
        assert estimator(torch.zeros(())) == 0


@pytest.mark.parametrize("delta", [-1e4, 1e4])
@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_an_extreme_difference_stays_finite(name: str, delta: float) -> None:
    difference = torch.tensor(delta, requires_grad=True)
    value = ESTIMATORS[name](difference)
    value.backward()
    assert torch.isfinite(value)
    assert difference.grad is not None
    assert torch.isfinite(difference.grad)


def test_k1_and_k3_estimate_the_divergence_without_bias() -> None:
    policy, reference = (
        torch.log_softmax(torch.randn(6, generator=generator(seed), dtype=torch.float64), 0)
        for seed in (1, 2)
    )
    divergence = (policy.exp() * (policy - reference)).sum()
    for estimator in (k1, k3):
        close((policy.exp() * estimator(policy - reference)).sum(), divergence, 1e-12)
    assert (policy.exp() * k2(policy - reference)).sum() != pytest.approx(divergence.item(), abs=1e-3)


def test_the_expected_gradient_of_k2_as_a_loss_is_that_of_the_divergence_and_that_of_k1_is_zero() -> None:
    start = torch.randn(6, generator=generator(1), dtype=torch.float64)
    reference = torch.log_softmax(torch.randn(6, generator=generator(2), dtype=torch.float64), 0)

    def gradient(of) -> torch.Tensor:
        logits = start.clone().requires_grad_()
        policy = torch.log_softmax(logits, 0)
        return torch.autograd.grad(of(policy, policy - reference), logits)[0]

    divergence = gradient(lambda policy, delta: (policy.exp() * delta).sum())
    # As a loss, the tokens are sampled and their probabilities carry no gradient.
    close(gradient(lambda policy, delta: (policy.detach().exp() * k2(delta)).sum()), divergence, 1e-12)
    close(gradient(lambda policy, delta: (policy.detach().exp() * k1(delta)).sum()), torch.zeros(6), 1e-12)


@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_a_reference_model_is_held_only_where_it_is_used(name: str) -> None:
    config = config_of(name)
    assert config.kl.coef == 0
    assert not config.build().needs_reference
    assert with_kl(config, BETA).build().needs_reference


@pytest.mark.parametrize(("placement", "in_reward"), [("loss", False), ("reward", True)])
@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_the_penalty_enters_at_one_place(name: str, placement: str, in_reward: bool) -> None:
    algorithm = with_kl(config_of(name), BETA, placement=placement, estimator="k2").build()
    penalty = algorithm.reward_kl if in_reward else algorithm.loss_kl
    assert penalty == KLPenalty(BETA, k2)
    assert (algorithm.loss_kl if in_reward else algorithm.reward_kl) is None


def test_the_penalty_belongs_to_its_placement_and_to_a_coefficient_above_zero() -> None:
    assert KLConfig().penalty("loss") is None
    assert KLConfig(coef=0.1).penalty("reward") is None
    assert KLConfig(coef=0.1).penalty("loss") == KLPenalty(0.1, k3)


@pytest.mark.parametrize("estimator", list(ESTIMATORS))
@pytest.mark.parametrize("name", ["grpo", "ppo", "rloo", "cispo"])
def test_in_the_loss_it_is_added_token_by_token_with_its_gradient(name: str, estimator: str) -> None:
    batch = random_rollouts(0)
    plain = config_of(name)
    step = one_step(plain.build(), batch)
    penalised = with_kl(plain, BETA, placement="loss", estimator=estimator).build()
    step_of_penalised = one_step(penalised, batch)
    assert torch.equal(step.advantages, step_of_penalised.advantages)  # the reward knows nothing of it
    assert step.old_logprobs is not None
    assert step.ref_logprobs is not None
    logprobs = moved(step.old_logprobs, batch.response_mask)
    loss, gradient = objective(plain.build(), logprobs, step)
    found, found_gradient = objective(penalised, logprobs, step_of_penalised)
    delta = (logprobs.detach() - step.ref_logprobs).requires_grad_()
    extra = (BETA * ESTIMATORS[estimator](delta) * step.loss_weights).sum()
    [extra_gradient] = torch.autograd.grad(extra, delta)
    close(found, loss + extra.detach(), 1e-12)
    close(found_gradient, gradient + extra_gradient, 1e-12)


def test_in_the_loss_the_importance_weight_does_not_scale_it() -> None:
    batch = random_rollouts(1)
    annotations = annotated(batch, drift=1.0)
    parts = {}
    for coef in (0.0, BETA):
        for cap in (None, 2.0):
            algorithm = with_kl(config_of("grpo", importance_cap=cap), coef).build()
            step = one_step(algorithm, batch, annotations)
            assert step.old_logprobs is not None
            parts[coef, cap] = algorithm.token_loss(moved(step.old_logprobs, batch.response_mask), step).loss
    close(parts[BETA, 2.0] - parts[0.0, 2.0], parts[BETA, None] - parts[0.0, None], 1e-12)
    assert (parts[0.0, 2.0] - parts[0.0, None]).abs().max() > 0.01


def test_in_the_reward_it_is_measured_before_the_step_and_only_on_response_tokens() -> None:
    batch = random_rollouts(2, errors=(5,))
    annotations = annotated(batch)
    algorithm = with_kl(config_of("reinforce_pp"), BETA).build()
    metrics = algorithm.assign_credit(batch, annotations, len(batch)).metrics
    assert annotations.old_logprobs is not None
    assert annotations.ref_logprobs is not None
    counted = (batch.response_mask > 0) & batch.valid[:, None]
    delta = (annotations.old_logprobs - annotations.ref_logprobs)[counted]
    assert metrics["reward/kl_penalty_mean"] == pytest.approx(BETA * delta.mean().item())
    assert (
        "reward/kl_penalty_mean"
        not in config_of("reinforce_pp").build().assign_credit(batch, annotations, len(batch)).metrics
    )
