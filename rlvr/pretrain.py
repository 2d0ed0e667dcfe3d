"""Pre-train a tiny base model on a generated family: a plain accelerate loop.

Run it on one process, or on several with ``accelerate launch``; each process draws
its own stream of the corpus, so ``num_tokens`` counts over all of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    GenerationConfig,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2Tokenizer,
)

from rlvr.config import PretrainConfig
from rlvr.data.families import FAMILIES
from rlvr.data.mixture import IGNORED, Realised, realised, stage_batches
from rlvr.data.tiny_tokenizer import build_tokenizer
from rlvr.data.tiny_vision import build_processor, vision_config
from rlvr.errors import ConfigError

DECAY_SHARE = 0.25
"""Share of a stage over which its learning rate falls to 0."""
HEAD_MARGIN = 4.0
"""Nats by which a head of the first layer prefers its distance to the next ones, at the start."""


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


def pretrain(
    config: PretrainConfig, output: Path, report: Callable[[PretrainProgress], None]
) -> list[list[Realised]]:
    """Train from scratch, or from ``config.init``, and save a Hugging Face folder (safetensors, tokenizer, template).

    Only solution tokens are trained on: a problem's own text is random by construction,
    and predicting it would teach nothing.

    Args:
        config: sizes, budget, seed.
        output: folder to write.
        report: called on the main process every ``config.report_every`` steps.

    Returns:
        For each stage what became of the shares of its mixture, over all processes.

    Raises:
        ConfigError: the model to go on from has not the family's words.
    """
    accelerator = Accelerator()
    set_seed(config.seed)
    model, tokenizer, processor = start_model(config)
    model = accelerator.prepare(model)
    shares = [
        train_stage(accelerator, model, tokenizer, processor, config, index, report)
        for index in range(len(config.stages))
    ]
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
    return shares


def start_model(config: PretrainConfig) -> tuple[Any, Qwen2Tokenizer, Idefics3Processor | None]:
    """The model as it starts, with its tokenizer and, for pictures, its processor.

    Raises:
        ConfigError: the model to go on from has not the family's words.
    """
    family = FAMILIES[config.family]
    tokenizer = build_tokenizer(family.words(config))
    if config.init is not None:
        found = AutoTokenizer.from_pretrained(config.init)
        missing = tokenizer.get_vocab().keys() - found.get_vocab().keys()
        if missing:
            raise ConfigError(
                f"its vocabulary lacks {len(missing)} words of the family {config.family}, such as {min(missing)!r}",
                where=f"init={config.init}",
                fix="a model that `rlvr pretrain` made of the same family and settings",
            )
        if family.picture is None:
            return (
                AutoModelForCausalLM.from_pretrained(config.init, dtype=torch.float32, use_safetensors=True),
                found,
                None,
            )
        model = AutoModelForImageTextToText.from_pretrained(
            config.init, dtype=torch.float32, use_safetensors=True
        )
        return model, found, AutoProcessor.from_pretrained(config.init)
    if family.picture is not None:
        processor = build_processor(tokenizer, *family.picture)
        shape = vision_config(config, tokenizer, *family.picture)
        return Idefics3ForConditionalGeneration(shape), tokenizer, processor
    model = Qwen2ForCausalLM(model_config(config, tokenizer))
    if config.point_heads:
        point_heads_back(model)
    return model, tokenizer, None


def count_parameters(config: PretrainConfig) -> int:
    """Numbers in the model, the tied ones once, without making it."""
    with torch.device("meta"):
        model, _, _ = start_model(replace(config, point_heads=False))
    return sum(parameter.numel() for parameter in model.parameters())


def train_stage(
    accelerator: Accelerator,
    model: torch.nn.Module,
    tokenizer: Qwen2Tokenizer,
    processor: Idefics3Processor | None,
    config: PretrainConfig,
    index: int,
    report: Callable[[PretrainProgress], None],
) -> list[Realised]:
    """One stage: its own optimizers, schedule and stream of the corpus. Returns what became of its shares."""
    stage = config.stages[index]
    num_steps = math.ceil(stage.num_tokens / (config.batch_tokens * accelerator.num_processes))
    optimizers = [accelerator.prepare(optimizer) for optimizer in make_optimizers(config, model)]
    factor = learning_rate_factor(config, num_steps)
    schedules = [LambdaLR(optimizer, factor) for optimizer in optimizers]
    stream = f"{config.seed}/{index}/{accelerator.process_index}"
    batches = stage_batches(config, stage, tokenizer, processor, stream, num_steps)

    total_tokens = 0
    counts = torch.zeros(len(stage.components), 2, dtype=torch.int64)
    meter = Meter(accelerator)
    for step, batch in enumerate(batches, start=1):
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
        counts += batch.counts
        meter.add(loss.item(), batch.entropy, len(input_ids), input_ids.numel())
        if step % config.report_every == 0 or step == num_steps:
            progress = meter.read(index, step, num_steps, total_tokens)
            total_tokens = progress.tokens
            if accelerator.is_main_process:
                report(progress)
    return realised(stage, accelerator.reduce(counts.to(accelerator.device)).tolist())


def make_optimizers(config: PretrainConfig, model: torch.nn.Module) -> list[Optimizer]:
    """AdamW, or Muon (torch.optim, scaled as AdamW's updates are) for the matrices of the layers and AdamW for the rest.

    With Muon copying the right definition is learned in a third of the tokens that AdamW alone needs.
    """
    matrices, others = split_parameters(model)
    rate, decay = config.learning_rate, config.weight_decay
    if config.optimizer == "adamw":
        return [torch.optim.AdamW([*matrices, *others], lr=rate, weight_decay=decay, betas=(0.9, 0.95))]
    return [
        torch.optim.Muon(matrices, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=rate, weight_decay=decay, betas=(0.9, 0.95)),
    ]


def learning_rate_factor(config: PretrainConfig, num_steps: int) -> Callable[[int], float]:
    """The learning rate of a stage's step, from 0, as a share of its peak."""
    warmup = round(config.warmup_share * num_steps)
    falls_from = warmup if config.schedule == "cosine" else num_steps - round(DECAY_SHARE * num_steps)
    end = config.end_learning_rate / config.learning_rate

    def factor(step: int) -> float:
        if step < warmup:
            return step / warmup
        fallen = (step - falls_from) / max(1, num_steps - falls_from)
        return end + (1 - end) * 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, fallen))))

    return factor


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
    """The Qwen2 architecture at the configured size."""
    return Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=config.hidden_size,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        num_key_value_heads=config.num_kv_heads or config.num_heads,
        intermediate_size=config.intermediate_size,
        max_position_embeddings=config.max_position_embeddings,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
        tie_word_embeddings=config.tie_embeddings,
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
