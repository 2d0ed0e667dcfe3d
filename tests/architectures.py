"""Tiny models of many architectures, with random weights far from uniform."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

VOCABULARY = 64
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "head_dim": 32,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "tie_word_embeddings": False,
}
SPECIAL: dict[str, dict[str, Any]] = {
    "gemma2": {"final_logit_softcapping": 3.0, "query_pre_attn_scalar": 32, "sliding_window": 8},
    "gemma3_text": {"query_pre_attn_scalar": 32, "sliding_window": 8},
    "gpt2": {"n_embd": 128, "n_layer": 2, "n_head": 4, "n_positions": 128},
    "opt": {"ffn_dim": 192, "word_embed_proj_dim": 128},
    "smollm3": {"no_rope_layer_interval": 2},
    "granite": {"logits_scaling": 7.0, "embedding_multiplier": 3.0},
    "cohere": {"logit_scale": 0.3},
    "mixtral": {"num_local_experts": 4},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
}
TIED = ("gemma", "gemma2", "gemma3_text", "gpt2", "opt", "cohere")
DENSE = (
    "llama", "qwen2", "qwen3", "mistral", "gemma", "gemma2", "gemma3_text", "phi3", "phi", "gpt2", "opt",
    "gpt_neox", "olmo2", "granite", "cohere", "smollm3",
)  # fmt: skip
EXPERTS = ("mixtral", "qwen3_moe")
GAIN = 3.0
"""Of every matrix, so that logits differ enough for a mistake to show."""


def tiny_config(name: str) -> Any:
    """A config of an architecture by transformers' name for it."""
    known = AutoConfig.for_model(name)
    sizes = {key: value for key, value in SIZES.items() if hasattr(known, key)}
    extra = {"tie_word_embeddings": name in TIED}
    return AutoConfig.for_model(name, **sizes | SPECIAL.get(name, {}) | extra)


def tiny_model(name: str) -> Any:
    """A model with random weights and biases, that computes its attention step by step."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(tiny_config(name), attn_implementation="eager").eval()
    for parameter in model.parameters():
        if parameter.dim() >= 2:
            nn.init.normal_(parameter, std=GAIN / parameter.shape[-1] ** 0.5)
        else:
            parameter.data.add_(torch.randn_like(parameter) * 0.1)
    return model


def write_tiny(name: str, folder: Path) -> Path:
    """A model folder without a tokenizer."""
    tiny_model(name).save_pretrained(folder)
    return folder
