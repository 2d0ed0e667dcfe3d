"""A run's folder belongs to one configuration."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rlvr.checkpoint import Checkpoints, set_aside
from rlvr.errors import ConfigError
from rlvr.eval.homes import TRAINED_FILE, read_metrics
from rlvr.files import write_json
from rlvr.tracking.progress import say

CONFIG_FILE = "config.json"
LENGTH = "train.num_steps"
MAY_CHANGE = (
    *("run.", "cluster.", "tracking.", "guards."),
    *("train.checkpoint_every", "train.keep_checkpoints", LENGTH),
)
"""Keys that decide where, how and for how long a run is carried out, and not what a step computes."""

Claim = tuple[Path, dict[str, Any]]
"""A run's folder and its resolved config."""


def claim_runs(claims: Iterable[Claim]) -> None:
    """Write the resolved configs into their folders, or check that they are those there; all or none.

    ``run.resume=never`` gives what is there another name.

    Raises:
        ConfigError: a folder belongs to a run with other settings, the differences are named; or to one that has
            done more steps, or that left nothing to go on from.
    """
    claims = list(claims)
    for folder, resolved in claims:
        if resolved["run"]["resume"] != "never":
            refuse_other_settings(folder, resolved)
            refuse_other_length(folder, resolved["train"]["num_steps"])
    for folder, resolved in claims:
        if resolved["run"]["resume"] == "never" and (aside := set_aside(folder)):
            say(f"run.resume=never: what was in {folder} is now in {aside}")
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / CONFIG_FILE, resolved)


def refuse_other_settings(folder: Path, resolved: dict[str, Any]) -> None:
    """Raise a ConfigError if the folder holds a run whose steps were computed otherwise."""
    path = folder / CONFIG_FILE
    differences = differing(json.loads(path.read_text()), resolved) if path.exists() else {}
    refused = [line for key, line in differences.items() if not key.startswith(MAY_CHANGE)]
    if refused:
        raise ConfigError(
            f"{folder} holds a run with other settings:\n"
            + "\n".join(f"    {line}" for line in refused[:12]),
            where="run.dir",
            fix="run.dir=ANOTHER_FOLDER; or run.resume=never, which keeps what is there under another name",
        )


def refuse_other_length(folder: Path, num_steps: int) -> None:
    """Raise a ConfigError if the run has done more steps than that, or has ended and cannot go on."""
    done, resumable = (
        trained_steps(folder),
        [each.step for each in Checkpoints(folder).all() if each.resumable],
    )
    reached = max([done or 0, *resumable])
    if num_steps < reached:
        raise ConfigError(
            f"the run in {folder} has done {reached} steps, which is more than {num_steps}",
            where=LENGTH,
            fix=f"{LENGTH}={reached} or more; a shorter run needs another run.dir",
        )
    if done is not None and done < num_steps and not resumable:
        raise ConfigError(
            f"the run in {folder} ended after {done} steps and left no checkpoint to go on from",
            where=LENGTH,
            fix=f"{LENGTH}={done} keeps it as it is; a longer run needs another run.dir, and "
            "train.checkpoint_every above 0 to be extended later",
        )


def trained_steps(folder: Path) -> int | None:
    """Steps of the finished run in a folder; None where there is none, or it is not finished."""
    if not (folder / TRAINED_FILE).exists():
        return None
    rows = read_metrics(folder)
    return int(rows[-1]["step"]) if rows else 0


def differing(stored: Any, wanted: Any, key: str = "") -> dict[str, str]:
    """The dotted keys in which two configs differ, each with a line that says how."""
    if isinstance(stored, dict) and isinstance(wanted, dict):
        lines: dict[str, str] = {}
        for name in sorted({*stored, *wanted}):
            lines |= differing(stored.get(name), wanted.get(name), f"{key}.{name}" if key else name)
        return lines
    return {} if stored == wanted else {key: f"{key}: {stored!r} there, {wanted!r} now"}
