"""Adapters: what is trained, and that the merged weights are the adapted model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from rlvr.algorithms.grpo import GRPOConfig
from rlvr.config import LearnerConfig
from rlvr.learner.forward import Policy
from rlvr.learner.lora import add_adapters, merged_parameters
from rlvr.planning.memory import trained_parameters
from rlvr.planning.model_shape import model_shape

SETTINGS = LearnerConfig(lora_rank=4, lora_alpha=8.0, gradient_checkpointing=True)


@pytest.fixture
def model() -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        intermediate_size=32, initializer_range=0.3,
    )  # fmt: skip
    return Qwen2ForCausalLM(config).eval()


TOKENS = torch.arange(20)[None]


def test_it_starts_as_the_model_itself_and_trains_adapters_only(model) -> None:
    before = model(TOKENS).logits
    names = [(name, parameter.shape) for name, parameter in model.named_parameters()]
    policy = Policy(model)
    add_adapters(model, SETTINGS)
    torch.testing.assert_close(model(TOKENS).logits, before)
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert trained
    assert all(".lora_" in name for name in trained)
    assert [(name, merged.shape) for name, merged in merged_parameters(model)] == names

    model.gradient_checkpointing_enable()
    model.train()
    logprobs, _ = policy(TOKENS, torch.tensor([5]), torch.ones(1, 15), 1.0)
    logprobs.sum().backward()
    assert all((parameter.grad is not None) == parameter.requires_grad for parameter in model.parameters())


def test_merged_weights_are_the_adapted_model(model, tmp_path: Path) -> None:
    plain = model(TOKENS).logits
    add_adapters(model, SETTINGS)
    for name, parameter in model.named_parameters():
        if ".lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    adapted = model(TOKENS).logits
    assert (adapted - plain).abs().max() > 0.1
    model.save_pretrained(
        tmp_path, state_dict={name: tensor.detach() for name, tensor in merged_parameters(model)}
    )
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    torch.testing.assert_close(loaded(TOKENS).logits, adapted, atol=1e-4, rtol=1e-4)


def test_the_plan_counts_the_adapters(model, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    [planned] = trained_parameters(model_shape(str(tmp_path)), SETTINGS, GRPOConfig().build())
    add_adapters(model, SETTINGS)
    assert planned == sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
