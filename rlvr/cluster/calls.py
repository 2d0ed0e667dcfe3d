"""Calls of Ray actors, and Ray's errors turned into ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import ray

from rlvr.errors import RlvrError, WorkerError

T = TypeVar("T")


def wait_all(refs: Sequence[Any], role: str) -> list[Any]:
    """Wait for all; the first failure is raised at once, by its root cause."""
    pending = {ref: index for index, ref in enumerate(refs)}
    while pending:
        [ready], _ = ray.wait(list(pending), num_returns=1)
        index = pending.pop(ready)
        checked(partial(ray.get, ready), f"{role} {index}")
    return [ray.get(ref) for ref in refs]


def checked(call: Callable[[], T], worker: str) -> T:
    """Turn Ray's errors into ours: the root cause first, without the traces of the way there."""
    try:
        return call()
    except ray.exceptions.RayTaskError as error:
        cause = error.cause if isinstance(error.cause, BaseException) else error
        while cause.__cause__ is not None and not isinstance(cause, RlvrError):
            cause = cause.__cause__
        if isinstance(cause, RlvrError):
            raise cause from error
        raise WorkerError(f"{type(cause).__name__}: {cause}", where=worker) from error
    except ray.exceptions.ActorDiedError as error:
        cause = re.search(r"(?m)^(\w*(?:Error|Exception|Interrupt): .*)$", str(error))
        if cause:  # the constructor raised: its last line is the root cause
            raise WorkerError(cause.group(1), where=worker) from error
        raise WorkerError(
            f"the worker's process died: {first_line(error)}",
            where=worker,
            fix="often out of memory: see `dmesg`, and Ray's logs under /tmp/ray/session_latest/logs",
        ) from error
    except ray.exceptions.RayError as error:
        raise WorkerError(first_line(error), where=worker) from error


def first_line(error: BaseException) -> str:
    """The first line of an error that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
