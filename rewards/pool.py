"""Verification beside sampling: responses are handed in as they finish, verdicts come when they are ready.

The pool is threads that wait. What can hang, crash or fill the memory runs in processes below them: one
worker for algebra per thread (math/worker.py), a jail for each run of a program (sandbox.py); both are killed
at their own deadline and replaced. So a thread always comes back, and the pool keeps its capacity.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from rlvr.protocols import Verifier
from rlvr.records import Problem, Status, Verdict

WINDOW = 4096
"""Latencies are those of so many last verifications."""


class VerifierPool:
    """A verifier with ``submit``; still a :class:`rlvr.protocols.Verifier` itself."""

    def __init__(self, verifier: Verifier, num_workers: int) -> None:
        """Start ``num_workers`` threads over ``verifier``, which must bear being called from all of them."""
        self.verifier = verifier
        self._executor = ThreadPoolExecutor(num_workers, thread_name_prefix="verify")
        self._lock = threading.Lock()
        self._statuses: Counter[Status] = Counter()
        self._latencies: deque[float] = deque(maxlen=WINDOW)
        self._waits: deque[float] = deque(maxlen=WINDOW)
        self._busy_since: float | None = None
        self._busy_seconds = 0.0
        self._in_flight = 0

    @property
    def identity(self) -> str:
        """That of the verifier below: where it runs does not change a verdict."""
        return self.verifier.identity

    @property
    def expects(self) -> str:
        """That of the verifier below."""
        return self.verifier.expects

    def submit(self, problem: Problem, response: str, finish_reason: str) -> Future[Verdict]:
        """Judge one response beside the caller; the future never raises for a fault of the verifier."""
        submitted = time.monotonic()
        with self._lock:
            if self._in_flight == 0:
                self._busy_since = submitted
            self._in_flight += 1
        return self._executor.submit(self._judge, problem, response, finish_reason, submitted)

    def verify(self, problem: Problem, response: str, finish_reason: str) -> Verdict:
        """Judge one response and wait for it."""
        return self.submit(problem, response, finish_reason).result()

    def _judge(self, problem: Problem, response: str, finish_reason: str, submitted: float) -> Verdict:
        started = time.monotonic()
        try:
            verdict = self.verifier.verify(problem, response, finish_reason)
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the response is not to blame
            verdict = Verdict(0.0, Status.ERROR, f"{type(error).__name__}: {error}"[:200])
        ended = time.monotonic()
        with self._lock:
            self._statuses[verdict.status] += 1
            self._latencies.append(ended - started)
            self._waits.append(started - submitted)
            self._in_flight -= 1
            if self._in_flight == 0 and self._busy_since is not None:
                self._busy_seconds += ended - self._busy_since
        return verdict

    def metrics(self) -> dict[str, float]:
        """``verify/…`` since the last call: rate in 1/s while there was work, latencies and waits in s."""
        with self._lock:
            now = time.monotonic()
            busy = self._busy_seconds
            if self._in_flight and self._busy_since is not None:
                busy += now - self._busy_since
                self._busy_since = now
            count = sum(self._statuses.values())
            latencies, waits = sorted(self._latencies), sorted(self._waits)
            for series in (self._statuses, self._latencies, self._waits):
                series.clear()
            self._busy_seconds = 0.0
        return {
            "verify/per_second": count / busy if busy else 0.0,
            "verify/latency_p50": quantile(latencies, 0.5),
            "verify/latency_p99": quantile(latencies, 0.99),
            "verify/queue_wait_p50": quantile(waits, 0.5),
            "verify/queue_wait_p99": quantile(waits, 0.99),
        }

    def close(self) -> None:
        """Give up what waits, let what runs come to its deadline, and end the processes."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        end = getattr(self.verifier, "close", None)
        if end is not None:
            end()

    def __enter__(self) -> VerifierPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def quantile(ordered: list[float], share: float) -> float:
    """The smallest value that at least ``share`` of an ascending list does not exceed; 0 of nothing."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def shares(statuses: Mapping[Status, int]) -> dict[str, float]:
    """``verify/<status>`` as shares of all."""
    total = max(1, sum(statuses.values()))
    return {f"verify/{status.value}": statuses.get(status, 0) / total for status in Status}
