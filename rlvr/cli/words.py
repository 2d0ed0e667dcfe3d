"""Commands without recipes: words on the command line fill a config, which checks itself, and a function of it is called."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rlvr.cli.completion import candidates, completing, show
from rlvr.cli.help import asked_for, help_lines
from rlvr.cli.other_names import meant, meant_by_flag
from rlvr.cli.schema import Key, below, dictionaries, keys_of
from rlvr.errors import ConfigError, did_you_mean

ConfigT = TypeVar("ConfigT")
HELP_FLAG = {
    "--help[=WORD], -h": "this text; with a word, only the keys that have it in their name or meaning"
}


@dataclass(frozen=True)
class WordsCommand(Generic[ConfigT]):
    """How the words of a command fill its config."""

    name: str
    schema: type[ConfigT]
    examples: str
    plain: tuple[str, ...] = ()
    """Keys that words without ``=`` fill, one after the other; one that is a list takes all that follow."""
    others: str | None = None
    """Key of a list that takes ``key=value`` words with other keys; None refuses them."""

    def run(self, app: Callable[[ConfigT], None], arguments: Sequence[str]) -> None:
        """Call ``app`` with the config of these words, or print help.

        Raises:
            ConfigError: an unknown key or flag, or a value that fails its check.
        """
        if (start := completing(arguments)) is not None:
            show(candidates(start, [key.name for key in keys_of(self.schema)], {}))
        elif (word := asked_for(arguments)) is not None:
            print("\n".join(self.help(word)))
        else:
            app(self.config(arguments))

    def help(self, word: str = "") -> list[str]:
        """Examples, flags, and every key."""
        flags = {f"--{_flag(key)}": f"{key.name}=true" for key in self.flags()}
        values = OmegaConf.to_container(OmegaConf.structured(self.schema))
        assert isinstance(values, dict)
        return help_lines(self.examples, self.schema, values, flags={**HELP_FLAG, **flags}, word=word)

    def flags(self) -> list[Key]:
        """Keys that are true or false; ``--name`` is short for ``name=true``."""
        return [key for key in keys_of(self.schema) if key.kind == "bool" and "." not in key.name]

    def config(self, arguments: Iterable[str]) -> ConfigT:
        """The config of these words, checked.

        Raises:
            ConfigError: an unknown key or flag, or a value that is none of its type or fails its check.
        """
        config = OmegaConf.structured(self.schema)
        keys = {key.name: key for key in keys_of(self.schema) if key.section is None}
        flags = {f"--{_flag(key)}": key.name for key in self.flags()}
        free = below(dictionaries(self.schema))
        plain: list[str] = []
        others: list[str] = []
        for word in arguments:
            name, equals, text = word.partition("=")
            if equals and name in keys:
                self._fill(config, keys[name], text)
            elif equals and name.lstrip("+").startswith(free):
                OmegaConf.update(config, name.lstrip("+"), yaml.safe_load(text), force_add=True)
            elif word in flags:
                OmegaConf.update(config, flags[word], True)
            elif (
                (not equals and not word.startswith("-"))
                or word == "-"
                or (self.plain and Path(word).exists())
            ):
                plain.append(word)
            elif self.others and equals and name.lstrip("+~") and not name.startswith("-"):
                others.append(word)
            else:
                raise unknown(name, bool(equals), [*keys, *flags])
        self._fill_plain(config, plain, keys)
        if self.others:
            OmegaConf.update(config, self.others, others)
        built = OmegaConf.to_object(config)
        assert isinstance(built, self.schema)
        return built

    def _fill_plain(self, config: DictConfig, words: list[str], keys: dict[str, Key]) -> None:
        left = list(words)
        for name in self.plain:
            if keys[name].kind.startswith("list["):
                OmegaConf.update(config, name, [*config[name], *left])
                left = []
            elif left:
                OmegaConf.update(config, name, left.pop(0))
        if left:
            raise ConfigError(
                f"one word too many: {left[0]!r}", where="command line", fix=f"rlvr {self.name} --help"
            )

    def _fill(self, config: DictConfig, key: Key, text: str) -> None:
        try:
            OmegaConf.update(config, key.name, value_of(key, text))
        except OmegaConfBaseException as error:
            raise ConfigError(
                f"{key.name} is {text!r}, and not of the type {key.kind}",
                where=key.name,
                fix=f"rlvr {self.name} --help={key.name}",
            ) from error


def _flag(key: Key) -> str:
    return key.name.replace("_", "-")


def unknown(name: str, is_setting: bool, known: Sequence[str]) -> ConfigError:
    """The error for a word that means nothing here."""
    if is_setting and not name.startswith("-"):
        return ConfigError(f"unknown key {name!r}", where="command line", fix=meant(name, known))
    hint = meant_by_flag(name, known) or did_you_mean(name, [*known, "--help"])
    return ConfigError(f"unknown flag {name!r}", where="command line", fix=hint)


def value_of(key: Key, text: str) -> Any:
    """What a key is set to by the text behind its ``=``: a text as it stands, a list also by words between commas."""
    if key.kind.startswith("str"):
        return None if text == "null" and "None" in key.kind else text
    if key.kind.startswith("list[") and not text.lstrip().startswith("["):
        return [word for word in text.split(",") if word]
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text  # which is of no other type, and will be refused
