"""The worker processes as one engine and one learner."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
import torch

from rlvr.algorithms.algorithm import Algorithm
from rlvr.batch import Annotations, RolloutBatch, TrainBatch
from rlvr.cluster.dealing import AHEAD, deal
from rlvr.cluster.watch import RESUME, Watch, Worker
from rlvr.errors import WeightUpdateError, WorkerLostError
from rlvr.protocols import Probe, SampleRequest, SamplingSettings, SyncReport
from rlvr.records import Completion
from rlvr.rollout.proof import prove
from rlvr.tracking.progress import say


class RolloutPool:
    """The rollout workers as one :class:`~rlvr.protocols.RolloutEngine`; those that are lost are replaced."""

    def __init__(self, start: Callable[[int, int], Any], count: int, watch: Watch, max_num_seqs: int) -> None:
        """Start all workers; :meth:`wait_until_loaded` waits for them.

        Args:
            start: starts the actor of a worker, given its index and how often it was replaced.
            count: workers.
            watch: looks after them.
            max_num_seqs: samples that a worker has in hand together.
        """
        # A single worker gets everything in any case: at once, it meets in the same batches every time.
        self.places = math.inf if count == 1 else math.ceil(AHEAD * max_num_seqs)
        """Samples that a worker is handed at a time."""
        self._start = start
        self._watch = watch
        self._attempts = [0] * count
        watch.rollout = [Worker(f"rollout worker {index}", start(index, 0)) for index in range(count)]
        self._version = 0
        self.is_proved = True
        """Whether the engines hold the weights of their version; not so in the middle of an update."""
        self.restore: Callable[[], object] = self.replace_lost
        """Makes the pool whole again. With a learner this includes its weights, and their proof."""
        self._asleep = False

    @property
    def workers(self) -> list[Worker]:
        """All of them, lost ones included."""
        return self._watch.rollout

    @property
    def version(self) -> int:
        """Version of the weights that sample now."""
        return self._version

    @property
    def has_lost(self) -> bool:
        """Whether a worker waits to be replaced."""
        return any(worker.lost for worker in self.workers)

    def process_metrics(self) -> dict[str, float]:
        """``process/…`` of every process of the session, the learners' too."""
        return self._watch.metrics()

    def wait_until_loaded(self) -> None:
        """Wait for those that are loading.

        Raises:
            WorkerLostError: one died, or did not come to an end.
            WorkerError: one could not start.
        """
        loading = {worker: worker.actor.ready.remote() for worker in self.workers if not worker.loaded}
        self._watch.wait(loading, self._watch.limits.start_timeout)
        for worker in loading:
            worker.loaded = True

    def replace_lost(self) -> bool:
        """Start a new process for every worker that is lost; whether there was one.

        Raises:
            WorkerLostError: no more may be replaced.
        """
        limit, replaced = self._watch.limits.max_restarts, False
        while self.has_lost:
            for index, worker in enumerate(self.workers):
                if not worker.lost:
                    continue
                if self._watch.num_restarts >= limit:
                    raise WorkerLostError(
                        f"the worker's process {worker.lost}\n"
                        f"  and {limit} replacements, as many as a run may have, are used up",
                        where=worker.name,
                        fix="often out of memory: see `dmesg`, and Ray's logs under "
                        f"/tmp/ray/session_latest/logs; or a higher cluster.max_restarts; {RESUME}",
                    )
                self._watch.num_restarts += 1
                self._attempts[index] += 1
                say(
                    f"{worker.name} {worker.lost}; replaced ({self._watch.num_restarts} of at most {limit} times)"
                )
                worker.restarted(self._start(index, self._attempts[index]))
                replaced = True
            try:
                self.wait_until_loaded()
            except WorkerLostError:
                self._watch.check_learners()
        return replaced

    def generate(
        self, requests: Sequence[SampleRequest], settings: SamplingSettings
    ) -> Iterator[tuple[int, list[Completion]]]:
        """Deal the requests out as the workers have places; yield results in the order in which they finish.

        When a worker is lost, the others finish what they have in hand. Then it is replaced, and what it had not
        answered is dealt out again with the rest.

        Raises:
            WeightUpdateError: an update has failed, so that nobody knows which weights an engine holds.
            WorkerLostError: a worker is lost and may not be replaced.
        """
        if not self.is_proved:
            raise WeightUpdateError(
                f"the engines hold weights that were not proved: an update after version {self._version} failed",
                where="rollout workers",
            )
        self.wake_up()
        left = list(requests)
        while left:
            if self.has_lost:
                self.restore()
            left = yield from deal(left, settings, self.workers, self.places, self._watch)

    def probe(self, probes: Sequence[Probe]) -> list[list[list[float]]]:
        """Log-probabilities of the probes on every worker."""
        return self._watch.call(self.workers, "probe", probes)

    def score(self, probes: Sequence[Probe]) -> list[list[float]]:
        """Log-probabilities, at temperature 1, of each probe's response tokens: every worker scores a share."""
        count = len(self.workers)
        found = self._watch.wait(
            {each: each.actor.probe.remote(probes[index::count]) for index, each in enumerate(self.workers)}
        )
        return [found[index % count][index // count] for index in range(len(probes))]

    def commit_version(self, version: int) -> None:
        """Label what is sampled from now on."""
        versions = self._watch.call(self.workers, "commit_version", version)
        if set(versions) != {version}:
            raise WeightUpdateError(f"engines report versions {versions} after update {version}")
        self._version = version

    def sleep(self) -> None:
        """Let the engines give up what they hold of GPUs that they share with learners."""
        if not self._asleep:
            self._asleep = True
            self._call_living("sleep")

    def wake_up(self) -> None:
        """End :meth:`sleep`; nothing happens to engines that are awake."""
        if self._asleep:
            self._asleep = False
            self._call_living("wake_up")

    def _call_living(self, method: str) -> None:
        try:
            self._watch.call([worker for worker in self.workers if not worker.lost], "call", method)
        except WorkerLostError:
            if not self.has_lost:  # an engine that is lost is replaced before it is next needed
                raise


class LearnerPool:
    """The learner ranks as one :class:`~rlvr.protocols.Learner`."""

    def __init__(
        self,
        engines: RolloutPool,
        watch: Watch,
        *,
        backend: str,
        engine_ranks: int,
        tolerance: float,
        algorithm: Algorithm,
        sleep: bool = False,
    ) -> None:
        """Connect every rank to the engines.

        Args:
            engines: where the weights go.
            watch: has the learners, and looks after them.
            backend: of the weight transfer.
            engine_ranks: GPUs of one engine.
            tolerance: of the proof, in nats.
            algorithm: what is trained with.
            sleep: whether the engines sleep while the learner works.
        """
        self._sleep = sleep
        self._engines = engines
        self._watch = watch
        self._backend = backend
        self._engine_ranks = engine_ranks
        self._tolerance = tolerance
        self._algorithm = algorithm
        self._published: tuple[int, Sequence[Probe]] | None = None
        """The version that the engines are to have, and what it is proved with."""
        self._is_published = False
        """Whether the learner's weights are still those of that version."""
        self._connect()
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
        self._take_the_gpus()
        annotations: Annotations = self._all("annotate", ray.put(batch), old_logprobs)[0]
        return annotations

    def update(self, minibatches: Sequence[TrainBatch], *, value_only: bool = False) -> dict[str, float]:
        """One optimizer step per minibatch; the batch is put into the object store once."""
        self._is_published = False
        self._take_the_gpus()
        metrics: dict[str, float] = self._all("update", ray.put(list(minibatches)), value_only)[0]
        return metrics

    def publish(self, version: int, probes: Sequence[Probe]) -> SyncReport:
        """Send the weights, prove that they arrived, then label them; again if an engine is lost meanwhile."""
        self._published, self._is_published = (version, probes), True
        self._engines.wake_up()
        while True:
            if self._engines.replace_lost():
                self._connect()
            self._engines.is_proved = False
            try:
                num_bytes = self._send()
                worst = prove(self._engines.probe(probes), self._probe(probes), self._tolerance, version)
                self._engines.commit_version(version)
            except WorkerLostError:
                if not self._engines.has_lost:
                    raise
            else:
                self._engines.is_proved = True
                return SyncReport(version, worst, num_bytes)

    def _take_the_gpus(self) -> None:
        if self._sleep:
            self._engines.sleep()

    def _send(self) -> int:
        calls = {worker: worker.actor.send_weights.remote() for worker in self.workers}
        num_bytes: int = self._watch.wait(calls, meanwhile=self._end_broken_group)[0]
        return num_bytes

    def _end_broken_group(self) -> None:
        """Between GPUs the weights go by collective operations, which wait for a lost engine in vain.

        Raises:
            WorkerLostError: an engine is lost, and the transfer cannot come to an end.
        """
        for worker in self._engines.workers:
            if worker.lost and self._backend != "host":
                self._watch.learners[0].lose(
                    f"was ended, because {worker.name} {worker.lost} while weights were sent"
                )
                self._watch.check_learners()

    def _restore_engines(self) -> None:
        """Replace lost engines and bring all to the published version, with the proof of before.

        Raises:
            WeightUpdateError: the learner has moved on since, so that version is no more.
        """
        if self._published is None or not self._is_published:
            raise WeightUpdateError(
                "a rollout worker is lost, and the learner no longer holds the weights that the others sample with",
                where="sampling between an update and its publication",
            )
        self.publish(*self._published)

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
        self._is_published = False
        self._all("load_state", str(folder.resolve()))
