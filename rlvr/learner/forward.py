"""The policy's forward pass; the only place that shifts logits against tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from rlvr.learner.token_scores import ScoringHead
from rlvr.learner.vision import hidden_states


class Policy(nn.Module):
    """A causal language model that returns log-probabilities of response tokens only.

    A module of its own, so that DeepSpeed's ZeRO-3 hooks see one forward call.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        """Wrap a Hugging Face causal language model, and put a scoring head in the place of its own."""
        super().__init__()
        ScoringHead.replace_in(model)
        self.model = model

    def forward(
        self,
        tokens: Tensor,
        prompt_lengths: Tensor,
        response_mask: Tensor,
        temperature: float,
        images: dict[str, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the response tokens, and the entropy where each was chosen.

        Padding stands on the right, where a causal model's real tokens cannot see it, so no
        attention mask is needed. Logits are computed at response positions only, in chunks.

        Args:
            tokens: (b, S) int64.
            prompt_lengths: (b,) int64, at least 1.
            response_mask: (b, T).
            temperature: divides the logits, as the sampler does.
            images: what the model's forward pass takes for the images of the prompts (vision.py).

        Returns:
            (b, T) float32 log-probabilities in nats and (b, T) float32 entropies, zero outside the mask.
        """
        rows, steps = response_mask.nonzero(as_tuple=True)
        positions = prompt_lengths[rows] + steps
        hidden = hidden_states(self.model.base_model, tokens, prompt_lengths, images or {})
        # The hidden state before a token predicts it.
        chosen, entropy = self.model.get_output_embeddings()(
            hidden[rows, positions - 1], tokens[rows, positions], temperature
        )
        nothing = torch.zeros_like(response_mask, dtype=torch.float32)
        return nothing.index_put((rows, steps), chosen), nothing.index_put((rows, steps), entropy)
