"""Checks that the fields of all sections share: each raises a ConfigError that names the key."""

from __future__ import annotations

from typing import Any

from rlvr.errors import ConfigError, did_you_mean


def require(condition: bool, what: str, where: str, fix: str) -> None:
    """Raise a ConfigError naming the key unless ``condition`` holds."""
    if not condition:
        raise ConfigError(what, where=where, fix=fix)


def require_one_of(value: str, known: tuple[str, ...], where: str) -> None:
    """Raise a ConfigError unless ``value`` is one of the known words."""
    require(value in known, f"{value!r} is not a choice here", where, f"one of: {', '.join(known)}")


def require_known(value: str, known: tuple[str, ...], where: str) -> None:
    """As :func:`require_one_of`, for words that are often mistyped: with the closest one."""
    require(value in known, f"unknown {where} {value!r}", where, did_you_mean(value, known))


def require_positive(config: Any, section: str, *names: str) -> None:
    """Raise a ConfigError for the first named field that is not above zero."""
    for name in names:
        value = getattr(config, name)
        require(value > 0, f"{name} is {value}", f"{section}.{name}".lstrip("."), "a number above 0")


def require_share(value: float, where: str) -> None:
    """Raise a ConfigError unless ``value`` is at least 0 and at most 1."""
    require(0 <= value <= 1, f"{value} is no share", where, "a number from 0 to 1")
