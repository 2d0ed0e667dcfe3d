"""vLLM's own transfers under our pools: only NCCL and CUDA IPC are replaced (tests/stand_ins.py)."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import ray
import torch

from rlvr.algorithms.grpo import GRPOConfig
from rlvr.cluster import rollout_pool, start
from rlvr.cluster.actors import EngineActor, LearnerActor
from rlvr.config import ClusterConfig, RolloutConfig
from rlvr.errors import WorkerError
from rlvr.protocols import Probe, SampleRequest, SamplingSettings
from rlvr.seeds import derive_seed
from tests import stand_ins
from tests.tiny import LENGTH, PROMPT, TINY, random_batch, tiny_pools

PROBES = [Probe(row, PROMPT) for row in random_batch().tokens.tolist()]
LOSSES = GRPOConfig().build()
PAIRS = 2


@pytest.fixture(autouse=True)
def _code_travels_with_its_users() -> Any:
    """Workers find the stand-ins without the tests' folder."""
    ray.cloudpickle.register_pickle_by_value(stand_ins)
    yield
    ray.cloudpickle.unregister_pickle_by_value(stand_ins)


def test_nccl_brings_weights_to_two_engines_and_a_receiver_that_fails_is_named_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Engine(EngineActor):
        def __init__(self, options: Any) -> None:
            super().__init__(options)
            stand_ins.without_nccl()

    class Learner(LearnerActor):
        def connect(self, *args: Any) -> None:
            stand_ins.without_nccl()
            super().connect(*args)

    def break_receiver(actor: Any) -> None:
        from vllm.distributed.weight_transfer.nccl_engine import NCCLWeightTransferEngine

        def fail(self: Any, info: Any) -> None:
            raise RuntimeError("no room for a tensor")

        NCCLWeightTransferEngine.receive_weights = fail

    monkeypatch.setattr(start, "EngineActor", Engine)
    monkeypatch.setattr(start, "LearnerActor", Learner)
    monkeypatch.setattr(start, "resolve_transfer", lambda *_: "nccl")
    with tiny_pools(LOSSES, num_workers=2, num_learners=2, zero_stage=3, learning_rate=1e-3) as (
        engine,
        learner,
    ):
        for version in range(2):
            assert learner.publish(version, PROBES).proved_share == 1
            learner.update([random_batch()])
        ray.get(engine.workers[1].actor.__ray_call__.remote(break_receiver))
        began = time.monotonic()
        with pytest.raises(WorkerError, match="no room for a tensor") as caught:
            learner.publish(2, PROBES)
        assert time.monotonic() - began < 60  # ClusterConfig.call_timeout is two hours
        assert caught.value.where == "rollout worker 1"
        assert engine.version == 1
        # The sender still waits for that engine; nothing may wait for the sender.
        with pytest.raises(WorkerError):
            learner.save(Path("nowhere"))


def note_what_actors_do(
    monkeypatch: pytest.MonkeyPatch, folder: Path, seeds: list[int], note: Callable[[str], None]
) -> None:
    """Put actors in place that pass tensors through files where a GPU has IPC, and note every call."""

    class Engine(EngineActor):
        def __init__(self, options: Any) -> None:
            super().__init__(options)
            stand_ins.without_ipc(folder, seeds.index(options.seed))

        def call(self, method: str, *args: Any) -> None:
            note(" ".join([method, *map(str, args if method == "wake_up" else ())]))
            if method not in ("sleep", "wake_up"):  # which vLLM has for GPUs only
                super().call(method, *args)

        def checksums(self, names: Any) -> Any:
            note("checksums")
            return super().checksums(names)

        def probe(self, probes: Any) -> Any:
            note("probe")
            return super().probe(probes)

        def update_weights(self, update_info: Any) -> None:
            note("update_weights")
            super().update_weights(update_info)

    class Learner(LearnerActor):
        def start(self, *args: Any) -> None:
            note("load learner")
            super().start(*args)

        def connect(self, *args: Any) -> None:
            from rlvr.rollout import weight_transfer

            stand_ins.without_ipc(folder, self._rank)
            weight_transfer.CHUNK_BYTES = 60_000
            super().connect(*args)

        def free_memory(self) -> None:
            note("free")
            super().free_memory()

        def update(self, *args: Any) -> Any:
            note("learn")
            return super().update(*args)

    monkeypatch.setattr(start, "EngineActor", Engine)
    monkeypatch.setattr(start, "LearnerActor", Learner)
    monkeypatch.setattr(start, "resolve_transfer", lambda *_: "ipc")


def test_ipc_between_halves_of_a_gpu_that_take_turns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Tensors larger than a chunk of the transfer, in several chunks; the memory is freed before it is needed."""
    journal = tmp_path / "journal"
    seeds = [derive_seed(0, index, 0) % start.MAX_SEED for index in range(PAIRS)]

    def note(event: str) -> None:
        with journal.open("a") as file:
            file.write(event + "\n")

    note_what_actors_do(monkeypatch, tmp_path, seeds, note)
    with tiny_pools(
        LOSSES,
        num_workers=PAIRS,
        num_learners=PAIRS,
        zero_stage=3,
        learning_rate=1e-3,
        cluster=ClusterConfig(colocate=True, sleep=True),
    ) as (_, learner):
        for version in range(2):
            assert learner.publish(version, PROBES).proved_share == 1
            if version == 0:
                learner.update([random_batch()])
    events = [event for event, _ in groupby(journal.read_text().split("\n")) if event]
    send = ["start_weight_update", "update_weights", "finish_weight_update"]
    prove = ["free", "wake_up kv_cache", "checksums", "probe"]
    assert events == [
        *("sleep", "load learner", "free", "wake_up weights", "init_weight_transfer_engine", "checksums"),
        *("free", *send, *prove),
        *("sleep", "learn", "free", "wake_up weights", *send, *prove),
    ]
    assert journal.read_text().count("update_weights\n") > 2 * PAIRS * 5  # chunks


def test_an_engine_on_two_ranks_is_sent_weights_and_proved() -> None:
    """vLLM's worker processes know our transfer, and what each of them holds adds up."""
    with tiny_pools(
        LOSSES, num_workers=1, num_learners=1, zero_stage=2, learning_rate=1e-3, tensor_parallel_size=2
    ) as (engine, learner):
        for version in range(2):
            report = learner.publish(version, PROBES)
            assert report.proved_share == 1
            assert report.probe_mean_abs < 1e-4
            learner.update([random_batch()])
        assert engine.version == 1


def test_evaluations_on_two_ranks_score_sequences_as_long_as_there_is_room_for() -> None:
    rollout = RolloutConfig(
        tensor_parallel_size=2, max_prompt_tokens=PROMPT, max_response_tokens=LENGTH - PROMPT
    )
    with rollout_pool(str(TINY), rollout, ClusterConfig(), 0) as pool:
        scored = pool.score(PROBES)
        [short] = pool.score([Probe(PROBES[0].tokens[:-1], PROMPT)])
        settings = SamplingSettings(temperature=1.0, max_tokens=LENGTH - PROMPT)
        [(_, [completion])] = pool.generate([SampleRequest(0, PROBES[0].tokens[:PROMPT], 1)], settings)
    assert [len(each) for each in scored] == [LENGTH - PROMPT] * len(PROBES)
    assert scored[0][:-1] == pytest.approx(short, abs=1e-5)
    assert torch.tensor(scored).isfinite().all()
    assert len(completion.response_tokens) > 0
