"""Our presets against the functions of verl itself, on random ragged batches with holes, to 1e-6.

verl is no dependency: its own requirements contradict ours. Its ``core_algos`` needs few of them, and
no GPU. A contributor compares with (from the root of the repository)::

    .venv/bin/python -m pip install --no-deps --target build/compare $(.venv/bin/python -c \
        "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['dependency-groups']['compare'])")
    PYTHONPATH=build/compare .venv/bin/python -m pytest tests/algorithms/test_against_verl.py

The comparison goes through the whole composition wherever verl has a counterpart to it: config →
``build()`` → ``assign_credit`` → ``token_loss`` × ``loss_weights``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rlvr.algorithms.algorithm import importance_weight
from rlvr.algorithms.kl import ESTIMATORS
from rlvr.algorithms.losses import value_loss
from rlvr.algorithms.ppo import CriticConfig
from rlvr.algorithms.reductions import REDUCTIONS, token_mean
from rlvr.algorithms.registry import KL_FIRST
from rlvr.batch import Annotations, RolloutBatch
from tests.algorithms.batches import (
    LIMIT,
    annotated,
    close,
    config_of,
    generator,
    masked,
    moved,
    objective,
    one_step,
    random_rollouts,
    same_gradient,
)

core: Any = pytest.importorskip(
    "verl.trainer.ppo.core_algos",
    reason="verl is not installed: see the head of this file for the command",
    exc_type=ImportError,
)
actor: Any = pytest.importorskip("verl.workers.config.actor", exc_type=ImportError)
correction: Any = pytest.importorskip("verl.trainer.ppo.rollout_corr_helper", exc_type=ImportError)

TOLERANCE = 1e-6
SEEDS = range(4)
AGGREGATIONS = {
    "token_mean": "token-mean",
    "sequence_mean": "seq-mean-token-mean",
    "sequence_sum": "seq-mean-token-sum",
    "constant_length": "seq-mean-token-sum-norm",
}
"""Our name → theirs."""

each_seed = pytest.mark.parametrize("seed", SEEDS)


# Advantages.


def theirs(
    function: str, batch: RolloutBatch, annotations: Annotations, beta: float, **options: Any
) -> tuple[Tensor, Tensor]:
    """Advantages and returns by verl, whose trainer takes the penalty off the token rewards first."""
    mask = batch.response_mask
    rewards = torch.zeros_like(mask)
    for row, reward in enumerate(batch.rewards.tolist()):
        rewards[row, int(mask[row].nonzero().max())] = reward
    rewards -= beta * core.kl_penalty(annotations.old_logprobs, annotations.ref_logprobs, "k1") * mask
    return getattr(core, function)(token_level_rewards=rewards, response_mask=mask, **options)


def index_of(batch: RolloutBatch) -> np.ndarray:
    """To which prompt a row belongs."""
    return np.arange(len(batch)) // batch.group_size


def kl_in_reward(beta: float) -> Any:
    return replace(KL_FIRST, coef=beta)


@each_seed
@pytest.mark.parametrize("beta", [0.0, 0.05])
@pytest.mark.parametrize(
    ("name", "changes", "function", "options"),
    [
        ("grpo_verl", {}, "compute_grpo_outcome_advantage", {}),
        ("grpo_verl", {}, "compute_grpo_vectorized_outcome_advantage", {}),
        (
            "grpo_verl",
            {"divide_by_std": False},
            "compute_grpo_outcome_advantage",
            {"norm_adv_by_std_in_grpo": False},
        ),
        ("rloo_verl", {}, "compute_rloo_outcome_advantage", {}),
        ("rloo_verl", {}, "compute_rloo_vectorized_outcome_advantage", {}),
        (
            "reinforce_pp_verl",
            {"baseline": "group_mean"},
            "compute_reinforce_plus_plus_baseline_outcome_advantage",
            {},
        ),
    ],
)
def test_advantages_of_a_group(
    name: str, changes: dict, function: str, options: dict, beta: float, seed: int
) -> None:
    batch = random_rollouts(seed)
    annotations = annotated(batch, seed)
    step = one_step(config_of(name, kl=kl_in_reward(beta), **changes).build(), batch, annotations)
    expected, _ = theirs(function, batch, annotations, beta, index=index_of(batch), **options)
    close(step.advantages, expected, TOLERANCE)


@each_seed
@pytest.mark.parametrize("beta", [0.0, 0.05])
@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_advantages_of_reinforce_pp(gamma: float, beta: float, seed: int) -> None:
    batch = random_rollouts(seed)
    annotations = annotated(batch, seed)
    config = config_of("reinforce_pp_verl", gamma=gamma, kl=kl_in_reward(beta))
    expected, _ = theirs(
        "compute_reinforce_plus_plus_outcome_advantage",
        batch,
        annotations,
        beta,
        config=type("Settings", (), {"gamma": gamma}),
    )
    close(one_step(config.build(), batch, annotations).advantages, expected, TOLERANCE)


@each_seed
@pytest.mark.parametrize("beta", [0.0, 0.05])
def test_advantages_of_remax(beta: float, seed: int) -> None:
    batch = random_rollouts(seed)
    annotations = annotated(batch, seed)
    config = config_of("remax_verl", kl=kl_in_reward(beta))
    expected, _ = theirs(
        "compute_remax_outcome_advantage", batch, annotations, beta, reward_baselines=batch.baseline_rewards
    )
    # verl leaves sums of later tokens in the holes, which its loss masks.
    close(one_step(config.build(), batch, annotations).advantages, expected * batch.response_mask, TOLERANCE)


@each_seed
@pytest.mark.parametrize("beta", [0.0, 0.05])
@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 1.0), (1.0, 0.95), (0.9, 0.8), (0.9, 0.0)])
def test_advantages_and_returns_of_ppo(gamma: float, lam: float, beta: float, seed: int) -> None:
    batch = random_rollouts(seed)
    annotations = annotated(batch, seed)
    config = config_of("ppo_verl", gamma=gamma, lam=lam, kl=kl_in_reward(beta))
    step = one_step(config.build(), batch, annotations)
    advantages, returns = theirs(
        "compute_gae_advantage_return",
        batch,
        annotations,
        beta,
        values=annotations.values,
        gamma=gamma,
        lam=lam,
    )
    mask = batch.response_mask  # outside of it verl leaves numbers that its losses mask
    close(step.advantages, advantages * mask, TOLERANCE)
    close(step.returns, returns * mask, TOLERANCE)


# Losses, reductions, KL, importance weights: the whole objective and its gradient.


def actor_config(config: Any, mode: str, **changes: float) -> Any:
    """verl's settings that correspond to ours."""
    return actor.ActorConfig(
        strategy="fsdp",
        rollout_n=config.group_size,
        use_dynamic_bsz=True,
        clip_ratio_low=changes.get("clip_low", config.clip_low),
        clip_ratio_high=changes.get("clip_high", config.clip_high),
        clip_ratio_c=config.dual_clip or 1e6,  # verl cannot do without; this never bites
        loss_agg_mode=mode,
        global_batch_info={"loss_scale_factor": LIMIT},
    )


