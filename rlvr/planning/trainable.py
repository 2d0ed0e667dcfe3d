"""Whether a model can be trained here, judged by what it is made of and before anything starts."""

from __future__ import annotations

import inspect

from rlvr.config import LearnerConfig
from rlvr.errors import ConfigError, ModelError
from rlvr.learner.logit_transform import transform_of
from rlvr.learner.lora import adaptable
from rlvr.learner.vision import vision_towers
from rlvr.planning.model_shape import lay_out, settled

EXPERT_PARTS = ("expert", "router")
"""Words in the names of parameters that only a mixture of experts has."""


def check_trainable(model: str, settings: LearnerConfig) -> None:
    """Refuse a model that the learner cannot train or whose weights the engines would not understand.

    Raises:
        ConfigError: it has nothing to put the adapters on that are asked for, or no vision tower to freeze.
        ModelError: it mixes experts, or its log-probabilities would not be its own, or it reads images in both directions.
    """
    laid_out, _ = lay_out(settled(model))
    reads_images = bool(vision_towers(laid_out))
    if settings.freeze_vision_tower and not reads_images:
        raise ConfigError(
            f"{type(laid_out).__name__} has no vision tower",
            where="learner.freeze_vision_tower",
            fix="freeze_vision_tower=false, or a model that reads images",
        )
    if reads_images and "token_type_ids" in inspect.signature(laid_out.base_model.forward).parameters:
        raise ModelError(
            f"{type(laid_out).__name__} attends in both directions within images or prompts, which is not trained yet",
            where=model,
            fix="a model whose attention is causal, such as Qwen2.5-VL, SmolVLM, Idefics3 or LLaVA",
        )
    if settings.lora_rank and not adaptable(laid_out):
        raise ConfigError(
            f"{type(laid_out).__name__} has no linear layers to put adapters on",
            where="learner.lora_rank",
            fix="lora_rank=0, or another model",
        )
    for name, _ in laid_out.named_parameters():
        if any(part in name for part in EXPERT_PARTS):
            raise ModelError(
                f"{type(laid_out).__name__} mixes experts, which are not trained yet: engine and learner would "
                "choose different ones for a token, and keep their weights in different shapes",
                where=f"{model}: {name}",
                fix="a dense model; `rlvr evaluate` measures models of both kinds",
            )
    transform_of(laid_out)
