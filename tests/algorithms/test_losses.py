"""The clipped surrogate and its gradient."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlvr.algorithms.algorithm import PolicyLossOutput
from rlvr.algorithms.losses import clip_loss


def loss_at(
    ratio: float, advantage: float, low: float = 0.2, high: float = 0.2
) -> tuple[PolicyLossOutput, float]:
    """The output for one token, and d loss / d log π."""
    old = torch.tensor([-1.0], dtype=torch.float64)
    new = (old + math.log(ratio)).requires_grad_()
    output = clip_loss(new, old, torch.tensor([advantage], dtype=torch.float64), clip_low=low, clip_high=high)
    output.loss.sum().backward()
    assert new.grad is not None
    return output, new.grad.item()


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


def test_each_bound_clips_its_own_side() -> None:
    assert not loss_at(1.25, 1.0, low=0.2, high=0.28)[0].clipped
    assert loss_at(1.25, 1.0, low=0.28, high=0.2)[0].clipped
    assert not loss_at(0.75, -1.0, low=0.28, high=0.2)[0].clipped
    assert loss_at(0.75, -1.0, low=0.2, high=0.28)[0].clipped


def test_on_policy_the_ratio_is_one_and_the_gradient_is_reinforce() -> None:
    logprobs = torch.tensor([[-0.3, -2.0, 0.0]], requires_grad=True)
    advantages = torch.tensor([[1.5, -0.5, 0.0]])
    output = clip_loss(logprobs, logprobs.detach(), advantages, clip_low=0.2, clip_high=0.2)
    output.loss.sum().backward()
    assert output.ratio.tolist() == [[1, 1, 1]]
    assert not output.clipped.any()
    assert output.loss.tolist() == [[-1.5, 0.5, 0.0]]
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == [[-1.5, 0.5, 0.0]]


@pytest.mark.parametrize("difference", [-1e4, 1e4])
def test_an_extreme_log_ratio_stays_finite(difference: float) -> None:
    logprobs = torch.tensor([difference], requires_grad=True)
    output = clip_loss(logprobs, torch.zeros(1), torch.tensor([-1.0]), clip_low=0.2, clip_high=0.2)
    output.loss.sum().backward()
    assert torch.isfinite(output.loss).all()
    assert torch.isfinite(output.ratio).all()
    assert logprobs.grad is not None
    assert torch.isfinite(logprobs.grad).all()


def test_diagnostics_carry_no_gradient() -> None:
    output, _ = loss_at(1.1, 1.0)
    assert not output.ratio.requires_grad
    assert not output.clipped.requires_grad


@given(st.floats(0.05, 10), st.floats(-3, 3), st.floats(0, 0.9), st.floats(0, 2))
def test_the_loss_is_the_pessimistic_one(ratio: float, advantage: float, low: float, high: float) -> None:
    output, gradient = loss_at(ratio, advantage, low, high)
    bounded = min(max(ratio, 1 - low), 1 + high)
    assert output.loss.item() == pytest.approx(max(-advantage * ratio, -advantage * bounded), abs=1e-9)
    if output.clipped:
        assert gradient == 0
