"""Words on the command line as Hydra's overrides: what they replace, and what they sweep over."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException

from rlvr.errors import ConfigError
from rlvr.files import slug

LONGEST_NAME = 100
"""Characters of a job's folder; file systems take 255 bytes."""


def key_of(override: str) -> str:
    """The key of ``key=value``, ``+key=value`` or ``~key``."""
    return override.partition("=")[0].lstrip("+~")


def replacing(overrides: Sequence[str], dictionaries: Mapping[str, str]) -> list[str]:
    """Overrides by which ``key={…}`` and ``key=[…]`` replace what a recipe has there.

    Hydra would add to a dictionary what another one is set to, so that nothing on the command line could take a recipe's
    own away, and would refuse a list. Here ``+key.name=…`` adds, and ``key=`` sets, as for every other key.

    Args:
        overrides: words of the command line.
        dictionaries: keys whose values have names of the user's own, each with the override that empties it.
    """
    found = []
    for override in overrides:
        key, _, value = override.partition("=")
        if key in dictionaries and value.lstrip().startswith(("{", "[")):
            found += [dictionaries[key], f"+{key}={value}"]
        else:
            found.append(override)
    return found


def unreadable(error: OverrideParseException) -> ConfigError:
    """What Hydra says of a word that its grammar does not know, such as ``variants={a: [train.num_steps=4]}``."""
    reason = str(error).strip().partition("\n")[0].removeprefix("LexerNoViableAltException: ")
    word = error.override.lstrip("+")  # `replacing` may have added it
    key, _, value = word.partition("=")
    return ConfigError(
        f"{word!r} cannot be read: {reason}",
        where="command line",
        fix="close brackets and quotes; text with = or other signs in it has quotes of its own within the shell's, such as "
        + (
            """'variants={a: ["train.num_steps=4"]}'"""
            if value.startswith(("{", "["))
            else f"""'{key}="…"'"""
        ),
    )


def swept_keys(overrides: Sequence[str]) -> list[str]:
    """Keys that are given several values, in their order; none where Hydra cannot read the words, as it will say itself."""
    try:
        parsed = OverridesParser.create().parse_overrides([word for word in overrides if "=" in word])
    except HydraException:
        return []
    return [override.key_or_group for override in parsed if override.is_sweep_override()]


def job_words(swept: Collection[str]) -> list[str]:
    """What the running job of a multirun has of the swept keys, ``key=value`` each; empty where nothing is swept.

    Args:
        swept: keys of the command line; those of a recipe's ``hydra.sweeper.params`` are added.
    """
    job, in_recipe = HydraConfig.get(), HydraConfig.get().sweeper.get("params") or {}
    keys = {*swept, *(str(key).lstrip("+~") for key in in_recipe)}
    # Of a key that is emptied first, the second word.
    return list(
        {key_of(word): word.lstrip("+") for word in job.overrides.task if key_of(word) in keys}.values()
    )


def job_name(words: Sequence[str]) -> str:
    """The folder of a job, by its words; empty without any."""
    name = slug(",".join(words)) if words else ""
    if len(name) <= LONGEST_NAME:
        return name
    # The same job has the same folder, and two that differ late in their names have two.
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: LONGEST_NAME - len(digest) - 1]}-{digest}"