def their_objective(
    function: str, config: Any, logprobs: Tensor, batch: RolloutBatch, step: Any, **changes: float
) -> tuple[Tensor, Tensor]:
    """verl's policy loss with KL loss and importance weights, aggregated, and its gradient."""
    mode, mask = AGGREGATIONS[config.reduction], batch.response_mask
    weights = None
    if config.importance_cap is not None:
        weights, _ = correction.compute_rollout_correction_weights(
            step.old_logprobs - step.rollout_logprobs, mask, "token", config.importance_cap
        )
    loss, _ = getattr(core, function)(
        step.old_logprobs,
        logprobs,
        step.advantages,
        mask,
        loss_agg_mode=mode,
        config=actor_config(config, mode, **changes),
        rollout_is_weights=weights,
    )
    if config.kl.coef:
        kl = core.kl_penalty(logprobs, step.ref_logprobs, config.kl.estimator)
        loss = loss + config.kl.coef * core.agg_loss(kl, mask, mode, loss_scale_factor=LIMIT)
    return loss.detach(), torch.autograd.grad(loss, logprobs)[0]


def compare_objectives(
    function: str, config: Any, seed: int, *, distance: float = 0.5, drift: float = 0.7, **changes: float
) -> Tensor:
    """Assert that value and gradient agree; returns which tokens were clipped."""
    batch = random_rollouts(seed)
    algorithm = config.build()
    step = one_step(algorithm, batch, annotated(batch, seed, drift=drift))
    assert step.old_logprobs is not None
    logprobs = moved(step.old_logprobs, batch.response_mask, seed, distance)
    ours = objective(algorithm, logprobs, step)
    for found, expected in zip(
        ours, their_objective(function, config, logprobs, batch, step, **changes), strict=True
    ):
        close(found, expected, TOLERANCE)
    return algorithm.token_loss(logprobs, step).clipped & (batch.response_mask > 0)


