"""What a model does to the numbers that its output head gives, found by trying it out.

Some models multiply their logits by a constant (Granite, Cohere), some cap them softly (Gemma 2), and each names
that in its config in its own way, as a factor or as a divisor. The log-probabilities of the learner do not
come from the model's own last lines (token_scores.py), so they have to do the same. Instead of a list of names,
the model is asked: in the place of its backbone and its head come known numbers, and what comes out tells the
transform. A model that does anything else is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from rlvr.errors import ModelError

TINY, HUGE = 1e-6, 1e9
"""A logit that no cap reaches, and one that every cap does."""
TRIED = (TINY, 0.5, -1.0, 3.0, -10.0, 30.0, -100.0, HUGE)


@dataclass(frozen=True, slots=True)
class LogitTransform:
    """From a head's number z to the logit: ``scale`` · z, or ``cap`` · tanh(``scale`` · z / ``cap``)."""

    scale: float = 1.0
    cap: float | None = None

    def apply_(self, logits: Tensor) -> Tensor:
        """In place."""
        if self.scale != 1.0:
            logits.mul_(self.scale)
        return logits if self.cap is None else logits.div_(self.cap).tanh_().mul_(self.cap)

    def slope(self, logits: Tensor) -> Tensor | float:
        """The derivative by z, where the transform has given these ``logits``."""
        if self.cap is None:
            return self.scale
        return (logits / self.cap).square_().neg_().add_(1.0).mul_(self.scale)


def transform_of(model: Any) -> LogitTransform:
    """The transform of a causal language model; its weights are not used and may be on the meta device.

    Raises:
        ModelError: the model has no linear output head, or does something else to its logits.
    """
    tried = torch.tensor(TRIED, dtype=torch.float64)
    logits = _logits_of(model, tried)
    if logits.shape == tried.shape:
        scale = round((logits[0] / TINY).item(), 12)
        is_capped = abs(logits[-1].item()) < 0.5 * abs(scale) * HUGE
        transform = LogitTransform(scale, logits[-1].abs().item() if is_capped else None)
        if scale and torch.allclose(transform.apply_(tried.clone()), logits, rtol=1e-5, atol=1e-9):
            return transform
    raise ModelError(
        f"{type(model).__name__} changes its logits in a way that the log-probabilities do not cover",
        where="the model's last lines, after its output head",
        fix="a model that scales its logits, caps them softly, or leaves them as they are",
    )


def _logits_of(model: Any, numbers: Tensor) -> Tensor:
    """The logits that a model makes of these numbers of its head; empty if its last lines need more than those."""
    try:
        with _head_that_gives(model, numbers), torch.no_grad(), torch.device("cpu"):
            logits = model(input_ids=torch.zeros(1, 1, dtype=torch.int64), use_cache=False).logits
    except (
        RuntimeError
    ):  # other layers between backbone and head: they are of another type, or on the meta device
        return torch.empty(0)
    found: Tensor = logits.flatten().double()
    return found


class _States(BaseModelOutput):
    """What a backbone returns, and None for all that some backbones return besides."""

    def __getattr__(self, name: str) -> None:
        return None


@contextmanager
def _head_that_gives(model: Any, numbers: Tensor) -> Iterator[None]:
    """Let a model's head give these numbers, whatever it is asked, and its backbone do nothing."""
    head = linear_head(model)
    fixed = nn.Linear(head.in_features, len(numbers), bias=False, device="cpu", dtype=numbers.dtype)
    fixed.weight.data.zero_()[:, 0] = numbers
    states = torch.zeros(1, 1, head.in_features, dtype=numbers.dtype, device="cpu")
    states[..., 0] = 1.0
    backbones = {id(module): module for module in (model.base_model, model.get_decoder())}.values()
    training = model.training
    try:
        model.eval()
        model.set_output_embeddings(fixed)
        for module in backbones:
            module.forward = lambda *_, **__: _States(last_hidden_state=states)
        yield
    finally:
        for module in backbones:
            module.__dict__.pop("forward", None)
        model.set_output_embeddings(head)
        model.train(training)


def linear_head(model: Any) -> nn.Linear:
    """The output head of a causal language model.

    Raises:
        ModelError: it is not linear.
    """
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise ModelError(
            f"the output head of {type(model).__name__} is {type(head).__name__}, not a linear layer",
            fix="a causal language model such as Qwen, Llama, Mistral or Gemma",
        )
    return head
