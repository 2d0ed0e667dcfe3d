"""Log-probabilities of given tokens from hidden states, without all logits in memory at once.

32,768 response tokens of a model with 152,064 words have logits of 18.6 GiB in float32, and a
plain log-softmax with its gradient holds several times that. Here the tokens go through the
language-model head in chunks; the backward pass computes each chunk's logits again. What is held
is a few chunks, whatever the number of tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rlvr.learner.logit_transform import LogitTransform, linear_head, transform_of

CHUNK_BYTES = 1 << 28
"""Float32 logits of one chunk: 256 MiB."""


def chunk_tokens(vocabulary: int) -> int:
    """Tokens whose float32 logits fill a chunk; at least one."""
    return max(1, CHUNK_BYTES // (4 * vocabulary))


class ScoringHead(nn.Linear):
    """A language-model head that scores given tokens instead of returning logits.

    It takes the place of the model's own head under the same name and with the same weight, so that
    checkpoints do not change, and DeepSpeed's ZeRO-3 hooks gather the weight around its forward and
    backward as for every module.
    """

    transform = LogitTransform()
    """What the model does to the head's numbers."""

    @classmethod
    def replace_in(cls, model: Any) -> None:
        """Put one in the place of a causal model's output head, sharing its weight.

        Raises:
            ModelError: the head is not linear, or its numbers become logits in a way that is not covered.
        """
        transform = transform_of(model)
        made = cls.__new__(cls)
        made.__dict__ = linear_head(model).__dict__  # parameters and hooks stay what they are
        made.transform = transform
        model.set_output_embeddings(made)

    def forward(self, hidden: Tensor, targets: Tensor | None = None, temperature: float = 1.0) -> Any:
        """Score ``targets``; without them, plain numbers of the head as before.

        Args:
            hidden: (N, D).
            targets: (N,) int64, the token that each state predicts.
            temperature: divides the logits.

        Returns:
            (N,) float32 log-probabilities in nats and (N,) float32 entropies, both with gradient.
        """
        if targets is None:
            return super().forward(hidden)
        return _TokenScores.apply(hidden, self.weight, self.bias, targets, temperature, self.transform)


class _TokenScores(torch.autograd.Function):
    """With z = f(W h + b) / τ and p = softmax(z): log p(t) = z_t − logsumexp(z) and H = −Σ p log p.

    ∂ log p(t) / ∂z = onehot(t) − p, and ∂H / ∂z = −p (log p + H).
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        temperature: float,
        transform: LogitTransform,
    ) -> tuple[Tensor, Tensor]:
        size = chunk_tokens(len(weight))
        normalisers = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
        logprobs, entropies = torch.empty_like(normalisers), torch.empty_like(normalisers)
        for start in range(0, len(targets), size):
            part = slice(start, start + size)
            logits = _logits(hidden[part], weight, bias, transform).div_(temperature)
            normaliser = torch.logsumexp(logits, dim=1)
            logprobs[part] = logits.gather(1, targets[part, None]).squeeze(1) - normaliser
            probabilities = (logits - normaliser[:, None]).exp_()
            # H = −Σ p (z − logsumexp) = logsumexp − Σ p z; a logit of −∞ has probability 0 and adds nothing.
            entropies[part] = normaliser - probabilities.mul_(logits).nan_to_num_(0.0).sum(1)
            normalisers[part] = normaliser
        ctx.save_for_backward(hidden, weight, bias, targets, normalisers, entropies)
        ctx.temperature, ctx.transform = temperature, transform
        ctx.set_materialize_grads(False)  # mostly nothing depends on the entropies
        return logprobs, entropies

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets, normalisers, entropies = ctx.saved_tensors
        of_logprobs, of_entropies = (None if each is None else each / ctx.temperature for each in gradients)
        of_logprobs = torch.zeros_like(normalisers) if of_logprobs is None else of_logprobs
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        grad_hidden = torch.empty_like(hidden) if needs_hidden else None
        # In float32 over the chunks: a sum of many bfloat16 parts would lose what is small.
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if needs_weight else None
        grad_bias = torch.zeros_like(bias, dtype=torch.float32) if needs_bias else None
        size = chunk_tokens(len(weight))
        for start in range(0, len(targets), size):
            part = slice(start, start + size)
            logits = _logits(hidden[part], weight, bias, ctx.transform)
            steepness = None if ctx.transform == LogitTransform() else ctx.transform.slope(logits)
            logits.div_(ctx.temperature)
            logits.sub_(normalisers[part, None])  # log p
            more = (
                None if of_entropies is None else _entropy_slopes(logits, entropies[part], of_entropies[part])
            )
            slopes = logits.exp_().mul_(-of_logprobs[part, None])
            slopes.scatter_add_(1, targets[part, None], of_logprobs[part, None])
            if more is not None:
                slopes.add_(more)
            slopes = (slopes if steepness is None else slopes.mul_(steepness)).to(hidden.dtype)
            if grad_hidden is not None:
                grad_hidden[part] = slopes @ weight
            if grad_weight is not None:
                grad_weight += slopes.T @ hidden[part]
            if grad_bias is not None:
                grad_bias += slopes.sum(0, dtype=torch.float32)
        return (
            grad_hidden,
            None if grad_weight is None else grad_weight.to(weight.dtype),
            None if grad_bias is None else grad_bias.to(bias.dtype),
            *(None, None, None),
        )


def _entropy_slopes(logprobs: Tensor, entropies: Tensor, upstream: Tensor) -> Tensor:
    """−p (log p + H) times what comes from above, (n, V); a word of probability 0 has none."""
    slopes = (logprobs + entropies[:, None]).mul_(logprobs.exp()).nan_to_num_(0.0)
    return slopes.mul_(-upstream[:, None])


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, transform: LogitTransform) -> Tensor:
    """Float32 logits of a chunk, (n, V)."""
    return transform.apply_(nn.functional.linear(hidden, weight, bias).float())
