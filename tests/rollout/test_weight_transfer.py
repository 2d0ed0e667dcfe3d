"""What of the weight transfer needs no engine."""

from __future__ import annotations

import pytest
import torch

from rlvr.rollout.weight_transfer import CHUNK_BYTES, buffer_bytes

Metadata = list[tuple[str, torch.dtype, tuple[int, ...]]]
HEAD: Metadata = [("lm_head.weight", torch.bfloat16, (152_064, 3_584))]
"""Of Qwen2.5-7B: 1.02 GiB."""
LAYER: Metadata = [("weight", torch.bfloat16, (8_192, 8_192))]


@pytest.mark.parametrize(
    ("metadata", "size"),
    [
        (HEAD, 152_064 * 3_584 * 2),  # one tensor larger than a chunk
        (HEAD + LAYER * 20, 152_064 * 3_584 * 2),
        (LAYER * 20, CHUNK_BYTES),
        (LAYER * 2, 2 * 8_192 * 8_192 * 2),  # a small model takes no more than itself
    ],
)
def test_a_buffer_holds_any_tensor(metadata: Metadata, size: int) -> None:
    assert buffer_bytes(metadata, CHUNK_BYTES) == size
