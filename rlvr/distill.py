"""Distill a teacher: a student is fine-tuned on responses that a verifier found right.

A plain accelerate loop, on one process or on several with ``accelerate launch``. The log-probabilities are
those of the reinforcement learner (learner/forward.py), so both train on the same tokens; the loss is their
negative mean over the response tokens of a batch.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from transformers import AutoTokenizer, get_cosine_schedule_with_warmup

from rlvr.config import DistillConfig
from rlvr.data.prompts import PromptRenderer
from rlvr.data.templates import template
from rlvr.errors import DataError
from rlvr.learner.forward import Policy
from rlvr.learner.loading import load_model
from rlvr.learner.micro_batches import plan_micro_batches
from rlvr.protocols import TokenRenderer
from rlvr.records import Problem


@dataclass(frozen=True, slots=True)
class Example:
    """A problem and a right response to it."""

    problem: Problem
    response: str


@dataclass(frozen=True, slots=True)
class DistillProgress:
    """What the loop reports after an interval of steps."""

    step: int
    num_steps: int
    loss: float
    """Mean negative log-likelihood in nats per response token, over the interval."""
    tokens_per_second: float
    """Prompt, response and padding, over all processes."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one optimizer step on one process."""

    tokens: torch.Tensor
    """(b, S) prompt, response and padding on the right."""
    prompt_lengths: torch.Tensor
    """(b,)"""
    response_mask: torch.Tensor
    """(b, T)"""


def distill(
    config: DistillConfig,
    examples: Sequence[Example],
    output: Path,
    report: Callable[[DistillProgress], None],
) -> int:
    """Fine-tune ``config.model`` and save it as a Hugging Face folder.

    Args:
        config: student, budget, seed.
        examples: what is learned.
        output: folder to write.
        report: called on the main process every ``config.report_every`` steps.

    Returns:
        How many examples were short enough to be learned.

    Raises:
        DataError: every example is longer than ``config.max_tokens``.
    """
    accelerator = Accelerator(mixed_precision="bf16" if torch.cuda.is_available() else "no")
    set_seed(config.seed)
    tokenizer = AutoTokenizer.from_pretrained(config.model)
    renderer = PromptRenderer(tokenizer, template(config.prompt))
    rows = encode(examples, renderer, tokenizer, config.max_tokens)
    student = load_model(config.model, torch.float32)
    if config.gradient_checkpointing:
        student.gradient_checkpointing_enable({"use_reentrant": False})
    rounds = plan_micro_batches(
        [len(p) + len(r) for p, r in rows], config.batch_tokens, accelerator.num_processes
    )
    num_steps = config.num_epochs * len(rounds)
    optimizer = torch.optim.AdamW(
        student.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = get_cosine_schedule_with_warmup(optimizer, round(config.warmup_share * num_steps), num_steps)
    policy, optimizer = accelerator.prepare(Policy(student), optimizer)
    policy.train()

    losses, tokens, since = [], 0, time.monotonic()
    for step, chosen in enumerate(epochs(rounds, config, accelerator.process_index), start=1):
        batch = collate([rows[index] for index in chosen], tokenizer.pad_token_id or 0, accelerator.device)
        logprobs, _ = policy(batch.tokens, batch.prompt_lengths, batch.response_mask, 1.0)
        loss = -logprobs.sum() / batch.response_mask.sum().clamp(min=1)
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(policy.parameters(), config.max_grad_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        tokens += batch.tokens.numel()
        if step % config.report_every == 0 or step == num_steps:
            if accelerator.is_main_process:
                rate = tokens * accelerator.num_processes / (time.monotonic() - since)
                report(DistillProgress(step, num_steps, math.fsum(losses) / len(losses), rate))
            losses, tokens, since = [], 0, time.monotonic()

    accelerator.wait_for_everyone()
    state = accelerator.get_state_dict(policy)  # collective: sharded parameters are gathered here
    if accelerator.is_main_process:
        own = {name.removeprefix("model."): value for name, value in state.items()}
        accelerator.unwrap_model(policy).model.save_pretrained(output, state_dict=own)
        tokenizer.save_pretrained(output)
    return len(rows)


def encode(
    examples: Sequence[Example], renderer: TokenRenderer, tokenizer: Any, max_tokens: int
) -> list[tuple[list[int], list[int]]]:
    """Prompt and response ids of every example that is short enough; a response ends in the end token.

    Raises:
        DataError: none is.
    """
    texts = [example.response for example in examples]
    responses = tokenizer(texts, add_special_tokens=False)["input_ids"]
    rows = [
        (renderer.render(example.problem), [*response, tokenizer.eos_token_id])
        for example, response in zip(examples, responses, strict=True)
    ]
    short = [(prompt, response) for prompt, response in rows if len(prompt) + len(response) <= max_tokens]
    if not short:
        raise DataError(
            f"none of {len(rows)} examples has at most {max_tokens} tokens",
            where="max_tokens",
            fix=f"max_tokens={max((len(p) + len(r) for p, r in rows), default=0)}",
        )
    return short


def epochs(
    rounds: Sequence[Sequence[list[int]]], config: DistillConfig, process_index: int
) -> Iterator[list[int]]:
    """Rows of each step of this process: all rounds once per epoch, in another order each time."""
    shuffler = random.Random(f"distill/{config.seed}")
    for _ in range(config.num_epochs):
        for columns in shuffler.sample(rounds, len(rounds)):
            yield columns[process_index]


def collate(rows: Sequence[tuple[list[int], list[int]]], pad_token_id: int, device: torch.device) -> Batch:
    """Pad on the right; without rows, one of padding that has no response, for the collectives."""
    rows = rows or [([pad_token_id], [])]
    longest = max(len(prompt) + len(response) for prompt, response in rows)
    width = max(1, max(len(response) for _, response in rows))
    tokens = torch.full((len(rows), longest), pad_token_id)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for row, (prompt, response) in enumerate(rows):
        tokens[row, : len(prompt) + len(response)] = torch.tensor(prompt + response)
        mask[row, : len(response)] = True
    lengths = torch.tensor([len(prompt) for prompt, _ in rows])
    return Batch(tokens.to(device), lengths.to(device), mask.to(device))
