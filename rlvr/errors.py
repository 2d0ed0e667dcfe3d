"""Errors whose message is written for the user: what, where, and the fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

EXIT_CODES = {
    0: "done",
    1: "another failure; for `rlvr doctor`, something is missing",
    2: "wrong configuration, data or model; nothing was started",
    3: "a worker process failed",
    4: "a weight update could not be proved",
    5: "the verifier failed on too many responses",
    6: "training cannot go on: nothing to learn from, or a guard stopped it",
    7: "a checkpoint could not be written, or none can be gone on from",
    8: "a machine ran short of memory",
    130: "interrupted (SIGINT); training has left a checkpoint, and the same command goes on",
    141: "who read the output has closed it (SIGPIPE), as `head` does",
    143: "terminated (SIGTERM); as 130",
}
"""What a command ends with: the only table of them. Errors below have theirs, the last three are 128 and the signal."""


class RlvrError(Exception):
    """Base of all errors that end a command with one screen of text instead of a trace.

    Args:
        what: what is wrong, in one sentence.
        where: file:line, configuration key, or worker.
        fix: what to do about it.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        self.what, self.where, self.fix = what, where, fix
        lines = [what]
        if where:
            lines.append(f"  where: {where}")
        if fix:
            lines.append(f"  fix:   {fix}")
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the three parts when the error travels between processes."""
        return _rebuild, (type(self), self.what, self.where, self.fix)


def _rebuild(cls: type[RlvrError], what: str, where: str | None, fix: str | None) -> RlvrError:
    return cls(what, where=where, fix=fix)


class ConfigError(RlvrError):
    """The configuration asks for something impossible; nothing has been started."""

    exit_code = 2


class DataError(RlvrError):
    """A data file is missing, malformed or empty; nothing has been started."""

    exit_code = 2


class ModelError(RlvrError):
    """A model folder cannot be used; nothing has been started."""

    exit_code = 2


class WorkerError(RlvrError):
    """A worker process failed; the message carries its root cause."""

    exit_code = 3


class WorkerLostError(WorkerError):
    """A worker's process died, froze or did not come to an end; its machine may be gone."""


class StoppedError(RlvrError):
    """Sampling was ended by the driver, which no longer wants what it asked for; no user ever reads this."""


class ResourceError(RlvrError):
    """A machine is about to run out of memory."""

    exit_code = 8


class WeightUpdateError(RlvrError):
    """The proof of a weight update failed: the engine does not hold the learner's weights."""

    exit_code = 4


class VerifierError(RlvrError):
    """Too many verifications failed through the verifier's own fault."""

    exit_code = 5


class TrainingError(RlvrError):
    """Training cannot go on: there is nothing to learn from."""

    exit_code = 6


class CheckpointError(RlvrError):
    """A checkpoint cannot be written, or not be gone on from."""

    exit_code = 7


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint with the closest known word, or the list of all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
