"""Images in the learner's forward pass, for any architecture whose image processor transformers has.

What an image processor gives (pixels, grids, masks) is handed to the model as it is, by the names that the model's
forward pass has for it; nobody looks inside. Only two things are known of a model: which tokens stand for images, and
which of its modules is the vision tower.
"""

from __future__ import annotations

import inspect
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from transformers import AutoImageProcessor, PreTrainedModel
from transformers.utils import cached_file

from rlvr.batch import Images

PLACEHOLDERS = ("image_token_id", "image_token_index", "video_token_id", "video_token_index")
"""Under these names configs have the tokens that stand for what is seen."""
PROCESSOR_FILES = (
    "preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json",
)  # fmt: skip
"""What a model's folder says about images, besides its config."""


def reads_images(config: Any) -> bool:
    """Whether a model of this config has a vision tower."""
    return hasattr(config, "vision_config")


class ImageInputs:
    """Makes the images of a micro-batch a model's inputs."""

    def __init__(self, source: str, model: PreTrainedModel, device: torch.device) -> None:
        """Take the model and the folder (or hub name) that it comes from; nothing is loaded before it is needed."""
        self._source, self._device, self._dtype = source, device, model.dtype
        self._has_images = reads_images(model.config)
        self._accepted = frozenset(inspect.signature(model.base_model.forward).parameters)

    @cached_property
    def _processor(self) -> Any:
        return AutoImageProcessor.from_pretrained(self._source)

    def inputs(self, images: Images | None) -> dict[str, Tensor]:
        """Keyword arguments of the model's forward pass, on the device; none without images."""
        if images is None:
            return {}
        found = self._processor(
            images=[[decoded(each) for each in row] for row in images], return_tensors="pt"
        )
        return {
            name: tensor.to(self._device, self._dtype if tensor.is_floating_point() else tensor.dtype)
            for name, tensor in found.items()
            if name in self._accepted
        }

    def save(self, folder: Path) -> None:
        """Copy into a model's folder what the one before had on images."""
        if not self._has_images:
            return
        for name in PROCESSOR_FILES:
            path = cached_file(self._source, name, _raise_exceptions_for_missing_entries=False)
            if path is not None:
                shutil.copyfile(path, folder / name)


def decoded(image: bytes) -> Image.Image:
    """An encoded image as the engines see it: upright, in plain colours, on white where it is transparent."""
    with Image.open(io.BytesIO(image)) as opened:
        upright = ImageOps.exif_transpose(opened)
    if not upright.has_transparency_data:
        return upright.convert("RGB")
    upright = upright.convert("RGBA")
    on_white = Image.new("RGB", upright.size, (255, 255, 255))
    on_white.paste(upright, mask=upright.getchannel("A"))
    return on_white


def hidden_states(
    backbone: PreTrainedModel, tokens: Tensor, prompt_lengths: Tensor, images: dict[str, Tensor]
) -> Tensor:
    """Last hidden states (b, S, D) of a model without its head.

    A response may hold the token that stands for an image, as the policy can sample any. It stands for none there, and
    is read as the plain word that it was sampled as, which is what engines do.

    Args:
        backbone: the model.
        tokens: (b, S) int64, padded on the right.
        prompt_lengths: (b,) int64.
        images: what :meth:`ImageInputs.inputs` makes of the images in the prompts.
    """
    if not images:
        plain: Tensor = backbone(input_ids=tokens, use_cache=False).last_hidden_state
        return plain
    known = {getattr(backbone.config, name, None) for name in PLACEHOLDERS} - {None}
    places = torch.isin(tokens, torch.tensor(sorted(known), device=tokens.device))
    is_prompt = torch.arange(tokens.shape[1], device=tokens.device) < prompt_lengths[:, None]
    shown = tokens.masked_fill(places & ~is_prompt, next(token for token in range(9) if token not in known))
    # The positions of Qwen's tokens go by what kind they are; there are images only.
    kinds = (places & is_prompt).int()
    with _embedded_as(backbone, tokens, places & ~is_prompt):
        found = backbone(
            input_ids=shown, use_cache=False, **images, **_if_taken(backbone, mm_token_type_ids=kinds)
        )
    states: Tensor = found.last_hidden_state
    return states


def _if_taken(backbone: PreTrainedModel, **inputs: Tensor) -> dict[str, Tensor]:
    """Those that the forward pass has a name for."""
    known = inspect.signature(backbone.forward).parameters
    return {name: tensor for name, tensor in inputs.items() if name in known}


@contextmanager
def _embedded_as(backbone: PreTrainedModel, tokens: Tensor, where: Tensor) -> Iterator[None]:
    """Let a model embed other tokens than it is shown, at these places (b, S)."""
    handle = backbone.get_input_embeddings().register_forward_pre_hook(
        lambda module, inputs: (torch.where(where, tokens, inputs[0]), *inputs[1:])
    )
    try:
        yield
    finally:
        handle.remove()


def vision_towers(model: PreTrainedModel) -> list[nn.Module]:
    """Of a model: what has its ``vision_config``; for Qwen's that includes the layers which join it to the rest."""
    config = getattr(model.config, "vision_config", None)
    return [
        module
        for module in model.modules()
        if config is not None and isinstance(module, PreTrainedModel) and type(module.config) is type(config)
    ]


def freeze_vision_tower(model: PreTrainedModel) -> None:
    """Leave the tower as it is; the layers that follow it are trained."""
    for tower in vision_towers(model):
        tower.requires_grad_(False)
