"""Answers judged as the library Math-Verify judges them, for numbers that stand beside published ones.

Math-Verify is the grader of lighteval, of TRL and of many papers. It finds the mathematics in a text itself, and takes
more for equal than :mod:`rlvr.rewards.math.compare` does: it rounds to six decimals, folds the case of letters and
reads ``11:00`` as a division. So it is not the default, and its verdicts are never compared with ours.
"""

from __future__ import annotations

import logging
from typing import Any


class MathVerifyJudge:
    """Answers the requests of a math worker."""

    def __init__(self) -> None:
        """Load the library, which brings sympy."""
        import math_verify

        # It would warn at every call that its own time limits are off.
        logging.getLogger("math_verify").setLevel(logging.ERROR)
        self._library = math_verify

    def respond(self, operation: str, *texts: str) -> dict[str, Any]:
        """What :func:`rlvr.rewards.math.worker.serve` answers.

        Args:
            operation: ``same`` (ground truth, answer) or ``read`` (ground truth).
            texts: LaTeX or plain, as they stand in their boxes.
        """
        read = [self._parse(text) for text in texts]
        if operation == "read":
            return {"ok": True} if read[0] else {"as_text": "Math-Verify finds no mathematics in it"}
        if not read[1]:
            return {"unreadable": "Math-Verify finds no mathematics in it"}
        # Its own time limits use signals; the worker is killed at its deadline.
        return {"same": bool(self._library.verify(*read, timeout_seconds=None))}

    def _parse(self, text: str) -> list[Any]:
        found: list[Any] = self._library.parse(rf"\boxed{{{text}}}", parsing_timeout=None)
        return found
