"""What a response earns in training: its verdict and its form made one number."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rlvr.errors import ConfigError
from rlvr.records import Rollout


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

    def __call__(self, rollout: Rollout) -> float:
        """What a response earns that could be judged."""
        fits = self.fits(rollout)
        if not fits and self.malformed is not None:
            return self.malformed
        earned = self.wrong + (self.right - self.wrong) * rollout.verdict.score
        return earned + self.well_formed * fits

    def fits(self, rollout: Rollout) -> bool:
        """Whether a response has the form that is asked for; each has where none is."""
        return self.format is None or bool(re.fullmatch(self.format, rollout.completion.text, re.DOTALL))
