"""How large a model is: laid out on the meta device from its config, with nothing loaded."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

from rlvr.errors import ModelError
from rlvr.learner.loading import needs_stepwise_attention

FACTS = Path(__file__).with_name("architectures.json")


@dataclass(frozen=True, slots=True)
class TowerShape:
    """Sizes of a vision tower, by which its activations are estimated."""

    hidden: int
    layers: int
    intermediate: int
    patches_per_token: int
    """Patches that become one token of the language model; each goes through all layers."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Sizes of a causal language model; all but ``num_parameters`` are counts per layer or vector widths.

    Of a model that reads images, ``num_parameters`` has all of it, and the rest is its language model's.
    """

    name: str
    source: str
    """Where the sizes come from, for the reader of a plan."""
    num_parameters: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    max_positions: int | None
    """Longest sequence; None where the model has no such limit."""
    stepwise_attention: bool = False
    """Whether the learner holds the scores of all pairs of tokens: its attention is no single kernel."""
    tower: TowerShape | None = None
    """Of a model that reads images, where its config names the sizes as most do."""

    @property
    def kv_width(self) -> int:
        """Numbers that one token adds to the KV cache in one layer."""
        return 2 * self.kv_heads * self.head_dim


def model_shape(model: str) -> ModelShape:
    """The sizes of a model folder, of a published model, or of one whose config the hub gives.

    Raises:
        ModelError: no config can be had.
    """
    return _shape(settled(model))


def settled(model: str) -> str:
    """A folder by its absolute path, and a hub name as it is."""
    return str(Path(model).resolve()) if Path(model).exists() else model


@cache
def _shape(model: str) -> ModelShape:
    laid_out, source = lay_out(model)
    config = laid_out.config.get_text_config()  # itself, for a model of text alone
    heads = getattr(config, "num_attention_heads", None)
    if not heads:
        raise ModelError(
            f"{type(laid_out).__name__} has no attention heads, and no plan can be made for it",
            where=model,
            fix="a model with attention in its layers",
        )
    return ModelShape(
        name=model,
        source=source,
        # Tied weights are one parameter and counted once.
        num_parameters=sum(parameter.numel() for parameter in laid_out.parameters()),
        hidden=config.hidden_size,
        layers=config.num_hidden_layers,
        heads=heads,
        kv_heads=getattr(config, "num_key_value_heads", None) or heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
        intermediate=getattr(config, "intermediate_size", None) or _widest(laid_out),
        vocabulary=config.vocab_size,
        max_positions=getattr(config, "max_position_embeddings", None),
        stepwise_attention=needs_stepwise_attention(config),
        tower=_tower(laid_out.config),
    )


def _tower(config: Any) -> TowerShape | None:
    vision = getattr(config, "vision_config", None)
    # Qwen2-VL's embed_dim is what its hidden_size is elsewhere, and that the width of the language model.
    hidden = _first(vision, "embed_dim", "hidden_size")
    layers = _first(vision, "depth", "num_hidden_layers")
    if hidden is None or layers is None:
        return None
    intermediate = _first(vision, "intermediate_size") or int(hidden * (_first(vision, "mlp_ratio") or 4))
    merged = _first(vision, "spatial_merge_size") or _first(config, "scale_factor") or 1
    return TowerShape(hidden, layers, intermediate, merged**2)


def _first(config: Any, *names: str) -> Any:
    """The value of the first of these that a config has; None if it has none of them."""
    return next((value for name in names if (value := getattr(config, name, None)) is not None), None)


def _widest(laid_out: Any) -> int:
    """Width of the MLP of a model whose config does not name it as most do: the longest side of a layer's matrices."""
    outer = {id(module) for module in (laid_out.get_input_embeddings(), laid_out.get_output_embeddings())}
    return max(
        max(parameter.shape)
        for module in laid_out.modules()
        if id(module) not in outer and not isinstance(module, torch.nn.Embedding)
        for parameter in module.parameters(recurse=False)
    )


@cache
def lay_out(model: str) -> tuple[Any, str]:
    """A model on the meta device, made of its config alone, and where that comes from.

    Raises:
        ModelError: no config can be had, or it is not of a language model.
    """
    config, source = _config(model)
    kind = AutoModelForImageTextToText if hasattr(config, "vision_config") else AutoModelForCausalLM
    try:
        with init_empty_weights(include_buffers=True), torch.device("meta"):
            return kind.from_config(config), source
    except ValueError as error:
        raise ModelError(
            f"no language model can be made of its config: {str(error).splitlines()[0]}",
            where=model,
            fix="a causal language model",
        ) from error


def _config(model: str) -> tuple[Any, str]:
    if not Path(model).exists():
        facts = known_architectures().get(model)
        if facts is not None:
            facts = dict(facts)
            return AutoConfig.for_model(facts.pop("model_type"), **facts), f"published sizes, {FACTS.name}"
    try:
        return AutoConfig.from_pretrained(model), "its config.json"
    except (OSError, ValueError) as error:
        raise ModelError(
            "the model's sizes are not known and its config cannot be had: " + str(error).splitlines()[0],
            where=model,
            fix="a local folder with its config.json, or a machine that reaches the hub",
        ) from error


@cache
def known_architectures() -> dict[str, dict[str, Any]]:
    """Published models by hub name, with ``like`` resolved."""
    models: dict[str, dict[str, Any]] = json.loads(FACTS.read_text(encoding="utf-8"))["models"]

    def resolved(name: str) -> dict[str, Any]:
        facts = dict(models[name])
        return {**resolved(facts.pop("like")), **facts} if "like" in facts else facts

    return {name: resolved(name) for name in models}
