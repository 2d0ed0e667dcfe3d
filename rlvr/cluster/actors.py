"""What runs in the worker processes: one engine or one learner rank each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
import torch

from rlvr.algorithms.algorithm import Algorithm
from rlvr.batch import Annotations, RolloutBatch, TrainBatch
from rlvr.learner.deepspeed_learner import DeepSpeedLearner, LearnerOptions
from rlvr.protocols import Probe, SampleRequest, SamplingSettings
from rlvr.records import Completion
from rlvr.rollout.vllm_engine import EngineOptions, VLLMEngine


class EngineActor:
    """One vLLM engine in a process of its own."""

    def __init__(self, options: EngineOptions) -> None:
        self._engine = VLLMEngine(options)

    def ready(self) -> None:
        """Return once the engine has started."""

    def generate(
        self, requests: Sequence[SampleRequest], settings: SamplingSettings
    ) -> Iterator[list[tuple[int, list[Completion]]]]:
        """Sample; lists of ``(key, completions)`` as requests finish."""
        yield from self._engine.generate(requests, settings)

    def probe(self, probes: Sequence[Probe]) -> list[list[float]]:
        """Log-probabilities of the probes' response tokens."""
        return self._engine.probe(probes)

    def call(self, method: str, *args: Any) -> None:
        """One call of vLLM's weight-transfer protocol."""
        getattr(self._engine, method)(*args)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Receive one chunk; apart from :meth:`call`, so that Ray resolves a reference to it."""
        self._engine.update_weights(update_info)

    def commit_version(self, version: int) -> int:
        """Label what is sampled from now on."""
        self._engine.commit_version(version)
        return self._engine.version


class SyncClient:
    """vLLM's weight-sync control plane over Ray: every call goes to all engines at once."""

    def __init__(self, engines: Sequence[Any], engine_ranks: int) -> None:
        self._engines = engines
        self._engine_ranks = engine_ranks
        self.num_bytes = 0

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Engines take consecutive ranks of the transfer group where the backend has one."""
        refs = []
        for index, engine in enumerate(self._engines):
            info = dict(init_info)
            if "rank_offset" in info:
                info["rank_offset"] += index * self._engine_ranks
            refs.append(engine.call.remote("init_weight_transfer_engine", info))
        ray.get(refs)

    def start_weight_update(self) -> None:
        """Begin an update on all engines."""
        self.num_bytes = 0
        ray.get([engine.call.remote("start_weight_update") for engine in self._engines])

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Send one chunk; the object store holds it once, however many engines read it."""
        self.num_bytes += getattr(update_info.get("buffer"), "nbytes", 0)
        shared = ray.put(update_info)
        ray.get([engine.update_weights.remote(shared) for engine in self._engines])

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """End the update; the version is committed later, once it is proved."""
        ray.get([engine.call.remote("finish_weight_update") for engine in self._engines])


class LearnerActor:
    """One DeepSpeed rank in a process of its own."""

    def rendezvous(self) -> tuple[str, int]:
        """This node's address and a free port on it."""
        import socket

        with socket.socket() as probe:
            probe.bind(("", 0))
            return ray.util.get_node_ip_address(), probe.getsockname()[1]

    def start(self, options: LearnerOptions, algorithm: Algorithm) -> None:
        """Load the models; every rank is called, since they form one process group here."""
        self._learner = DeepSpeedLearner(options, algorithm)
        self._rank = options.rank

    def connect(
        self, backend: str, engines: Sequence[Any], engine_ranks: int, address: str, port: int
    ) -> None:
        """Build the sending side of the weight transfer; called on every rank."""
        from rlvr.rollout.weight_transfer import connect

        self._client = SyncClient(engines, engine_ranks)
        self._transfer = connect(
            backend,
            rank=self._rank,
            client=self._client,
            metadata=self._learner.weight_metadata(),
            weights=self._learner.weights,
            num_engine_ranks=engine_ranks * len(engines),
            address=address,
            port=port,
        )

    def send_weights(self) -> int:
        """Returns the bytes that the host backend sent (0 for the backends of vLLM)."""
        self._transfer.send_weights()
        return self._client.num_bytes

    def update(self, minibatches: Sequence[TrainBatch], value_only: bool) -> dict[str, float]:
        """One optimizer step per minibatch; metrics over all ranks."""
        return self._learner.update(minibatches, value_only)

    def annotate(self, batch: RolloutBatch, old_logprobs: bool) -> Annotations | None:
        """What the models say about a batch; from rank 0 only, all ranks have the same."""
        annotations = self._learner.annotate(batch, old_logprobs)
        return annotations if self._rank == 0 else None

    def logprobs(self, *args: Any) -> torch.Tensor | None:
        """Log-probabilities of the policy (B, T); from rank 0 only."""
        logprobs = self._learner.logprobs(*args)
        return logprobs if self._rank == 0 else None

    def save(self, folder: str) -> None:
        """Write a Hugging Face folder; rank 0 writes."""
        self._learner.save(Path(folder))

    def save_state(self, folder: str) -> None:
        """This rank's part of what training goes on from."""
        self._learner.save_state(Path(folder))

    def load_state(self, folder: str) -> None:
        """Go on from this rank's part."""
        self._learner.load_state(Path(folder))
