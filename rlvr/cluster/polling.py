"""Requests on their way through the rollout workers, which are asked again and again for what has got done.

Each call of a worker is short, so that other calls come between two of them: the weights of an update among others, for
which no response has to be finished first. All of it happens in one thread, the caller's.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import ray

from rlvr.cluster.calls import checked
from rlvr.cluster.watch import INTERVAL, Watch, Worker, reason
from rlvr.errors import WorkerLostError
from rlvr.protocols import SampleRequest, SamplingSettings
from rlvr.records import Completion
from rlvr.rollout.vllm_engine import Served

CALL_SECONDS = 0.1
"""For which a worker samples in one call; between two it waits a few milliseconds for the next."""
MOMENT = 0.05
"""Seconds that a poll waits for a call to end."""


@dataclass
class Hand:
    """What one worker has in hand."""

    worker: Worker
    free: float
    """Samples that it can still be handed; below 0 where the last request had more."""
    open: dict[int, SampleRequest] = field(default_factory=dict)
    """By key; what remains when the worker is lost is to be done again."""
    call: Any = None
    """Reference to the answer of the call that is under way."""
    since: float = 0.0
    """When that call began."""


class Polling:
    """The requests that are on their way, and which worker has them."""

    def __init__(self, workers: Sequence[Worker], places: float, watch: Watch) -> None:
        """Nothing is on its way.

        Args:
            workers: all of them; one that is lost may be started anew under the same name.
            places: samples that a worker is handed at a time.
            watch: looks after the workers.
        """
        self._places, self._watch = places, watch
        self._hands = [Hand(worker, places) for worker in workers]
        self._waiting = deque[SampleRequest]()
        self._settings: SamplingSettings | None = None
        self._answers: list[tuple[int, list[Completion]]] = []

    def submit(self, requests: Sequence[SampleRequest], settings: SamplingSettings) -> None:
        """Have requests sampled after those before; their keys differ from all that are on their way."""
        self._settings = settings
        self._waiting.extend(requests)

    @property
    def num_open(self) -> int:
        """Requests that have no answer yet."""
        return len(self._waiting) + sum(len(hand.open) for hand in self._hands)

    def poll(self) -> list[tuple[int, list[Completion]]]:
        """Answers since the last call, after a moment at most; the workers go on.

        Raises:
            WorkerLostError: a learner is lost.
            RlvrError: a worker has failed with this.
        """
        self.take_back()
        for hand in self._hands:
            if not hand.worker.lost:
                self._call(hand)
        self._listen(MOMENT)
        answers, self._answers = self._answers, []
        return answers

    def come_to_rest(self) -> None:
        """Wait until no worker computes; what is on its way goes on with the next poll."""
        while any(hand.call is not None and not hand.worker.lost for hand in self._hands):
            self._listen(INTERVAL, call_again=False)
        self.take_back()

    def _listen(self, seconds: float, *, call_again: bool = True) -> None:
        """Take in the answers of calls that end within so long, and let their workers go on."""
        calls = {hand.call: hand for hand in self._hands if hand.call is not None}
        if calls:
            ready, _ = ray.wait(list(calls), num_returns=1, timeout=seconds)
        else:
            ready = []
            time.sleep(seconds)
        self._watch.look()
        for call in ready:
            hand = calls[call]
            hand.call = None
            try:
                served: Served = checked(partial(ray.get, call), hand.worker.name)
            except WorkerLostError as error:
                hand.worker.lose(reason(error))
                continue
            hand.free += served.num_freed
            for key, _ in served.answers:
                del hand.open[key]
            self._answers += served.answers
            if call_again:
                self._call(hand)
        self._lose_overdue()

    def _call(self, hand: Hand) -> None:
        """Let a worker go on with what it has, and with what it has places for."""
        if hand.call is not None:
            return
        requests = []
        while self._waiting and hand.free > 0:
            requests.append(self._waiting.popleft())
            hand.free -= requests[-1].num_samples
        hand.open.update((request.key, request) for request in requests)
        if hand.open:
            hand.call = hand.worker.actor.advance.remote(requests, self._settings, CALL_SECONDS)
            hand.since = time.monotonic()

    def take_back(self) -> None:
        """Put what lost workers had in hand before what waits, in the order of before; new ones in their place know nothing of it."""
        for hand in self._hands:
            if hand.worker.lost:
                self._watch.num_reissued += len(hand.open)
                self._waiting.extendleft(reversed(hand.open.values()))
                hand.open, hand.free, hand.call = {}, self._places, None

    def _lose_overdue(self) -> None:
        """Lose workers that say how they are, but do not come to the end of a call."""
        limit = self._watch.limits.call_timeout
        for hand in self._hands:
            if hand.call is not None and time.monotonic() - hand.since > limit:
                hand.worker.lose(f"had not come to the end of a call for {limit:.0f} s and was killed")
