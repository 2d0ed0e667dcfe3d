"""When a worker counts as lost, with processes that answer as the test says."""

from __future__ import annotations

from typing import Any

import pytest

from rlvr.cluster import watch as module
from rlvr.cluster.watch import INTERVAL, Watch, Worker
from rlvr.config import ClusterConfig
from rlvr.errors import WorkerLostError
from rlvr.tracking.vitals import Vitals

FINE = Vitals(memory=2**30, open_files=10, threads=4, host="here", host_memory_used=0.5)


class Process:
    """Stands for an actor: its ``vitals`` call returns a reference that is answered once ``answers``."""

    def __init__(self) -> None:
        self.answers, self.killed, self.asked = True, False, 0

    @property
    def vitals(self) -> Process:
        return self

    def remote(self) -> Process:
        self.asked += 1
        return self


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Ray and time as the tests want them; the list holds the time."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module.ray, "wait", lambda refs, **_: (refs, []) if refs[0].answers else ([], refs))
    monkeypatch.setattr(module.ray, "get", lambda ref: FINE)
    monkeypatch.setattr(module.ray, "kill", lambda actor: setattr(actor, "killed", True))
    return now


def watching(*, learner: bool = False) -> tuple[Watch, Worker, Process]:
    process = Process()
    worker = Worker("worker 0", process, loaded=True)
    watch = Watch(ClusterConfig(heartbeat_timeout=10.0))
    (watch.learners if learner else watch.rollout).append(worker)
    return watch, worker, process


def listen(watch: Watch, clock: list[float], seconds: float) -> None:
    for _ in range(round(seconds / INTERVAL)):
        clock[0] += INTERVAL
        watch.look()


def test_a_worker_that_answers_stays(clock: list[float]) -> None:
    watch, worker, process = watching()
    listen(watch, clock, 100)
    assert worker.lost is None
    assert worker.vitals == FINE
    assert process.asked > 40


def test_a_silent_worker_is_killed(clock: list[float]) -> None:
    watch, worker, process = watching()
    listen(watch, clock, 10)
    process.answers = False
    listen(watch, clock, 8)
    assert worker.lost is None
    listen(watch, clock, 4)
    assert process.killed
    assert worker.lost == "did not answer for 10 s and was killed"


def test_time_in_which_the_driver_did_not_listen_does_not_count(clock: list[float]) -> None:
    """It was busy, or stopped, or the machine slept."""
    watch, worker, process = watching()
    listen(watch, clock, 10)
    process.answers = False
    clock[0] += 10_000
    watch.look()
    assert worker.lost is None
    process.answers = True
    listen(watch, clock, 4)
    assert worker.silence == 0


def test_a_worker_is_not_asked_while_it_loads(clock: list[float]) -> None:
    watch, worker, process = watching()
    worker.loaded = process.answers = False
    listen(watch, clock, 100)
    assert worker.lost is None
    assert process.asked == 0


def test_a_lost_learner_ends_the_wait(clock: list[float]) -> None:
    watch, _, process = watching(learner=True)
    listen(watch, clock, 4)
    process.answers = False
    with pytest.raises(WorkerLostError, match="did not answer") as error:
        listen(watch, clock, 20)
    assert error.value.where == "worker 0"


def test_a_new_process_starts_without_the_old_ones_record(clock: list[float]) -> None:
    watch, worker, process = watching()
    listen(watch, clock, 4)
    worker.lose("died")
    other: Any = Process()
    worker.restarted(other)
    assert (worker.lost, worker.loaded, worker.vitals, worker.silence) == (None, False, None, 0.0)
    assert process.killed
    assert not other.killed
