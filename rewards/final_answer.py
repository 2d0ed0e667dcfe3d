"""Exact final answers: the integer after the last ``#`` of a response.

The convention of GSM8K's solutions (``#### 42``) and of the generated chains (``# 12``).
"""

from __future__ import annotations

import re

from rlvr.records import Problem, Status, Verdict

ANSWER = re.compile(r"#+\s*([-+]?[0-9][0-9,]*)\s*$")
"""The marker must end the response: text after the answer is not an answer."""
MAX_DIGITS = 64
"""A longer number is no answer to anything, and comparing it would cost quadratic time."""


class FinalAnswerVerifier:
    """Compares the final integer with the ground truth, exactly."""

    identity = "final_answer/1"

    def verify(self, problem: Problem, response: str, finish_reason: str) -> Verdict:
        """Judge one response.

        A response that was cut off has not given its answer, whatever its last words are.
        """
        match = ANSWER.search(response[-2 * MAX_DIGITS :]) if finish_reason == "stop" else None
        if match is None or len(match.group(1)) > MAX_DIGITS:
            return Verdict(0.0, Status.UNPARSED)
        answer = str(int(match.group(1).replace(",", "")))
        correct = answer == str(int(problem.ground_truth.replace(",", "")))
        return Verdict(float(correct), Status.CORRECT if correct else Status.INCORRECT, answer)
