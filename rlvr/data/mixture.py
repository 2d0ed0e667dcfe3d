"""Batches of a pre-training stage: documents of several kinds, each with its share, and what became of the shares."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import Idefics3Processor, Qwen2Tokenizer

from rlvr.config import PretrainConfig, PretrainStage
from rlvr.data.families import FAMILIES
from rlvr.data.generated import Worked
from rlvr.data.tiny_tokenizer import build_tokenizer

IGNORED = -100
SORT_WINDOW = 4096
"""Documents sorted by length together: enough that batches hold almost no padding."""
FILL = 0.9
"""Share of the remaining steps' room that a window takes at most; the rest is for padding."""
TOKENIZED = 512
"""Documents of one kind that are tokenized together."""


@dataclass(frozen=True, slots=True)
class Document:
    """A problem with its solution, in tokens."""

    prompt: list[int]
    solution: list[int]
    entropy: float
    """Of the solution's noise, nats."""
    pixels: torch.Tensor | None
    """(1, 3, height, width) of its picture, as the model's processor makes them."""
    component: int
    """Index of the kind that it is of, in the stage's mixture."""

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
    counts: torch.Tensor
    """(C, 2) int64: documents of each component of the mixture, and their tokens without padding."""


@dataclass(frozen=True, slots=True)
class Realised:
    """What one component of a stage has come to."""

    name: str
    share: float
    """As it was asked for, of all."""
    shares_in: str
    """``tokens`` or ``examples``: what that is a share of."""
    examples: int
    tokens: int
    """Of problem and solution, without padding."""
    share_of_examples: float
    share_of_tokens: float


def realised(stage: PretrainStage, counts: Sequence[Sequence[int]]) -> list[Realised]:
    """Shares of a stage that has seen so many documents and tokens of each component."""
    parts = stage.components
    asked = sum(part.share for part in parts)
    examples, tokens = (max(1, sum(count[i] for count in counts)) for i in (0, 1))
    return [
        Realised(
            part.name,
            part.share / asked,
            stage.shares_in,
            count[0],
            count[1],
            count[0] / examples,
            count[1] / tokens,
        )
        for part, count in zip(parts, counts, strict=True)
    ]


def stage_batches(
    config: PretrainConfig,
    stage: PretrainStage,
    tokenizer: Qwen2Tokenizer,
    processor: Idefics3Processor | None,
    stream: str,
    num_steps: int,
) -> Iterator[Batch]:
    """At most ``num_steps`` batches of about ``batch_tokens`` tokens, of documents of like length.

    Documents are drawn in windows that are sorted by length. The last windows are cut to what the remaining steps
    hold, so that all that is drawn is trained on but a part of the last step, and shares are realised as they are drawn.
    """
    drawn = drawn_documents(config, stage, tokenizer, processor, stream)
    shuffler = random.Random(f"batches/{stream}")
    left = num_steps
    while left:
        window: list[Document] = []
        room = FILL * left * config.batch_tokens
        while len(window) < SORT_WINDOW and room > 0:
            window.append(next(drawn))
            room -= len(window[-1])
        window.sort(key=len)
        batches = list(split_by_tokens(window, config.batch_tokens))
        shuffler.shuffle(batches)
        for batch in batches[:left]:
            yield collate(batch, tokenizer.pad_token_id, len(stage.components))
        left -= min(left, len(batches))


def drawn_documents(
    config: PretrainConfig,
    stage: PretrainStage,
    tokenizer: Qwen2Tokenizer,
    processor: Idefics3Processor | None,
    stream: str,
) -> Iterator[Document]:
    """The documents of a stage in the order in which they are drawn."""
    parts = stage.components
    corpora = []
    for index, part in enumerate(parts):
        own = stream if len(parts) == 1 else f"{stream}/{index}"
        corpus = FAMILIES[config.family].corpus(config, part, own)
        corpora.append(documents(corpus, index, tokenizer, processor))
    return mixed(corpora, [part.share for part in parts], stage.shares_in == "tokens")


def first_documents(
    config: PretrainConfig, stage: PretrainStage, stream: str, number: int
) -> list[tuple[int, int]]:
    """Component and tokens of a stage's first documents, without their pictures."""
    tokenizer = build_tokenizer(FAMILIES[config.family].words(config))
    drawn = drawn_documents(config, stage, tokenizer, None, stream)
    return [(each.component, len(each)) for each in islice(drawn, number)]


def mixed(
    corpora: Sequence[Iterator[Document]], shares: Sequence[float], by_tokens: bool
) -> Iterator[Document]:
    """Documents of all corpora, each time of the one that is farthest behind its share.

    At every moment a component is at most one of its documents away from its share.
    """
    taken = [0] * len(corpora)
    while True:
        behind = min(range(len(corpora)), key=lambda i: taken[i] / shares[i])
        document = next(corpora[behind])
        taken[behind] += len(document) if by_tokens else 1
        yield document


def documents(
    corpus: Iterator[Worked], component: int, tokenizer: Qwen2Tokenizer, processor: Idefics3Processor | None
) -> Iterator[Document]:
    """The documents of a corpus, in tokens."""
    while True:
        texts = list(islice(corpus, TOKENIZED))
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
        for text, prompt, solution, seen in zip(texts, prompts, solutions, pixels, strict=True):
            yield Document(prompt, solution, text.entropy, seen, component)


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


def split_by_tokens(documents: list[Document], batch_tokens: int) -> Iterator[list[Document]]:
    """Cut documents sorted by length into batches of at most ``batch_tokens`` padded tokens."""
    batch: list[Document] = []
    for document in documents:
        if batch and (len(batch) + 1) * len(document) > batch_tokens:
            yield batch
            batch = []
        batch.append(document)
    yield batch


def collate(documents: list[Document], pad_token_id: int, num_components: int = 1) -> Batch:
    """Pad documents on the right; labels are ignored on prompts and padding."""
    length = max(map(len, documents))
    input_ids = torch.full((len(documents), length), pad_token_id)
    labels = torch.full((len(documents), length), IGNORED)
    counts = torch.zeros(num_components, 2, dtype=torch.int64)
    for row, document in enumerate(documents):
        input_ids[row, : len(document)] = torch.tensor(document.prompt + document.solution)
        labels[row, len(document.prompt) : len(document)] = torch.tensor(document.solution)
        counts[document.component] += torch.tensor([1, len(document)])
    seen = [document.pixels for document in documents if document.pixels is not None]
    return Batch(
        input_ids,
        labels,
        sum(document.entropy for document in documents),
        torch.stack(seen) if seen else None,
        counts,
    )
