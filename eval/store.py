"""Evaluation results on disk: one folder per model, append-only, resumable.

``spec.json`` fixes what is being measured (model, problems, prompt, sampling, verifier), and
``problems.jsonl`` holds the problems, so that a folder can be read without its config;
``samples.jsonl`` receives one row per verified sample, in the order in which they finish.
A row is complete once its line ends, so a killed evaluation loses at most the line being
written, and resuming needs no other state.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from rlvr.errors import ConfigError, DataError
from rlvr.records import Problem, Status

SPEC_FILE, PROBLEMS_FILE, SAMPLES_FILE = "spec.json", "problems.jsonl", "samples.jsonl"
COMPARED_KEYS = ("benchmark", "problems_sha256", "prompt_template", "sampling", "verifier")
"""What two evaluations must share before their pass@k may be compared."""


@dataclass(frozen=True, slots=True)
class EvaluationSpec:
    """Everything that defines an evaluation; two specs that differ are never mixed."""

    model_name: str
    """Name in tables and plots, such as ``base`` or ``grpo``."""
    model_path: str
    model_sha256: str
    """Hash over the model folder's weight and tokenizer files."""
    benchmark: str
    problems_sha256: str
    num_problems: int
    num_samples: int
    """Samples per problem, n."""
    prompt_template: str
    sampling: dict[str, Any]
    """temperature, top_p, max_tokens."""
    verifier: str
    """Name and version of the verifier."""
    seed: int
    chance_level: float
    """Probability that a blind guess is right."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One verified sample: a row of ``samples.jsonl``."""

    problem: str
    """Problem id."""
    sample: int
    """Index in [0, n)."""
    score: float
    status: Status
    answer: str | None
    text: str
    num_tokens: int
    finish_reason: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A finished evaluation: counts per problem, in the order of the benchmark."""

    spec: EvaluationSpec
    problem_ids: tuple[str, ...]
    num_correct: np.ndarray
    """(P,) correct samples of each problem."""
    num_samples: np.ndarray
    """(P,) valid samples of each problem: n, less those lost to the verifier's own errors."""
    folder: Path
    status_counts: dict[str, int]
    """Samples by verdict status, over all problems."""
    mean_num_tokens: float

    @property
    def name(self) -> str:
        """The model's name."""
        return self.spec.model_name

    def samples(self) -> Iterator[Sample]:
        """All rows, read from disk in the order in which they were written."""
        yield from read_samples(self.folder / SAMPLES_FILE)


