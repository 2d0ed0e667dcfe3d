"""Ray's errors turned into ours."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from ray import exceptions

from rlvr.errors import RlvrError, WorkerError, WorkerLostError

T = TypeVar("T")

LOST = (
    exceptions.RayActorError,
    exceptions.NodeDiedError,
    exceptions.ObjectLostError,
    exceptions.OutOfMemoryError,
    exceptions.WorkerCrashedError,
)
"""What Ray raises when a process, its machine or the way there is gone; the call itself did not fail."""

CONSTRUCTOR_ERROR = re.compile(
    r"^(?:\w+\.)*\w*(?:Error|Exception|Interrupt): .*(?:\n[ \t]+\S.*){0,2}", re.MULTILINE
)
"""In the trace of an actor whose constructor raised: the first error, which is the root cause, and what it says on
indented lines below."""


def checked(call: Callable[[], T], worker: str) -> T:
    """Run a call that may raise an error of Ray's: the root cause first, without the traces of the way there.

    Raises:
        WorkerLostError: the worker is gone.
        RlvrError: what the worker raised; of another kind, it becomes a WorkerError.
    """
    try:
        return call()
    except exceptions.RayTaskError as error:
        cause = error.cause if isinstance(error.cause, BaseException) else error
        while cause.__cause__ is not None and not isinstance(cause, RlvrError):
            cause = cause.__cause__
        if isinstance(cause, RlvrError):
            raise cause from error
        raise WorkerError(f"{type(cause).__name__}: {cause}", where=worker) from error
    except LOST as error:
        if raised := CONSTRUCTOR_ERROR.search(str(error)):
            raise WorkerError(" ".join(raised.group(0).split()), where=worker) from error
        raise WorkerLostError(
            f"the worker's process died: {first_line(error)}",
            where=worker,
            fix="often out of memory: see `dmesg`, and Ray's logs under /tmp/ray/session_latest/logs",
        ) from error
    except exceptions.RayError as error:
        raise WorkerError(first_line(error), where=worker) from error


def first_line(error: BaseException) -> str:
    """The first line of an error that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
