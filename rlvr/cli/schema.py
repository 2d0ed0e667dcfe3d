"""A config's dataclasses as the keys of a command: each with its type, and its meaning from the docstring under the field."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Collection, Iterator
from dataclasses import Field, dataclass, fields, is_dataclass
from functools import cache
from typing import Any

from rlvr.algorithms.registry import ALGORITHMS

ALGORITHM = "algorithm"
"""The section whose dataclass is chosen by name."""
GROUPS = ("recipe", "scale")
"""Words of the command line that fill other keys and are none themselves."""


@dataclass(frozen=True, slots=True)
class Key:
    """A field of a config, or of a section in it."""

    name: str
    """Dotted, such as ``train.num_steps``."""
    kind: str
    """As it is written in the dataclass."""
    meaning: str
    section: type | None = None
    """The dataclass of a section; None of a value."""


def keys_of(schema: type, algorithm: type | None = None, prefix: str = "") -> Iterator[Key]:
    """The keys of a schema in their order: its own values, then its sections, each before what is in it.

    Args:
        schema: a dataclass.
        algorithm: of the section ``algorithm``; None has no keys below it.
        prefix: put before every name.
    """
    documented = meanings(schema)
    sections = {spec: algorithm if spec.name == ALGORITHM else section_of(spec) for spec in fields(schema)}
    for spec, section in sorted(sections.items(), key=lambda item: item[1] is not None):
        meaning = documented.get(spec.name) or (first_paragraph(section) if section else "")
        yield Key(prefix + spec.name, str(spec.type), meaning, section)
        if section:
            yield from keys_of(section, prefix=f"{prefix}{spec.name}.")


def section_of(spec: Field[Any]) -> type | None:
    """The dataclass that a field is made by, also one with other values than its own defaults; None where it is a value."""
    factory: Any = spec.default_factory
    if is_dataclass(factory):
        assert isinstance(factory, type)
        return factory
    made = factory() if callable(factory) else None
    return type(made) if made is not None and is_dataclass(made) else None


@cache
def meanings(schema: type) -> dict[str, str]:
    """The docstrings under a dataclass's fields, those that it inherits included."""
    found: dict[str, str] = {}
    for each in reversed(schema.__mro__):
        if not is_dataclass(each):
            continue
        [definition] = ast.parse(textwrap.dedent(inspect.getsource(each))).body
        assert isinstance(definition, ast.ClassDef)
        for node, below in zip(definition.body, definition.body[1:], strict=False):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                text = below.value if isinstance(below, ast.Expr) else None
                if isinstance(text, ast.Constant) and isinstance(text.value, str):
                    found[node.target.id] = inspect.cleandoc(text.value)
    return found


def first_paragraph(schema: type) -> str:
    """Of the docstring of a class."""
    return inspect.cleandoc(schema.__doc__ or "").partition("\n\n")[0]


def known_keys(schema: type) -> set[str]:
    """Everything that may stand before ``=``: the keys, those of every algorithm, and the groups."""
    return {*GROUPS, *(key.name for key in _all_keys(schema))}


def kind_of(name: str, schema: type) -> str | None:
    """The type of a key as its dataclass has it; of an algorithm's, that of the first algorithm that has it."""
    return next((key.kind for key in _all_keys(schema) if key.name == name), None)


def _all_keys(schema: type) -> Iterator[Key]:
    """The keys of a schema, and those of every algorithm where it has one."""
    for key in keys_of(schema):
        yield key
        if key.name == ALGORITHM:
            for kind in dict.fromkeys(type(config) for config in ALGORITHMS.values()):
                yield from keys_of(kind, prefix=f"{ALGORITHM}.")


def dictionaries(schema: type) -> dict[str, str]:
    """Keys below which the names are the user's own, each with the override that empties it.

    The config checks what they hold.
    """
    keys = list(keys_of(schema))
    free = {key.name: f"{key.name}=null" for key in keys if key.kind == "Any"}
    return free | {key.name: f"~{key.name}" for key in keys if key.kind.startswith("dict[")}


def below(keys: Collection[str]) -> tuple[str, ...]:
    """What the names below these keys begin with."""
    return tuple(f"{key}." for key in keys)
