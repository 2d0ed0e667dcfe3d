"""The rollout workers as one engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from threading import Event
from typing import Any

from rlvr.cluster.dealing import AHEAD, deal
from rlvr.cluster.polling import Polling
from rlvr.cluster.watch import RESUME, Watch, Worker
from rlvr.errors import WeightUpdateError, WorkerLostError
from rlvr.protocols import Probe, ProbeScores, SampleRequest, SamplingSettings
from rlvr.records import Completion
from rlvr.tracking.progress import say

PARTS = ("weights", "kv_cache")
"""What an engine that sleeps has given up, in the order in which it takes it back."""


class RolloutPool:
    """The rollout workers as one :class:`~rlvr.protocols.TrainingEngine`; those that are lost are replaced."""

    def __init__(
        self, start: Callable[[str, int, int], Any], model: str, count: int, watch: Watch, max_num_seqs: int
    ) -> None:
        """Start all workers; :meth:`wait_until_loaded` waits for them.

        Args:
            start: starts the actor of a worker, given the model, its index and how often it was replaced.
            model: what they start with: a folder, or a hub name.
            count: workers.
            watch: looks after them.
            max_num_seqs: samples that a worker has in hand together.
        """
        # A single worker gets everything in any case: at once, it meets in the same batches every time.
        self.places = math.inf if count == 1 else math.ceil(AHEAD * max_num_seqs)
        """Samples that a worker is handed at a time."""
        self._start, self._model = start, model
        self._watch = watch
        self._attempts = [0] * count
        watch.rollout = [Worker(f"rollout worker {index}", start(model, index, 0)) for index in range(count)]
        self._polling = Polling(watch.rollout, self.places, watch)
        self._version = 0
        self.is_proved = True
        """Whether the engines hold the weights of their version; not so in the middle of an update."""
        self.restore: Callable[[], object] = self.replace_lost
        """Makes the pool whole again. With a learner this includes its weights, and their proof; while it learns, the
        pool stays as it is."""
        self._stopped = Event()
        self._asleep: set[str] = set()

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
                self._polling.take_back()
                worker.restarted(self._start(self._model, index, self._attempts[index]))
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
        answered is dealt out again with the rest. Where the learner has moved on to other weights meanwhile, the
        others take it over, and the lost one is replaced when the next weights are published.

        Raises:
            WeightUpdateError: an update has failed, so that nobody knows which weights an engine holds.
            WorkerLostError: a worker is lost and may not be replaced; or all of them are, and with them their weights.
            StoppedError: another thread has called :meth:`stop`.
        """
        self._require_proof()
        self.wake_up()
        left = list(requests)
        while left:
            if self.has_lost:
                self.restore()
            living = [worker for worker in self.workers if not worker.lost]
            if not living:
                raise WorkerLostError(
                    f"the worker's process {self.workers[-1].lost}\n"
                    "  and no other one is left with the weights that are sampled from: the learner has moved on",
                    where=self.workers[-1].name,
                    fix=f"more rollout.num_workers, or train.max_staleness=0, where workers die often; {RESUME}",
                )
            left = yield from deal(left, settings, living, self.places, self._watch, self._stopped)

    def _require_proof(self) -> None:
        if not self.is_proved:
            raise WeightUpdateError(
                f"the engines hold weights that were not proved: an update after version {self._version} failed",
                where="rollout workers",
            )

    # The same in short calls, between which weights may come.

    @property
    def num_open(self) -> int:
        """Requests that were submitted and have no answer yet."""
        return self._polling.num_open

    def submit(self, requests: Sequence[SampleRequest], settings: SamplingSettings) -> None:
        """Have requests sampled after those before; their keys differ from all that are on their way."""
        self._polling.submit(requests, settings)

    def poll(self) -> list[tuple[int, list[Completion]]]:
        """Answers since the last call, after a moment at most.

        What a lost worker had in hand goes to the others. It is replaced when the next weights are published; before
        that only if no other is left and the learner has not moved on.

        Raises:
            WeightUpdateError: an update has failed, so that nobody knows which weights an engine holds.
            WorkerLostError: no more workers may be replaced, or a learner is lost.
            RlvrError: a worker has failed with this.
        """
        self._require_proof()
        if all(worker.lost for worker in self.workers):
            self.restore()
        return self._polling.poll()

    def come_to_rest(self) -> None:
        """Wait until no engine computes; responses that are being written are gone on with by the next poll."""
        self._polling.come_to_rest()

    def stop(self) -> None:
        """End a call of :meth:`generate` in another thread within seconds; nothing is sampled any more."""
        self._stopped.set()

    def load(self, model: str) -> None:
        """Have all workers read another model's weights from its folder, and prove that they hold them.

        The model differs from the one before in its weights alone.

        Raises:
            WeightUpdateError: a worker holds something else; none may be sampled from.
            WorkerLostError: a worker died.
        """
        self.is_proved = False
        self._watch.call(self.workers, "load", model)
        self._model, self.is_proved = model, True

    def probe(self, probes: Sequence[Probe]) -> list[list[ProbeScores]]:
        """Log-probabilities of the probes on every worker."""
        return self._watch.call(self.workers, "probe", probes)

    def score(self, probes: Sequence[Probe]) -> list[list[float]]:
        """Log-probabilities, at temperature 1, of each probe's response tokens: every worker scores a share."""
        count = len(self.workers)
        found = self._watch.wait(
            {each: each.actor.probe.remote(probes[index::count]) for index, each in enumerate(self.workers)}
        )
        return [list(found[index % count][index // count].logprobs) for index in range(len(probes))]

    def commit_version(self, version: int) -> None:
        """Label what is sampled from now on; the caller has proved that these are the weights."""
        versions = self._watch.call(self.workers, "commit_version", version)
        if set(versions) != {version}:
            raise WeightUpdateError(f"engines report versions {versions} after update {version}")
        self._version = version

    def sleep(self) -> None:
        """Let the engines give up what they hold of GPUs that they share with learners."""
        if not self._asleep:
            self._call_living("sleep")
            self._asleep = set(PARTS)

    def wake_up(self, *parts: str) -> None:
        """End :meth:`sleep` for some of :data:`PARTS`, by default for all; what is awake stays as it is."""
        for part in parts or PARTS:
            if part in self._asleep:
                self._asleep.remove(part)
                self._call_living("wake_up", part)

    def _call_living(self, method: str, *args: str) -> None:
        try:
            self._watch.call([worker for worker in self.workers if not worker.lost], "call", method, *args)
        except WorkerLostError:
            if not self.has_lost:  # an engine that is lost is replaced before it is next needed
                raise
