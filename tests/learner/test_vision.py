"""What the learner makes of images, against transformers' own forward and backward pass, on models of several makes."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from rlvr.batch import TrainBatch
from rlvr.config import LearnerConfig
from rlvr.errors import ModelError
from rlvr.learner.forward import Policy
from rlvr.learner.loading import load_model
from rlvr.learner.lora import add_adapters
from rlvr.learner.value_model import ValueModel
from rlvr.learner.vision import ImageInputs, decoded, freeze_vision_tower, vision_towers
from rlvr.planning.trainable import check_trainable
from tests.vision import MAKES, encoded

IMAGE = 90
"""The token of an image in every model here."""
CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=[*MAKES])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MAKES[request.param](tmp_path_factory.mktemp(request.param), IMAGE)


def batch_of(folder: Path) -> TrainBatch:
    """Three rows with one image, one, and two, in prompts and with responses of different lengths."""
    generator = torch.Generator().manual_seed(3)
    images = (
        (encoded("red", (80, 60)),),
        (encoded("green", (60, 80)),),
        (encoded("blue", (64, 64)), encoded("red", (80, 60))),
    )
    sizes = [[places(folder, image) for image in row] for row in images]
    rows = []
    for counts in sizes:
        prompt = [5]
        for count in counts:
            prompt += [6, *[IMAGE] * count, 7]
        rows.append(prompt)
    lengths = [4, 7, 5]
    tokens = torch.zeros(
        3, max(len(row) + length for row, length in zip(rows, lengths, strict=True)), dtype=torch.int64
    )
    for row, (prompt, length) in enumerate(zip(rows, lengths, strict=True)):
        response = torch.randint(1, IMAGE, (length,), generator=generator)
        tokens[row, : len(prompt) + length] = torch.cat([torch.tensor(prompt), response])
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).float()
    return TrainBatch.of_tokens(tokens, torch.tensor([len(row) for row in rows]), mask, images)


def places(folder: Path, image: bytes) -> int:
    """Tokens that an image takes: as many as the model makes features of it."""
    model = load_model(str(folder), torch.float32)
    inputs = ImageInputs(str(folder), model, CPU).inputs(((image,),))
    with torch.no_grad():
        found = model.base_model.get_image_features(**inputs, return_dict=True).pooler_output
    return sum(len(each) for each in found)


def logits_of(model: Any, folder: Path, batch: TrainBatch, row: int) -> Tensor:
    """All logits of one row, by transformers: no padding, no other rows."""
    from transformers import AutoImageProcessor

    assert batch.images is not None
    pictures = [decoded(image) for image in batch.images[row]]
    inputs = AutoImageProcessor.from_pretrained(folder)(images=[pictures], return_tensors="pt")
    inputs.pop("rows", None)
    tokens = batch.tokens[row : row + 1, : int(batch.lengths[row])]
    if "image_grid_thw" in inputs:
        inputs["mm_token_type_ids"] = (tokens == IMAGE).int()
    return model(input_ids=tokens, **inputs).logits[0]


def test_logprobs_and_gradients_are_those_of_transformers(folder: Path) -> None:
    batch = batch_of(folder)
    ours, theirs = (load_model(str(folder), torch.float32).train() for _ in range(2))
    weights = torch.randn(batch.response_mask.shape, generator=torch.Generator().manual_seed(5))

    policy = Policy(ours)
    images = ImageInputs(str(folder), ours, CPU).inputs(batch.images)
    logprobs, _ = policy(batch.tokens, batch.prompt_lengths, batch.response_mask, 0.7, images)
    (logprobs * weights).sum().backward()

    expected = torch.zeros_like(batch.response_mask)
    total = torch.zeros(())
    for row in range(len(batch)):
        start, end = int(batch.prompt_lengths[row]), int(batch.lengths[row])
        scores = torch.log_softmax(logits_of(theirs, folder, batch, row) / 0.7, dim=-1)
        chosen = scores[start - 1 : end - 1].gather(1, batch.tokens[row, start:end, None]).squeeze(1)
        expected[row, : end - start] = chosen.detach()
        total = total + (chosen * weights[row, : end - start]).sum()
    total.backward()
    assert logprobs.allclose(expected, atol=1e-5)
    mine = dict(ours.named_parameters())
    seen = 0
    # Some gradients are zero but for rounding, such as those of the biases of keys.
    largest = max(each.grad.abs().max() for each in theirs.parameters() if each.grad is not None)
    for name, parameter in theirs.named_parameters():
        if parameter.grad is None:  # layers of the tower that the model does not use
            assert mine[name].grad is None
            continue
        assert mine[name].grad.allclose(parameter.grad, rtol=1e-3, atol=1e-6 * float(largest)), name
        seen += bool(parameter.grad.any()) and any(
            each is parameter for tower in vision_towers(theirs) for each in tower.parameters()
        )
    assert seen > 5  # of the tower itself


def test_another_picture_is_another_function(folder: Path) -> None:
    batch = batch_of(folder)
    model = load_model(str(folder), torch.float32)
    policy, inputs = Policy(model), ImageInputs(str(folder), model, CPU)
    assert batch.images is not None
    other = ((encoded("blue", (80, 60)),), *batch.images[1:])
    with torch.no_grad():
        here, there = (
            policy(batch.tokens, batch.prompt_lengths, batch.response_mask, 1.0, inputs.inputs(each))[0]
            for each in (batch.images, other)
        )
    differs = (here - there).abs().amax(1)
    assert differs[0] > 1e-4
    assert differs[1:].max() < 1e-6


def test_a_sampled_image_token_is_a_word(folder: Path) -> None:
    """The policy can sample any token, so also the one that stands for an image, with no image to put there."""
    batch = batch_of(folder)
    start = int(batch.prompt_lengths[0])
    batch.tokens[0, start + 1] = IMAGE
    model = load_model(str(folder), torch.float32)
    inputs = ImageInputs(str(folder), model, CPU).inputs(batch.images)
    with torch.no_grad():
        found, _ = Policy(model)(batch.tokens, batch.prompt_lengths, batch.response_mask, 1.0, inputs)
        # The same with a word that has the image token's embedding.
        twin = batch.tokens.clone()
        twin[0, start + 1] = IMAGE - 1
        embedding = model.get_input_embeddings().weight
        embedding[IMAGE - 1] = embedding[IMAGE]
        expected, _ = Policy(model)(twin, batch.prompt_lengths, batch.response_mask, 1.0, inputs)
    assert found.isfinite().all()
    assert found[0, 2:].allclose(expected[0, 2:], atol=1e-6)


def test_the_critic_sees_the_images_too(folder: Path) -> None:
    batch = batch_of(folder)
    backbone = load_model(str(folder), torch.float32, head=False)
    critic, inputs = ValueModel(backbone), ImageInputs(str(folder), backbone, CPU)
    torch.nn.init.normal_(critic.head.weight)
    assert batch.images is not None
    other = ((encoded("blue", (80, 60)),), *batch.images[1:])
    with torch.no_grad():
        here, there = (
            critic(batch.tokens, batch.prompt_lengths, batch.response_mask, inputs.inputs(each))
            for each in (batch.images, other)
        )
    differs = (here - there).abs().amax(1)
    assert differs[0] > 1e-4
    assert differs[1:].max() < 1e-5


@pytest.mark.parametrize("lora", [0, 4])
def test_a_frozen_tower_stays(folder: Path, lora: int) -> None:
    batch = batch_of(folder)
    model = load_model(str(folder), torch.float32)
    freeze_vision_tower(model)
    if lora:
        add_adapters(model, LearnerConfig(lora_rank=lora))
    inputs = ImageInputs(str(folder), model, CPU).inputs(batch.images)
    logprobs, _ = Policy(model)(batch.tokens, batch.prompt_lengths, batch.response_mask, 1.0, inputs)
    logprobs.sum().backward()
    tower = {id(each) for module in vision_towers(model) for each in module.parameters()}
    assert len(tower) > 5
    learned = {name for name, each in model.named_parameters() if each.grad is not None and each.grad.any()}
    assert learned
    assert all(each.grad is None for each in model.parameters() if id(each) in tower)
    assert bool(lora) == all(".lora_" in name for name in learned)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "L", "turned"])
def test_images_are_decoded_as_the_engines_decode_them(mode: str) -> None:
    from rlvr.rollout.vllm_engine import pixels

    image = Image.effect_noise((30, 20), 90).convert("RGB")
    file = io.BytesIO()
    if mode == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(file, "PNG", exif=exif)
    elif mode == "P":
        image.quantize(8).save(file, "PNG", transparency=3)
    else:
        image = image.convert(mode)
        if mode in ("RGBA", "LA"):
            image.putalpha(Image.linear_gradient("L").resize(image.size))
        image.save(file, "PNG")
    content = file.getvalue()
    theirs = pixels(content)
    assert decoded(content).tobytes() == getattr(theirs, "media", theirs).tobytes()


TOWER = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}


def gemma3() -> Any:
    from transformers import Gemma3Config

    text = {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
    }
    return Gemma3Config(text_config={**text, "intermediate_size": 64, "vocab_size": 99}, vision_config=TOWER)


def paligemma() -> Any:
    from transformers import PaliGemmaConfig

    text = {
        "model_type": "gemma",
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "head_dim": 16,
    }
    return PaliGemmaConfig(
        text_config={**text, "num_key_value_heads": 1, "intermediate_size": 64, "vocab_size": 99},
        vision_config={"model_type": "siglip_vision_model", **TOWER},
        projection_dim=32,
    )


@pytest.mark.parametrize("config", [gemma3, paligemma])
def test_attention_in_both_directions_is_refused(config: Callable[[], Any], tmp_path: Path) -> None:
    """The learner's causal pass would compute other log-probabilities than the engine samples by."""
    config().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="attends in both directions within images or prompts") as caught:
        check_trainable(str(tmp_path), LearnerConfig())
    assert "Qwen2.5-VL" in str(caught.value.fix)
