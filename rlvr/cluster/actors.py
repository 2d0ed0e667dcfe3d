"""What runs in the worker processes: one engine or one learner rank each."""

from __future__ import annotations

import ctypes
import gc
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import ray
import torch

from rlvr.algorithms.algorithm import Algorithm
from rlvr.batch import Annotations, RolloutBatch, TrainBatch
from rlvr.cluster.calls import checked
from rlvr.errors import RlvrError, WorkerLostError
from rlvr.learner.deepspeed_learner import DeepSpeedLearner, LearnerOptions
from rlvr.protocols import Probe, ProbeScores, SampleRequest, SamplingSettings
from rlvr.rollout.checksums import Checksum, checksum
from rlvr.rollout.engine_options import EngineOptions
from rlvr.rollout.vllm_engine import Inbox, Served, VLLMEngine
from rlvr.tracking.vitals import Vitals, own_vitals

HEALTH = "health"
"""Concurrency group, a thread of its own, in which a worker answers while it computes."""
INBOX = "inbox"
"""Another, in which an engine takes requests while it samples."""
VITALS_SECONDS = 8.0
"""Between two measurements, for which all processes of the machine are gone through."""
PR_SET_PDEATHSIG = 1


def give_back_memory() -> None:
    """Return to the system what the C library keeps for later allocations.

    Micro-batches differ in shape, so freed tensors leave gaps that the next ones do not fit into, and over hundreds
    of steps a process would grow by tens of MiB without holding more. Only glibc has, and needs, this.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class WatchedActor:
    """A process that says how it is, and that ends with Ray's node manager, even when it is frozen."""

    def __init__(self) -> None:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        self._vitals: Vitals | None = None
        self._measured = 0.0

    @ray.method(concurrency_group=HEALTH)
    def vitals(self) -> Vitals:
        """Memory, open files and threads of this process and those below it; a few seconds old at most."""
        now = time.monotonic()
        if self._vitals is None or now - self._measured > VITALS_SECONDS:
            give_back_memory()
            self._vitals, self._measured = own_vitals(socket.gethostname()), now
        return self._vitals


class EngineActor(WatchedActor):
    """One vLLM engine in a process of its own."""

    def __init__(self, options: EngineOptions) -> None:
        super().__init__()
        self._inbox: Inbox = SimpleQueue()
        self._engine = VLLMEngine(options)

    def ready(self) -> None:
        """Return once the engine has started."""

    def generate(self, settings: SamplingSettings) -> Iterator[Served]:
        """Sample what is handed over, up to the last."""
        yield from self._engine.serve(self._inbox, settings)

    def advance(
        self, requests: Sequence[SampleRequest], settings: SamplingSettings, seconds: float
    ) -> Served:
        """Take requests in and sample for so long; other calls may come between two of these."""
        return self._engine.advance(requests, settings, seconds)

    @ray.method(concurrency_group=INBOX)
    def hand_over(self, requests: Sequence[SampleRequest], are_last: bool) -> None:
        """Requests for the call of :meth:`generate` that is at work or comes next."""
        for request in requests:
            self._inbox.put(request)
        if are_last:
            self._inbox.put(None)

    def load(self, model: str) -> None:
        """Read another model's weights from its folder."""
        self._engine.load(model)

    def probe(self, probes: Sequence[Probe]) -> list[ProbeScores]:
        """Log-probabilities of the probes' response tokens."""
        return self._engine.probe(probes)

    def checksums(self, names: Sequence[str]) -> dict[str, list[Checksum | None]]:
        """Checksums of the learner's tensors as the engine holds them."""
        return self._engine.checksums(names)

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
    """vLLM's weight-sync control plane over Ray: every call goes to all engines at once.

    An engine that is gone is left out from then on: the driver, which notices it as well, replaces it and
    has the weights sent again. So the learner ranks, which gather weights together, stay in step.
    """

    def __init__(self, engines: Sequence[Any], engine_ranks: int) -> None:
        self._engines = dict(enumerate(engines))
        self._engine_ranks = engine_ranks
        self.num_bytes = 0
        self.failure: RlvrError | None = None
        """Of the first engine that could not do what it was asked for."""

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Engines take consecutive ranks of the transfer group where the backend has one."""
        refs = {}
        for index, engine in self._engines.items():
            info = dict(init_info)
            if "rank_offset" in info:
                info["rank_offset"] += index * self._engine_ranks
            refs[index] = engine.call.remote("init_weight_transfer_engine", info)
        self._wait(refs)

    def start_weight_update(self) -> None:
        """Begin an update on all engines."""
        self.num_bytes = 0
        self._wait({i: engine.call.remote("start_weight_update") for i, engine in self._engines.items()})

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Send one chunk; the object store holds it once, however many engines read it."""
        self.num_bytes += getattr(update_info.get("buffer"), "nbytes", 0)
        shared = ray.put(update_info)
        self._wait({i: engine.update_weights.remote(shared) for i, engine in self._engines.items()})

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """End the update; the version is committed later, once it is proved."""
        self._wait({i: engine.call.remote("finish_weight_update") for i, engine in self._engines.items()})

    def _wait(self, refs: dict[int, Any]) -> None:
        """Wait for all engines; the first that fails is told at once, while others may wait for it."""
        waiting = {ref: index for index, ref in refs.items()}
        while waiting:
            [ref], _ = ray.wait(list(waiting), num_returns=1)
            index = waiting.pop(ref)
            try:
                checked(partial(ray.get, ref), f"rollout worker {index}")
            except WorkerLostError:
                del self._engines[index]
            except RlvrError as error:
                self.failure = error
                raise


class LearnerActor(WatchedActor):
    """One DeepSpeed rank in a process of its own."""

    def rendezvous(self) -> tuple[str, int]:
        """This node's address and a free port on it."""
        with socket.socket() as probe:
            probe.bind(("", 0))
            return ray.util.get_node_ip_address(), probe.getsockname()[1]

    def start(self, options: LearnerOptions, algorithm: Algorithm) -> None:
        """Load the models; every rank is called, since they form one process group here."""
        self._learner = DeepSpeedLearner(options, algorithm)
        self._rank = options.rank
        self._transfer: Any = None

    def connect(
        self, backend: str, engines: Sequence[Any], engine_ranks: int, address: str, port: int
    ) -> None:
        """Build the sending side of the weight transfer, in the place of an earlier one; called on every rank."""
        from rlvr.rollout.weight_transfer import connect, disconnect

        if self._transfer is not None:
            disconnect(self._transfer)
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

    @ray.method(concurrency_group=HEALTH)
    def check_receivers(self) -> None:
        """Answered also while weights are sent, which may wait in vain for an engine that has failed.

        Raises:
            RlvrError: what an engine has failed with.
        """
        if self._client.failure is not None:
            raise self._client.failure

    def free_memory(self) -> None:
        """Give GPU memory that is kept for later allocations back to those who share the GPU."""
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def send_weights(self) -> int:
        """Returns the bytes that the host backend sent (0 for the backends of vLLM)."""
        self._transfer.send_weights()
        return self._client.num_bytes

    def weight_names(self) -> list[str]:
        """Of the tensors that are sent."""
        return [name for name, _, _ in self._learner.weight_metadata()]

    def checksums(self, dtype: str) -> dict[str, Checksum]:
        """Checksums of the policy's tensors as an engine of that dtype should hold them; from rank 0 only.

        They are taken of the parameters anew and not of what was sent; gathering is collective.
        """
        weights = self._learner.weights()
        if self._rank == 0:
            return {name: checksum(tensor, getattr(torch, dtype)) for name, tensor in weights}
        for _ in weights:
            pass
        return {}

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
