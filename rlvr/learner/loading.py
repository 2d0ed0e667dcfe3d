"""A model folder made the modules of a learner."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, PreTrainedModel
from transformers.core_model_loading import revert_weight_conversion


def load_model(model: str, dtype: torch.dtype, *, head: bool = True) -> PreTrainedModel:
    """Load a causal language model, or its backbone alone.

    Dropout is off, whatever the model's config says: the policy that is trained is the one that is sampled, and
    what both sides compute is compared. Attention whose logits are capped (Gemma 2) is computed step by step: torch's
    fused kernel, which transformers would choose, leaves the cap out without a word.

    Args:
        model: folder or hub name.
        dtype: of the weights.
        head: whether the output head is wanted.
    """
    config = AutoConfig.from_pretrained(model)
    for name, value in config.to_dict().items():
        if "drop" in name and isinstance(value, float):
            setattr(config, name, 0.0)
    attention = "eager" if getattr(config, "attn_logit_softcapping", None) else None
    kind: Any = AutoModelForCausalLM if head else AutoModel
    # Never pickle, which would run code from the model's folder.
    loaded: PreTrainedModel = kind.from_pretrained(
        model, config=config, dtype=dtype, attn_implementation=attention, use_safetensors=True
    )
    return loaded


def under_checkpoint_names(model: Any, tensors: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    """Tensors under the names of the model's files, which engines know, instead of those of its modules.

    They are the same for most models; GPT-NeoX's head is ``embed_out`` in files and ``lm_head`` here.
    """
    for name, tensor in tensors:
        yield from revert_weight_conversion(model, {name: tensor}).items()
