"""A discrete-event model of the two pools: how long a training step takes, and how busy engines and learners are.

An engine's step gives each response that it has in hand a token, and takes longer the more there are and the longer they have
become. So between two events (a response ends, a batch is admitted, weights are published) nothing changes but the
lengths, and the model goes from event to event however many tokens lie in between. What is modelled:

- requests are dealt to engines as they have places, in the order of the prompts, a prompt's responses together;
- verdicts come one after another, beside sampling;
- a learner's time grows with the tokens of its rows and with their squares, a smaller part for rows without a gradient;
- publishing stops engines and learner; a response that goes on afterwards is computed again from its tokens;
- where pools share a machine, each is slowed down while the other works.

The loops are those of rlvr: in turn (rlvr/driver.py), one step ahead (rlvr/ahead.py), and in flight (rlvr/in_flight.py), where
weights are updated while responses are being written and batch t is begun once t − 1 − K updates are done.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from performance.pools import EngineRates, Mode, Predicted, Prompt, Rates, learning_work


@dataclass(eq=False, slots=True)
class Engine:
    """One engine between two events."""

    rates: EngineRates
    clock: float = 0.0
    """Up to when everything below is told."""
    done: float = 0.0
    """Engine steps so far."""
    running: list[tuple[float, int, Prompt, int, int]] = field(default_factory=list)
    """Heap of responses in hand: step at which each ends, running number, prompt, tokens, batch."""
    waiting: deque[tuple[Prompt, int, int]] = field(default_factory=deque)
    """Responses that have no place yet: prompt, tokens, batch."""
    context: float = 0.0
    """Tokens that the responses in hand look back on."""
    busy: float = 0.0
    """Seconds with something in hand."""
    slowed: float = 1.0
    number: int = 0
    stamp: int = 0
    """Of its event that counts; older ones do not."""

    @property
    def free(self) -> int:
        """Responses that it could still take in hand."""
        return self.rates.places - len(self.running) - len(self.waiting)

    def take(self, prompt: Prompt, batch: int) -> None:
        """Compute a prompt and take its responses in hand, as far as there are places."""
        again = prompt.tokens % self.rates.block
        first = again if prompt.cached else prompt.tokens
        self._spend(self.rates.per_prompt_token * (first + again * (len(prompt.responses) - 1)))
        self.waiting.extend((prompt, tokens, batch) for tokens in prompt.responses)
        self._fill()

    def _fill(self) -> None:
        while self.waiting and len(self.running) < self.rates.places:
            prompt, tokens, batch = self.waiting.popleft()
            self.number += 1
            heapq.heappush(self.running, (self.done + tokens, self.number, prompt, tokens, batch))
            self.context += prompt.tokens

    def _spend(self, seconds: float) -> None:
        self.clock += seconds * self.slowed
        self.busy += seconds * self.slowed

    def _seconds(self, steps: float) -> float:
        count, rates = len(self.running), self.rates
        each = rates.per_step + rates.per_running * count + rates.per_context * self.context
        return (each + rates.per_context * count * steps / 2) * steps * self.slowed

    @property
    def next_end(self) -> float:
        """When the next response ends; infinity if there is none."""
        return self.clock + self._seconds(self.running[0][0] - self.done) if self.running else math.inf

    def end_next(self) -> int:
        """Go on to the end of the next response; its batch."""
        steps = self.running[0][0] - self.done
        self._go_on(steps, self._seconds(steps))
        _, _, prompt, tokens, batch = heapq.heappop(self.running)
        self.context -= prompt.tokens + tokens
        self._spend(self.rates.per_response)
        self._fill()
        return batch

    def advance(self, until: float) -> None:
        """Go on to a moment before the next end; a prompt that is being computed is computed first."""
        seconds = until - self.clock
        if seconds <= 0:
            return
        if not self.running:
            self.clock = until
            return
        count, rates = len(self.running), self.rates
        half = rates.per_context * count / 2
        each = rates.per_step + rates.per_running * count + rates.per_context * self.context
        left = seconds / self.slowed
        steps = left / each if half == 0 else (math.sqrt(each * each + 4 * half * left) - each) / (2 * half)
        self._go_on(steps, seconds)

    def _go_on(self, steps: float, seconds: float) -> None:
        self.done += steps
        self.context += steps * len(self.running)
        self.clock += seconds
        self.busy += seconds

    def compute_again(self) -> None:
        """What the responses in hand have so far, by new weights: a prompt's whole blocks once for all of its responses."""
        whole = [
            (prompt, prompt.tokens - prompt.tokens % self.rates.block) for _, _, prompt, _, _ in self.running
        ]
        own = {id(prompt): tokens for prompt, tokens in whole if not prompt.cached}
        common = max((tokens for prompt, tokens in whole if prompt.cached), default=0)
        shared = sum(tokens for _, tokens in whole) - sum(own.values()) - common
        self._spend(self.rates.per_prompt_token * (self.context - shared))


