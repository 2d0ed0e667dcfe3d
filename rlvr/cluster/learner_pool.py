"""The learner ranks as one learner, which brings its weights to the engines and proves that they are there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import ray
import torch

from rlvr.algorithms.algorithm import Algorithm
from rlvr.batch import Annotations, RolloutBatch, TrainBatch
from rlvr.cluster.calls import checked
from rlvr.cluster.pools import RolloutPool
from rlvr.cluster.watch import INTERVAL, Watch, Worker
from rlvr.errors import RlvrError, WorkerLostError
from rlvr.protocols import Probe, ProbeScores, SyncReport
from rlvr.rollout.checksums import Checksum
from rlvr.rollout.proof import Difference, Held, comparable, function_limit, prove_function, prove_weights
from rlvr.tracking.progress import say


class LearnerPool:
    """The learner ranks as one :class:`~rlvr.protocols.Learner`."""

    def __init__(
        self,
        engines: RolloutPool,
        watch: Watch,
        *,
        backend: str,
        engine_ranks: int,
        dtypes: tuple[str, str],
        tolerance: float | None,
        algorithm: Algorithm,
        sleep: bool = False,
    ) -> None:
        """Connect every rank to the engines.

        Args:
            engines: where the weights go.
            watch: has the learners, and looks after them.
            backend: of the weight transfer.
            engine_ranks: GPUs of one engine.
            dtypes: of the engines and of the learner.
            tolerance: largest mean difference of log-probabilities that the proof accepts, in nats; None: by the
                dtypes and by the first update.
            algorithm: what is trained with.
            sleep: whether the engines sleep while the learner works.
        """
        self._sleep = sleep
        self._engines = engines
        self._watch = watch
        self._backend = backend
        self._engine_ranks = engine_ranks
        self._dtypes = dtypes
        self._tolerance = tolerance
        self._first_difference: Difference | None = None
        """Between engines and learner, after the session's first update."""
        self._algorithm = algorithm
        self._published: tuple[int, Sequence[Probe]] | None = None
        """The version that the engines are to have, and what it is proved with."""
        self._is_published = False
        """Whether the learner's weights are still those of that version."""
        self._at_work = Lock()
        """Held by whoever makes the ranks work: calls of two threads must not meet them in different orders."""
        self._give_the_gpus("weights")
        self._connect()
        [self._names] = watch.call(self.workers[:1], "weight_names")
        engine_sums, own_sums = self._checksums()
        self._known = comparable(engine_sums, own_sums)
        """Tensors whose layout in the engines is known, so that they can be compared bit by bit."""
        if unknown := [name for name in own_sums if name not in self._known]:
            say(
                f"warning: vLLM lays {len(unknown)} of {len(own_sums)} tensors out in ways that the proof of the "
                f"weights does not know, the first is {unknown[0]}; only the function is proved for them"
            )
        engines.restore = self._restore_engines

    @property
    def workers(self) -> list[Worker]:
        """All ranks."""
        return self._watch.learners

    def _connect(self) -> None:
        [(address, port)] = self._watch.call(self.workers[:1], "rendezvous")
        actors = [worker.actor for worker in self._engines.workers]
        self._all("connect", self._backend, actors, self._engine_ranks, address, port)

    def _all(self, method: str, *args: Any) -> list[Any]:
        return self._watch.call(self.workers, method, *args)

    def annotate(self, batch: RolloutBatch, *, old_logprobs: bool) -> Annotations:
        """What the learner's models say about the batch; no call at all if nothing is needed."""
        if not (old_logprobs or self._algorithm.needs_reference or self._algorithm.critic):
            return Annotations()
        with self._at_work:
            self._take_the_gpus()
            annotations: Annotations = self._all("annotate", ray.put(batch), old_logprobs)[0]
        return annotations

    def update(self, minibatches: Sequence[TrainBatch], *, value_only: bool = False) -> dict[str, float]:
        """One optimizer step per minibatch; the batch is put into the object store once."""
        with self._at_work:
            self._is_published = False
            self._take_the_gpus()
            metrics: dict[str, float] = self._all("update", ray.put(list(minibatches)), value_only)[0]
        return metrics

    def publish(self, version: int, probes: Sequence[Probe]) -> SyncReport:
        """Send the weights, prove that they arrived, then label them; again if an engine is lost meanwhile."""
        with self._at_work:
            return self._publish(version, probes)

    def _publish(self, version: int, probes: Sequence[Probe]) -> SyncReport:
        self._published, self._is_published = (version, probes), True
        while True:
            self._engines.come_to_rest()
            self._give_the_gpus("weights")
            if self._engines.replace_lost():
                self._connect()
            self._engines.is_proved = False
            try:
                num_bytes = self._send()
                self._give_the_gpus("kv_cache")
                share = prove_weights(*self._checksums(), self._known, version)
                # Responses that are being written go on while probes are scored, and these weights write them.
                self._engines.commit_version(version)
                report = self._prove(version, probes, share, num_bytes)
            except WorkerLostError:
                if not self._engines.has_lost:
                    raise
            else:
                self._engines.is_proved = True
                return report

    def _prove(self, version: int, probes: Sequence[Probe], share: float, num_bytes: int) -> SyncReport:
        """Compare the function of engines and learner, of whose weights a share was compared already.

        Raises:
            WeightUpdateError: they differ.
        """
        first = self._first_difference
        limit = self._tolerance or function_limit(self._dtypes, first.mean if first else 0.0)
        engines = self._engines.probe(probes)
        learner = self._logprobs(probes, engines[0])
        scored = [[scores.logprobs for scores in engine] for engine in engines]
        difference = prove_function(scored, learner, limit, version)
        if first is None:
            self._first_difference = difference
        return SyncReport(version, share, difference.mean, difference.largest, num_bytes)

    def _checksums(self) -> tuple[list[Held], dict[str, Checksum]]:
        """Of the policy's tensors, as each engine and as the learner holds them."""
        held = {worker: worker.actor.checksums.remote(self._names) for worker in self._engines.workers}
        owned = {worker: worker.actor.checksums.remote(self._dtypes[0]) for worker in self.workers}
        found = self._watch.wait(held | owned)
        return found[: len(held)], found[len(held)]

    def _take_the_gpus(self) -> None:
        if self._sleep:
            self._engines.sleep()

    def _give_the_gpus(self, part: str) -> None:
        """Wake a part of the engines, once the learner has given up what it keeps for later allocations."""
        if self._sleep:
            self._all("free_memory")
            self._engines.wake_up(part)

    def _send(self) -> int:
        calls = {worker: worker.actor.send_weights.remote() for worker in self.workers}
        try:
            num_bytes: int = self._watch.wait(calls, meanwhile=self._end_broken_group)[0]
        except WorkerLostError:
            raise
        except RlvrError:
            # The sender may be in a collective operation that no engine joins any more, and would never end.
            if self._backend != "host":
                self.workers[0].lose("was ended, because weights could not be sent")
            raise
        return num_bytes

    def _end_broken_group(self) -> None:
        """Between GPUs the weights go by collective operations, which wait in vain for an engine that fails.

        Raises:
            WorkerLostError: an engine is lost, and the transfer cannot come to an end.
            RlvrError: an engine could not receive the weights, for this reason.
        """
        sender = self.workers[0]
        asked = sender.actor.check_receivers.remote()
        if ray.wait([asked], timeout=INTERVAL)[0]:
            checked(partial(ray.get, asked), sender.name)
        for worker in self._engines.workers:
            if worker.lost and self._backend != "host":
                self._watch.learners[0].lose(
                    f"was ended, because {worker.name} {worker.lost} while weights were sent"
                )
                self._watch.check_learners()

    def _restore_engines(self) -> None:
        """Replace lost engines and bring all to the published version, with the proof of before.

        Not so while the learner works, or once it has moved on, since that version is then no more. Then the lost ones
        wait for the next publication.
        """
        if not self._at_work.acquire(blocking=False):
            return
        try:
            if self._published is not None and self._is_published:
                self._publish(*self._published)
        finally:
            self._at_work.release()

    def _logprobs(self, probes: Sequence[Probe], read: Sequence[ProbeScores]) -> list[list[float]]:
        """The learner's log-probabilities of the tokens as an engine has read them."""
        lengths = [len(scores.logprobs) for scores in read]
        tokens = torch.zeros(len(read), max(len(scores.tokens) for scores in read), dtype=torch.int64)
        for row, scores in enumerate(read):
            tokens[row, : len(scores.tokens)] = torch.tensor(list(scores.tokens))
        mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).float()
        prompt_lengths = torch.tensor(
            [len(scores.tokens) - length for scores, length in zip(read, lengths, strict=True)]
        )
        images = tuple(probe.images for probe in probes) if any(probe.images for probe in probes) else None
        batch = TrainBatch.of_tokens(tokens, prompt_lengths, mask, images)
        logprobs = self._all("logprobs", batch, 1.0)[0]
        return [logprobs[row, :length].tolist() for row, length in enumerate(lengths)]

    def save(self, folder: Path) -> None:
        """Write a Hugging Face folder."""
        with self._at_work:
            self._all("save", str(folder.resolve()))

    def save_state(self, folder: Path) -> None:
        """Every rank writes its part into the folder, which all of them must see."""
        with self._at_work:
            self._all("save_state", str(folder.resolve()))

    def load_state(self, folder: Path) -> None:
        """Every rank goes on from its part."""
        with self._at_work:
            self._is_published = False
            self._take_the_gpus()
            self._all("load_state", str(folder.resolve()))

    def stop(self) -> None:
        """End the ranks, and within seconds a call of them in another thread."""
        for worker in self.workers:
            worker.lose("was ended with the run")
