"""The worker processes as one engine and one learner."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ray
import torch

from rlvr.algorithms.algorithm import Algorithm
from rlvr.batch import Annotations, RolloutBatch, TrainBatch
from rlvr.cluster.calls import checked, wait_all
from rlvr.errors import WeightUpdateError
from rlvr.protocols import Probe, SampleRequest, SamplingSettings, SyncReport
from rlvr.records import Completion
from rlvr.rollout.proof import prove


class RolloutPool:
    """The rollout workers as one :class:`~rlvr.protocols.RolloutEngine`."""

    def __init__(self, actors: Sequence[Any]) -> None:
        self.actors = actors
        self._version = 0

    @property
    def version(self) -> int:
        """Version of the weights that sample now."""
        return self._version

    def generate(
        self, requests: Sequence[SampleRequest], settings: SamplingSettings
    ) -> Iterator[tuple[int, list[Completion]]]:
        """Deal the requests out to the workers; yield results in the order in which they finish."""
        streams = {}
        for index, actor in enumerate(self.actors):
            share = requests[index :: len(self.actors)]
            if share:
                streams[actor.generate.options(num_returns="streaming").remote(share, settings)] = index
        while streams:
            [stream], _ = ray.wait(list(streams), num_returns=1, fetch_local=False)
            worker = f"rollout worker {streams[stream]}"
            try:
                ref = next(stream)
            except StopIteration:
                del streams[stream]
                continue
            yield from checked(partial(ray.get, ref), worker)

    def probe(self, probes: Sequence[Probe]) -> list[list[list[float]]]:
        """Log-probabilities of the probes on every worker."""
        return wait_all([actor.probe.remote(probes) for actor in self.actors], "rollout worker")

    def commit_version(self, version: int) -> None:
        """Label what is sampled from now on."""
        versions = wait_all([actor.commit_version.remote(version) for actor in self.actors], "rollout worker")
        if set(versions) != {version}:
            raise WeightUpdateError(f"engines report versions {versions} after update {version}")
        self._version = version


class LearnerPool:
    """The learner ranks as one :class:`~rlvr.protocols.Learner`."""

    def __init__(
        self,
        actors: Sequence[Any],
        engines: RolloutPool,
        *,
        backend: str,
        num_engine_ranks: int,
        tolerance: float,
        algorithm: Algorithm,
    ) -> None:
        """Connect every rank to the engines."""
        self._actors = actors
        self._engines = engines
        self._tolerance = tolerance
        self._algorithm = algorithm
        [(address, port)] = wait_all([actors[0].rendezvous.remote()], "learner")
        engine_ranks = num_engine_ranks // len(engines.actors)
        self._all("connect", backend, engines.actors, engine_ranks, address, port)

    def _all(self, method: str, *args: Any) -> list[Any]:
        return wait_all([getattr(actor, method).remote(*args) for actor in self._actors], "learner")

    def annotate(self, batch: RolloutBatch, *, old_logprobs: bool) -> Annotations:
        """What the learner's models say about the batch; no call at all if nothing is needed."""
        if not (old_logprobs or self._algorithm.needs_reference or self._algorithm.critic):
            return Annotations()
        annotations: Annotations = self._all("annotate", ray.put(batch), old_logprobs)[0]
        return annotations

    def update(self, minibatches: Sequence[TrainBatch], *, value_only: bool = False) -> dict[str, float]:
        """One optimizer step per minibatch; the batch is put into the object store once."""
        metrics: dict[str, float] = self._all("update", ray.put(list(minibatches)), value_only)[0]
        return metrics

    def publish(self, version: int, probes: Sequence[Probe]) -> SyncReport:
        """Send the weights, prove that they arrived, then label them."""
        num_bytes = self._all("send_weights")[0]
        worst = prove(self._engines.probe(probes), self._probe(probes), self._tolerance, version)
        self._engines.commit_version(version)
        return SyncReport(version, worst, num_bytes)

    def _probe(self, probes: Sequence[Probe]) -> list[list[float]]:
        lengths = [len(probe.tokens) - probe.prompt_length for probe in probes]
        tokens = torch.zeros(len(probes), max(len(probe.tokens) for probe in probes), dtype=torch.int64)
        for row, probe in enumerate(probes):
            tokens[row, : len(probe.tokens)] = torch.tensor(list(probe.tokens))
        mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).float()
        prompt_lengths = torch.tensor([probe.prompt_length for probe in probes])
        logprobs = self._all("logprobs", tokens, prompt_lengths, mask, 1.0)[0]
        return [logprobs[row, :length].tolist() for row, length in enumerate(lengths)]

    def save(self, folder: Path) -> None:
        """Write a Hugging Face folder."""
        self._all("save", str(folder.resolve()))

    def save_state(self, folder: Path) -> None:
        """Every rank writes its part into the folder, which all of them must see."""
        self._all("save_state", str(folder.resolve()))

    def load_state(self, folder: Path) -> None:
        """Every rank goes on from its part."""
        self._all("load_state", str(folder.resolve()))
