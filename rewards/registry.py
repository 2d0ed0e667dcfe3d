"""Which verifier judges which problems."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from rlvr.errors import DataError
from rlvr.protocols import Verifier
from rlvr.records import Problem
from rlvr.rewards.final_answer import FinalAnswerVerifier

INTEGER = re.compile(r"[-+]?[0-9][0-9,]{0,63}")


def verifier_for(problems: Sequence[Problem]) -> Verifier:
    """The verifier of a data set.

    Raises:
        DataError: a ground truth that no verifier can check, named by problem.
    """
    for problem in problems:
        if problem.style != "rule" or not INTEGER.fullmatch(problem.ground_truth):
            raise DataError(
                f"no verifier for ground truth {problem.ground_truth!r} of style {problem.style!r}",
                where=f"problem {problem.id}",
                fix="reward_model.style must be 'rule' and ground_truth an integer",
            )
    return FinalAnswerVerifier()


def chance_level(problems: Sequence[Problem]) -> float:
    """Probability that a blind guess, drawn from the answers' own distribution, is right.

    The share of pairs of problems with the same answer: unbiased also for small sets, where
    the share of the commonest answer would be too high. 0 for a single problem.
    """
    counts = Counter(int(problem.ground_truth.replace(",", "")) for problem in problems)
    pairs = len(problems) * (len(problems) - 1)
    return sum(count * (count - 1) for count in counts.values()) / pairs if pairs else 0.0
