"""Whether a model can be trained here, judged by what it is made of and before anything starts."""

from __future__ import annotations

from rlvr.config import LearnerConfig
from rlvr.errors import ConfigError, ModelError
from rlvr.learner.logit_transform import transform_of
from rlvr.learner.lora import adaptable
from rlvr.planning.model_shape import lay_out, settled

EXPERT_PARTS = ("expert", "router")
"""Words in the names of parameters that only a mixture of experts has."""


def check_trainable(model: str, settings: LearnerConfig) -> None:
    """Refuse a model that the learner cannot train or whose weights the engines would not understand.

    Raises:
        ConfigError: it reads images, or has nothing to put the adapters on that are asked for.
        ModelError: it mixes experts, or its log-probabilities would not be its own.
    """
    laid_out, _ = lay_out(settled(model))
    if hasattr(laid_out.config, "vision_config"):
        raise ConfigError(
            "the model reads images, and training is text only",
            where="model",
            fix="a language model; `rlvr evaluate` measures models of both kinds",
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