class SampleStore:
    """Append-only writer of one evaluation, and the list of what is still to do."""

    def __init__(self, folder: Path, spec: EvaluationSpec) -> None:
        """Open or create the folder.

        Raises:
            ConfigError: the folder holds an evaluation with another spec.
        """
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        spec_path = folder / SPEC_FILE
        if spec_path.exists():
            refuse_other_spec(json.loads(spec_path.read_text()), asdict(spec), spec_path)
        else:
            write_json(spec_path, asdict(spec))
        path = folder / SAMPLES_FILE
        stored = list(read_samples(path, repair=True))
        self.done = {(row.problem, row.sample) for row in stored}
        self.num_errors = sum(row.status is Status.ERROR for row in stored)
        self._file: IO[str] = path.open("a", encoding="utf-8")

    def append(self, samples: Sequence[Sample]) -> None:
        """Write rows, each exactly once, and hand them to the operating system at once."""
        for sample in samples:
            key = (sample.problem, sample.sample)
            if key in self.done:
                raise ValueError(f"sample {key} is already stored in {self.folder}")
            self.done.add(key)
            self._file.write(json.dumps(asdict(sample), ensure_ascii=False, separators=(",", ":")) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Flush to the disk itself and close."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


def refuse_other_spec(stored: dict[str, Any], wanted: dict[str, Any], path: Path) -> None:
    """Raise a ConfigError that names the first difference between two specs."""
    for key, value in wanted.items():
        if stored.get(key) != value:
            raise ConfigError(
                f"the evaluation in this folder was made with {key} = {stored.get(key)!r}, now it is {value!r}",
                where=str(path),
                fix="choose another output folder, or delete this one to start anew",
            )


def read_samples(path: Path, repair: bool = False) -> Iterator[Sample]:
    """Read the rows of a samples file.

    Args:
        path: ``samples.jsonl``; a missing file holds no rows.
        repair: cut off a last line that was never finished (the process was killed).

    Raises:
        DataError: a finished line is malformed; named by file and line.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        good_end = 0
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                if repair:
                    os.truncate(path, good_end)
                return
            try:
                row = json.loads(line)
                row["status"] = Status(row["status"])
                yield Sample(**row)
            except (ValueError, TypeError, KeyError) as error:
                raise DataError(
                    f"malformed sample row: {error}",
                    where=f"{path}:{number}",
                    fix="delete the line and resume",
                ) from error
            good_end += len(line)


def read_spec(folder: Path) -> EvaluationSpec:
    """What an evaluation folder measures.

    Raises:
        DataError: its ``spec.json`` is malformed, or not of this version.
    """
    path = folder / SPEC_FILE
    try:
        return EvaluationSpec(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise DataError(
            f"not the spec of an evaluation: {error}",
            where=str(path),
            fix="restore the file, or evaluate anew",
        ) from error


def write_problems(folder: Path, problems: Sequence[Problem]) -> None:
    """Keep the problems beside their samples."""
    lines = [json.dumps(asdict(problem), ensure_ascii=False) + "\n" for problem in problems]
    write_atomically(folder / PROBLEMS_FILE, "".join(lines))


def read_problems(folder: Path) -> list[Problem]:
    """The problems of an evaluation in their order; empty where the folder does not hold them."""
    path = folder / PROBLEMS_FILE
    if not path.exists():
        return []
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    return [Problem(**{**row, "prompt": tuple(row["prompt"])}) for row in rows]


def load_evaluation(folder: Path, problem_ids: Sequence[str]) -> Evaluation:
    """Count the verdicts of a finished evaluation.

    Raises:
        DataError: samples are missing, doubled or belong to other problems.
    """
    spec = read_spec(folder)
    index = {problem_id: i for i, problem_id in enumerate(problem_ids)}
    correct = np.zeros(len(index), dtype=np.int64)
    valid = np.zeros(len(index), dtype=np.int64)
    status_counts = {status.value: 0 for status in Status}
    seen: set[tuple[str, int]] = set()
    num_tokens = 0
    for row in read_samples(folder / SAMPLES_FILE):
        key = (row.problem, row.sample)
        if key in seen or row.problem not in index:
            raise DataError(
                f"sample {key} is doubled or of an unknown problem", where=str(folder / SAMPLES_FILE)
            )
        seen.add(key)
        status_counts[row.status.value] += 1
        num_tokens += row.num_tokens
        if row.status is not Status.ERROR:
            valid[index[row.problem]] += 1
            correct[index[row.problem]] += row.status is Status.CORRECT
    expected = len(index) * spec.num_samples
    if len(seen) != expected:
        raise DataError(
            f"the evaluation holds {len(seen)} of {expected} samples",
            where=str(folder),
            fix="run the same evaluate command again: it goes on where it stopped",
        )
    return Evaluation(
        spec, tuple(problem_ids), correct, valid, folder, status_counts, num_tokens / max(1, len(seen))
    )


def refuse_unlike(base: EvaluationSpec, other: EvaluationSpec, where: str | None = None) -> None:
    """Refuse a comparison whose sides were measured differently.

    Args:
        base: one side.
        other: the other one.
        where: the two folders, for the message.

    Raises:
        ConfigError: prompt, sampling, problems, n or verifier differ; the message names which.
    """
    for key in (*COMPARED_KEYS, "num_samples"):
        ours, theirs = getattr(base, key), getattr(other, key)
        if ours != theirs:
            raise ConfigError(
                f"{base.model_name!r} and {other.model_name!r} cannot be compared: {key} is {ours!r} against {theirs!r}",
                where=where,
                fix="evaluate both with the same settings",
            )


def write_json(path: Path, data: Any) -> None:
    """Write JSON atomically."""
    write_atomically(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def write_atomically(path: Path, text: str) -> None:
    """Write to a temporary file beside it, then rename: nobody sees half a file."""
    temporary = path.with_suffix(path.suffix + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
