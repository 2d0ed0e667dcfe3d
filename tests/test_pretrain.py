"""Pre-training: how it starts. Whole runs are in tests/engines."""

from __future__ import annotations

import torch
from transformers import Qwen2ForCausalLM

from rlvr.config import PretrainConfig
from rlvr.data.families import FAMILIES
from rlvr.data.tiny_tokenizer import build_tokenizer
from rlvr.pretrain import HEAD_MARGIN, model_config, point_heads_back


def test_the_heads_of_the_first_layer_look_one_two_three_and_four_tokens_back() -> None:
    config = PretrainConfig()
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(
        model_config(config, build_tokenizer(FAMILIES[config.family].words(config)))
    ).eval()
    model.set_attn_implementation("eager")
    tokens = torch.randint(0, model.config.vocab_size, (4, 60))

    point_heads_back(model)

    with torch.no_grad():
        weights = model(tokens, output_attentions=True).attentions[0]  # (batch, heads, query, key)
    queries = torch.arange(10, 60)
    for head in range(config.num_heads):
        target = queries - head - 1
        looked_at = weights[:, head, queries].argmax(-1)
        assert (looked_at == target).float().mean() > 0.9, f"head {head}"
        # On average over contents, the next distances are less likely by the margin.
        for beside in (target - 1, target + 1):
            ratio = weights[:, head, queries, target].log() - weights[:, head, queries, beside].log()
            assert abs(ratio.mean() - HEAD_MARGIN) < 0.5, f"head {head}: {ratio.mean():.2f} nats"
