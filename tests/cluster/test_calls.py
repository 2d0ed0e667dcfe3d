"""What a user reads of a worker's error: the root cause, on one line."""

from __future__ import annotations

import pytest
from ray import exceptions

from rlvr.cluster.calls import checked
from rlvr.errors import RlvrError, WorkerError, WorkerLostError


def said(error: Exception) -> RlvrError:
    def call() -> None:
        raise error

    with pytest.raises(RlvrError) as caught:
        checked(call, "rollout worker 0")
    assert caught.value.where == "rollout worker 0"
    return caught.value


@pytest.mark.parametrize(
    ("trace", "what"),
    [
        ("ValueError: no such dtype", "ValueError: no such dtype"),
        (
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n"
            "  Value error, the architecture failed to be inspected. [type=value_error]\n"
            "    For further information visit https://errors.pydantic.dev",
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig Value error, the "
            "architecture failed to be inspected. [type=value_error] For further information visit "
            "https://errors.pydantic.dev",
        ),
        (
            "ImportError: libcuda.so.1 is missing\n\nDuring handling of the above exception, another exception "
            "occurred:\n\nRuntimeError: the engine could not start",
            "ImportError: libcuda.so.1 is missing",
        ),
    ],
)
def test_an_error_of_a_constructor_is_said_by_its_root_cause(trace: str, what: str) -> None:
    raised = exceptions.RayTaskError(
        "__init__", f"Traceback (most recent call last):\n  File ...\n{trace}", ValueError()
    )
    error = exceptions.ActorDiedError(raised)
    assert "creation task" in str(error)
    found = said(error)
    assert (type(found), found.what) == (WorkerError, what)


def test_a_process_that_is_gone_is_no_error_of_its_own() -> None:
    found = said(exceptions.RayActorError(error_msg="The actor is gone.\nworker_exit: connection reset"))
    assert isinstance(found, WorkerLostError)
    assert found.what == "the worker's process died: The actor is gone."
