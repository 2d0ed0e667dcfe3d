r"""Mathematical answers: the last box of a response against the ground truth.

Plain numbers and equal strings are decided at once (:mod:`rlvr.rewards.math.numbers`), everything else
in a worker process that is killed at its deadline (:mod:`rlvr.rewards.math.worker`). What equality means, and
every policy, is in docs/rewards.md.
"""

from __future__ import annotations

import queue
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from types import TracebackType

from rlvr.errors import DataError
from rlvr.records import Problem, Status, Verdict
from rlvr.rewards.config import MathConfig
from rlvr.rewards.extract import final_answer, place_of_answer
from rlvr.rewards.math.numbers import close, is_decimal, plain_number
from rlvr.rewards.math.spelling import normalise
from rlvr.rewards.math.worker import MathWorker, WorkerDiedError, WorkerTimeoutError

VERSION = 4
"""Raised whenever a verdict could change."""
_GOLDS: dict[tuple[str, str], str | None] = {}
"""(verifier's identity, ground truth) → why it is compared as text: each is read once, not once a model."""


class MathVerifier:
    """Judges final answers; may be called from several threads."""

    def __init__(self, config: MathConfig | None = None, num_workers: int = 1) -> None:
        """Prepare ``num_workers`` processes; each starts when it is first needed."""
        self.config = config or MathConfig()
        self.workers = [MathWorker(self.config) for _ in range(num_workers)]
        self._idle: queue.LifoQueue[MathWorker] = queue.LifoQueue()
        for worker in self.workers:
            self._idle.put(worker)
        self._normalised = lru_cache(maxsize=4096)(normalise)

    @property
    def identity(self) -> str:
        """Version and every setting, because each can change a verdict."""
        return f"math/{VERSION}({','.join(f'{key}={value}' for key, value in asdict(self.config).items())})"

    @property
    def expects(self) -> str:
        """Where an answer must stand."""
        return place_of_answer(self.config.extraction)

    def verify(self, problem: Problem, response: str, finish_reason: str) -> Verdict:
        """Judge one response; one that was cut off has not answered."""
        if finish_reason != "stop":
            return Verdict(0.0, Status.UNPARSED)
        answer = final_answer(response, self.config.extraction)
        if answer is None or len(answer) > self.config.max_answer_chars:
            return Verdict(0.0, Status.UNPARSED)
        status, as_text = self.compare(problem.ground_truth, answer)
        return Verdict(float(status is Status.CORRECT), status, answer, as_text)

    def compare(self, gold: str, answer: str) -> tuple[Status, bool]:
        """The status of ``answer`` where ``gold`` is right, and whether they were compared as text."""
        right = self.compare_quickly(gold, answer) if self.config.judge == "exact" else None
        if right is not None:
            return (Status.CORRECT if right else Status.INCORRECT), right and self.as_text(gold) is not None
        try:
            reply = self._ask("same", gold, answer)
        except WorkerTimeoutError:
            return Status.TIMEOUT, False
        if "same" in reply:
            return (Status.CORRECT if reply["same"] else Status.INCORRECT), bool(reply.get("as_text"))
        if "unreadable" in reply:
            return Status.UNPARSED, False
        return (Status.TIMEOUT if "too_large" in reply else Status.ERROR), False

    def compare_quickly(self, gold: str, answer: str) -> bool | None:
        """The verdict where it needs no algebra: equal texts, or two plain numbers; None elsewhere."""
        ours, theirs = self._normalised(gold), normalise(answer)
        if ours and ours == theirs:
            return True
        left = plain_number(ours)
        right = plain_number(theirs) if left is not None else None
        if left is None or right is None:
            return None
        decimal = is_decimal(ours) or is_decimal(theirs)
        return close(left, right, self.config.decimal_tolerance if decimal else 0.0)

    def as_text(self, gold: str) -> str | None:
        """Why a ground truth is compared as text and not by its meaning; None if it is not."""
        if self.config.judge == "exact" and plain_number(self._normalised(gold)) is not None:
            return None
        key = (self.identity, gold)
        if key not in _GOLDS:
            try:
                reason = self._ask("read", gold).get("as_text")
            except WorkerTimeoutError:
                reason = None
            _GOLDS[key] = None if reason is None else str(reason)
        return _GOLDS[key]

    def check(self, problems: Sequence[Problem]) -> None:
        """Look at every ground truth.

        Raises:
            DataError: the first one that is empty, named by problem.
        """
        for problem in problems:
            if not self._normalised(problem.ground_truth):
                raise DataError(
                    f"the ground truth {problem.ground_truth[:80]!r} is empty",
                    where=f"problem {problem.id}",
                    fix="correct the row or leave it out: every response to it would count as wrong",
                )

    def _ask(self, operation: str, *texts: str) -> dict[str, object]:
        """One request to an idle worker; a worker that dies is replaced, and asked once more."""
        worker = self._idle.get()
        try:
            try:
                return worker.ask(operation, *texts)
            except WorkerDiedError:
                pass
            try:
                return worker.ask(operation, *texts)
            except WorkerDiedError as error:
                return {"error": str(error)}
        finally:
            self._idle.put(worker)

    def close(self) -> None:
        """End the worker processes."""
        for worker in self.workers:
            worker.kill()

    def __enter__(self) -> MathVerifier:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
