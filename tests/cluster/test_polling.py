"""Requests in short calls: who gets which, and what becomes of those of a lost worker, with processes that obey the test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from ray.exceptions import RayActorError

from rlvr.cluster import polling as module
from rlvr.cluster.polling import Polling
from rlvr.cluster.watch import Watch, Worker
from rlvr.config import ClusterConfig
from rlvr.protocols import SampleRequest, SamplingSettings
from rlvr.rollout.vllm_engine import Served
from rlvr.tracking.vitals import Vitals

FINE = Vitals(memory=2**30, open_files=10, threads=4, host="here", host_memory_used=0.5)
SETTINGS = SamplingSettings(1.0, 8)
SAMPLES = 4
"""Of each request."""


@dataclass(eq=False)
class Process:
    """Stands for an actor: every call of ``advance`` answers the oldest request, unless it is to hang or has died."""

    open: list[SampleRequest] = field(default_factory=list)
    received: list[int] = field(default_factory=list)
    most: int = 0
    hangs: bool = False
    is_dead: bool = False
    under_way: int = 0

    @property
    def advance(self) -> Any:
        return self

    @property
    def vitals(self) -> Any:
        return Vital()

    def remote(self, requests: Sequence[SampleRequest], settings: SamplingSettings, seconds: float) -> Call:
        assert settings == SETTINGS
        self.under_way += 1
        assert self.under_way == 1  # so that nothing is computed but what was waited for
        self.open += requests
        self.received += [request.key for request in requests]
        self.most = max(self.most, len(self.open))
        return Call(self)

    def result(self) -> Served:
        self.under_way -= 1
        if self.is_dead:
            raise RayActorError
        done = self.open.pop(0)
        return Served([(done.key, [])], done.num_samples)


@dataclass(eq=False)
class Call:
    process: Process


class Vital:
    def remote(self) -> Vital:
        return self


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> tuple[Polling, list[Process], Watch]:
    """Two workers with places for three requests each."""

    def wait(refs: list[Any], **_: Any) -> tuple[list[Any], list[Any]]:
        ready = [ref for ref in refs if not isinstance(ref, Call) or not ref.process.hangs]
        return ready[-1:], [ref for ref in refs if ref not in ready[-1:]]

    monkeypatch.setattr(module.ray, "wait", wait)
    monkeypatch.setattr(
        module.ray, "get", lambda ref: ref.process.result() if isinstance(ref, Call) else FINE
    )
    monkeypatch.setattr(module.ray, "kill", lambda actor: setattr(actor, "is_dead", True))
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    processes = [Process(), Process()]
    workers = [Worker(f"worker {index}", process, loaded=True) for index, process in enumerate(processes)]
    watch = Watch(ClusterConfig(call_timeout=60.0), rollout=workers)
    return Polling(workers, 3 * SAMPLES, watch), processes, watch


def requests(*keys: int) -> list[SampleRequest]:
    return [SampleRequest(key, [1], SAMPLES) for key in keys]


def all_answers(polling: Polling) -> list[int]:
    found: list[int] = []
    while polling.num_open:
        found += [key for key, _ in polling.poll()]
    return found


def test_every_request_is_answered_once_and_the_oldest_are_begun_first(
    pool: tuple[Polling, list[Process], Watch],
) -> None:
    polling, processes, _ = pool
    polling.submit(requests(*range(10)), SETTINGS)
    found = [key for key, _ in polling.poll()]
    polling.submit(requests(*range(10, 20)), SETTINGS)
    assert sorted(found + all_answers(polling)) == list(range(20))
    assert all(process.received == sorted(process.received) for process in processes)
    assert {process.most for process in processes} == {3}  # what waits, waits where any worker can take it
    assert polling.poll() == []


def test_at_rest_no_worker_computes_and_nothing_is_forgotten(
    pool: tuple[Polling, list[Process], Watch],
) -> None:
    polling, processes, _ = pool
    polling.submit(requests(*range(12)), SETTINGS)
    found = [key for key, _ in polling.poll()]
    polling.come_to_rest()
    assert [process.under_way for process in processes] == [0, 0]
    assert sorted(found + all_answers(polling)) == list(range(12))


def test_what_a_lost_worker_had_goes_to_the_others_before_what_waits(
    pool: tuple[Polling, list[Process], Watch],
) -> None:
    polling, [kept, lost], watch = pool
    lost.hangs = True
    polling.submit(requests(*range(12)), SETTINGS)
    found = [key for key, _ in polling.poll()]
    had = list(lost.received)
    assert len(had) == 3
    lost.hangs, lost.is_dead = False, True
    found += all_answers(polling)
    assert sorted(found) == list(range(12))
    assert lost.received == had
    assert watch.rollout[1].lost
    assert watch.num_reissued == len(had)
    again = [kept.received.index(key) for key in had]
    assert max(again) < kept.received.index(11)

    # A new process in its place knows of nothing, and is given its part of what comes.
    fresh = Process()
    watch.rollout[1].restarted(fresh)
    watch.rollout[1].loaded = True
    polling.submit(requests(*range(12, 24)), SETTINGS)
    assert sorted(all_answers(polling)) == list(range(12, 24))
    assert fresh.received
    assert min(fresh.received) >= 12


def test_with_nobody_left_requests_wait(pool: tuple[Polling, list[Process], Watch]) -> None:
    polling, processes, watch = pool
    polling.submit(requests(*range(4)), SETTINGS)
    for process in processes:
        process.is_dead = True
    answers = [polling.poll() for _ in range(9)]
    assert all(answer == [] for answer in answers)
    assert polling.num_open == 4
    for worker in watch.rollout:
        worker.restarted(Process())
        worker.loaded = True
    assert sorted(all_answers(polling)) == list(range(4))


def test_a_worker_that_never_ends_a_call_is_lost(
    pool: tuple[Polling, list[Process], Watch], monkeypatch: pytest.MonkeyPatch
) -> None:
    polling, [_, stuck], watch = pool
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    stuck.hangs = True
    polling.submit(requests(*range(8)), SETTINGS)
    polling.poll()
    now[0] += 61
    watch.rollout[1].silence = 0.0
    assert sorted(all_answers(polling)) != []
    assert "had not come to the end of a call for 60 s" in str(watch.rollout[1].lost)
    assert polling.num_open == 0