def kl_in_loss(coef: float, estimator: str = "k3") -> Any:
    return replace(KL_FIRST, coef=coef, placement="loss", estimator=estimator)


@each_seed
@pytest.mark.parametrize("name", ["ppo_verl", "grpo_verl", "reinforce_pp_verl", "rloo_verl", "remax_verl"])
def test_the_objective_of_a_preset(name: str, seed: int) -> None:
    clipped = compare_objectives("compute_policy_loss_vanilla", config_of(name), seed)
    assert clipped.any()
    assert not clipped.all()


@each_seed
def test_the_objective_of_dapo(seed: int) -> None:
    config = config_of("dapo_verl", overlong_weight=0.0)
    assert config.clip_high > config.clip_low
    assert compare_objectives("compute_policy_loss_vanilla", config, seed).any()


@each_seed
@pytest.mark.parametrize("cap", [None, 1.2])
@pytest.mark.parametrize("estimator", [None, "k1", "k2", "k3"])
@pytest.mark.parametrize("reduction", list(REDUCTIONS))
def test_the_objective_with_kl_in_the_loss_and_importance_weights(
    reduction: str, estimator: str | None, cap: float | None, seed: int
) -> None:
    kl = kl_in_loss(0.0) if estimator is None else kl_in_loss(0.04, estimator)
    config = config_of("grpo_verl", reduction=reduction, kl=kl, importance_cap=cap)
    # Near enough to the reference model for verl's bound on k3 not to bite; see below.
    compare_objectives("compute_policy_loss_vanilla", config, seed, distance=0.3, drift=0.3)


@each_seed
def test_the_dual_clip_bites_where_verls_does(seed: int) -> None:
    without = config_of("grpo_verl", dual_clip=None)
    with_ceiling = config_of("grpo_verl", dual_clip=1.1)
    found = [
        compare_objectives("compute_policy_loss_vanilla", config, seed, distance=1.5)
        for config in (without, with_ceiling)
    ]
    assert found[1].sum() > found[0].sum()


@each_seed
@pytest.mark.parametrize("reduction", ["sequence_mean", "token_mean"])
@pytest.mark.parametrize("width", [3e-4, 0.1])
def test_the_objective_of_gspo(width: float, reduction: str, seed: int) -> None:
    config = config_of("gspo", clip_low=width, clip_high=1.3 * width, reduction=reduction)
    assert compare_objectives("compute_policy_loss_gspo", config, seed).any()


@each_seed
@pytest.mark.parametrize("max_ratio", [1.28, 5.0])
def test_the_objective_of_cispo(max_ratio: float, seed: int) -> None:
    # verl's bounds are 1 − ε_low and 1 + ε_high; the paper has no lower one.
    bounds = {"clip_low": 1.0, "clip_high": max_ratio - 1}
    config = config_of("cispo", max_ratio=max_ratio)
    clipped = compare_objectives("compute_policy_loss_cispo", config, seed, distance=1.5, **bounds)
    assert clipped.any()


