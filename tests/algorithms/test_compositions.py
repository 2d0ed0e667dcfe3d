"""Each algorithm as it is composed, on fabricated batches: config → build() → assign_credit → loss."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rlvr.algorithms.algorithm import Algorithm
from rlvr.algorithms.ppo import CriticConfig
from rlvr.batch import Annotations
from tests.algorithms.batches import (
    annotated,
    close,
    config_of,
    moved,
    objective,
    one_step,
    random_rollouts,
    rollouts,
    with_kl,
)

SEEDS = st.integers(0, 1000)
BETA = 0.2


def per_token(values: list[float], mask: Tensor) -> Tensor:
    """A value per response on each of its tokens."""
    return torch.tensor(values, dtype=torch.float64)[:, None] * mask


def later(values: Tensor) -> Tensor:
    """For every token the sum from it to the end of its row."""
    return values.flip(1).cumsum(1).flip(1)


# Vectors.


@pytest.mark.parametrize(
    ("name", "changes", "first", "rest"),
    [
        ("grpo", {}, 1.499997, -0.499999),
        ("grpo", {"std_epsilon": 1e-4}, 1.499700, -0.499900),  # TRL
        ("grpo_verl", {}, 1.499997, -0.499999),
        ("dapo", {"overlong_weight": 0.0}, 1.499997, -0.499999),
        ("gspo", {}, 1.499997, -0.499999),
        ("cispo", {}, 1.499997, -0.499999),
        ("dr_grpo", {}, 0.75, -0.25),
        ("rloo", {}, 1.0, -1 / 3),
        ("rloo_openrlhf", {}, 1.0, -1 / 3),
    ],
)
def test_one_right_of_four_reaches_every_token(name: str, changes: dict, first: float, rest: float) -> None:
    batch = rollouts([1, 0, 0, 0], [2, 1, 3, 6], group_size=4, holes=[(2, 1), (3, 4)])
    advantages = one_step(config_of(name, **changes).build(), batch).advantages
    close(advantages, per_token([first, rest, rest, rest], batch.response_mask))


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("reinforce_pp_openrlhf", 1.224745, -0.816497),  # ddof 0
        ("reinforce_pp", 1.095445, -0.730297),
        ("reinforce_pp_verl", 1.095445, -0.730297),
    ],
)
@pytest.mark.parametrize("holes", [(), [(0, 0), (1, 2)]])
def test_reinforce_pp_of_two_responses(name: str, right: float, wrong: float, holes) -> None:
    lengths = [3, 4] if holes else [2, 3]  # two and three tokens either way
    batch = rollouts([1, 0], lengths, group_size=1, holes=holes)
    step = one_step(config_of(name, group_size=1).build(), batch)
    close(step.advantages, per_token([right, wrong], batch.response_mask))


@pytest.mark.parametrize(
    ("ddof", "expected"), [(1, [-0.949324, -0.094625, 1.043949]), (0, [-1.162680, -0.115892, 1.278571])]
)
def test_ppo_of_one_response(ddof: int, expected: list[float]) -> None:
    batch = rollouts([1], [3], group_size=1)
    values = Annotations(values=torch.tensor([[0.5, 0.4, 0.3]], dtype=torch.float64))
    algorithm = config_of("ppo", group_size=1, gamma=0.9, lam=0.8, ddof=ddof).build()
    step = one_step(algorithm, batch, values)
    close(step.advantages, [expected])
    close(step.returns, [[0.62928, 0.774, 1.0]])


def test_ppo_across_a_hole() -> None:
    batch = rollouts([1], [3], group_size=1, holes=[(0, 1)])
    values = Annotations(values=torch.tensor([[0.5, 0.4, 0.3]], dtype=torch.float64))
    step = one_step(config_of("ppo", group_size=1, gamma=0.9, lam=0.8).build(), batch, values)
    close(step.returns, [[0.5 + 0.274, 0, 0.3 + 0.7]])
    close(step.advantages, [[-(0.5**0.5), 0, 0.5**0.5]])  # two numbers, whitened


@pytest.mark.parametrize(
    ("name", "changes", "loss"),
    [
        ("ppo", {}, 5.0),
        ("grpo", {}, 5.0),
        ("ppo_verl", {}, 3.0),
        ("grpo_verl", {}, 3.0),
        ("rloo_verl", {}, 3.0),
        ("remax_verl", {}, 3.0),
        ("dapo_verl", {}, 5.0),  # its ceiling is ten
        ("cispo", {"max_ratio": 4.0}, None),
    ],
)
def test_a_bad_token_that_became_five_times_as_likely(name: str, changes: dict, loss: float | None) -> None:
    batch = random_rollouts(0)
    algorithm = config_of(name, **changes).build()
    step = one_step(algorithm, batch)
    assert step.old_logprobs is not None
    logprobs = (step.old_logprobs + math.log(5) * batch.response_mask).requires_grad_()
    step = replace(step, advantages=-batch.response_mask)
    output = algorithm.token_loss(logprobs, step)
    [gradient] = torch.autograd.grad((output.loss * batch.response_mask).sum(), logprobs)
    inside = batch.response_mask > 0
    if loss is None:  # CISPO: capped at four, and the gradient is still there
        close(gradient[inside], torch.full_like(gradient[inside], 4.0))
        return
    close(output.loss.detach()[inside], torch.full_like(gradient[inside], loss))
    close(gradient[inside], torch.full_like(gradient[inside], 0.0 if loss == 3.0 else 5.0))


# How they relate.


@given(SEEDS, st.integers(2, 6))
@settings(max_examples=20)
def test_rloo_is_the_centred_reward_scaled(seed: int, group_size: int) -> None:
    batch = random_rollouts(seed, group_size=group_size)
    centred = one_step(config_of("dr_grpo", group_size=group_size).build(), batch).advantages
    found = one_step(config_of("rloo", group_size=group_size).build(), batch).advantages
    close(found, group_size / (group_size - 1) * centred, 1e-12)


@given(SEEDS)
@settings(max_examples=20)
def test_dapo_without_its_additions_is_grpo_with_a_token_mean(seed: int) -> None:
    plain = config_of("dapo", clip_high=0.2, dynamic_sampling=False, overlong_weight=0.0).build()
    grpo = config_of("grpo", reduction="token_mean").build()
    assert plain.sampling == grpo.sampling
    batch = random_rollouts(seed)
    steps = [one_step(algorithm, batch) for algorithm in (plain, grpo)]
    assert torch.equal(steps[0].advantages, steps[1].advantages)
    assert steps[0].old_logprobs is not None
    logprobs = moved(steps[0].old_logprobs, batch.response_mask, seed)
    for ours, theirs in zip(
        objective(plain, logprobs, steps[0]), objective(grpo, logprobs, steps[1]), strict=True
    ):
        assert torch.equal(ours, theirs)
    # Clip-higher is what changes the loss, and only where a good token became likelier.
    higher = config_of("dapo", clip_low=0.2, clip_high=0.28).build()
    changed = higher.token_loss(logprobs, steps[0]).loss != plain.token_loss(logprobs, steps[0]).loss
    ratio = torch.exp(logprobs.detach() - steps[0].old_logprobs)
    assert torch.equal(changed, (ratio > 1.2) & (steps[0].advantages > 0))


def test_dr_grpo_is_grpo_without_the_deviation_and_with_a_constant_length() -> None:
    batch = random_rollouts(1)
    step = one_step(config_of("dr_grpo").build(), batch)
    rewards = batch.rewards.view(3, 4)
    centred = (rewards - rewards.mean(1, keepdim=True)).flatten()
    close(step.advantages, centred[:, None] * batch.response_mask, 1e-12)
    close(step.loss_weights, batch.response_mask / (12 * batch.max_response_tokens), 1e-12)


def test_rloo_is_reinforce_on_whole_responses() -> None:
    batch = random_rollouts(2)
    algorithm = config_of("rloo").build()
    step = one_step(algorithm, batch)
    assert step.old_logprobs is not None
    logprobs = moved(step.old_logprobs, batch.response_mask, distance=1.0)  # far off: there is no ratio
    loss, gradient = objective(algorithm, logprobs, step)
    of_response = step.advantages.sum(1) / batch.response_mask.sum(1)
    close(loss, (-of_response * logprobs.sum(1)).mean().detach(), 1e-12)
    close(gradient, -of_response[:, None] * batch.response_mask / 12, 1e-12)


def test_ppo_without_a_critics_help_is_reinforce_pp() -> None:
    # λ = 1 and V = 0: the advantage is the return-to-go, whitened.
    batch = random_rollouts(3)
    annotations = replace(annotated(batch), values=torch.zeros_like(batch.response_mask))
    ppo = with_kl(config_of("ppo", gamma=0.9), BETA).build()
    reinforce = with_kl(config_of("reinforce_pp", gamma=0.9), BETA).build()
    step = one_step(ppo, batch, annotations)
    close(step.advantages, one_step(reinforce, batch, annotations).advantages, 1e-10)


def test_reinforce_pp_baseline_whitens_what_is_left_of_the_group_mean() -> None:
    batch = random_rollouts(4)
    found = one_step(config_of("reinforce_pp_baseline").build(), batch).advantages
    rewards = batch.rewards.view(3, 4)
    centred = (rewards - rewards.mean(1, keepdim=True)).flatten()[:, None].expand_as(batch.response_mask)
    tokens = centred[batch.response_mask > 0]
    expected = (centred - tokens.mean()) / torch.sqrt(tokens.var() + 1e-8) * batch.response_mask
    close(found, expected, 1e-12)


def test_remax_takes_the_greedy_responses_reward_off() -> None:
    batch = rollouts([1, 0, 1, 0], [2, 3, 1, 4], group_size=2, baseline_rewards=[1, 1, 0, 0], holes=[(3, 1)])
    algorithm = config_of("remax", group_size=2).build()
    close(one_step(algorithm, batch).advantages, per_token([0, -1, 1, 0], batch.response_mask))


def test_remax_takes_it_off_after_the_penalties_that_are_still_to_come() -> None:
    batch = random_rollouts(5)
    annotations = annotated(batch)
    step = one_step(with_kl(config_of("remax"), BETA).build(), batch, annotations)
    assert batch.baseline_rewards is not None
    relative = batch.rewards - batch.baseline_rewards
    expected = (relative[:, None] - BETA * later(delta_of(annotations))) * batch.response_mask
    close(step.advantages, expected, 1e-12)


@pytest.mark.parametrize("clip", [None, 0.2])
def test_ppo_trains_its_critic_on_the_returns_within_the_clip(clip: float | None) -> None:
    critic = CriticConfig(value_clip=clip, learning_rate=3e-5, warmup_steps=7)
    algorithm = config_of("ppo", critic=critic).build()
    assert algorithm.critic is not None
    assert (algorithm.critic.learning_rate, algorithm.value_only_steps) == (3e-5, 7)
    old, target = torch.zeros(3), torch.ones(3)
    found = algorithm.critic.value_loss(torch.tensor([0.1, 0.6, -0.5]), old, target)
    close(found, [0.405, 0.08 if clip is None else 0.32, 1.125])


# KL in the reward, and what a group is compared on.


def delta_of(annotations: Annotations) -> Tensor:
    """k1 of every token."""
    assert annotations.old_logprobs is not None
    assert annotations.ref_logprobs is not None
    return annotations.old_logprobs - annotations.ref_logprobs


def relative(name: str, rewards: Tensor) -> Tensor:
    """By hand: (P, 4) rewards → what they are worth beside one another."""
    centred = rewards - rewards.mean(1, keepdim=True)
    return {
        "rloo": centred * 4 / 3,
        "dr_grpo": centred,
        "grpo": centred / (rewards.std(1, keepdim=True) + 1e-6),
    }[name].flatten()


@pytest.mark.parametrize("name", ["rloo", "dr_grpo", "grpo"])
@pytest.mark.parametrize("baseline", ["reward", "reward_minus_kl"])
def test_a_group_is_compared_with_the_penalty_or_without_it(name: str, baseline: str) -> None:
    batch = random_rollouts(6)
    annotations = annotated(batch)
    penalty = BETA * delta_of(annotations) * batch.response_mask
    config = with_kl(config_of(name), BETA, placement="reward", estimator="k1", group_baseline=baseline)
    found = one_step(config.build(), batch, annotations).advantages
    rewards = batch.rewards.view(3, 4)
    if baseline == "reward_minus_kl":  # verl and TRL: the response's whole penalty is part of its reward
        of_response = relative(name, rewards - penalty.sum(1).view(3, 4))
        expected = of_response[:, None] * batch.response_mask
    else:  # OpenRLHF: compared by the answer, then each token pays for itself and what follows
        expected = (relative(name, rewards)[:, None] - later(penalty)) * batch.response_mask
    close(found, expected, 1e-10)


@pytest.mark.parametrize("baseline", ["reward", "reward_minus_kl"])
def test_reinforce_pp_baseline_knows_both_as_well(baseline: str) -> None:
    batch = random_rollouts(7)
    annotations = annotated(batch)
    config = with_kl(config_of("reinforce_pp_baseline"), BETA, group_baseline=baseline)
    found = one_step(config.build(), batch, annotations).advantages
    unwhitened = one_step(
        with_kl(
            config_of("dr_grpo"), BETA, placement="reward", estimator="k1", group_baseline=baseline
        ).build(),
        batch,
        annotations,
    ).advantages
    tokens = unwhitened[batch.response_mask > 0]
    expected = (unwhitened - tokens.mean()) / torch.sqrt(tokens.var() + 1e-8) * batch.response_mask
    close(found, expected, 1e-10)


def test_reinforce_pp_discounts_rewards_and_penalties_alike() -> None:
    batch = rollouts([1, 0], [3, 2], group_size=1)
    annotations = annotated(batch)
    found = one_step(
        with_kl(config_of("reinforce_pp", group_size=1, gamma=0.5), BETA).build(), batch, annotations
    )
    penalty = BETA * delta_of(annotations)
    returns = torch.zeros(2, 3, dtype=torch.float64)
    for row, (reward, length) in enumerate([(1.0, 3), (0.0, 2)]):
        for t in range(length):
            returns[row, t] = 0.5 ** (length - 1 - t) * reward - sum(
                0.5 ** (s - t) * penalty[row, s].item() for s in range(t, length)
            )
    tokens = returns[batch.response_mask > 0]
    close(found.advantages, (returns - tokens.mean()) / torch.sqrt(tokens.var() + 1e-8) * batch.response_mask)


# Every option reaches the composition.


def output_of(algorithm: Algorithm, ratios: list[float], advantages: list[float]):
    new = torch.tensor([ratios]).log()
    return algorithm.policy_loss(new, torch.zeros_like(new), torch.tensor([advantages]), torch.ones_like(new))


@pytest.mark.parametrize("name", ["ppo", "grpo", "reinforce_pp", "dapo", "rloo_verl", "remax"])
def test_the_clip_of_the_config_is_the_clip_of_the_loss(name: str) -> None:
    options = {"clip_low": 0.1, "clip_high": 0.3}
    config = (
        config_of("remax", policy_loss="clip", **options) if name == "remax" else config_of(name, **options)
    )
    found = output_of(config.build(), [1.25, 1.35, 0.85, 0.95], [1.0, 1.0, -1.0, -1.0])
    assert found.clipped.tolist() == [[False, True, True, False]]


@pytest.mark.parametrize("name", ["rloo", "remax"])
def test_reinforce_uses_no_clip(name: str) -> None:
    found = output_of(config_of(name).build(), [5.0, 0.1], [1.0, -1.0])
    assert not found.clipped.any()


def test_gspo_clips_responses_and_not_tokens() -> None:
    algorithm = config_of("gspo").build()
    # Log-ratios of 0.5 and −0.5 cancel: the response has not moved, though its tokens have.
    assert not output_of(algorithm, [1.6487213, 0.6065307], [1.0, 1.0]).clipped.any()
    assert output_of(algorithm, [1.002, 1.0], [1.0, 1.0]).clipped.all()
    # The bounds are 1 − 3e-4 and 1 + 4e-4, of the response's mean.
    assert not output_of(algorithm, [1.0007, 1.0], [1.0, 1.0]).clipped.any()
    assert output_of(algorithm, [1.0009, 1.0], [1.0, 1.0]).clipped.all()
    assert not output_of(algorithm, [0.9995, 1.0], [-1.0, -1.0]).clipped.any()
    assert output_of(algorithm, [0.9993, 1.0], [-1.0, -1.0]).clipped.all()


def test_a_group_size_is_what_the_engines_are_asked_for() -> None:
    assert config_of("dapo", group_size=16).build().sampling.group_size == 16
    assert config_of("remax", group_size=3).build().sampling.group_size == 3
    assert config_of("dapo", max_sampling_factor=4.0).build().sampling.max_sampling_factor == 4.0
