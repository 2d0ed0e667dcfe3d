"""vLLM's models that take a function from a module which imports torchvision, where that cannot be had."""

from __future__ import annotations

import importlib
import sys

from rlvr.still_images import has_torchvision, read_images_alone

TWINS = {
    "transformers.models.qwen2_vl.image_processing_qwen2_vl": (
        "transformers.models.qwen2_vl.image_processing_pil_qwen2_vl"
    ),
}
"""Modules that import torchvision, and those without it that have what vLLM takes from them."""
VLLM_MODELS = {
    "Qwen2VLForConditionalGeneration": "vllm.model_executor.models.qwen2_vl",
    "Qwen2_5_VLForConditionalGeneration": "vllm.model_executor.models.qwen2_5_vl",
}
"""Models of vLLM, by module, that take something from them."""


def register_with_vllm(model: str) -> None:
    """Let vLLM of this process build a model whose module would import torchvision; a no-op for any other, or with it."""
    from transformers import AutoConfig

    names = set(VLLM_MODELS) & set(AutoConfig.from_pretrained(model).architectures or ())
    if not names or has_torchvision():
        return
    from vllm import ModelRegistry

    read_images_alone()
    for module, twin in TWINS.items():
        sys.modules[module] = importlib.import_module(twin)
    for name in names:
        # As a class: by its name vLLM would look at it in another process, which knows nothing of this.
        ModelRegistry.register_model(name, getattr(importlib.import_module(VLLM_MODELS[name]), name))
