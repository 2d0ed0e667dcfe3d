"""A model of half a million parameters that reads images, and questions that only the image answers.

Idefics3's architecture: the one of those that vLLM knows whose processor needs nothing that is missing beside a CPU torch.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from rlvr.data.chains import words
from rlvr.data.tiny_tokenizer import build_tokenizer

COLOURS = {"1": (230, 20, 20), "2": (20, 210, 20), "3": (20, 20, 230), "4": (240, 240, 240)}
"""What the questions are about: the answer, and the colour of the image that says it."""
QUESTION = "a ?"
TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|assistant|>' if message['role'] == 'assistant' else '<|user|>' }}"
    "{% if message['content'] is string %} {{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %} {{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def picture(answer: str, size: tuple[int, int] = (80, 60)) -> Image.Image:
    """The image that says the answer."""
    return Image.new("RGB", size, COLOURS[answer])


def visual_set(folder: Path, repeat: int = 1) -> Path:
    """``mathvista.jsonl`` in the set's own columns, with its images beside it."""
    images = folder / "mathvista" / "images"
    images.mkdir(parents=True)
    rows = []
    for index, answer in enumerate([*COLOURS] * repeat):
        picture(answer, (80 + index, 60)).save(images / f"{index}.png")
        rows.append({
            "question": QUESTION, "question_type": "free_form", "answer": answer, "image": f"images/{index}.png",
        })  # fmt: skip
    path = folder / "mathvista.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def vision_model(folder: Path, *, steps: int) -> Path:
    """Write a model that is trained, on the colours alone, to say the answer; untrained with no steps."""
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, Idefics3Processor
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    tokenizer = build_tokenizer(words(23))
    tokenizer.add_tokens(
        ["<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"], special_tokens=True
    )
    tokenizer.add_tokens([f"\\boxed{{{answer}}}" for answer in COLOURS])
    tokenizer.chat_template = TEMPLATE
    length = {"longest_edge": 56}
    processor = Idefics3Processor(
        Idefics3ImageProcessorPil(size=length, max_image_size=length, do_image_splitting=False),
        tokenizer,
        image_seq_len=4,
        chat_template=TEMPLATE,
    )
    torch.manual_seed(0)
    config = Idefics3Config(
        vision_config={
            "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": 56, "patch_size": 14,
        },
        text_config={
            "model_type": "llama", "vocab_size": 128, "hidden_size": 128, "intermediate_size": 256,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "max_position_embeddings": 512, "bos_token_id": None, "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": 0,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2, tie_word_embeddings=False, pad_token_id=0,
    )  # fmt: skip
    model = Idefics3ForConditionalGeneration(config)
    batch = inputs(processor, [*COLOURS], [f"\\boxed{{{answer}}}{tokenizer.eos_token}" for answer in COLOURS])
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        logits = model(**batch).logits[:, -3:-1]
        torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), batch["input_ids"][:, -2:].flatten()
        ).backward()
        optimizer.step()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def inputs(processor: Any, answers: list[str], responses: list[str]) -> Any:
    """What transformers' own forward pass takes for prompts with these pictures, and responses to them."""
    content = [{"type": "image"}, {"type": "text", "text": QUESTION}]
    prompt = processor.tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    return processor(
        text=[prompt + response for response in responses],
        images=[[picture(answer)] for answer in answers],
        return_tensors="pt",
    )


def encoded(colour: str, size: tuple[int, int]) -> bytes:
    """A file with a picture of a colour that fades, so that places in it differ."""
    image = Image.composite(
        Image.new("RGB", size, colour),
        Image.new("RGB", size, "white"),
        Image.linear_gradient("L").resize(size),
    )
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


TEXT = {
    "vocab_size": 128, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    "initializer_range": 0.2,
}  # fmt: skip


def idefics3(folder: Path, image_token: int) -> Path:
    """Idefics3's and SmolVLM's make: images in several cuts, padded, with masks of their pixels."""
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    length = {"longest_edge": 56}
    Idefics3ImageProcessorPil(size=length, max_image_size=length, do_image_splitting=False).save_pretrained(
        folder
    )
    config = Idefics3Config(
        vision_config={
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": 56, "patch_size": 14, "initializer_range": 0.2,
        },
        text_config={"model_type": "llama", **TEXT},
        image_token_id=image_token, scale_factor=2, tie_word_embeddings=False, pad_token_id=0,
    )  # fmt: skip
    return _untrained(Idefics3ForConditionalGeneration, config, folder)