class Simulation:
    """One run; :meth:`run` gives what it was like."""

    def __init__(
        self, rates: Rates, batches: Sequence[Sequence[Prompt]], engines: int, learners: int, mode: Mode
    ) -> None:
        """Nothing has begun.

        Args:
            rates: seconds of everything.
            batches: one for each step, in the order of their prompts.
            engines: how many.
            learners: how many that share each batch's rows.
            mode: the loop.
        """
        self._rates, self._batches, self._learners, self._mode = rates, batches, learners, mode
        self._engines = [Engine(rates.engine) for _ in range(engines)]
        self._now = 0.0
        self._events: list[tuple[float, int, Engine | None, int, Callable[[], None]]] = []
        self._number = 0
        self._queue: deque[tuple[Prompt, int]] = deque()
        self._open = [sum(len(prompt.responses) for prompt in batch) for batch in batches]
        self._verified = 0.0
        self._admitted = self._ready = self._learned = self._version = 0
        self._work: float | None = None  # seconds of learning that are left at full speed
        self._work_since = 0.0
        self._work_slowed = 1.0
        self._work_stamp = 0
        self._is_publishing = False
        self._learner_busy = 0.0
        self._ends: list[
            tuple[float, float, float]
        ] = []  # of each step: time, engines' and learner's busy seconds

    def run(self, warmup: int) -> Predicted:
        """Go through all steps.

        Args:
            warmup: steps at the beginning that do not count. As many batches at the end as are sampled ahead do not count
                either, since nothing is sampled beside them.
        """
        self._begin_what_can()
        while self._version < len(self._batches):
            self._now, _, engine, stamp, action = heapq.heappop(self._events)
            if engine is not None and stamp != engine.stamp:
                continue
            action()
            self._begin_what_can()
        last = len(self._batches) - self._mode.staleness
        (start, engines, learner), (end, engines_then, learner_then) = (
            self._ends[warmup - 1],
            self._ends[last - 1],
        )
        tokens = sum(sum(prompt.responses) for batch in self._batches[warmup:last] for prompt in batch)
        times = [time for time, _, _ in self._ends[warmup - 1 : last]]
        return Predicted(
            [after - before for before, after in pairwise(times)],
            (engines_then - engines) / (end - start) / len(self._engines),
            (learner_then - learner) / (end - start),
            tokens / (end - start),
        )

    def _begin_what_can(self) -> None:
        self._admit()
        self._learn()
        self._publish()
        self._set_speeds()

    def _at(self, time: float, action: Callable[[], None], engine: Engine | None = None) -> None:
        self._number += 1
        stamp = 0
        if engine is not None:
            engine.stamp += 1
            stamp = engine.stamp
        heapq.heappush(self._events, (time, self._number, engine, stamp, action))

    # Sampling.

    def _admit(self) -> None:
        """Batch b comes in when b − 1 − staleness updates are published, and between drained batches one by one."""
        if self._is_publishing:
            return
        before = self._admitted
        while self._admitted < len(self._batches) and self._admitted <= self._version + self._mode.staleness:
            if not self._mode.in_flight and self._ready < self._admitted:
                break
            self._queue.extend((prompt, self._admitted) for prompt in self._batches[self._admitted])
            self._admitted += 1
        if self._admitted > before:
            self._at(self._now + self._rates.per_batch, self._feed_all)

    def _feed_all(self) -> None:
        """Hand prompts out in turn to those that have places."""
        if self._is_publishing:
            return  # done once it is published
        fed = set()
        while self._queue and (free := [engine for engine in self._engines if engine.free > 0]):
            for engine in free:
                if not self._queue:
                    break
                engine.advance(self._now)
                engine.take(*self._queue.popleft())
                fed.add(engine)
        for engine in fed:
            self._watch(engine)

    def _watch(self, engine: Engine) -> None:
        if engine.running:
            self._at(engine.next_end, lambda: self._end(engine), engine)
        else:
            engine.stamp += 1

    def _end(self, engine: Engine) -> None:
        """A response has ended; another prompt takes its place."""
        batch = engine.end_next()
        while self._queue and engine.free > 0:
            engine.take(*self._queue.popleft())
        self._watch(engine)
        self._verified = max(self._verified, self._now) + self._rates.verify
        self._open[batch] -= 1
        # Batches are learned in order, so one that is whole before an earlier one waits for it.
        if self._open[batch] == 0:
            self._at(max(self._verified, engine.clock), self._count_ready)

    def _count_ready(self) -> None:
        while self._ready < len(self._open) and self._open[self._ready] == 0:
            self._ready += 1

    # Learning and publishing.

    def _learn(self) -> None:
        if self._work is None and self._learned == self._version < self._ready and not self._is_publishing:
            self._work, self._work_since = self._learning_seconds(self._batches[self._version]), self._now
            self._expect_learned()

    def _learning_seconds(self, batch: Sequence[Prompt]) -> float:
        rates = self._rates.learner
        tokens, squares = learning_work(batch, rates.forward_share)
        return rates.per_update + (rates.per_token * tokens + rates.per_square * squares) / self._learners

    @property
    def _learner_slowed(self) -> float:
        return self._rates.learner.slowed if any(engine.running for engine in self._engines) else 1.0

    def _expect_learned(self) -> None:
        assert self._work is not None
        self._work_stamp += 1
        stamp = self._work_stamp

        def ended() -> None:
            if stamp == self._work_stamp:
                self._learner_busy += self._now - self._work_since
                self._work = None
                self._learned += 1

        self._work_slowed = self._learner_slowed
        self._at(self._now + self._work * self._work_slowed, ended)

    def _publish(self) -> None:
        if self._learned == self._version or self._is_publishing:
            return
        if not self._mode.in_flight and self._ready < self._admitted:
            return
        self._is_publishing = True
        for engine in self._engines:
            engine.advance(self._now)
            engine.stamp += 1
        self._at(self._now + self._rates.publish, self._published)

    def _published(self) -> None:
        self._is_publishing = False
        self._version += 1
        for engine in self._engines:
            engine.clock = max(engine.clock, self._now)
            if engine.running:
                engine.compute_again()
                self._watch(engine)
        self._feed_all()
        # A prompt that is being computed is accounted for up to its end.
        busy = sum(engine.busy - max(0.0, engine.clock - self._now) for engine in self._engines)
        self._ends.append((self._now, busy, self._learner_busy))

    def _set_speeds(self) -> None:
        """Slow each pool down while the other works."""
        if self._rates.engine.slowed == self._rates.learner.slowed == 1.0:
            return
        factor = self._rates.engine.slowed if self._work is not None else 1.0
        for engine in self._engines:
            if engine.slowed != factor:
                engine.advance(self._now)
                engine.slowed = factor
                if not self._is_publishing:
                    self._watch(engine)
        if self._work is not None and self._work_slowed != self._learner_slowed:
            elapsed = self._now - self._work_since
            self._learner_busy += elapsed
            self._work -= elapsed / self._work_slowed
            self._work_since = self._now
            self._expect_learned()
