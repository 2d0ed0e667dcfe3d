"""What the tests of learners share: a small model, and one process group for all learners of a process.

DeepSpeed keeps the first group that it sees, so a second one after it would be unknown to it.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def start_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2 with weights, small enough for any test."""
    from transformers import Qwen2ForCausalLM

    from rlvr.config import PretrainConfig
    from rlvr.data.chains import words
    from rlvr.data.tiny_tokenizer import build_tokenizer
    from rlvr.pretrain import model_config

    folder = tmp_path_factory.mktemp("start") / "model"
    torch.manual_seed(0)
    tokenizer = build_tokenizer(words(23))
    config = PretrainConfig(hidden_size=32, num_layers=2, intermediate_size=64)
    Qwen2ForCausalLM(model_config(config, tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session", autouse=True)
def process_group() -> Iterator[None]:
    """End the group when all tests are done."""
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
