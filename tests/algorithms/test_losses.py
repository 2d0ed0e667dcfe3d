"""The losses of a token and their gradients."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rlvr.algorithms.losses import (
    PolicyLossOutput,
    capped_ratio_loss,
    clip_loss,
    reinforce_loss,
    sequence_clip_loss,
    value_loss,
)
from rlvr.algorithms.reductions import sequence_mean
from tests.algorithms.batches import close, generator, masked, moved, same_gradient

CLIP: dict[str, Any] = {"clip_low": 0.2, "clip_high": 0.2}
LOSSES = {
    "clip": partial(clip_loss, **CLIP),
    "dual clip": partial(clip_loss, dual_clip=3.0, **CLIP),
    "reinforce": reinforce_loss,
    "sequence clip": partial(sequence_clip_loss, **CLIP),
    "capped ratio": partial(capped_ratio_loss, max_ratio=5.0),
}
each_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def loss_at(
    ratio: float, advantage: float, loss: Any = None, **options: float
) -> tuple[PolicyLossOutput, float]:
    """The output for one token of log-probability log(ratio) − 1, and d loss / d log π."""
    old = torch.tensor([[-1.0]], dtype=torch.float64)
    new = (old + math.log(ratio)).requires_grad_()
    advantages = torch.tensor([[advantage]], dtype=torch.float64)
    chosen: Any = partial(clip_loss, **{**CLIP, **options}) if loss is None else loss
    output = chosen(new, old, advantages, torch.ones(1, 1))
    [gradient] = torch.autograd.grad(output.loss.sum(), new)
    return output, gradient.item()


# The clipped surrogate.


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "clipped"),
    [
        (5.0, -1.0, 5.0, False),  # a bad token that became likelier is pushed back without bound
        (5.0, 1.0, -1.2, True),
        (1.1, 1.0, -1.1, False),
        (0.5, 1.0, -0.5, False),
        (0.5, -1.0, 0.8, True),
        (0.9, -2.0, 1.8, False),
    ],
)
def test_loss_and_gradient_of_one_token(ratio: float, advantage: float, loss: float, clipped: bool) -> None:
    output, gradient = loss_at(ratio, advantage)
    assert output.loss.item() == pytest.approx(loss, abs=1e-5)
    assert output.ratio.item() == pytest.approx(ratio)
    assert output.clipped.item() is clipped
    assert gradient == pytest.approx(0.0 if clipped else -advantage * ratio)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "clipped"),
    [
        (5.0, -1.0, 3.0, True),
        (2.9, -1.0, 2.9, False),
        (5.0, -2.0, 6.0, True),
        (5.0, 1.0, -1.2, True),  # only bad tokens have a ceiling
        (0.5, -1.0, 0.8, True),
        (5.0, 0.0, 0.0, False),
    ],
)
def test_a_dual_clip_of_three_bounds_the_loss_of_a_bad_token(
    ratio: float, advantage: float, loss: float, clipped: bool
) -> None:
    output, gradient = loss_at(ratio, advantage, dual_clip=3.0)
    assert output.loss.item() == pytest.approx(loss, abs=1e-5)
    assert output.clipped.item() is clipped
    assert gradient == pytest.approx(0.0 if clipped else -advantage * ratio)


def test_each_bound_clips_its_own_side() -> None:
    assert not loss_at(1.25, 1.0, clip_low=0.2, clip_high=0.28)[0].clipped
    assert loss_at(1.25, 1.0, clip_low=0.28, clip_high=0.2)[0].clipped
    assert not loss_at(0.75, -1.0, clip_low=0.28, clip_high=0.2)[0].clipped
    assert loss_at(0.75, -1.0, clip_low=0.2, clip_high=0.28)[0].clipped


@given(st.floats(0.05, 10), st.floats(-3, 3), st.floats(0, 0.9), st.floats(0, 2))
def test_the_loss_is_the_pessimistic_one(ratio: float, advantage: float, low: float, high: float) -> None:
    output, gradient = loss_at(ratio, advantage, clip_low=low, clip_high=high)
    bounded = min(max(ratio, 1 - low), 1 + high)
    assert output.loss.item() == pytest.approx(max(-advantage * ratio, -advantage * bounded), abs=1e-9)
    if output.clipped:
        assert gradient == 0


# What all of them have in common.


@each_loss
def test_on_policy_the_ratio_is_one_and_the_gradient_is_reinforce(loss) -> None:
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    logprobs = (torch.tensor([[-0.3, -2.0, 0.0], [-0.1, 0.0, -4.0]]) * mask).requires_grad_()
    advantages = torch.tensor([[1.5, 1.5, 0.0], [-0.5, 0.0, -0.5]])
    output = loss(logprobs, logprobs.detach(), advantages, mask)
    [gradient] = torch.autograd.grad(output.loss.sum(), logprobs)
    assert (output.ratio == 1).all()
    assert not output.clipped.any()
    close(gradient, -advantages)


@each_loss
def test_diagnostics_carry_no_gradient(loss) -> None:
    output, _ = loss_at(1.1, 1.0, loss)
    assert not output.ratio.requires_grad
    assert not output.clipped.requires_grad
    assert output.clipped.dtype == torch.bool
    assert output.ratio.item() == pytest.approx(1.1)


@each_loss
@pytest.mark.parametrize("difference", [-1e4, 1e4])
@pytest.mark.parametrize("advantage", [-1.0, 1.0])
def test_an_extreme_log_ratio_stays_finite(difference: float, advantage: float, loss) -> None:
    logprobs = torch.tensor([[difference]], requires_grad=True)
    output = loss(logprobs, torch.zeros(1, 1), torch.tensor([[advantage]]), torch.ones(1, 1))
    [gradient] = torch.autograd.grad(output.loss.sum(), logprobs)
    for tensor in (output.loss, output.ratio, gradient):
        assert torch.isfinite(tensor).all()


@pytest.mark.parametrize("ratio", [0.1, 1.0, 7.0])
def test_reinforce_is_minus_advantage_times_log_probability_wherever_the_policy_is(ratio: float) -> None:
    output, gradient = loss_at(ratio, 2.0, reinforce_loss)
    assert output.loss.item() == pytest.approx(-2.0 * (math.log(ratio) - 1))
    assert gradient == -2.0


# GSPO.


def drawn(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ragged rows with holes: moved log-probabilities, old ones, one advantage per row, mask."""
    mask = masked([5, 1, 7, 3, 6], holes=[(0, 2), (2, 0), (4, 4)])
    old = -2 * torch.rand(mask.shape, generator=generator(seed), dtype=torch.float64) * mask
    advantages = torch.randn(5, 1, generator=generator(seed + 1), dtype=torch.float64) * mask
    return moved(old, mask, seed, 0.6), old, advantages, mask


