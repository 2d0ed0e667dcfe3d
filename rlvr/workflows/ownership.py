"""A run's folder belongs to one configuration, and to one kind of run."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rlvr.algorithms.registry import ALGORITHMS
from rlvr.checkpoint import Checkpoints, set_aside
from rlvr.config import ExperimentConfig
from rlvr.data.model_folder import model_hash
from rlvr.errors import ConfigError
from rlvr.run_folder import (
    CONFIG_FILE,
    EVALUATIONS_FOLDER,
    METRICS_FILE,
    MODEL_FOLDER,
    SPEC_FILE,
    TRAINED_FILE,
    trained_steps,
    write_config,
)
from rlvr.tracking.progress import say

LENGTH = "train.num_steps"
MAY_CHANGE = (
    *("run.", "cluster.", "tracking.", "guards."),
    *("train.checkpoint_every", "train.keep_checkpoints", "evaluation.num_workers", LENGTH),
)
"""Keys that decide where, how and for how long a run is carried out, and not what a step computes."""
MAY_GROW = ("seeds", "algorithms", "variants", "benchmarks")
"""Keys of a study that name its runs and what they are measured on: more of them leave what is there as it is."""

START = "start_model_sha256"
"""Kept in ``config.json`` beside the settings: the start model may lie elsewhere when a run goes on, if it is the same."""

STUDY, TRAINING, EVALUATION = "a study", "a training run", "an evaluation"
"""Kinds of run, as :func:`kind_in` tells them by what they leave in a folder."""

Owner = tuple[Path, dict[str, Any]]
"""A folder, and the resolved config of the run that it belongs to, or is going to."""


def refuse_other_kind(folder: Path, resolved: dict[str, Any], kind: str) -> None:
    """Raise a ConfigError if another kind of run lies in the folder, whatever its settings."""
    found = kind_in(folder)
    if resolved["run"]["resume"] != "never" and found not in (None, kind):
        raise ConfigError(
            f"{folder} holds {found}, and this would be {kind}",
            where="run.dir",
            fix="run.dir=ANOTHER_FOLDER; or run.resume=never, which keeps what is there under another name",
        )


def kind_in(folder: Path) -> str | None:
    """The kind of run that a folder holds; None of one that holds none, or one that has only just begun."""
    own = (folder / CONFIG_FILE).exists()
    if own and any((folder / name).exists() for name in (METRICS_FILE, TRAINED_FILE)):
        return TRAINING
    if own and any(path.parent.name != MODEL_FOLDER for path in folder.glob(f"*/{CONFIG_FILE}")):
        return STUDY
    return EVALUATION if any(folder.glob(f"{EVALUATIONS_FOLDER}/*/*/{SPEC_FILE}")) else None


def refuse_not_for_evaluations(folder: Path) -> None:
    """Refuse a folder into which an evaluation would write beside something else.

    Raises:
        ConfigError: it holds a study or a training run, even one that has only just begun, or it is a model.
    """
    found = kind_in(folder)
    if found is None and (folder / CONFIG_FILE).exists():
        found = "a model, or a run that has only just begun"
    if found not in (None, EVALUATION):
        raise ConfigError(
            f"{folder} holds {found}, and this would be {EVALUATION}",
            where="run.dir",
            fix=f"run.dir={folder}-measured, or any other folder",
        )


def refuse_not_for_reports(folder: Path) -> None:
    """Refuse a training run's folder, in which a report would lie among what it does not speak of.

    Raises:
        ConfigError: it holds one.
    """
    if kind_in(folder) == TRAINING:
        raise ConfigError(
            f"{folder} holds {TRAINING}, and no report belongs there",
            where="output",
            fix=f"output={folder}-report, or any other folder",
        )


def refuse_other_evaluations(folder: Path, models: Collection[str], benchmarks: Collection[str]) -> None:
    """Refuse a folder with results that the report of this evaluation would not have: it would take their place.

    Args:
        folder: ``run.dir``.
        models: names in tables of what is measured now.
        benchmarks: names.

    Raises:
        ConfigError: it holds a model or benchmark that is not measured now.
    """
    there = [path.parent for path in sorted(folder.glob(f"{EVALUATIONS_FOLDER}/*/*/{SPEC_FILE}"))]
    others = [path for path in there if path.name not in models or path.parent.name not in benchmarks]
    if others:
        named = ", ".join(f"{path.name} on {path.parent.name}" for path in others[:3])
        raise ConfigError(
            f"{folder} holds what is not measured now, and its report would be overwritten: {named}"
            + (", …" if len(others) > 3 else ""),
            where="run.dir",
            fix=f"run.dir={folder}-2, or any other folder; or name those too, models=[…] benchmarks=[…], and one report has them all; or run.resume=never, "
            "which keeps what is there under another name",
        )


def take_folders(owners: Iterable[Owner]) -> None:
    """Write the resolved configs into their folders, which :func:`refuse_other_runs` has passed.

    ``run.resume=never`` gives what is there another name.
    """
    for folder, resolved in owners:
        if resolved["run"]["resume"] == "never" and (aside := set_aside(folder)):
            say(f"run.resume=never: what was in {folder} is now in {aside}")
        folder.mkdir(parents=True, exist_ok=True)
        write_config(folder, {**resolved, START: model_hash(resolved["model"])})


def refuse_other_runs(owners: Iterable[Owner]) -> None:
    """Refuse folders that belong to other runs, unless they are to start anew.

    Raises:
        ConfigError: a folder belongs to a run with other settings, the differences are named; or to one that has
            done more steps, or that left nothing to go on from.
    """
    for folder, resolved in owners:
        if resolved["run"]["resume"] != "never":
            refuse_other_settings(folder, resolved)
            refuse_other_length(folder, resolved["train"]["num_steps"])


def refuse_other_settings(
    folder: Path, resolved: dict[str, Any], may_change: tuple[str, ...] = MAY_CHANGE
) -> None:
    """Refuse a folder that holds a run whose steps were computed otherwise, or from another start.

    Args:
        folder: of the run there.
        resolved: the config of this one.
        may_change: beginnings of the keys that may differ.

    Raises:
        ConfigError: other keys differ, which are named.
    """
    path = folder / CONFIG_FILE
    if not path.exists():
        return
    stored = completed(json.loads(path.read_text()), defaults_of(resolved))
    start, now = stored.pop(START, None), model_hash(resolved["model"])
    if start == now:
        stored["model"] = resolved["model"]
    elif start is not None:  # older versions kept none: there the path is all that tells
        stored["model"] = f"{stored['model']}, sha256 {start}"
        resolved = {**resolved, "model": f"{resolved['model']}, sha256 {now}"}
    reached = reached_steps(folder) + stored["train"]["max_staleness"]  # the next batch may have been sampled
    kept = {key: resolved[key] for key in MAY_GROW if holds_all(resolved.get(key), stored.get(key))}
    differences = differing({**begun(stored, reached), **kept}, begun(resolved, reached))
    refused = [line for key, line in differences.items() if not key.startswith(may_change)]
    if refused:
        raise ConfigError(
            f"{folder} holds a run with other settings:\n"
            + "\n".join(f"    {line}" for line in refused[:12]),
            where="run.dir",
            fix="run.dir=ANOTHER_FOLDER; or run.resume=never, which keeps what is there under another name",
        )


def holds_all(wanted: Any, stored: Any) -> bool:
    """Whether what a study names now has all that it named before, of which there must be something.

    A study of one seed, one algorithm or no variants calls its runs by other names than one of several.
    """
    if not stored or type(wanted) is not type(stored):
        return False
    if isinstance(stored, dict):
        return all(key in wanted and wanted[key] == value for key, value in stored.items())
    return set(stored) <= set(wanted)


def begun(resolved: dict[str, Any], reached: int) -> dict[str, Any]:
    """A config without the stages whose first step has not been computed: those may still be changed, or added."""
    return {**resolved, "stages": [each for each in resolved["stages"] if each["from_step"] <= reached]}


def defaults_of(resolved: dict[str, Any]) -> dict[str, Any]:
    """Every key of a config with its default."""
    algorithm = type(ALGORITHMS[resolved["algorithm"]["name"]])()
    return asdict(ExperimentConfig(algorithm, model=resolved["model"]))


def completed(stored: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """A config as an older version has stored it, with the keys that have come since: their defaults are what it did."""
    found = {**defaults, **stored}
    for name, value in found.items():
        if isinstance(value, dict) and isinstance(defaults.get(name), dict):
            found[name] = completed(value, defaults[name])
    return found


def reached_steps(folder: Path) -> int:
    """Steps of a run that will not be done again."""
    resumable = [each.step for each in Checkpoints(folder).all() if each.resumable]
    return max([trained_steps(folder) or 0, *resumable])


def refuse_other_length(folder: Path, num_steps: int) -> None:
    """Raise a ConfigError if the run has done more steps than that, or has ended and cannot go on."""
    done, reached = trained_steps(folder), reached_steps(folder)
    if num_steps < reached:
        raise ConfigError(
            f"the run in {folder} has done {reached} steps, which is more than {num_steps}",
            where=LENGTH,
            fix=f"{LENGTH}={reached} or more; a shorter run needs another run.dir",
        )
    resumable = any(each.resumable for each in Checkpoints(folder).all())
    if done is not None and done < num_steps and not resumable:
        raise ConfigError(
            f"the run in {folder} ended after {done} steps and left no checkpoint to go on from",
            where=LENGTH,
            fix=f"{LENGTH}={done} keeps it as it is; a longer run needs another run.dir, and "
            "train.checkpoint_every above 0 to be extended later",
        )


def differing(stored: Any, wanted: Any, key: str = "") -> dict[str, str]:
    """The dotted keys in which two configs differ, each with a line that says how."""
    if isinstance(stored, dict) and isinstance(wanted, dict):
        lines: dict[str, str] = {}
        for name in sorted({*stored, *wanted}):
            lines |= differing(stored.get(name), wanted.get(name), f"{key}.{name}" if key else name)
        return lines
    return {} if stored == wanted else {key: f"{key}: {stored!r} there, {wanted!r} now"}
