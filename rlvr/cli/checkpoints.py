"""``rlvr checkpoints``: what a training run can go on from, and whether it is whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rlvr.checkpoint import Checkpoint, Checkpoints
from rlvr.cli.words import WordsCommand
from rlvr.config import CheckpointsConfig
from rlvr.errors import CheckpointError, ConfigError

EXAMPLES = """\
rlvr checkpoints: what a training run can go on from, and whether it is whole.

Examples:
  rlvr checkpoints list runs/tiny/grpo            step, size, what it is good for
  rlvr checkpoints verify runs/tiny/grpo          read every byte and compare with the manifests
  rlvr checkpoints list runs/tiny/grpo --json     for programs

RUN is the folder of a training run. Exit code 7: `verify` found a file that is not as it was written.
"""
COMMAND = WordsCommand("checkpoints", CheckpointsConfig, EXAMPLES, plain=("action", "run"))


def run(arguments: list[str]) -> None:
    """Run the command."""
    COMMAND.run(app, arguments or ["--help"])


def app(config: CheckpointsConfig) -> None:
    """Print the checkpoints of a run.

    Raises:
        ConfigError: there is no such folder, or no checkpoint in it.
        CheckpointError: a file is not as it was written.
    """
    folder = Path(config.run)
    if not folder.is_dir():
        raise ConfigError("there is no such folder", where=str(folder), fix="check the path")
    found = Checkpoints(folder).all()
    if not found:
        raise ConfigError(
            "there are no checkpoints here",
            where=str(folder),
            fix="the folder of a training run, such as runs/tiny/grpo; train.checkpoint_every sets how often",
        )
    faults = (
        {checkpoint.step: checkpoint.faults() for checkpoint in found} if config.action == "verify" else {}
    )
    rows = [describe(checkpoint, faults.get(checkpoint.step)) for checkpoint in found]
    print(json.dumps(rows, indent=2) if config.json else table(rows))
    damaged = [fault for each in faults.values() for fault in each]
    if damaged:
        raise CheckpointError(
            "damaged files:\n" + "\n".join(f"    {fault}" for fault in damaged),
            where=str(folder),
            fix="the run goes on from the newest checkpoint that is whole; delete the damaged one to be rid of it",
        )


def describe(checkpoint: Checkpoint, faults: list[str] | None) -> dict[str, Any]:
    """A row of the table; ``whole`` is only there once every byte has been read."""
    row: dict[str, Any] = {
        "step": checkpoint.step,
        "bytes": checkpoint.num_bytes,
        "resumable": checkpoint.resumable,
        "folder": str(checkpoint.folder),
    }
    return row if faults is None else row | {"whole": not faults}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows for a person."""
    lines = ["  step       size  holds"]
    for row in rows:
        holds = "everything to go on from" if row["resumable"] else "the model only"
        verdict = {True: ", whole", False: ", DAMAGED", None: ""}[row.get("whole")]
        lines.append(f"{row['step']:6}  {row['bytes'] / 2**20:5,.0f} MiB  {holds}{verdict}")
    return "\n".join(lines)
