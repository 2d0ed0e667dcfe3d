"""Stages of a training run: keys that take another value at a step, and the reasons why others cannot."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from rlvr.config.checks import require
from rlvr.errors import ConfigError, did_you_mean

FIRST_STEP = "from_step"
CHANGEABLE = ("train.prompts_per_step", "train.minibatch_size", "rollout.max_response_tokens", "data.")
"""Keys of which nothing outlives a step, and all that lie below ``data``."""
FIXED = {
    "algorithm.": "the learner is started with the models that the algorithm needs, and its optimizer goes on",
    "learner.": "the learner is started with it, and its optimizer goes on",
    "rollout.": "the engines are started with it",
    "train.temperature": "engines and learner are started with it, and compared at it",
    "": "it belongs to the whole run",
}
"""Why other keys are the same in every step, by how they begin; the first that fits."""


def refuse_wrong_stages(value: Any) -> None:
    """Check that stages are mappings in the order of their steps.

    Raises:
        ConfigError: naming the stage.
    """
    require(
        isinstance(value, list),
        f"{value!r} is no list of stages",
        "stages",
        "such as [{from_step: 181, rollout: {max_response_tokens: 32768}}]",
    )
    last = 1
    for number, stage in enumerate(value):
        where = f"stages[{number}]"
        require(
            isinstance(stage, dict) and isinstance(stage.get(FIRST_STEP), int) and len(stage) > 1,
            f"{stage!r} does not say from which step on it changes what",
            where,
            "such as {from_step: 181, rollout: {max_response_tokens: 32768}}",
        )
        require(
            stage[FIRST_STEP] > last,
            f"it begins at step {stage[FIRST_STEP]}, and the stage before it at step {last}",
            f"{where}.{FIRST_STEP}",
            f"a step after {last}: the keys of the whole run are those of the first stage",
        )
        last = stage[FIRST_STEP]


def changed(section: Any, changes: dict[str, Any], where: str, key: str = "") -> Any:
    """A section of the config with some of its keys replaced.

    Args:
        section: a dataclass.
        changes: its keys, or those of a section in it as a mapping.
        where: the stage, for messages.
        key: of the section, with a dot behind it.

    Raises:
        ConfigError: there is no such key, it cannot change within a run, or the value is of another type.
    """
    hints, known = get_type_hints(type(section)), {each.name for each in fields(section)}
    found = {}
    for name, value in changes.items():
        dotted = f"{key}{name}"
        require(name in known, f"unknown key {dotted!r}", f"{where}.{dotted}", did_you_mean(name, known))
        inner = getattr(section, name)
        if is_dataclass(inner) and isinstance(value, dict):
            found[name] = changed(inner, value, where, f"{dotted}.")
            continue
        if not dotted.startswith(CHANGEABLE):
            why = next(words for begin, words in FIXED.items() if dotted.startswith(begin))
            raise ConfigError(
                f"{dotted} is the same in every step of a run: {why}",
                where=f"{where}.{dotted}",
                fix=f"a stage may change {', '.join(each.rstrip('.') for each in CHANGEABLE)}; for all else a second run, "
                "with the first one's model as model=…",
            )
        require(
            fits(value, hints[name]),
            f"{value!r} is of another type",
            f"{where}.{dotted}",
            f"as in {dotted}=…",
        )
        found[name] = value
    return replace(section, **found)


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of an annotated type; those that sections of ``data`` and ``train`` have."""
    kind, inner = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        return any(fits(value, each) for each in inner)
    if kind is list:
        return isinstance(value, list) and all(fits(each, inner[0]) for each in value)
    if isinstance(value, bool) or hint is bool:
        return isinstance(value, bool) and hint is bool
    return isinstance(value, (int, float) if hint is float else hint)
