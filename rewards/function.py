"""A function of the user's that judges responses, in the place of the verifiers of this package."""

from __future__ import annotations

from collections.abc import Sequence

from rlvr.records import Problem, Status, Verdict
from rlvr.user_code import identity_of, load_function, refuse_failing

NO_ANSWER = "I do not know."
"""What a function is tried on beside a problem's ground truth."""


class FunctionVerifier:
    """Judges by ``PATH.py:NAME``.

    The function is called with a problem and a response, from several threads. It returns whether the answer is right,
    a score from 0 to 1, None where the response holds no answer, or a :class:`~rlvr.records.Verdict`. What it
    raises counts as a fault of its own: the sample is left out. It runs in this process, without a deadline.
    """

    def __init__(self, place: str) -> None:
        """Load it.

        Raises:
            ConfigError: there is no such function.
        """
        self._place = place
        self._function = load_function(place, "rewards.function")
        self.identity = identity_of(place)
        self.expects = f"where {place} looks for it"

    def verify(self, problem: Problem, response: str, finish_reason: str) -> Verdict:
        """Judge one response."""
        found = self._function(problem, response)
        if isinstance(found, Verdict):
            return found
        if found is None:
            return Verdict(0.0, Status.UNPARSED)
        score = float(found)
        if not 0 <= score <= 1:
            raise ValueError(f"the function returned {found!r}, which is no score from 0 to 1")
        return Verdict(score, Status.CORRECT if score == 1 else Status.INCORRECT)

    def try_out(self, problem: Problem) -> None:
        """Judge the ground truth of a problem and a response without an answer.

        Raises:
            ConfigError: the function fails.
        """
        refuse_failing(
            lambda response: self.verify(problem, response, "stop"),
            self._place,
            "rewards.function",
            [problem.ground_truth, NO_ANSWER],
        )

    def check(self, problems: Sequence[Problem]) -> None:
        """Nothing: what a ground truth must be, the function alone knows."""

    def close(self) -> None:
        """Nothing to end."""
