"""GRPO as it is composed, and its vetted defaults."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch

from rlvr.algorithms.grpo import GRPOConfig
from rlvr.algorithms.registry import ALGORITHMS, name_of
from rlvr.batch import collate
from rlvr.errors import ConfigError
from tests.fakes import group


def test_the_defaults_are_the_vetted_setting() -> None:
    assert asdict(GRPOConfig()) == {
        "group_size": 8,
        "clip_low": 0.2,
        "clip_high": 0.2,
        "divide_by_std": True,
        "std_epsilon": 1e-6,
        "reduction": "sequence_mean",
    }


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("group_size", 1, "nothing to compare"),
        ("group_size", 0, "nothing to compare"),
        ("reduction", "mean", "unknown reduction 'mean'"),
        ("clip_low", -0.1, "clip_low"),
        ("clip_high", -0.1, "clip_high"),
        ("std_epsilon", 0.0, "std_epsilon"),  # a group of equal rewards would be 0 / 0
    ],
)
def test_a_setting_under_which_the_equations_mean_nothing_is_refused(key: str, value, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        GRPOConfig(**{key: value})
    assert caught.value.where == f"algorithm.{key}"
    assert caught.value.fix


def test_one_right_of_four_reaches_every_token() -> None:
    batch = collate([group([1, 0, 0, 0], lengths=[2, 1, 3, 3])])
    advantages = GRPOConfig(group_size=4).build().advantage(batch)
    expected = torch.tensor([1.499997, -0.499999, -0.499999, -0.499999])[:, None] * batch.response_mask
    torch.testing.assert_close(advantages, expected, atol=1e-5, rtol=0)


def test_every_option_reaches_the_composition() -> None:
    config = GRPOConfig(4, clip_low=0.1, clip_high=0.3, divide_by_std=False, reduction="token_mean")
    algorithm = config.build()
    batch = collate([group([1, 0, 0, 0])])
    assert algorithm.group_size == 4
    assert algorithm.advantage(batch)[:, 0].tolist() == [0.75, -0.25, -0.25, -0.25]
    ratios = torch.tensor([1.25, 1.35, 0.85])
    output = algorithm.policy_loss(ratios.log(), torch.zeros(3), torch.tensor([1.0, 1.0, -1.0]))
    assert output.clipped.tolist() == [False, True, True]
    assert algorithm.loss_weights(torch.ones(2, 5)).unique().tolist() == pytest.approx([0.1])
    delta = GRPOConfig(4, std_epsilon=1e-4).build().advantage(batch)[0, 0]
    assert delta.item() == pytest.approx(1.4997, abs=1e-5)


def test_the_registry_names_it() -> None:
    assert ALGORITHMS["grpo"] is GRPOConfig
    assert name_of(GRPOConfig(group_size=4)) == "grpo"
