"""A model folder made the modules of a learner, without a whole copy where ranks hold shards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    PreTrainedModel,
)
from transformers.core_model_loading import revert_weight_conversion

from rlvr.learner.vision import reads_images


def load_model(
    model: str,
    dtype: torch.dtype,
    *,
    device: str = "cpu",
    head: bool = True,
    sharding: dict[str, Any] | None = None,
) -> PreTrainedModel:
    """Load a language model, which may read images, or its backbone alone.

    Dropout is off, whatever the model's config says: the policy that is trained is the one that is sampled, and
    what both sides compute is compared. Attention whose logits are capped (Gemma 2) is computed step by step: torch's
    fused kernel, which transformers would choose, leaves the cap out without a word.

    Args:
        model: folder or hub name.
        dtype: of the weights.
        device: where whole weights are put, without a copy in the host's memory.
        head: whether the output head is wanted.
        sharding: DeepSpeed's configuration at ZeRO stage 3. Every rank calls this, and gets a module that is cut into
            shards as it is made; the files are read by rank 0 alone, a layer at a time.
    """
    config = AutoConfig.from_pretrained(model)
    for each in (config, *(getattr(config, part) for part in config.sub_configs)):
        for name, value in each.to_dict().items():
            if "drop" in name and isinstance(value, float):
                setattr(each, name, 0.0)
    attention = "eager" if needs_stepwise_attention(config.get_text_config()) else None
    kind: Any = (
        AutoModel
        if not head
        else AutoModelForImageTextToText
        if reads_images(config)
        else AutoModelForCausalLM
    )
    placed = {"device_map": device} if sharding is None and device != "cpu" else {}
    with _cut_up(sharding):
        # Never pickle, which would run code from the model's folder.
        loaded: PreTrainedModel = kind.from_pretrained(
            model, config=config, dtype=dtype, attn_implementation=attention, use_safetensors=True, **placed
        )
    return loaded


def needs_stepwise_attention(config: Any) -> bool:
    """Whether a model of this config caps its attention's logits."""
    return bool(getattr(config, "attn_logit_softcapping", None))


@contextmanager
def _cut_up(sharding: dict[str, Any] | None) -> Iterator[None]:
    """Let transformers cut models into ZeRO-3 shards as it makes them, for as long as the block lasts."""
    if sharding is None:
        yield
        return
    from transformers.integrations.deepspeed import HfDeepSpeedConfig, unset_hf_deepspeed_config

    held = HfDeepSpeedConfig(sharding)  # transformers keeps a weak reference
    try:
        yield
    finally:
        unset_hf_deepspeed_config()
        del held


def under_checkpoint_names(model: Any, tensors: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    """Tensors under the names of the model's files, which engines know, instead of those of its modules.

    They are the same for most models; GPT-NeoX's head is ``embed_out`` in files and ``lm_head`` here.
    """
    for name, tensor in tensors:
        yield from revert_weight_conversion(model, {name: tensor}).items()
