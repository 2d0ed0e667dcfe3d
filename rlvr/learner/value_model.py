"""The critic's forward pass: the same architecture as the policy, with a value head."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from rlvr.learner.vision import hidden_states


class ValueModel(nn.Module):
    """Predicts what is still to be earned from the state before each response token."""

    def __init__(self, backbone: PreTrainedModel) -> None:
        """Put a value head on a model without its language-model head.

        The head starts at zero: untrained, it predicts 0 everywhere, which is no baseline
        at all, instead of a random one.
        """
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.config.get_text_config().hidden_size, 1, dtype=backbone.dtype)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(
        self,
        tokens: Tensor,
        prompt_lengths: Tensor,
        response_mask: Tensor,
        images: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """Values (b, T) float32, zero outside the mask; the state of a token is all tokens before it.

        Args:
            tokens: (b, S) int64, padded on the right.
            prompt_lengths: (b,) int64, at least 1.
            response_mask: (b, T).
            images: what the model's forward pass takes for the images of the prompts (vision.py).
        """
        rows, steps = response_mask.nonzero(as_tuple=True)
        hidden = hidden_states(self.backbone, tokens, prompt_lengths, images or {})
        found = self.head(hidden[rows, prompt_lengths[rows] + steps - 1]).squeeze(-1).float()
        return torch.zeros_like(response_mask, dtype=torch.float32).index_put((rows, steps), found)