@each_seed
def test_the_deprecated_policy_loss_agrees_as_well(seed: int) -> None:
    batch, config = random_rollouts(seed), config_of("grpo_verl")
    algorithm = config.build()
    step = one_step(algorithm, batch, annotated(batch, seed))
    assert step.old_logprobs is not None
    logprobs = moved(step.old_logprobs, batch.response_mask, seed, 0.5)
    expected, clip_share, kl, _ = core.compute_policy_loss(
        step.old_logprobs, logprobs, step.advantages, batch.response_mask, cliprange=0.2
    )
    close(objective(algorithm, logprobs, step)[0], expected.detach(), TOLERANCE)
    output = algorithm.token_loss(logprobs, step)
    weights = token_mean(batch.response_mask, LIMIT)
    approximate_kl = ((step.old_logprobs - logprobs.detach()) * weights).sum()
    close(approximate_kl, kl.detach(), TOLERANCE)
    above = output.clipped & ~((step.advantages < 0) & (output.ratio > 1.2))  # not by the dual clip
    close((above * weights).sum(), clip_share, TOLERANCE)


@each_seed
@pytest.mark.parametrize("reduction", list(REDUCTIONS))
def test_reductions(reduction: str, seed: int) -> None:
    mask = masked([3, 0, 7, 1, 5], holes=[(0, 1), (4, 0)])
    losses = torch.randn(mask.shape, generator=generator(seed), dtype=torch.float64)
    expected = core.agg_loss(losses, mask, AGGREGATIONS[reduction], loss_scale_factor=LIMIT)
    close((losses * REDUCTIONS[reduction](mask, LIMIT)).sum(), expected, TOLERANCE)


@each_seed
@pytest.mark.parametrize("clip", [0.2, 0.5])
def test_the_critics_objective(clip: float, seed: int) -> None:
    batch = random_rollouts(seed)
    config = config_of("ppo_verl", critic=CriticConfig(value_clip=clip))
    step = one_step(config.build(), batch, annotated(batch, seed))
    assert step.values is not None
    assert step.returns is not None
    assert step.value_weights is not None
    values = moved(step.values, batch.response_mask, seed, 0.6)
    expected, _ = core.compute_value_loss(values, step.returns, step.values, batch.response_mask, clip)
    found = (value_loss(values, step.values, step.returns, clip=clip) * step.value_weights).sum()
    close(found.detach(), expected.detach(), TOLERANCE)
    same_gradient(found, expected, values, TOLERANCE)


@each_seed
@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_kl_estimators(name: str, seed: int) -> None:
    logprobs, reference = (
        (torch.rand(4, 6, generator=generator(seed + i), dtype=torch.float64) * 2).requires_grad_()
        for i in (0, 50)
    )
    found, expected = ESTIMATORS[name](logprobs - reference), core.kl_penalty(logprobs, reference, name)
    close(found.detach(), expected.detach(), TOLERANCE)
    same_gradient(found.sum(), expected.sum(), logprobs, TOLERANCE)


def test_verl_stops_k3_at_ten_nats_and_we_do_not() -> None:
    # The one difference: for a token less than a thirteenth as likely as under the reference model,
    # verl's k3 is 10 and has no gradient; the formula goes on.
    delta = torch.tensor([-2.3, -2.6, -4.0], dtype=torch.float64)
    verl = core.kl_penalty(delta, torch.zeros(3, dtype=torch.float64), "k3")
    ours = ESTIMATORS["k3"](delta)
    close(ours, torch.exp(-delta) - 1 + delta, 1e-12)
    close(verl, ours.clamp(max=10), TOLERANCE)
    assert (ours > 10).tolist() == [False, False, True]


@each_seed
def test_importance_weights(seed: int) -> None:
    batch = random_rollouts(seed)
    old = annotated(batch, seed, drift=1.0).old_logprobs
    assert old is not None
    expected, _ = correction.compute_rollout_correction_weights(
        old - batch.rollout_logprobs, batch.response_mask, "token", 2.0
    )
    found = importance_weight(old, batch.rollout_logprobs, 2.0) * batch.response_mask
    assert (found == 2.0).any()
    close(found, expected, TOLERANCE)
