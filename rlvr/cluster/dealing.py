"""Requests dealt out to the rollout workers as they have places for them.

Responses differ in length by orders of magnitude, and nobody knows beforehand which will be long. A worker that was
dealt its part of a batch at the start would often be done long before another. So each is handed little more than it
samples together, and the next when something has ended.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Event
from typing import Any

import ray

from rlvr.cluster.calls import checked
from rlvr.cluster.watch import INTERVAL, Watch, Worker, reason
from rlvr.errors import StoppedError, WorkerLostError
from rlvr.protocols import SampleRequest, SamplingSettings
from rlvr.records import Completion

AHEAD = 1.25
"""Samples that a worker is handed at a time, as a multiple of those that it samples together: as one ends, the next is
there already, and little waits where it could be sampled elsewhere."""


@dataclass
class Share:
    """What one worker was handed and has not answered yet."""

    worker: Worker
    free: float
    """Samples that it can still be handed; below 0 where the last request had more."""
    open: dict[int, SampleRequest] = field(default_factory=dict)
    """By key; an answered request is taken out, so what remains when the worker is lost is to be done again."""
    is_closed: bool = False
    """Whether it was told that no more will come."""
    since: float = field(default_factory=time.monotonic)
    """When it last told of something done."""

    def hand_over(self, requests: Sequence[SampleRequest], are_last: bool) -> None:
        """Send requests, and word if there will be no more."""
        if self.is_closed or self.worker.lost or not (requests or are_last):
            return
        self.open.update((request.key, request) for request in requests)
        self.worker.actor.hand_over.remote(requests, are_last)
        self.is_closed = are_last


def deal(
    requests: Sequence[SampleRequest],
    settings: SamplingSettings,
    workers: Sequence[Worker],
    places: float,
    watch: Watch,
    stopped: Event,
) -> Generator[tuple[int, list[Completion]], None, list[SampleRequest]]:
    """Yield answers until all requests have one, or a worker is lost and the others have done what they had in hand.

    Args:
        requests: at least one.
        settings: how to sample.
        workers: all of them alive.
        places: samples that a worker is handed at a time.
        watch: looks after the workers.
        stopped: set by another thread when nobody wants the answers any more.

    Returns:
        The requests that are left.

    Raises:
        StoppedError: it was set.
    """
    waiting, left = deque(requests), list[SampleRequest]()
    shares = [Share(worker, places) for worker in workers[: len(requests)]]
    hand_out(waiting, shares)
    streams = {
        share.worker.actor.generate.options(num_returns="streaming").remote(settings): share
        for share in shares
    }
    try:
        while streams:
            ready, _ = ray.wait(list(streams), num_returns=1, timeout=INTERVAL, fetch_local=False)
            if stopped.is_set():
                raise StoppedError("sampling was stopped")
            watch.look()
            if not ready:
                _give_up_overdue(streams.values(), watch)
            for stream in ready:
                share = streams[stream]
                try:
                    served = checked(partial(_next, stream), share.worker.name)
                except StopIteration:
                    if share.open:
                        share.worker.lose("left requests unanswered")
                except WorkerLostError as error:
                    share.worker.lose(reason(error))
                else:
                    share.since = time.monotonic()
                    share.free += served.num_freed
                    hand_out(waiting, [share])
                    for key, completions in served.answers:
                        del share.open[key]
                        yield key, completions
                    continue
                del streams[stream]
                if share.worker.lost:
                    watch.num_reissued += len(share.open)
                    left += [*share.open.values(), *waiting]
                    waiting.clear()
    finally:  # no worker is to wait for more when the caller has had enough
        hand_out(deque(), shares)
    return left


def hand_out(waiting: deque[SampleRequest], shares: Sequence[Share]) -> None:
    """Take requests out and give them in turn to those that have places; with the last goes word that it is the last."""
    given: list[list[SampleRequest]] = [[] for _ in shares]
    while waiting and any(share.free > 0 for share in shares):
        for share, requests in zip(shares, given, strict=True):
            if waiting and share.free > 0:
                request = waiting.popleft()
                requests.append(request)
                share.free -= request.num_samples
    for share, requests in zip(shares, given, strict=True):
        share.hand_over(requests, are_last=not waiting)


def _next(stream: Any) -> Any:
    return ray.get(next(stream))


def _give_up_overdue(shares: Iterable[Share], watch: Watch) -> None:
    """Lose workers that say how they are, but do not get anywhere."""
    limit = watch.limits.call_timeout
    for share in shares:
        if time.monotonic() - share.since > limit:
            share.worker.lose(f"had not finished a request for {limit:.0f} s and was killed")
