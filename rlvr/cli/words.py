"""Command lines of folders and key=value words, for the commands that need no configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rlvr.config import ClusterConfig, RolloutConfig
from rlvr.errors import ConfigError, did_you_mean


def folders_and_keys(
    arguments: Sequence[str], known: Sequence[str], *, nothing: str, example: str
) -> tuple[list[Path], dict[str, str]]:
    """Folders and keys from the words on the command line; a key that is not given is empty.

    Args:
        arguments: the words.
        known: names of keys.
        nothing: what to say if no folder is named.
        example: a command that names one.

    Raises:
        ConfigError: an unknown key or flag, or no folder.
    """
    folders: list[Path] = []
    keys = dict.fromkeys(known, "")
    for word in arguments:
        key, equals, value = word.partition("=")
        if key in known and equals:
            keys[key] = value
        elif Path(word).exists() or not (equals or word.startswith("-")):
            folders.append(Path(word))
        else:
            kind = "key" if equals else "flag"
            raise ConfigError(f"unknown {kind} {key!r}", where="command line", fix=did_you_mean(key, known))
    if not folders:
        raise ConfigError(nothing, where="command line", fix=f"name the folders of runs: {example}")
    return folders, keys


def listed_words(value: str) -> list[str]:
    """Words between commas."""
    return [word for word in value.split(",") if word]


def engine_settings(arguments: Sequence[str]) -> tuple[RolloutConfig, ClusterConfig, list[str]]:
    """The ``rollout.*`` and ``cluster.*`` words as configurations, and the other words.

    Raises:
        ConfigError: an unknown key, or a value of the wrong type.
    """
    own = [word for word in arguments if word.startswith(("rollout.", "cluster."))]
    others = [word for word in arguments if word not in own]
    return typed(RolloutConfig, own, "rollout"), typed(ClusterConfig, own, "cluster"), others


def typed(schema: type[Any], words: Sequence[str], section: str) -> Any:
    """A configuration section from ``section.key=value`` words; those of other sections are passed over.

    Raises:
        ConfigError: an unknown key, or a value of the wrong type.
    """
    prefix = f"{section}."
    own = [word.removeprefix(prefix) for word in words if word.startswith(prefix)]
    known = [field.name for field in fields(schema)]
    for word in own:
        key, equals, _ = word.partition("=")
        if key not in known or not equals:
            raise ConfigError(
                f"unknown key '{prefix}{key}'", where="command line", fix=did_you_mean(key, known)
            )
    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), OmegaConf.from_dotlist(own)))
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).splitlines()[0], where=section, fix="rlvr evaluate --help") from error


def positive(word: str, key: str) -> int:
    """A positive whole number.

    Raises:
        ConfigError: it is something else.
    """
    if not word.isdecimal() or int(word) < 1:
        raise ConfigError(f"{key} is {word!r}", where=key, fix=f"a whole number: {key}=8")
    return int(word)
