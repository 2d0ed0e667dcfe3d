"""Evaluations of other studies, taken over where they are the same but for the name and place of their model."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from rlvr.errors import ConfigError, DataError
from rlvr.eval.store import EvaluationSpec, is_counted, read_spec
from rlvr.files import write_json
from rlvr.run_folder import (
    COUNTS_FILE,
    EVALUATIONS_FOLDER,
    PROBLEMS_FILE,
    PROMPT_FILE,
    SAMPLES_FILE,
    SPEC_FILE,
)

COPIED = (SAMPLES_FILE, COUNTS_FILE, PROBLEMS_FILE, PROMPT_FILE)
"""What is taken over. The time is not: it was spent elsewhere."""


def take_over_evaluation(folder: Path, spec: EvaluationSpec, reuse_from: str | None) -> Path | None:
    """Copy a finished evaluation that differs in the name and place of its model alone.

    Args:
        folder: of this evaluation.
        spec: what it measures.
        reuse_from: the folder that is searched, or None.

    Returns:
        Where it was found; None where it was not, or the folder holds samples of its own.

    Raises:
        ConfigError: there is no such folder.
    """
    if reuse_from is None or (folder / SAMPLES_FILE).exists():
        return None
    for other in _finished(searched(reuse_from), spec.benchmark):
        try:
            found = read_spec(other)
        except DataError:  # of another version
            continue
        if found == replace(spec, model_name=found.model_name, model_path=found.model_path):
            folder.mkdir(parents=True, exist_ok=True)
            for name in COPIED:
                if (other / name).exists():
                    # With its time, by which the counts know their samples; renamed once it is whole.
                    part = shutil.copy2(other / name, folder / f"{name}.part")
                    Path(part).rename(folder / name)
            write_json(folder / SPEC_FILE, asdict(spec))
            return other
    return None


def searched(reuse_from: str) -> Path:
    """``run.reuse_from``, which must be there.

    Raises:
        ConfigError: it is not.
    """
    if not (folder := Path(reuse_from)).is_dir():
        raise ConfigError(
            f"there is no such folder: {folder}", where="run.reuse_from", fix="check the path, or null"
        )
    return folder


def _finished(folder: Path, benchmark: str) -> Iterator[Path]:
    """Folders of evaluations of that benchmark, at any depth, whose samples have all been counted."""
    for path in sorted(folder.rglob(f"{EVALUATIONS_FOLDER}/{benchmark}/*/{SPEC_FILE}")):
        if is_counted(path.parent):
            yield path.parent
