"""What a response earns in training: its verdict and its form made one number."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

from rlvr.errors import ConfigError, RlvrError, TrainingError
from rlvr.records import Problem, Rollout
from rlvr.rewards.function import NO_ANSWER
from rlvr.user_code import load_function, refuse_failing


@dataclass
class RewardFunction:
    """A function of the user's and its weight in what a response earns."""

    function: str
    """``PATH.py:NAME``, called with the problem and the response; returns a number."""
    weight: float = 1.0
    """Times what it returns is added."""


@dataclass
class TrainingReward:
    """What a response earns in training, by its verdict and its form; pass@k knows the verdict alone."""

    right: float = 1.0
    """Earned by a right answer; a partial score lies between ``wrong`` and this in proportion."""
    wrong: float = 0.0
    """Earned by a wrong answer (DAPO: -1)."""
    format: str | None = None
    """Regular expression that a well-formed response matches as a whole; ``.`` matches line breaks. Null asks for none."""
    well_formed: float = 0.0
    """Added to what a response earns that matches ``format``."""
    malformed: float | None = None
    """Earned by a response that does not match ``format``, whatever its answer; null: as its answer says."""
    functions: list[RewardFunction] = field(default_factory=list)
    """Functions of your own, whose weighted sum is added for every response: ``[{function: mine.py:brevity, weight: 0.1}]``."""

    def __post_init__(self) -> None:
        """Check that a right answer earns more, and that the form is one."""
        if self.right <= self.wrong:
            raise ConfigError(
                f"a right answer earns {self.right} and a wrong one {self.wrong}",
                where="train.reward.right",
                fix="more for a right answer",
            )
        if self.format is None and (self.well_formed or self.malformed is not None):
            raise ConfigError(
                "a form is rewarded, and none is asked for",
                where="train.reward.format",
                fix="a regular expression; or well_formed=0 malformed=null",
            )
        try:
            re.compile(self.format or "")
        except re.error as error:
            raise ConfigError(
                f"{self.format!r} is no regular expression: {error}",
                where="train.reward.format",
                fix="the syntax of Python's re",
            ) from error

    def load(self) -> None:
        """Load the functions, so that a mistake in their names is found before anything starts.

        Raises:
            ConfigError: there is no such function.
        """
        for each in self.functions:
            _loaded(each.function)

    def try_out(self, problem: Problem) -> None:
        """Call the functions with a problem, so that a mistake in them is found before anything starts.

        Raises:
            ConfigError: one fails.
        """
        for each in self.functions:
            refuse_failing(
                partial(_called, each.function, problem),
                each.function,
                "train.reward.functions",
                [problem.ground_truth, NO_ANSWER],
            )

    def __call__(self, problem: Problem, rollout: Rollout) -> float:
        """What a response to a problem earns that could be judged.

        Raises:
            TrainingError: a function has failed, or returned no finite number.
        """
        fits = self.fits(rollout)
        if not fits and self.malformed is not None:
            earned = self.malformed
        else:
            earned = self.wrong + (self.right - self.wrong) * rollout.verdict.score + self.well_formed * fits
        return earned + sum(
            each.weight * _number(each.function, problem, rollout.completion.text) for each in self.functions
        )

    def fits(self, rollout: Rollout) -> bool:
        """Whether a response has the form that is asked for; each has where none is."""
        return self.format is None or bool(re.fullmatch(self.format, rollout.completion.text, re.DOTALL))


@cache
def _loaded(place: str) -> Callable[..., Any]:
    return load_function(place, "train.reward.functions")


def _called(place: str, problem: Problem, response: str) -> float:
    found = float(_loaded(place)(problem, response))
    if not math.isfinite(found):
        raise ValueError(f"it returned {found}, which is no finite number")
    return found


def _number(place: str, problem: Problem, response: str) -> float:
    try:
        return _called(place, problem, response)
    except RlvrError:
        raise
    except Exception as error:
        raise TrainingError(
            f"a reward function fails: {type(error).__name__}: {error}",
            where=f"{place}, problem {problem.id}",
            fix="mend it; the same command goes on from the last checkpoint",
        ) from error
