"""Pre-train a tiny base model on a generated family: a plain accelerate loop.

Run it on one process, or on several with ``accelerate launch``; each process draws
its own stream of the corpus, so ``num_tokens`` counts over all of them.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from PIL import Image
from transformers import (
    GenerationConfig,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2Tokenizer,
    get_wsd_schedule,
)

from rlvr.config import PretrainConfig, PretrainStage
from rlvr.data.families import FAMILIES
from rlvr.data.generated import Worked
from rlvr.data.tiny_tokenizer import build_tokenizer
from rlvr.data.tiny_vision import build_processor, vision_config

IGNORED = -100
DECAY_SHARE = 0.25
"""Share of a stage over which its learning rate falls to 0."""
HEAD_MARGIN = 4.0
"""Nats by which a head of the first layer prefers its distance to the next ones, at the start."""
SORT_WINDOW = 4096
"""Documents sorted by length together: enough that batches hold almost no padding."""


@dataclass(frozen=True, slots=True)
class PretrainProgress:
    """What the loop reports after an interval of steps."""

    stage: int
    """Index of the stage."""
    step: int
    num_steps: int
    """Steps of this stage."""
    tokens: int
    """Tokens seen in this stage, over all processes."""
    tokens_per_second: float
    loss: float
    """Mean negative log-likelihood of the solution tokens, nats per document."""
    noise_floor: float
    """The part of ``loss`` that is the corpus's noise; no model can go below it."""


def pretrain(config: PretrainConfig, output: Path, report: Callable[[PretrainProgress], None]) -> Path:
    """Train from scratch and save a Hugging Face folder (safetensors, tokenizer, template).

    Only solution tokens are trained on: a problem's own text is random by construction,
    and predicting it would teach nothing.

    Args:
        config: sizes, budget, seed.
        output: folder to write.
        report: called on the main process every ``config.report_every`` steps.

    Returns:
        ``output``.
    """
    accelerator = Accelerator()
    set_seed(config.seed)
    family = FAMILIES[config.family]
    tokenizer = build_tokenizer(family.words(config))
    processor = None if family.picture is None else build_processor(tokenizer, *family.picture)
    model: Any
    if family.picture is None:
        model = Qwen2ForCausalLM(model_config(config, tokenizer))
        point_heads_back(model)
    else:
        model = Idefics3ForConditionalGeneration(vision_config(config, tokenizer, *family.picture))
    model = accelerator.prepare(model)
    for index in range(len(config.stages)):
        train_stage(accelerator, model, tokenizer, processor, config, index, report)

    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        unwrapped = accelerator.unwrap_model(model)
        unwrapped.generation_config = GenerationConfig(
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
        )
        unwrapped.save_pretrained(output)
        tokenizer.save_pretrained(output)
        if processor is not None:
            processor.save_pretrained(output)
    return output


def train_stage(
    accelerator: Accelerator,
    model: torch.nn.Module,
    tokenizer: Qwen2Tokenizer,
    processor: Idefics3Processor | None,
    config: PretrainConfig,
    index: int,
    report: Callable[[PretrainProgress], None],
) -> None:
    """One stage: its own optimizers, schedule and stream of the corpus.

    Muon (torch.optim, scaled as AdamW's updates are) trains the matrices of the layers, AdamW the
    rest: copying the right definition is learned in a third of the tokens that AdamW alone needs.
    The rate rises, stays, and falls to 0 over the last quarter.
    """
    stage = config.stages[index]
    num_steps = math.ceil(stage.num_tokens / (config.batch_tokens * accelerator.num_processes))
    matrices, others = split_parameters(model)
    rate, decay = config.learning_rate, config.weight_decay
    optimizers = [
        accelerator.prepare(
            torch.optim.Muon(matrices, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
        ),
        accelerator.prepare(torch.optim.AdamW(others, lr=rate, weight_decay=decay, betas=(0.9, 0.95))),
    ]
    schedules = [
        get_wsd_schedule(
            optimizer, round(config.warmup_share * num_steps), round(DECAY_SHARE * num_steps), num_steps
        )
        for optimizer in optimizers
    ]
    stream = f"{config.seed}/{index}/{accelerator.process_index}"
    batches = token_batches(config, stage, tokenizer, processor, stream)

    total_tokens = 0
    meter = Meter(accelerator)
    for step, batch in enumerate(islice(batches, num_steps), start=1):
        input_ids, labels = batch.input_ids.to(accelerator.device), batch.labels.to(accelerator.device)
        seen = {} if batch.pixels is None else {"pixel_values": batch.pixels.to(accelerator.device)}
        logits = model(input_ids=input_ids[:, :-1], **seen).logits
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"
        )
        accelerator.backward(loss / (labels[:, 1:] != IGNORED).sum())
        accelerator.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        meter.add(loss.item(), batch.entropy, len(input_ids), input_ids.numel())
        if step % config.report_every == 0 or step == num_steps:
            progress = meter.read(index, step, num_steps, total_tokens)
            total_tokens = progress.tokens
            if accelerator.is_main_process:
                report(progress)


