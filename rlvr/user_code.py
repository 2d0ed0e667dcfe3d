"""Python files of users: plugins, and functions that a configuration names as ``PATH.py:NAME``."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from rlvr.errors import ConfigError, RlvrError, did_you_mean


def load_module(file: str, where: str) -> ModuleType:
    """Run a Python file.

    Raises:
        ConfigError: no such file, or it fails; the message carries its error.
    """
    path = Path(file)
    spec = importlib.util.spec_from_file_location(f"rlvr_plugin_{path.stem}", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise ConfigError("there is no such Python file", where=where, fix="check the path")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except RlvrError:
        raise
    except Exception as error:
        raise ConfigError(
            f"the file fails: {type(error).__name__}: {error}", where=where, fix="mend the file"
        ) from error
    return module


def load_function(place: str, where: str) -> Callable[..., Any]:
    """The function that ``PATH.py:NAME`` names.

    Raises:
        ConfigError: it is not of that form, or there is no such file or function.
    """
    file, colon, name = place.rpartition(":")
    if not colon or not file or not name:
        raise ConfigError(f"{place!r} names no function", where=where, fix="PATH.py:NAME")
    module = load_module(file, f"{where}={place}")
    function = getattr(module, name, None)
    if not callable(function):
        own = [word for word, value in vars(module).items() if callable(value) and not word.startswith("_")]
        raise ConfigError(
            f"{file} has no function {name!r}", where=f"{where}={place}", fix=did_you_mean(name, own)
        )
    return function


def refuse_failing(call: Callable[[str], object], place: str, where: str, responses: Sequence[str]) -> None:
    """Try a function of the user's on some responses, before anything depends on it.

    Args:
        call: has the function judge a response.
        place: ``PATH.py:NAME`` of the function.
        where: the key that names it.
        responses: what it is tried on.

    Raises:
        ConfigError: it has failed; the message carries its error, with the line of its file.
    """
    for response in responses:
        try:
            call(response)
        except Exception as error:
            raise ConfigError(
                f"the function fails on the response {response[:80]!r}: {type(error).__name__}: {error}",
                where=f"{where}={place}{_line_of(error, place)}",
                fix="mend it: it is called with a problem and a response, which may hold anything",
            ) from error


def _line_of(error: Exception, place: str) -> str:
    """Where in the user's file an error arose; nothing if it is not from there."""
    file = Path(place.rpartition(":")[0]).resolve()
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).resolve() == file]
    return f", line {lines[-1]}" if lines else ""


def identity_of(place: str) -> str:
    """Name and content of the file that a function stands in, so that results of other code are told apart."""
    file, _, name = place.rpartition(":")
    own, _, content = file_identity(Path(file)).rpartition("/")
    return f"{own}:{name}/{content}"


def file_identity(file: Path) -> str:
    """Name and content of a file of the user's."""
    return f"{file.name}/{hashlib.sha256(file.read_bytes()).hexdigest()[:12]}"
