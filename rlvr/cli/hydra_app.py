"""Hydra: from words on the command line to a checked dataclass, with readable errors."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import Field, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from rlvr.algorithms.registry import ALGORITHMS, load_plugin
from rlvr.algorithms.settings import keys
from rlvr.cli.other_names import meant, meant_by_flag
from rlvr.cli.overrides import job_name, job_words, key_of, replacing, swept_keys
from rlvr.config import MAX_TAG
from rlvr.errors import ConfigError, RlvrError, did_you_mean
from rlvr.files import slug
from rlvr.provenance import redacted

RECIPES = Path(__file__).resolve().parent.parent / "recipes"
COMMANDS = {
    "experiment": "`rlvr study`, `rlvr train`",
    "pretrain": "`rlvr pretrain`",
    "evaluate": "`rlvr evaluate`",
}
"""Who reads the recipes of a folder."""
MODELS = Path(__file__).resolve().parent.parent / "models"
DRY_RUN = "--dry-run"
ConfigT = TypeVar("ConfigT")


def run(
    command: str,
    schema: type[ConfigT],
    app: Callable[[ConfigT, dict[str, Any]], None],
    arguments: list[str],
    *,
    folder: str,
    examples: str,
    dry_run: Callable[[ConfigT, dict[str, Any], str], None] | None = None,
) -> None:
    """Compose, check and run; once, or once per job of a multirun.

    Args:
        command: for messages.
        schema: the dataclass that the config must fit.
        app: receives the checked config and the same as plain data.
        arguments: Hydra overrides and flags.
        folder: subfolder of recipes/ with the primary ``config.yaml``.
        examples: shown first by ``--help``.
        dry_run: takes the place of ``app`` with ``--dry-run``, and gets the word of ``--dry-run=WORD`` besides; None where
            there is nothing to plan.

    Raises:
        ConfigError: an override is unknown, malformed or fails its check.
    """
    dry = [argument for argument in arguments if argument.partition("=")[0] == DRY_RUN]
    if dry:
        if dry_run is None:
            raise ConfigError(
                f"`rlvr {command}` has no dry run", where=DRY_RUN, fix="train, study or evaluate"
            )
        app = partial(_planned, dry_run, dry[-1].partition("=")[2])
        arguments = [argument for argument in arguments if argument not in dry]
    plugins, arguments = split_plugins(arguments)
    for file in plugins:
        load_plugin(file)
    register(schema)
    if any(argument in ("--help", "-h") for argument in arguments):
        print(f"{examples}\nAll keys with their defaults (documented in rlvr/config/):\n", flush=True)
    refuse_unknown_flags(arguments, schema)
    swept = swept_keys(arguments)
    arguments = replacing(arguments, dictionaries(schema))
    failures: list[RlvrError] = []
    here = os.getpid()

    def job(config: DictConfig) -> None:
        elsewhere = os.getpid() != here  # in a process of the launcher's, as with submitit
        if elsewhere:
            # Imported here: that process's own, not one that was pickled with this function.
            from rlvr.signals import SIGNALS

            SIGNALS.install()
        try:
            if HydraConfig.get().mode is RunMode.MULTIRUN:
                _separate_job(config, swept)
            app(*checked(config, schema))
        except RlvrError as error:
            if elsewhere:  # where nobody reads the list
                print(f"\nrlvr {command}: {error}", file=sys.stderr)
                raise
            # Kept from Hydra, which would print its own words around it; other jobs of a multirun go on.
            failures.append(error)

    with command_line(f"rlvr {command}", *arguments):
        try:
            hydra.main(version_base="1.3", config_path=str(RECIPES / folder), config_name="config")(job)()
        except (HydraException, OmegaConfBaseException) as error:
            raise explain(error, schema, RECIPES / folder) from error
    if failures:
        raise failures[0]


def _planned(
    dry_run: Callable[[ConfigT, dict[str, Any], str], None],
    pace: str,
    config: ConfigT,
    resolved: dict[str, Any],
) -> None:
    dry_run(config, resolved, pace)


def register(schema: type) -> None:
    """Tell Hydra and OmegaConf the schema, the algorithms (plugins' too) and the words that recipes may use."""
    store = ConfigStore.instance()
    store.store(name="schema", node=schema)
    for name, algorithm in ALGORITHMS.items():
        store.store(group="algorithm", name=name, node=algorithm)
    OmegaConf.register_new_resolver("rlvr_model", lambda name: str(MODELS / name), replace=True)
    OmegaConf.register_new_resolver("rlvr_evaluation", evaluation_folder, replace=True)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach us as exceptions instead of Hydra's own exit


@contextmanager
def command_line(*words: str) -> Iterator[None]:
    """Let Hydra, which reads ``sys.argv``, see these words."""
    saved = sys.argv
    sys.argv = list(words)
    try:
        yield
    finally:
        sys.argv = saved


def checked(config: DictConfig, schema: type[ConfigT]) -> tuple[ConfigT, dict[str, Any]]:
    """A composed config as its dataclass, which checks it, and as plain data without secrets.

    Raises:
        ConfigError: it has a key that the schema does not have, or a value that fails its check.
    """
    refuse_unknown(config, schema)
    built = OmegaConf.to_object(config)
    assert isinstance(built, schema)
    resolved = OmegaConf.to_container(config, resolve=True)
    assert isinstance(resolved, dict)
    return built, redacted(resolved)


def variant(
    schema: type[ConfigT], overrides: list[str], changes: dict[str, Any]
) -> tuple[ConfigT, dict[str, Any]]:
    """The config of the running job with some overrides more and some values replaced.

    Returns:
        The config, checked, and as plain data.

    Raises:
        ConfigError: the overrides do not fit.
    """
    task = HydraConfig.get().overrides.task
    replaced = {key_of(override) for override in overrides}
    kept = [override for override in task if key_of(override) not in replaced]
    try:
        config = hydra.compose("config", [*kept, *replacing(overrides, dictionaries(schema))])
    except (HydraException, OmegaConfBaseException) as error:
        explained = explain(error, schema, RECIPES / "experiment")
        raise ConfigError(
            f"{explained.what} (with {', '.join(overrides)})", where=explained.where, fix=explained.fix
        ) from error
    for key, value in changes.items():
        OmegaConf.update(config, key, value, merge=False)
    return checked(config, schema)


def multirun_keys() -> set[str]:
    """Keys that the running job of a multirun was given on the command line; none outside of a multirun."""
    if HydraConfig.get().mode is not RunMode.MULTIRUN:
        return set()
    return {key_of(override) for override in HydraConfig.get().overrides.task}


def _separate_job(config: DictConfig, swept: Collection[str]) -> None:
    """Give every job of a multirun a folder of its own, named by what it has of the swept keys, which W&B is told too."""
    from rlvr.tracking.progress import say  # late: only a run needs it

    words = job_words(swept)
    key = "output" if "output" in config else "run.dir"
    folder = Path(OmegaConf.select(config, key))
    OmegaConf.update(config, key, str(folder / job_name(words)))
    say(f"job {HydraConfig.get().job.num + 1}: {', '.join(words) or 'nothing is swept'}")
    if words and "tracking" in config:
        config.tracking.wandb_group = config.tracking.wandb_group or folder.name
        config.tracking.wandb_tags = [*config.tracking.wandb_tags, *(word[:MAX_TAG] for word in words)]


def split_plugins(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Take ``--plugin FILE`` or ``--plugin=FILE`` out of the arguments: (files, the rest).

    Raises:
        ConfigError: the flag stands without a file.
    """
    files, rest = [], []
    words = iter(arguments)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag != "--plugin":
            rest.append(word)
            continue
        file = value if equals else next(words, "")
        if not file:
            raise ConfigError("--plugin needs a file", where="command line", fix="--plugin FILE.py")
        files.append(file)
    return files, rest


def refuse_unknown_flags(arguments: list[str], schema: type) -> None:
    """Hydra would answer an unknown flag with its own usage text."""
    known = {
        "--help",
        "-h",
        "--hydra-help",
        "--multirun",
        "-m",
        "--cfg",
        "-c",
        "--info",
        "--config-dir",
        "-cd",
        DRY_RUN,
    }
    known |= {"--plugin", "--resolve", "--package", "-p", "--shell-completion", "-sc"}
    for argument in arguments:
        if argument.startswith("-") and argument.partition("=")[0] not in known:
            raise ConfigError(
                f"unknown flag {argument!r}",
                where="command line",
                fix=meant_by_flag(argument, set(_keys(schema))) or did_you_mean(argument, known),
            )


def refuse_unknown(config: DictConfig, schema: type) -> None:
    """Hydra's ``+key=value`` adds keys that no dataclass knows; they would be ignored silently."""
    plain = OmegaConf.to_container(config)
    assert isinstance(plain, dict)
    known = set(_keys(schema))
    for key in _flat(plain):
        if key not in known and not key.startswith(_below(dictionaries(schema))):
            raise ConfigError(f"unknown key {key!r}", where="command line", fix=meant(key, known))


def dictionaries(schema: type) -> dict[str, str]:
    """Keys below which the names are the user's own, each with the override that empties it.

    The config checks what they hold.
    """
    free = {key: f"{key}=null" for key, spec in _specs(schema) if spec.type == "Any"}
    return free | {key: f"~{key}" for key, spec in _specs(schema) if str(spec.type).startswith("dict[")}


def _below(keys: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{key}." for key in keys)


def _flat(config: dict[Any, Any], prefix: str = "") -> Iterator[str]:
    for name, value in config.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")


def evaluation_folder(model: str, models: Any, regraded: str | None) -> str:
    """Default folder of `rlvr evaluate`, by what is measured."""
    if regraded:
        return f"{slug(Path(regraded).name)}-regraded"
    several = [Path(str(word)).name for word in models] if models else []
    return slug("+".join(several)[:100] if several else model)


def explain(error: Exception, schema: type, folder: Path) -> ConfigError:
    """Turn Hydra's and OmegaConf's messages into what, where, fix."""
    text = str(error).strip()
    if isinstance(error, MissingConfigException) or "Could not find" in text:
        match = re.search(r"'?([\w/]+)/([\w.-]+)'?", text.rpartition("Could not find")[2])
        if match:
            group, name = match.group(1).rpartition("/")[2], match.group(2)
            return ConfigError(
                f"there is no {group} {name!r}", where=group, fix=_options(group, name, folder)
            )
    match = re.search(r"(?:Could not override|Error merging override) '([^']+)'", text)
    if match:
        key = key_of(match.group(1))
        known = set(_keys(schema))
        if f"{key}.".startswith(_below(dictionaries(schema))):
            return ConfigError(f"there is no key {key!r} yet", where="command line", fix=f"+{key}=… adds it")
        if key not in known:
            return ConfigError(f"unknown key {key!r}", where="command line", fix=meant(key, known))
        if key.startswith("algorithm."):
            return ConfigError(
                "this algorithm has no such setting",
                where=key,
                fix="`rlvr train algorithm=NAME --cfg job` shows those that it has",
            )
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [type(error).__name__]
    match = re.search(r"Key '([^']+)' not in '(\w+)'", text)
    if match:
        file = re.match(r"In '([^']+)'", text)
        return ConfigError(
            f"unknown key {match.group(1)!r} in {match.group(2)}",
            where=f"{file.group(1)}.yaml" if file else "a recipe or the command line",
            fix=meant(match.group(1), set(_keys(schema))),
        )
    match = re.match(r"Error merging override ([^=]+)=", lines[0])
    if match:
        reason = (lines[1:] or str(error.__cause__).strip().splitlines() or lines)[0]
        return ConfigError(reason, where=match.group(1), fix="see its type in rlvr/config/")
    full_key = getattr(error, "full_key", None)
    if isinstance(error, MissingMandatoryValue):
        return ConfigError("the recipe leaves this value to you", where=str(full_key), fix=f"{full_key}=…")
    return ConfigError(
        lines[0], where=full_key or "command line", fix="`rlvr COMMAND --help` shows every key"
    )


def _options(group: str, name: str, folder: Path) -> str:
    if group == "algorithm":
        return did_you_mean(name, ALGORITHMS)
    if group == "launcher":
        return "`pip install hydra-submitit-launcher` brings submitit_slurm and submitit_local"
    elsewhere = [
        words for each, words in COMMANDS.items() if (RECIPES / each / group / f"{name}.yaml").exists()
    ]
    hint = did_you_mean(name, [path.stem for path in (folder / group).glob("*.yaml")])
    return f"{group}={name} is one of {' and '.join(elsewhere)}; here, {hint}" if elsewhere else hint


def _keys(schema: Any) -> Iterator[str]:
    """All dotted keys of a schema, and the groups; an algorithm's own keys are added below it."""
    for key, spec in _specs(schema):
        yield key
        if spec.name == "algorithm":
            for algorithm in ALGORITHMS.values():
                yield from keys(type(algorithm), "algorithm.")
    yield "recipe"
    yield "scale"


def _specs(schema: Any, prefix: str = "") -> Iterator[tuple[str, Field[Any]]]:
    """All fields of a schema and of the dataclasses in it, by dotted key."""
    for spec in fields(schema):
        yield prefix + spec.name, spec
        factory: Any = spec.default_factory
        if is_dataclass(factory):
            yield from _specs(factory, f"{prefix}{spec.name}.")