def split_parameters(model: torch.nn.Module) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter]]:
    """The matrices of the layers, and everything else: embeddings, head, norms, biases."""
    matrices: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (matrices if parameter.ndim == 2 and ".layers." in name else others).append(parameter)
    return matrices, others


class Meter:
    """Sums over the steps since the last report, on all processes."""

    def __init__(self, accelerator: Accelerator) -> None:
        """Start at zero."""
        self._accelerator = accelerator
        self._reset()

    def _reset(self) -> None:
        self._sums = torch.zeros(4, dtype=torch.float64)  # loss, entropy, documents, tokens
        self._since = time.monotonic()

    def add(self, loss: float, entropy: float, documents: int, tokens: int) -> None:
        """Count one step."""
        self._sums += torch.tensor([loss, entropy, documents, tokens], dtype=torch.float64)

    def read(self, stage: int, step: int, num_steps: int, tokens_before: int) -> PretrainProgress:
        """Report and start again at zero; collective."""
        sums = self._accelerator.reduce(self._sums.float().to(self._accelerator.device)).tolist()
        loss, entropy, documents, tokens = sums
        progress = PretrainProgress(
            stage=stage,
            step=step,
            num_steps=num_steps,
            tokens=tokens_before + round(tokens),
            tokens_per_second=tokens / (time.monotonic() - self._since),
            loss=loss / documents,
            noise_floor=entropy / documents,
        )
        self._reset()
        return progress


def model_config(config: PretrainConfig, tokenizer: Qwen2Tokenizer) -> Qwen2Config:
    """The Qwen2 architecture at the configured size, with untied embeddings."""
    return Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=config.hidden_size,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        num_key_value_heads=config.num_heads,
        intermediate_size=config.intermediate_size,
        max_position_embeddings=config.max_position_embeddings,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def point_heads_back(model: Qwen2ForCausalLM) -> None:
    """Start the first layer with head h attending h + 1 tokens back.

    Copying a definition takes heads that find a token by what stood one, two or three places
    before it. From a random start those are what training waits for: without this, the second
    operand was still guessed after 30 million tokens; with it, it is right after one million.

    The biases of queries and keys, which Qwen2 has, are all it takes. With the frequencies f of
    the rotary embedding, a query bias (cos(-bf), sin(-bf)) against a key bias (1, 0) gives the
    logit Σ cos((distance - b) f), which is largest at the distance b. Training may change them.
    """
    config = model.config
    head_dim = config.hidden_size // config.num_attention_heads
    frequencies = model.model.rotary_emb.inv_freq
    # The logit of a neighbouring distance is smaller by HEAD_MARGIN.
    scale = math.sqrt(HEAD_MARGIN * math.sqrt(head_dim) / (1 - frequencies.cos()).sum().item())
    key = torch.cat([torch.ones_like(frequencies), torch.zeros_like(frequencies)])
    attention = model.model.layers[0].self_attn
    with torch.no_grad():
        for head in range(config.num_attention_heads):
            rows = slice(head * head_dim, (head + 1) * head_dim)
            angles = -(head + 1) * frequencies
            attention.q_proj.bias[rows] = scale * torch.cat([angles.cos(), angles.sin()])
            attention.k_proj.bias[rows] = scale * key