def written_out(logprobs: Tensor, old: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    """Equation 5 of GSPO, one number per response, averaged."""
    ratio = torch.exp(((logprobs - old) * mask).sum(1) / mask.sum(1))
    per_row = advantages.sum(1) / mask.sum(1)
    return torch.maximum(-per_row * ratio, -per_row * ratio.clamp(0.8, 1.2)).mean()


@given(st.integers(0, 1000))
@settings(max_examples=30)
def test_gspo_has_one_ratio_per_response_and_the_papers_value_and_gradient(seed: int) -> None:
    logprobs, old, advantages, mask = drawn(seed)
    output = sequence_clip_loss(logprobs, old, advantages, mask, **CLIP)
    expected_ratio = torch.exp(((logprobs - old) * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True))
    close(output.ratio, expected_ratio.detach().expand_as(mask), 1e-12)
    for clipped, counted in zip(output.clipped, mask > 0, strict=True):
        assert len(clipped[counted].unique()) == 1
    loss = (output.loss * sequence_mean(mask, 99)).sum()
    expected = written_out(logprobs, old, advantages, mask)
    close(loss.detach(), expected.detach(), 1e-12)
    same_gradient(loss, expected, logprobs, 1e-12)


def test_gspo_gradient_is_the_papers_equation() -> None:
    # −Â s / |o| for every token of a response that is not clipped (2507.18071, eq. 10).
    logprobs, old, advantages, mask = drawn(3)
    output = sequence_clip_loss(logprobs, old, advantages, mask, clip_low=0.99, clip_high=99.0)
    [gradient] = torch.autograd.grad((output.loss * sequence_mean(mask, 99)).sum(), logprobs)
    close(gradient, -advantages * output.ratio / mask.sum(1, keepdim=True) / 5, 1e-12)


# CISPO.


@pytest.mark.parametrize(
    ("ratio", "advantage", "weight"),
    [(0.1, 1.0, 0.1), (4.9, 1.0, 4.9), (8.0, 1.0, 5.0), (8.0, -2.0, 5.0), (0.1, -2.0, 0.1)],
)
def test_cispo_caps_the_weight_of_a_token_and_keeps_its_gradient(
    ratio: float, advantage: float, weight: float
) -> None:
    output, gradient = loss_at(ratio, advantage, LOSSES["capped ratio"])
    assert gradient == pytest.approx(-weight * advantage)
    assert output.loss.item() == pytest.approx(-weight * advantage * (math.log(ratio) - 1))
    assert output.clipped.item() is (ratio > 5)
    assert output.ratio.item() == pytest.approx(ratio)  # the diagnostic is not capped


# The critic's.


@pytest.mark.parametrize(
    ("value", "old", "target", "loss", "gradient"),
    [
        (0.6, 0.5, 1.0, 0.08, -0.4),  # within the bound
        (0.9, 0.5, 1.0, 0.045, 0.0),  # too far towards the target: as at 0.7, without gradient
        (0.1, 0.5, 1.0, 0.405, -0.9),  # too far away from it: pulled back in full
        (0.2, 0.5, 0.0, 0.045, 0.0),
    ],
)
def test_the_value_loss_rewards_no_more_than_its_bound(
    value: float, old: float, target: float, loss: float, gradient: float
) -> None:
    values = torch.tensor([value], dtype=torch.float64, requires_grad=True)
    old_values, returns = (torch.tensor([x], dtype=torch.float64) for x in (old, target))
    found = value_loss(values, old_values, returns, clip=0.2)
    # A clipped value is old ± 0.2: 0.7 for a target of 1, 0.3 for a target of 0.
    assert found.item() == pytest.approx(loss)
    assert torch.autograd.grad(found.sum(), values)[0].item() == pytest.approx(gradient, abs=1e-9)
    unclipped = value_loss(values, old_values, returns, clip=None)
    assert unclipped.item() == pytest.approx((value - target) ** 2 / 2)
    assert torch.autograd.grad(unclipped.sum(), values)[0].item() == pytest.approx(value - target)
