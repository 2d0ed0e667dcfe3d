"""A run's folder belongs to one configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rlvr.checkpoint import set_aside
from rlvr.errors import ConfigError
from rlvr.files import write_json
from rlvr.tracking.progress import say

CONFIG_FILE = "config.json"
MAY_CHANGE = ("run.", "cluster.", "tracking.", "guards.", "train.checkpoint_every", "train.keep_checkpoints")
"""Keys that decide where and how a run is carried out, and not what it computes."""


def claim_run(folder: Path, resolved: dict[str, Any]) -> None:
    """Write the resolved config into the run's folder, or check that it is the one there.

    ``run.resume=never`` gives what is there another name.

    Raises:
        ConfigError: the folder belongs to a run with other settings; the differences are named.
    """
    path = folder / CONFIG_FILE
    if resolved["run"]["resume"] == "never" and (aside := set_aside(folder)):
        say(f"run.resume=never: what was in {folder} is now in {aside}")
    if path.exists():
        differences = differing(json.loads(path.read_text()), resolved)
        refused = [line for key, line in differences.items() if not key.startswith(MAY_CHANGE)]
        if refused:
            raise ConfigError(
                f"{folder} holds a run with other settings:\n"
                + "\n".join(f"    {line}" for line in refused[:12]),
                where="run.dir",
                fix="run.dir=ANOTHER_FOLDER; or run.resume=never, which keeps what is there under another name",
            )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, resolved)


def differing(stored: Any, wanted: Any, key: str = "") -> dict[str, str]:
    """The dotted keys in which two configs differ, each with a line that says how."""
    if isinstance(stored, dict) and isinstance(wanted, dict):
        lines: dict[str, str] = {}
        for name in sorted({*stored, *wanted}):
            lines |= differing(stored.get(name), wanted.get(name), f"{key}.{name}" if key else name)
        return lines
    return {} if stored == wanted else {key: f"{key}: {stored!r} there, {wanted!r} now"}
