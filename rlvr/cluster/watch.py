"""Signs of life: every worker is asked for its vitals while the driver waits for something else.

A call that takes long is not a fault: a training step of a large model takes many minutes. So a worker
answers from a second thread, whatever its first one computes, and silence means that its process is
frozen or its machine is gone. Such a worker is killed, which fails the calls that wait for it. A process
that dies is noticed in the same way, also where nobody waits for it.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from threading import Lock, get_ident
from typing import Any

import ray

from rlvr.cluster.calls import checked
from rlvr.config import ClusterConfig
from rlvr.errors import ResourceError, RlvrError, WorkerLostError
from rlvr.tracking.vitals import GIB, Vitals, host_memory_used, own_vitals, ray_vitals

INTERVAL = 2.0
"""Seconds between two questions to a worker, and the longest that the driver waits without looking up."""
GRACE = 5.0
"""Seconds in which, when a call fails, the loss of another worker may show as the cause."""
RESUME = "the same command goes on from the last checkpoint"


@dataclass(eq=False)
class Worker:
    """One actor and what is known of it."""

    name: str
    """As messages have it, such as ``rollout worker 0``."""
    actor: Any
    loaded: bool = False
    """Until then it is busy with loading and cannot answer."""
    lost: str | None = None
    """Why it is no more: it died, or did not answer and was killed."""
    vitals: Vitals | None = None
    question: Any = None
    """Reference to the answer that is awaited."""
    silence: float = 0.0
    """Seconds for which the driver has listened in vain."""

    def restarted(self, actor: Any) -> None:
        """A new process, which is loading, has taken the place of the lost one."""
        self.actor, self.loaded, self.lost = actor, False, None
        self.vitals, self.question, self.silence = None, None, 0.0

    def lose(self, reason: str) -> None:
        """End the process, if it is still there; a call that waits for it then fails within seconds."""
        if self.lost is None:
            self.lost = reason
            ray.kill(self.actor)

    def listen(self, seconds: float, patience: float) -> None:
        """Take in the answer if it is there, and ask again; lose the worker when patience is at its end."""
        if self.lost or not self.loaded:
            return
        if self.question is not None:
            if not ray.wait([self.question], timeout=0)[0]:
                self.silence += seconds
                if self.silence >= patience:
                    self.lose(f"did not answer for {self.silence:.0f} s and was killed")
                return
            try:
                self.vitals = checked(partial(ray.get, self.question), self.name)
            except WorkerLostError as error:
                self.lose(reason(error))
                return
        self.silence = 0.0
        self.question = self.actor.vitals.remote()


def reason(error: WorkerLostError) -> str:
    """Why a worker is lost, to follow its name."""
    return error.what.removeprefix("the worker's process ")


@dataclass
class Watch:
    """All workers of a session, and what they may take."""

    limits: ClusterConfig
    rollout: list[Worker] = field(default_factory=list)
    """Their pool replaces those that are lost."""
    learners: list[Worker] = field(default_factory=list)
    """Losing one ends the run."""
    num_restarts: int = 0
    num_reissued: int = 0
    """Requests that lost workers had not answered."""
    _shortage: ResourceError | None = None
    """Found once."""
    _told: set[int] = field(default_factory=set)
    """Threads that have raised it. What a thread does then, such as a last checkpoint, is not to fail for it again."""
    _lock: Lock = field(default_factory=Lock)
    """One thread may sample while another learns, and both look."""
    _last: float = field(default_factory=lambda: time.monotonic())

    @property
    def workers(self) -> list[Worker]:
        """Of both pools."""
        return [*self.rollout, *self.learners]

    def look(self) -> None:
        """Take in answers and ask anew; to be called in every loop that waits.

        Silence counts only while the driver listens, so that neither a driver that was busy or stopped
        nor a laptop that slept takes its workers for dead.

        Raises:
            WorkerLostError: a learner is lost.
            ResourceError: a machine is about to run out of memory.
        """
        with self._lock:
            listened = time.monotonic() - self._last
            if listened >= INTERVAL / 2:
                self._last += listened
                for worker in self.workers:
                    worker.listen(min(listened, 2 * INTERVAL), self.limits.heartbeat_timeout)
                self._shortage = self._shortage or self._short_of_memory()
        self.check_learners()
        if self._shortage is not None and get_ident() not in self._told:
            self._told.add(get_ident())
            raise self._shortage

    def check_learners(self) -> None:
        """End the run if a learner is lost: its optimizer state is gone with it.

        Raises:
            WorkerLostError: one is.
        """
        for worker in self.learners:
            if worker.lost:
                raise WorkerLostError(
                    f"the learner's process {worker.lost}",
                    where=worker.name,
                    fix=f"often out of memory (see `dmesg`); {RESUME}",
                )

    def _short_of_memory(self) -> ResourceError | None:
        used = {
            worker.vitals.host: worker.vitals.host_memory_used for worker in self.workers if worker.vitals
        }
        used[socket.gethostname()] = host_memory_used()
        host = max(used, key=lambda name: used[name])
        if used[host] <= self.limits.max_memory_share:
            return None
        known = self._known()
        sizes = ", ".join(f"{name} {vitals.memory / GIB:.1f} GiB" for name, vitals in known.items())
        return ResourceError(
            f"{used[host]:.1%} of the memory of {host} is in use (limit {self.limits.max_memory_share:.1%}): "
            "stopped before the system would kill a process of its own choice",
            where=f"private memory: {sizes}",
            fix="smaller learner.micro_batch_tokens or rollout.kv_cache_gib, fewer workers on a machine, "
            f"or a higher cluster.max_memory_share; {RESUME}",
        )

    def _known(self) -> dict[str, Vitals]:
        host = socket.gethostname()
        workers = {worker.name: worker.vitals for worker in self.workers if worker.vitals}
        return {"driver": own_vitals(host)} | workers

    def metrics(self) -> dict[str, float]:
        """``process/…`` of the driver, of Ray's own processes on its machine, and of every worker."""
        found: Mapping[str, Vitals] = self._known() | {"ray": ray_vitals(socket.gethostname())}
        metrics = {
            "process/restarts": float(self.num_restarts),
            "process/reissued_requests": float(self.num_reissued),
            "process/host_memory_used": max(vitals.host_memory_used for vitals in found.values()),
        }
        for name, vitals in found.items():
            key = f"process/{name.replace(' ', '_')}"
            metrics[f"{key}_memory_gib"] = vitals.memory / GIB
            metrics[f"{key}_open_files"] = float(vitals.open_files)
            metrics[f"{key}_threads"] = float(vitals.threads)
        return metrics

    def call(self, workers: list[Worker], method: str, *args: Any) -> list[Any]:
        """One call of every worker, their answers in order; the whole has ``call_timeout`` seconds."""
        return self.wait({worker: getattr(worker.actor, method).remote(*args) for worker in workers})

    def wait(
        self,
        calls: Mapping[Worker, Any],
        timeout: float | None = None,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> list[Any]:
        """Wait for a call of each of some workers; a failure is raised at once, by its root cause.

        Args:
            calls: what is waited for.
            timeout: seconds for all of them together; None takes ``call_timeout``.
            meanwhile: called now and then; may raise.

        Raises:
            WorkerLostError: a worker died, froze, or had not finished in time.
            RlvrError: a call failed.
        """
        limit = self.limits.call_timeout if timeout is None else timeout
        deadline = time.monotonic() + limit
        workers = {ref: worker for worker, ref in calls.items()}
        pending = list(workers)
        while pending:
            ready, pending = ray.wait(pending, num_returns=1, timeout=INTERVAL)
            try:
                for ref in ready:
                    checked(partial(ray.get, ref), workers[ref].name)
                self.look()
                meanwhile()
            except WorkerLostError as error:
                self._record(error)
                raise
            except RlvrError:
                self._find_cause({ref: workers[ref] for ref in pending})
                raise
            if pending and time.monotonic() > deadline:
                late = [workers[ref] for ref in pending]
                for worker in late:
                    worker.lose(f"had not finished a call after {limit:.0f} s and was killed")
                self.check_learners()
                raise WorkerLostError(late[0].lost or "", where=late[0].name)
        return [ray.get(ref) for ref in calls.values()]

    def _record(self, error: WorkerLostError) -> None:
        """Note a loss that a call has shown before the vitals did."""
        for worker in self.workers:
            if worker.name == error.where:
                worker.lose(reason(error))
        self.check_learners()

    def _find_cause(self, pending: Mapping[Any, Worker]) -> None:
        """Where one rank died, another may be the first to fail, on a closed connection: name the dead one."""
        ready, _ = ray.wait(list(pending), num_returns=len(pending), timeout=GRACE) if pending else ([], [])
        for ref in ready:
            try:
                checked(partial(ray.get, ref), pending[ref].name)
            except WorkerLostError as error:
                self._record(error)
                raise
            except RlvrError:
                continue
