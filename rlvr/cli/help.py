"""What ``--help`` prints: examples, flags, groups with their options, and every key with its value and its meaning."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rlvr.cli.schema import Key, keys_of
from rlvr.errors import did_you_mean

WIDTH = 110
LONGEST = 200
"""Characters of the sentence on an option."""
HELP = ("--help", "-h")
ROLE = re.compile(r":\w+:`([^`]+)`")
"""Sphinx's ``:class:`Name```."""


def asked_for(arguments: Iterable[str]) -> str | None:
    """The word of ``--help=WORD``, empty without one; None where nobody asks for help."""
    for argument in arguments:
        flag, _, word = argument.partition("=")
        if flag in HELP:
            return word
    return None


def help_lines(
    examples: str,
    schema: type,
    values: Mapping[Any, Any],
    *,
    groups: Mapping[str, Mapping[str, str]] | None = None,
    flags: Mapping[str, str] | None = None,
    algorithm: type | None = None,
    word: str = "",
) -> list[str]:
    """The help of a command.

    Args:
        examples: its first part.
        schema: the dataclass of its config.
        values: what the words given so far make of every key, nested as the config is.
        groups: by name, the options of each with a sentence on it.
        flags: by name, with a sentence on each.
        algorithm: the dataclass of the section ``algorithm``.
        word: only keys with this in their name or meaning, in place of everything.
    """
    keys = list(keys_of(schema, algorithm))
    if word:
        found = [key for key in keys if key.section is None and _has(key, word)]
        lines = [line for key in found for line in entry(key, values)]
        return lines or [f"no key has {word!r} in its name or meaning; {did_you_mean(word, names(keys))}"]
    lines = [examples]
    if flags:
        lines += ["Flags:", *table(flags), ""]
    for group, options in (groups or {}).items():
        lines += [f"{group}=NAME, one of:", *table(options), ""]
    lines.append("Keys, each with its value after the words given here:")
    for key in keys:
        lines += heading(key) if key.section else entry(key, values)
    return lines


def names(keys: Iterable[Key]) -> list[str]:
    """Of the keys."""
    return [key.name for key in keys]


def _has(key: Key, word: str) -> bool:
    return word.lower() in key.name.lower() or word.lower() in plain(key.meaning).lower()


def heading(key: Key) -> list[str]:
    """Of a section."""
    return ["", *wrapped(f"{key.name}: {plain(key.meaning)}", "")]


def entry(key: Key, values: Mapping[Any, Any]) -> list[str]:
    """A key as it would be given, its type, and its meaning."""
    return [f"  {key.name}={shown(value_at(values, key.name))}  ({key.kind})", *wrapped(plain(key.meaning))]


def value_at(values: Mapping[Any, Any], name: str) -> Any:
    """The value of a dotted key; None below a section that there is not."""
    found: Any = values
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def shown(value: Any) -> str:
    """A value in the grammar of the command line."""
    if isinstance(value, str):
        return value if value and not re.search(r"[\s,=]", value) else f"'{value}'"
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace('"', "")


def plain(text: str) -> str:
    """A docstring for a terminal, in one line."""
    return " ".join(ROLE.sub(r"\1", text).replace("``", "`").split())


def wrapped(text: str, indent: str = " " * 6) -> list[str]:
    """Lines of a text."""
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent) if text else []


def table(rows: Mapping[str, str]) -> list[str]:
    """Names with a sentence on each; names alone in lines."""
    if not any(rows.values()):
        return wrapped(", ".join(rows), "  ")
    width = max(len(name) for name in rows) + 2
    return [
        line
        for name, text in rows.items()
        for line in textwrap.wrap(
            text or "…", WIDTH, initial_indent=f"  {name:<{width}}", subsequent_indent=" " * (width + 2)
        )
    ]


def options_of(folders: Iterable[Path]) -> dict[str, dict[str, str]]:
    """The groups of recipe folders, each with its options and the first sentence of each file's first comment."""
    found: dict[str, dict[str, str]] = {}
    for folder in folders:
        for path in sorted(folder.glob("*/*.yaml")):
            found.setdefault(path.parent.name, {})[path.stem] = first_sentence(path)
    return found


def first_sentence(path: Path) -> str:
    """Of the comment at the head of a recipe; empty without one."""
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = [line.removeprefix("#").strip() for line in lines[: _end_of_comment(lines)]]
    text = " ".join(line for line in comment if not line.startswith("@package"))
    return textwrap.shorten(re.split(r"(?<=[.?]) (?=[A-Z\[])", text)[0], LONGEST, placeholder=" …")


def _end_of_comment(lines: list[str]) -> int:
    return next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
