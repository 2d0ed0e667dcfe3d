"""LoRA (arXiv 2106.09685) by peft: small adapters are trained, and engines get the merged weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from rlvr.config import LearnerConfig
from rlvr.errors import ConfigError

BASE, ADAPTER = ".base_layer", ".lora_"


def add_adapters(model: Any, settings: LearnerConfig) -> None:
    """Freeze a model and put adapters on its linear layers, but the output head and what is frozen already, in place.

    Raises:
        ConfigError: peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ConfigError(
            "LoRA needs peft, which is not installed",
            where="learner.lora_rank",
            fix="make setup on every node (the extra `lora`), or learner.lora_rank=0",
        ) from error
    # peft initialises B to zero: the adapted model starts as the model itself.
    config = LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        target_modules=adaptable(model),
        lora_dropout=0.0,
    )
    inject_adapter_in_model(config, model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(ADAPTER in name)
    if settings.gradient_checkpointing:
        # Checkpointed layers recompute only if what goes into them asks for a gradient.
        model.enable_input_require_grads()


def adaptable(model: Any) -> list[str]:
    """Names of the layers that get adapters."""
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and module is not model.get_output_embeddings()
        and module.weight.requires_grad
    ]


def merged_parameters(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters under the names of the model without adapters, W + (α / r) B A where there is one."""
    for name, parameter in model.named_parameters():
        if ADAPTER in name:
            continue
        if BASE not in name or not name.endswith(".weight"):
            yield name.replace(BASE, ""), parameter
            continue
        layer: Any = model.get_submodule(name.partition(BASE)[0])
        with torch.no_grad():
            [adapter] = layer.active_adapters
            yield name.replace(BASE, ""), parameter + layer.get_delta_weight(adapter).to(parameter.dtype)
