"""A model of half a million parameters that reads images, and questions that only the image answers.

Idefics3's architecture: the one of those that vLLM knows whose processor needs nothing that is missing beside a CPU torch.
"""

from __future__ import annotations

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