def token_batches(
    config: PretrainConfig,
    stage: PretrainStage,
    tokenizer: Qwen2Tokenizer,
    processor: Idefics3Processor | None,
    stream: str,
) -> Iterator[Batch]:
    """Endless batches of about ``batch_tokens`` tokens, of documents of like length."""
    corpus = FAMILIES[config.family].corpus(config, stage, stream)
    shuffler = random.Random(f"batches/{stream}")
    while True:
        texts = list(islice(corpus, SORT_WINDOW))
        rendered = [render(tokenizer, text) for text in texts]
        pixels: Sequence[torch.Tensor | None] = [None] * len(texts)
        if processor is None:
            prompts = tokenizer(rendered)["input_ids"]
        else:
            pictures = [[Image.fromarray(text.picture)] for text in texts if text.picture is not None]
            found = processor(text=rendered, images=pictures)
            prompts = found["input_ids"]
            pixels = list(torch.as_tensor(np.asarray(found["pixel_values"])))
        solutions = tokenizer([f" {text.solution}{tokenizer.eos_token}" for text in texts])["input_ids"]
        documents = [
            Document(prompt, solution, text.entropy, seen)
            for text, prompt, solution, seen in zip(texts, prompts, solutions, pixels, strict=True)
        ]
        documents.sort(key=len)
        batches = list(split_by_tokens(documents, config.batch_tokens))
        shuffler.shuffle(batches)
        for batch in batches:
            yield collate(batch, tokenizer.pad_token_id)


def render(tokenizer: Qwen2Tokenizer, text: Worked) -> str:
    """The prompt exactly as training and evaluation will render it."""
    content: Any = text.problem
    if text.picture is not None:
        content = [{"type": "image"}, {"type": "text", "text": text.problem}]
    return str(
        tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
    )


@dataclass(frozen=True, slots=True)
class Document:
    """A problem with its solution, in tokens."""

    prompt: list[int]
    solution: list[int]
    entropy: float
    """Of the solution's noise, nats."""
    pixels: torch.Tensor | None
    """(1, 3, height, width) of its picture, as the model's processor makes them."""

    def __len__(self) -> int:
        """Tokens of both."""
        return len(self.prompt) + len(self.solution)


@dataclass(frozen=True, slots=True)
class Batch:
    """Documents of one optimizer step."""

    input_ids: torch.Tensor
    """(B, T) int64."""
    labels: torch.Tensor
    """(B, T) int64, with prompts and padding ignored."""
    entropy: float
    """Of the noise of all, nats."""
    pixels: torch.Tensor | None
    """(B, 1, 3, height, width), where there are pictures."""


def split_by_tokens(documents: list[Document], batch_tokens: int) -> Iterator[list[Document]]:
    """Cut documents sorted by length into batches of at most ``batch_tokens`` padded tokens."""
    batch: list[Document] = []
    for document in documents:
        if batch and (len(batch) + 1) * len(document) > batch_tokens:
            yield batch
            batch = []
        batch.append(document)
    yield batch


def collate(documents: list[Document], pad_token_id: int) -> Batch:
    """Pad documents on the right; labels are ignored on prompts and padding."""
    length = max(map(len, documents))
    input_ids = torch.full((len(documents), length), pad_token_id)
    labels = torch.full((len(documents), length), IGNORED)
    for row, document in enumerate(documents):
        input_ids[row, : len(document)] = torch.tensor(document.prompt + document.solution)
        labels[row, len(document.prompt) : len(document)] = torch.tensor(document.solution)
    seen = [document.pixels for document in documents if document.pixels is not None]
    return Batch(
        input_ids,
        labels,
        sum(document.entropy for document in documents),
        torch.stack(seen) if seen else None,
    )