def llava(folder: Path, image_token: int) -> Path:
    """LLaVA's make: a CLIP tower whose last layer is not used."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    edge = {"height": 28, "width": 28}
    CLIPImageProcessorPil(size=edge, crop_size=edge).save_pretrained(folder)
    config = LlavaConfig(
        vision_config={
            "model_type": "clip_vision_model", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3,
            "num_attention_heads": 2, "image_size": 28, "patch_size": 14, "projection_dim": 32, "initializer_factor": 5.0,
        },
        text_config={"model_type": "llama", **TEXT},
        image_token_index=image_token, image_token_id=image_token, vision_feature_layer=-2,
    )  # fmt: skip
    return _untrained(LlavaForConditionalGeneration, config, folder)


def qwen2_5_vl(folder: Path, image_token: int) -> Path:
    """Qwen2.5-VL's make: patches of all images in one row, a grid for each, and positions in three dimensions."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    Qwen2VLImageProcessorPil(size={"shortest_edge": 28 * 28, "longest_edge": 56 * 84}).save_pretrained(folder)
    config = Qwen2_5_VLConfig(
        vision_config={
            "hidden_size": 32, "intermediate_size": 64, "depth": 2, "num_heads": 2, "out_hidden_size": 32,
            "fullatt_block_indexes": [1], "window_size": 56, "initializer_range": 0.2,
        },
        text_config={
            "model_type": "qwen2_5_vl_text", **TEXT,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]},
        },
        image_token_id=image_token, video_token_id=image_token + 1, vision_start_token_id=6, vision_end_token_id=7,
    )  # fmt: skip
    return _untrained(Qwen2_5_VLForConditionalGeneration, config, folder)


def qwen_model(folder: Path) -> Path:
    """A whole untrained Qwen2.5-VL, to be sampled from: with tokenizer, chat template and processor as it is published."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    tokenizer = build_tokenizer(words(23))
    marks = ["<|vision_start|>", "<|image_pad|>", "<|video_pad|>", "<|vision_end|>"]
    tokenizer.add_tokens(marks, special_tokens=True)
    tokenizer.add_tokens([f"\\boxed{{{answer}}}" for answer in COLOURS])
    tokenizer.chat_template = TEMPLATE.replace("<image>", "<|vision_start|><|image_pad|><|vision_end|>")
    start, image, video, end = tokenizer.convert_tokens_to_ids(marks)
    config = Qwen2_5_VLConfig(
        vision_config={
            "hidden_size": 64, "intermediate_size": 64, "depth": 2, "num_heads": 2, "out_hidden_size": 128,
            "fullatt_block_indexes": [1], "window_size": 56, "initializer_range": 0.2,
        },
        text_config={
            "model_type": "qwen2_5_vl_text", **TEXT, "hidden_size": 128, "eos_token_id": tokenizer.eos_token_id,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6]},
        },
        image_token_id=image, video_token_id=video, vision_start_token_id=start, vision_end_token_id=end,
    )  # fmt: skip
    _untrained(Qwen2_5_VLForConditionalGeneration, config, folder)
    Qwen2VLImageProcessorPil(size={"shortest_edge": 28 * 28, "longest_edge": 56 * 84}).save_pretrained(folder)
    path = folder / "preprocessor_config.json"
    published = {"processor_class": "Qwen2_5_VLProcessor", "image_processor_type": "Qwen2VLImageProcessor"}
    path.write_text(json.dumps(json.loads(path.read_text()) | published))
    tokenizer.save_pretrained(folder)
    return folder


def _untrained(kind: Any, config: Any, folder: Path) -> Path:
    torch.manual_seed(0)
    kind(config).save_pretrained(folder)
    return folder


MAKES = {"idefics3": idefics3, "llava": llava, "qwen2_5_vl": qwen2_5_vl}
"""Architectures that read images in ways of their own; each writes an untrained model."""
