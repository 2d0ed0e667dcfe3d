"""Exact final answers: the integers after the last ``#`` of a response.

The convention of GSM8K's solutions (``#### 42``) and of the generated chains (``# 12``, ``# 3 7 20``).
"""

from __future__ import annotations

import re

from rlvr.records import Problem, Status, Verdict

MAX_DIGITS = 64
"""A longer number is no answer to anything, and comparing it would cost quadratic time."""
MAX_VALUES = 16
"""Integers in an answer."""
NUMBER = rf"[-+]?[0-9][0-9,]{{0,{MAX_DIGITS - 1}}}"
INTEGERS = re.compile(rf"{NUMBER}(?:\s+{NUMBER}){{0,{MAX_VALUES - 1}}}")
"""A ground truth: one integer, or several with white space between them."""
ANSWER = re.compile(rf"#+\s*({INTEGERS.pattern})\s*$")
"""The integers must end the response: text after the answer is not an answer."""


class FinalAnswerVerifier:
    """Compares the final integers with the ground truth, exactly: as many, equal, and in its order."""

    identity = "final_answer/2"
    expects = "after # at the very end of the response, such as '# 12'"

    def verify(self, problem: Problem, response: str, finish_reason: str) -> Verdict:
        """Judge one response.

        What does not end in as many integers as the ground truth has, or was cut off, has given no answer.
        """
        tail = response[-(MAX_DIGITS + 2) * MAX_VALUES :]
        match = ANSWER.search(tail) if finish_reason == "stop" else None
        expected = normalised(problem.ground_truth)
        answer = normalised(match.group(1)) if match else ""
        if len(answer.split()) != len(expected.split()):
            return Verdict(0.0, Status.UNPARSED)
        correct = answer == expected
        return Verdict(float(correct), Status.CORRECT if correct else Status.INCORRECT, answer)


def normalised(integers: str) -> str:
    """Integers without signs, zeros and commas that do not count, one space between them."""
    return " ".join(str(int(word.replace(",", ""))) for word in integers.split())
