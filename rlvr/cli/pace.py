"""How long a command would take, roughly: by tokens a second that the user names, or that a past run had."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rlvr.errors import ConfigError, DataError
from rlvr.eval.homes import METRICS_FILE, evaluation_seconds, read_metrics
from rlvr.eval.report.labels import duration
from rlvr.eval.store import SPEC_FILE, Evaluation, load_evaluation, read_problems

WHERE = "--dry-run=…"


@dataclass(frozen=True, slots=True)
class Speed:
    """Of one kind of work."""

    tokens_per_second: float
    """Response tokens over wall time; in training, whose steps also learn, over all of it."""
    response_tokens: float | None = None
    """Mean length of a response; None where nobody knows."""

    def line(self, num_responses: int, most_tokens: int) -> str:
        """The time for so many responses, or at most for so many tokens where their length is only bounded."""
        if self.response_tokens is None:
            took, how = most_tokens, "at most"
            of = "if every response were as long as it may be"
        else:
            took, how = round(num_responses * self.response_tokens), "about"
            of = f"with responses of {self.response_tokens:,.0f} tokens, as they were there"
        return (
            f"{how} {duration(took / self.tokens_per_second)} at {self.tokens_per_second:,.0f} tokens/s, {of}"
        )


@dataclass(frozen=True, slots=True)
class Pace:
    """What is known of the speed; None of a kind of work that it does not speak of."""

    training: Speed | None
    evaluation: Speed | None


NO_PACE = Pace(None, None)


def pace_of(word: str) -> Pace:
    """The pace that ``--dry-run=WORD`` means.

    Args:
        word: tokens a second, or the folder of a study, a training run or an evaluation; empty says nothing.

    Raises:
        ConfigError: it is neither, or nothing in the folder tells a speed.
    """
    if not word:
        return NO_PACE
    if not Path(word).is_dir():
        try:
            stated = float(word)
        except ValueError:
            stated = 0.0
        if not stated > 0:
            raise ConfigError(
                f"{word!r} is neither a number of tokens a second nor the folder of a past run",
                where=WHERE,
                fix="--dry-run=5000, or --dry-run=runs/tiny",
            )
        return Pace(Speed(stated), Speed(stated))
    pace = Pace(_trained(Path(word)), _measured(Path(word)))
    if pace == NO_PACE:
        raise ConfigError(
            f"no training step and no finished evaluation lies in {word}",
            where=WHERE,
            fix="the folder of a study, a training run or an evaluation; or tokens a second",
        )
    return pace


def _trained(folder: Path) -> Speed | None:
    """Of all training steps that were recorded under a folder."""
    tokens = responses = seconds = 0.0
    for path in folder.rglob(METRICS_FILE):
        for row in read_metrics(path.parent):
            took = row.get("time/step", 0.0)
            seconds += took
            tokens += row.get("throughput/tokens_per_second", 0.0) * took
            responses += row.get("throughput/rollouts_per_second", 0.0) * took
    return Speed(tokens / seconds, tokens / responses) if tokens and responses else None


def _measured(folder: Path) -> Speed | None:
    """Of all finished evaluations under a folder."""
    found: list[Evaluation] = []
    for path in folder.rglob(SPEC_FILE):
        try:
            found.append(load_evaluation(path.parent, [each.id for each in read_problems(path.parent)]))
        except DataError:  # unfinished
            continue
    samples = [sum(each.status_counts.values()) for each in found]
    tokens = sum(count * each.mean_num_tokens for count, each in zip(samples, found, strict=True))
    seconds = sum(evaluation_seconds(each.folder) for each in found)
    return Speed(tokens / seconds, tokens / sum(samples)) if tokens and seconds else None
