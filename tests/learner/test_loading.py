"""Models are loaded in shards: two real ranks at ZeRO stage 3, each of which may never hold a whole one."""

from __future__ import annotations

import multiprocessing
import socket
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from performance.sharded_loading import Peak
from rlvr.config import LearnerConfig
from rlvr.learner.loading import load_model
from rlvr.learner.trained_model import deepspeed_config, full_tensors, join_process_group
from tests.tiny import TINY

pytestmark = pytest.mark.engines
RANKS = 2


def test_a_rank_holds_its_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory after loading, and beyond it at no time; the weights are all there, and only rank 0 keeps them."""
    config = Qwen2Config(
        vocab_size=2048, hidden_size=512, num_hidden_layers=12, num_attention_heads=8, num_key_value_heads=8,
        intermediate_size=2048, tie_word_embeddings=False,
    )  # fmt: skip
    model = Qwen2ForCausalLM(config)
    model.save_pretrained(tmp_path)
    whole = 4 * sum(parameter.numel() for parameter in model.parameters()) / 2**20
    checksum = sum(parameter.double().sum().item() for parameter in model.parameters())
    # What is freed goes back to the system, so that the process's memory is what it holds.
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    with socket.socket() as probe:
        probe.bind(("", 0))
        port = probe.getsockname()[1]
    ranks = [context.Process(target=load, args=(i, port, str(tmp_path), queue)) for i in range(RANKS)]
    for process in ranks:
        process.start()
    found = [queue.get(timeout=300) for _ in ranks]
    for process in ranks:
        process.join(60)
    for held, peak, total in found:
        assert held < 1.1 * whole / RANKS
        assert peak < 1.3 * whole / RANKS
        assert total == pytest.approx(checksum)


def load(rank: int, port: int, model: str, queue: Any) -> None:
    """One rank: MiB that loading left, MiB at the peak, and the sum of all weights."""
    settings = LearnerConfig(num_learners=RANKS, threads_per_learner=1, device="cpu", zero_stage=3)
    join_process_group("cpu", rank, RANKS, "127.0.0.1", port, 1, timeout=120)
    sharding = deepspeed_config(settings, "float32")
    # What libraries allocate on first use is not the model's.
    load_model(str(TINY), torch.float32, sharding=sharding)
    memory = Peak()
    loaded = load_model(model, torch.float32, sharding=sharding)
    peak, held = memory.lap(), memory.lap()
    total = sum(tensor.double().sum().item() for _, tensor in full_tensors(loaded.named_parameters(), True))
    queue.put((held, peak, total))
    torch.distributed.barrier()


def test_what_is_handed_out_is_what_was_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Senders read the copy of a gathered tensor on streams of their own, where nothing else waits for it."""
    import deepspeed

    monkeypatch.setattr(deepspeed.zero, "GatheredParameters", lambda _: nullcontext())
    looked_at: list[int] = []
    plain = torch.isfinite

    def isfinite(tensor: torch.Tensor) -> torch.Tensor:
        looked_at.append(tensor.data_ptr())
        return plain(tensor)

    monkeypatch.setattr(torch, "isfinite", isfinite)
    weight = torch.ones(3)
    [(_, handed_out)] = full_tensors(iter([("weight", weight)]), sharded=True)
    assert looked_at == [handed_out.data_ptr()]
    assert handed_out.data_ptr() != weight.data_ptr()
