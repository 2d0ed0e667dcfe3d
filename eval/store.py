"""Evaluation results on disk: one folder per model, append-only, resumable.

``spec.json`` fixes what is being measured (model, problems, prompt, sampling, verifier), and
``problems.jsonl`` holds the problems, so that a folder can be read without its config;
``samples.jsonl.gz`` receives the verified samples (see samples.py).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlvr.errors import ConfigError, DataError
from rlvr.eval.samples import Sample, encode_samples, lock, read_samples
from rlvr.files import write_json, write_text
from rlvr.records import ImageFile, Problem, Status
from rlvr.run_folder import COUNTS_FILE, PROBLEMS_FILE, PROMPT_FILE, SAMPLES_FILE, SPEC_FILE, read_json

SERVED = "served:"
COUNTED = {"of", "correct", "valid", "status", "cut_off", "unanswered", "tokens"}
"""What stands in ``counts.json``."""
COMPARED_KEYS = ("benchmark", "problems_sha256", "prompt_template", "sampling", "verifier")
"""What two evaluations must share before their pass@k may be compared."""


@dataclass(frozen=True, slots=True)
class EvaluationSpec:
    """Everything that defines an evaluation; two specs that differ are never mixed."""

    model_name: str
    """Name in tables and plots, such as ``base`` or ``grpo``."""
    model_path: str
    """Where it lay when it was last asked for; the hash is what tells it from others."""
    model_sha256: str
    """Hash over the model folder's weight and tokenizer files; ``served:HOST/NAME`` for a model behind a server,
    which does not show them."""
    benchmark: str
    problems_sha256: str
    num_problems: int
    num_samples: int
    """Samples per problem, n."""
    prompt_template: str
    sampling: dict[str, Any]
    """temperature, top_p, max_tokens, and top_k where it is on."""
    verifier: str
    """Name and version of the verifier."""
    seed: int
    chance_level: float
    """Probability that a blind guess is right."""

    @property
    def is_served(self) -> bool:
        """Whether the model stood behind a server, so that its name is all that is known of its weights."""
        return self.model_sha256.startswith(SERVED)


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
    num_cut_off: int
    """Samples that the length limit ended; whatever they say, they count as wrong."""
    num_unanswered: int
    """Samples that ended by themselves and hold no answer that the verifier could read."""
    mean_num_tokens: float

    @property
    def name(self) -> str:
        """The model's name."""
        return self.spec.model_name

    def share(self, count: int) -> float:
        """Of all samples."""
        return count / max(1, sum(self.status_counts.values()))

    def samples(self) -> Iterator[Sample]:
        """All rows, read from disk in the order in which they were written."""
        yield from read_samples(self.folder / SAMPLES_FILE)


class SampleStore:
    """Append-only writer of one evaluation, and the list of what is still to do."""

    def __init__(self, folder: Path, spec: EvaluationSpec) -> None:
        """Open or create the folder, for this process alone.

        Raises:
            ConfigError: the folder holds an evaluation with another spec, or another process writes into it.
        """
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        spec_path = folder / SPEC_FILE
        if spec_path.exists():
            refuse_other_spec(json.loads(spec_path.read_text()), asdict(spec), spec_path)
        path = folder / SAMPLES_FILE
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            lock(self._file, path)
            if not spec_path.exists() or read_json(spec_path).get("model_path") != spec.model_path:
                write_json(spec_path, asdict(spec))
            stored = list(read_samples(path, repair=True))
        except BaseException:
            os.close(self._file)
            raise
        self.done = {(row.problem, row.sample) for row in stored}
        self.num_errors = self.num_correct = self.num_cut_off = 0
        self._count(stored)

    def _count(self, samples: Sequence[Sample]) -> None:
        self.num_errors += sum(sample.status is Status.ERROR for sample in samples)
        self.num_correct += sum(sample.status is Status.CORRECT for sample in samples)
        self.num_cut_off += sum(sample.finish_reason == "length" for sample in samples)

    def append(self, samples: Sequence[Sample]) -> None:
        """Write rows as one whole, each exactly once, and hand them to the operating system at once."""
        keys = [(sample.problem, sample.sample) for sample in samples]
        doubled = next((key for i, key in enumerate(keys) if key in self.done or key in keys[:i]), None)
        if doubled is not None:
            raise ValueError(f"sample {doubled} is already stored in {self.folder}")
        left = memoryview(encode_samples(samples))
        while left:  # a full disk or a signal may cut a write short; what is there of it is no member
            left = left[os.write(self._file, left) :]
        self.done.update(keys)
        self._count(samples)

    def close(self) -> None:
        """Flush to the disk itself and close."""
        os.fsync(self._file)
        os.close(self._file)


def refuse_other_spec(stored: dict[str, Any], wanted: dict[str, Any], path: Path) -> None:
    """Raise a ConfigError that names the first difference between two specs, but for where the model lies."""
    for key, value in wanted.items():
        if stored.get(key) != value and key != "model_path":
            raise ConfigError(
                f"the evaluation in this folder was made with {key} = {stored.get(key)!r}, now it is {value!r}",
                where=str(path),
                fix="choose another output folder, or delete this one to start anew",
            )


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
    write_text(folder / PROBLEMS_FILE, "".join(lines))


def read_prompt(folder: Path) -> str | None:
    """The first problem's prompt as the model read it; None where the folder does not hold it."""
    path = folder / PROMPT_FILE
    return path.read_text(encoding="utf-8") if path.exists() else None


def read_problems(folder: Path) -> list[Problem]:
    """The problems of an evaluation in their order; empty where the folder does not hold them."""
    path = folder / PROBLEMS_FILE
    if not path.exists():
        return []
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    return [
        Problem(
            **{
                **row,
                "prompt": tuple(row["prompt"]),
                "images": tuple(ImageFile(**image) for image in row.get("images", ())),
            }
        )
        for row in rows
    ]


