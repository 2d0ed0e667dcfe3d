"""Hydra: from words on the command line to a checked dataclass, with readable errors."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from rlvr.algorithms.registry import ALGORITHMS, load_plugin
from rlvr.budgets import mid_tokens, rl_steps
from rlvr.cli.completion import candidates, completing, show
from rlvr.cli.help import asked_for, help_lines, options_of
from rlvr.cli.other_names import meant, meant_by_flag
from rlvr.cli.overrides import job_name, job_words, key_of, replacing, swept_keys, unreadable
from rlvr.cli.schema import ALGORITHM, below, dictionaries, kind_of, known_keys
from rlvr.config import MAX_TAG
from rlvr.errors import ConfigError, RlvrError, did_you_mean
from rlvr.files import slug
from rlvr.provenance import redacted
from rlvr.run_folder import equal_entropy

RECIPES = Path(__file__).resolve().parent.parent / "recipes"
COMMANDS = {
    "experiment": "`rlvr study`, `rlvr train`",
    "pretrain": "`rlvr pretrain`",
    "evaluate": "`rlvr evaluate`",
}
"""Who reads the recipes of a folder."""
MODELS = Path(__file__).resolve().parent.parent / "models"
DRY_RUN = "--dry-run"
FLAGS = {
    "--help[=WORD], -h": "this text; with a word, only the keys that have it in their name or meaning",
    "--dry-run[=RUN]": "say what would be done, and start nothing; the time by the speed of a past run",
    "--multirun, -m": "one job for every combination of the values between commas",
    "--cfg job": "print the config of these words, and start nothing",
    "--config-dir FOLDER": "recipes of your own, FOLDER/recipe/NAME.yaml",
    "--plugin FILE.py": "algorithms of your own",
    "--debug": "the full trace of an error",
}
"""Flags, with a sentence on each."""
UNSEEN_FLAGS = {"--hydra-help", "-c", "--info", "-cd", "--resolve", "--package", "-p"}
"""Short forms, and Hydra's own for who knows it."""
CONFIG_DIR = ("--config-dir", "-cd")
COMPLETION = ("--shell-completion", "-sc")
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
    if (start := completing(arguments)) is not None:
        show(candidates(start, known_keys(schema), groups_of(schema, [RECIPES / folder])))
        return
    register(schema)
    refuse_unknown_flags(arguments, schema)
    swept = swept_keys(arguments)
    if (word := asked_for(arguments)) is not None:
        words = [each for each in _for_help(arguments) if key_of(each) not in swept]
        flags = {name: text for name, text in FLAGS.items() if dry_run or DRY_RUN not in name}
        lines: list[str] = []
        compose(command, schema, folder, words, partial(_add_help, lines, schema, examples, flags, word))
        print("\n".join(lines))  # not within Hydra, which has words of its own for a reader that has gone
        return
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

    compose(command, schema, folder, arguments, job)
    if failures:
        raise failures[0]


def compose(
    command: str, schema: type, folder: str, arguments: list[str], job: Callable[[DictConfig], None]
) -> None:
    """Have Hydra make the config of these words, and call ``job`` with it, or with each of a multirun.

    Raises:
        ConfigError: an override is unknown or malformed.
    """
    words = replacing(arguments, dictionaries(schema))
    with command_line(f"rlvr {command}", *words):
        try:
            hydra.main(version_base="1.3", config_path=str(RECIPES / folder), config_name="config")(job)()
        except (HydraException, OmegaConfBaseException) as error:
            raise explain(error, schema, RECIPES / folder) from error


def _for_help(arguments: list[str]) -> Iterator[str]:
    """The words that say which values there are: no flags, since help is no job, but for the folder of more recipes."""
    for before, word in zip(["", *arguments], arguments, strict=False):
        is_override = not word.startswith("-") and ("=" in word or word.startswith("~"))
        if is_override or before in CONFIG_DIR or word.partition("=")[0] in CONFIG_DIR:
            yield word


def _add_help(
    lines: list[str], schema: type, examples: str, flags: dict[str, str], word: str, config: DictConfig
) -> None:
    values = OmegaConf.to_container(config, resolve=True)
    assert isinstance(values, dict)
    sources = HydraConfig.get().runtime.config_sources  # ours, and the user's by --config-dir
    groups = groups_of(schema, [Path(source.path) for source in sources if source.schema == "file"])
    algorithm = OmegaConf.get_type(config.algorithm) if ALGORITHM in config else None
    lines += help_lines(examples, schema, values, groups=groups, flags=flags, algorithm=algorithm, word=word)


def groups_of(schema: type, folders: Collection[Path]) -> dict[str, dict[str, str]]:
    """The groups of a command, each with its options and a sentence on them: algorithms, and what lies in recipe folders."""
    own = {ALGORITHM: dict.fromkeys(ALGORITHMS, "")} if ALGORITHM in known_keys(schema) else {}
    return own | options_of(folders)


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
    OmegaConf.register_new_resolver("rlvr_mid_tokens", mid_tokens, replace=True)
    OmegaConf.register_new_resolver("rlvr_rl_steps", rl_steps, replace=True)
    OmegaConf.register_new_resolver("rlvr_equal_entropy", equal_entropy, replace=True)
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
    known = {name for names in FLAGS for name in re.findall(r"-[\w-]+", names)} | UNSEEN_FLAGS
    for argument in arguments:
        if argument.partition("=")[0] in COMPLETION:
            raise ConfigError(
                "Hydra's completion knows nothing of the commands of rlvr",
                where=argument.partition("=")[0],
                fix='eval "$(rlvr completion bash)"',
            )
        if argument.startswith("-") and argument.partition("=")[0] not in known:
            raise ConfigError(
                f"unknown flag {argument!r}",
                where="command line",
                fix=meant_by_flag(argument, known_keys(schema)) or did_you_mean(argument, known),
            )


def refuse_unknown(config: DictConfig, schema: type) -> None:
    """Hydra's ``+key=value`` adds keys that no dataclass knows; they would be ignored silently."""
    plain = OmegaConf.to_container(config)
    assert isinstance(plain, dict)
    known = known_keys(schema)
    for key in _flat(plain):
        if key not in known and not key.startswith(below(dictionaries(schema))):
            raise ConfigError(f"unknown key {key!r}", where="command line", fix=meant(key, known))


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
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, ConfigError):  # raised by a word that recipes may use
            return inner
        inner = inner.__context__
    if isinstance(error, OverrideParseException):
        return unreadable(error)
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
        known = known_keys(schema)
        if f"{key}.".startswith(below(dictionaries(schema))):
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
            fix=meant(match.group(1), known_keys(schema)),
        )
    match = re.match(r"Error merging override ([^=]+)=", lines[0])
    if match:
        reason = (lines[1:] or str(error.__cause__).strip().splitlines() or lines)[0]
        key = key_of(match.group(1))
        kind = kind_of(key, schema)
        a_value = f"a value of the type {kind}" if kind else "another value"
        return ConfigError(reason, where=key, fix=f"{a_value}; --help={key} says what it means")
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
