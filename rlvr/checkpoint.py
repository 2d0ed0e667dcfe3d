"""Checkpoints of a training run: written whole or not at all, checked before use, pruned.

::

    RUN/checkpoints/step-000020/
        manifest.json   size and SHA-256 of every other file
        state.json      where the run stands (:class:`Progress`), config, versions
        model/          the policy as a Hugging Face folder
        learner/        DeepSpeed's files (policy, critic, optimizers) and every rank's random state
        pending.json    rollouts of the next step, where they were sampled while this one was learned

A checkpoint is written into a folder whose name starts with a dot, brought to the disk, and then renamed. So
a folder that is called ``step-…`` is complete, and the one with the highest number is the newest: there is no
pointer that could say otherwise. Flipped bits and files that were cut off later show in the manifest.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rlvr.errors import CheckpointError, RlvrError, WorkerError
from rlvr.files import to_disk, write_json
from rlvr.provenance import config_hash, versions
from rlvr.run_folder import CHECKPOINTS_FOLDER, MODEL_FOLDER

FORMAT = 1
"""Raised whenever an older version could not read what is written."""
LEARNER_FOLDER = "learner"
STATE_FILE, MANIFEST_FILE = "state.json", "manifest.json"
PENDING_FILE = "pending.json"
NAME = re.compile(r"step-(\d{6,})")
HASH_THREADS = 8
SPARE_BYTES = 1 << 28
"""Free space that a save leaves at least."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands between two steps; everything else is in the learner or follows from the config."""

    step: int = 0
    """Steps done, and the version of the weights."""
    num_drawn: int = 0
    """Prompts taken from the problems of the step's stage: the epoch, and the place in the epoch's order."""
    seconds: float = 0.0
    """Wall time so far, over all sessions."""
    watched: dict[str, list[float]] = field(default_factory=dict)
    """Recent values of the metrics that the guards watch."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One checkpoint on disk."""

    folder: Path
    step: int
    resumable: bool
    """Whether training can go on from it; an older one may hold only its model."""
    files: dict[str, dict[str, Any]]
    """``size`` in bytes and ``sha256`` of every file, by its path in the folder."""

    @property
    def num_bytes(self) -> int:
        """Size on disk."""
        return sum(int(entry["size"]) for entry in self.files.values())

    @property
    def model(self) -> Path:
        """The Hugging Face folder."""
        return self.folder / MODEL_FOLDER

    def faults(self) -> list[str]:
        """What is wrong with its files, one line each; empty if every byte is as it was written."""
        with ThreadPoolExecutor(HASH_THREADS) as threads:
            found = threads.map(lambda item: self._fault(*item), self.files.items())
            return [fault for fault in found if fault]

    def _fault(self, name: str, entry: Mapping[str, Any]) -> str | None:
        path = self.folder / name
        if not path.is_file():
            return f"{path} is missing"
        size = path.stat().st_size
        if size != entry["size"]:
            return f"{path} has {size:,} bytes instead of {entry['size']:,}"
        if file_hash(path) != entry["sha256"]:
            return f"{path} has changed: its SHA-256 is not the one in {MANIFEST_FILE}"
        return None

    def state(self) -> dict[str, Any]:
        """What ``state.json`` holds."""
        found: dict[str, Any] = json.loads((self.folder / STATE_FILE).read_text(encoding="utf-8"))
        return found

    def progress(self) -> Progress:
        """Where the run stood."""
        return Progress(**self.state()["progress"])


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(
        self,
        run: Path,
        *,
        keep: int = 1,
        keep_model_every: int = 0,
        identity: Mapping[str, Any] | None = None,
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Look at the folder of a run, which need not exist yet.

        Args:
            run: the run's folder.
            keep: how many of the newest stay resumable.
            keep_model_every: of older ones, the models of steps divisible by this stay; 0 keeps none.
            identity: what the run is, from :func:`identity_of`; only needed for saving.
            report: is told what a person should know.
        """
        self.run = run
        self.folder = run / CHECKPOINTS_FOLDER
        self._keep, self._keep_model_every = keep, keep_model_every
        self._identity, self._report = dict(identity or {}), report
        self._last_step = 0

    def folder_of(self, step: int) -> Path:
        """Where the checkpoint of a step stands, or would stand."""
        return self.folder / f"step-{step:06}"

    def all(self) -> list[Checkpoint]:
        """Every checkpoint that can be read, by step; what is damaged inside shows in ``faults``."""
        found = []
        for path in self.folder.glob("step-*"):
            match = NAME.fullmatch(path.name)
            manifest = read_manifest(path) if match else None
            if match and manifest:
                resumable = STATE_FILE in manifest["files"]
                found.append(Checkpoint(path, int(match.group(1)), resumable, manifest["files"]))
        return sorted(found, key=lambda checkpoint: checkpoint.step)

    def newest(self) -> Checkpoint | None:
        """The newest from which training can go on; None where there is none at all.

        One that is damaged is passed over, and the report says so.

        Raises:
            CheckpointError: every one is damaged, or it has another format.
        """
        candidates = [checkpoint for checkpoint in reversed(self.all()) if checkpoint.resumable]
        for checkpoint in candidates:
            faults = checkpoint.faults()
            if not faults:
                self._refuse_other_format(checkpoint)
                self._last_step = checkpoint.step
                return checkpoint
            self._report(f"the checkpoint of step {checkpoint.step} is damaged and passed over: {faults[0]}")
        if candidates:
            raise CheckpointError(
                "every checkpoint of this run is damaged",
                where=str(self.folder),
                fix=f"`rlvr checkpoints verify {self.run}` names the files; run.resume=never starts anew",
            )
        return None

    def _refuse_other_format(self, checkpoint: Checkpoint) -> None:
        """Refuse to go on from a format that this version cannot read."""
        state = checkpoint.state()
        if state.get("format") != FORMAT:
            raise CheckpointError(
                f"the checkpoint has format {state.get('format')}, this version reads {FORMAT}",
                where=str(checkpoint.folder),
                fix="go on with the version that wrote it (state.json), or start anew: run.resume=never",
            )

    def save(self, progress: Progress, write: Callable[[Path], None]) -> None:
        """Write one checkpoint and prune the older ones.

        Args:
            progress: where the run stands.
            write: fills a folder with ``model/`` and ``learner/``.

        Raises:
            CheckpointError: it could not be written; what was there before is untouched.
        """
        final = self.folder_of(progress.step)
        temporary = self.folder / f".{final.name}.tmp"
        try:
            self.require_space()
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            write(temporary)
            state = {"format": FORMAT, "progress": asdict(progress), "versions": versions()}
            write_json(temporary / STATE_FILE, state | self._identity)
            seal(temporary)
            if final.exists():  # a damaged one that was passed over
                discard(final)
            temporary.replace(final)
            to_disk(self.folder)
        except BaseException as error:
            shutil.rmtree(temporary, ignore_errors=True)
            # A lost worker, weights that hold NaN, or a signal are no matter of writing. Libraries raise what
            # they like when a disk is full, and from a worker it comes as a WorkerError.
            if not isinstance(error, Exception) or (
                isinstance(error, RlvrError) and type(error) is not WorkerError
            ):
                raise
            raise CheckpointError(
                f"the checkpoint of step {progress.step} could not be written: {error}",
                where=str(self.folder),
                fix="the one before it is untouched: make room on the disk, and the same command goes on",
            ) from error
        self._last_step = progress.step
        try:
            self.prune(progress.step)
        except OSError as error:
            self._report(f"older checkpoints could not be deleted, which is tried again later: {error}")

    def rescue(self, progress: Progress, write: Callable[[Path], None]) -> None:
        """Save as the last act of a run that ends for another reason, which a failure here must not hide."""
        if progress.step == self._last_step:
            return
        try:
            self.save(progress, write)
            self._report(f"checkpoint of step {progress.step} written")
        except RlvrError as error:
            self._report(str(error))

    def require_space(self, estimate: int = 0) -> None:
        """Refuse to begin a save that the disk has no room for.

        Args:
            estimate: bytes of a checkpoint, where there is none yet to go by.

        Raises:
            CheckpointError: there is less free than a checkpoint takes.
        """
        sizes = [checkpoint.num_bytes for checkpoint in self.all() if checkpoint.resumable]
        needed = (sizes[-1] if sizes else estimate) + SPARE_BYTES
        place = next(path for path in (self.folder, *self.folder.absolute().parents) if path.exists())
        free = shutil.disk_usage(place).free
        if free < needed:
            raise CheckpointError(
                f"a checkpoint needs {needed / 2**30:.1f} GiB, the disk has {free / 2**30:.1f} GiB free",
                where=str(self.folder),
                fix="make room, or run.dir=FOLDER on another disk; train.keep_checkpoints=1 needs the least",
            )

    def prune(self, step: int) -> None:
        """Delete what the retention policy does not keep as of a step, and what a killed save left behind."""
        resumable = [found for found in self.all() if found.resumable and found.step <= step]
        for checkpoint in resumable[: -self._keep]:
            every = self._keep_model_every
            if every and checkpoint.step % every == 0:
                keep_model_only(checkpoint)
            else:
                discard(checkpoint.folder)
        for leftover in self.folder.glob(".step-*"):
            shutil.rmtree(leftover, ignore_errors=True)


def identity_of(config: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint says about its run: its settings, and what else it is made of (rlvr/workflows/inputs.py)."""
    plain = dict(config)
    return {"config": plain, "config_sha256": config_hash(plain), **inputs}


def seal(folder: Path) -> None:
    """Bring every file to the disk and write the manifest."""
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    with ThreadPoolExecutor(HASH_THREADS) as threads:
        entries = list(threads.map(lambda name: _entry(folder / name), names))
    for path in folder.rglob("*"):
        if path.is_dir():
            to_disk(path)
    write_json(folder / MANIFEST_FILE, {"format": FORMAT, "files": dict(zip(names, entries, strict=True))})


def _entry(path: Path) -> dict[str, Any]:
    to_disk(path)
    return {"size": path.stat().st_size, "sha256": file_hash(path)}


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a checkpoint; None where there is none that can be read."""
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        return manifest if isinstance(manifest["files"], dict) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep_model_only(checkpoint: Checkpoint) -> None:
    """Turn a checkpoint into one that holds its model and nothing to go on from."""
    files = {name: entry for name, entry in checkpoint.files.items() if name.startswith(f"{MODEL_FOLDER}/")}
    # The manifest first: what it no longer names does not count, whenever this is cut short.
    write_json(checkpoint.folder / MANIFEST_FILE, {"format": FORMAT, "files": files})
    shutil.rmtree(checkpoint.folder / LEARNER_FOLDER, ignore_errors=True)
    for name in (STATE_FILE, PENDING_FILE):
        (checkpoint.folder / name).unlink(missing_ok=True)


def discard(folder: Path) -> None:
    """Delete a checkpoint, under another name: a deletion that is cut short must not look like one."""
    doomed = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(doomed, ignore_errors=True)
    folder.replace(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def save_model(folder: Path, write: Callable[[Path], None]) -> None:
    """Write a model folder whole or not at all.

    Args:
        folder: where it will stand; an older one is replaced.
        write: fills a folder.
    """
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    write(temporary)
    for path in temporary.rglob("*"):
        to_disk(path)
    to_disk(temporary)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.replace(folder)
    to_disk(folder.parent)


def set_aside(folder: Path) -> Path | None:
    """Give a folder another name, so that a run can start anew under its own; None where there is none."""
    if not folder.exists():
        return None
    number = 1
    while (aside := folder.with_name(f"{folder.name}.old{number}")).exists():
        number += 1
    folder.replace(aside)
    return aside