def load_evaluation(folder: Path, problem_ids: Sequence[str]) -> Evaluation:
    """Count the verdicts of a finished evaluation.

    The counts are kept beside the samples, so that a report need not read every response again.

    Raises:
        DataError: samples are missing, doubled or belong to other problems.
    """
    spec = read_spec(folder)
    counts = read_counts(folder, problem_ids) or count(folder, spec, problem_ids)
    return Evaluation(
        spec,
        tuple(problem_ids),
        np.array(counts["correct"], dtype=np.int64),
        np.array(counts["valid"], dtype=np.int64),
        folder,
        counts["status"],
        counts["cut_off"],
        counts["unanswered"],
        sum(counts["tokens"]) / max(1, sum(counts["status"].values())),
    )


def read_counts(folder: Path, problem_ids: Sequence[str]) -> dict[str, Any] | None:
    """The stored counts, if they are of this very samples file and these problems in this order."""
    path = folder / COUNTS_FILE
    if not path.exists():
        return None
    try:
        counts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        is_whole = counts.keys() >= COUNTED  # those of earlier versions are not
        return counts if is_whole and counts["of"] == counted(folder, problem_ids) else None
    except (ValueError, TypeError, KeyError):
        return None


def is_counted(folder: Path) -> bool:
    """Whether all samples of this very file were there and counted once, whatever the order of the problems."""
    try:
        of = json.loads((folder / COUNTS_FILE).read_text(encoding="utf-8"))["of"]
        stat = (folder / SAMPLES_FILE).stat()
        return (of["bytes"], of["modified_ns"]) == (stat.st_size, stat.st_mtime_ns)
    except (OSError, ValueError, TypeError, KeyError):
        return False


def expected_tokens(folder: Path, problem_ids: Sequence[str]) -> dict[str, int]:
    """Response tokens of each problem in a finished evaluation of another model beside this one; empty without.

    Problems that made one model write much make most models write much.
    """
    for other in sorted(folder.parent.glob(f"*/{COUNTS_FILE}")):
        counts = read_counts(other.parent, problem_ids) if other.parent != folder else None
        if counts is not None:
            return dict(zip(problem_ids, counts["tokens"], strict=True))
    return {}


def counted(folder: Path, problem_ids: Sequence[str]) -> dict[str, Any]:
    """What counts are of: the file by its size and time, the problems by their ids."""
    stat = (folder / SAMPLES_FILE).stat()
    ids = hashlib.sha256("\n".join(problem_ids).encode()).hexdigest()
    return {"bytes": stat.st_size, "modified_ns": stat.st_mtime_ns, "problems": ids}


def count(folder: Path, spec: EvaluationSpec, problem_ids: Sequence[str]) -> dict[str, Any]:
    """Read every row, check that each is there once, count, and keep the counts."""
    index = {problem_id: i for i, problem_id in enumerate(problem_ids)}
    correct, valid, tokens = [0] * len(index), [0] * len(index), [0] * len(index)
    cut_off = unanswered = 0
    status_counts = {status.value: 0 for status in Status}
    seen: set[tuple[str, int]] = set()
    for row in read_samples(folder / SAMPLES_FILE):
        key = (row.problem, row.sample)
        if key in seen or row.problem not in index:
            raise DataError(
                f"sample {key} is doubled or of an unknown problem", where=str(folder / SAMPLES_FILE)
            )
        seen.add(key)
        status_counts[row.status.value] += 1
        tokens[index[row.problem]] += row.num_tokens
        if row.finish_reason == "length":
            cut_off += 1
        elif row.status is Status.UNPARSED:
            unanswered += 1
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
    counts = {
        "correct": correct,
        "valid": valid,
        "status": status_counts,
        "cut_off": cut_off,
        "unanswered": unanswered,
        "tokens": tokens,
    }
    if os.access(folder, os.W_OK):
        of = counted(folder, problem_ids)
        write_text(folder / COUNTS_FILE, json.dumps({"of": of, **counts}) + "\n")
    return counts


def refuse_unlike(base: EvaluationSpec, other: EvaluationSpec, where: str | None = None) -> None:
    """Refuse a comparison whose sides were measured differently.

    Args:
        base: one side.
        other: the other one.
        where: the two folders, for the message.

    Raises:
        ConfigError: prompt, sampling, length, problems, n or verifier differ; the message names each difference.
    """
    found = differences(base, other)
    if found:
        raise ConfigError(
            f"{base.model_name!r} and {other.model_name!r} cannot be compared: {'; '.join(found)}",
            where=where,
            fix="evaluate both with the same settings; where only the verifier differs, "
            "`rlvr evaluate regrade=FOLDER` judges the stored responses anew",
        )


def differences(base: EvaluationSpec, other: EvaluationSpec) -> list[str]:
    """What differs between two evaluations and must not, each in a few words."""
    found = []
    for key in (*COMPARED_KEYS, "num_samples"):
        ours, theirs = getattr(base, key), getattr(other, key)
        if ours == theirs:
            continue
        if isinstance(ours, dict):
            names = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
            found += [f"{key}.{name} is {ours.get(name)!r} against {theirs.get(name)!r}" for name in names]
        elif key == "verifier":
            left, right = (re.findall(r"[^(),]+", str(identity)) for identity in (ours, theirs))
            mine, other_only = (
                [word for word in a if word not in b] for a, b in ((left, right), (right, left))
            )
            found.append(f"verifier is {', '.join(mine) or ours} against {', '.join(other_only) or theirs}")
        else:
            found.append(f"{key} is {ours!r} against {theirs!r}")
    return found
