"""The samples file of an evaluation: ``samples.jsonl.gz``, one row per verified sample (``zcat`` shows them).

Rows stand in the order in which they finished. Each append is a gzip member of its own: it counts once it is
whole, so a killed evaluation loses at most the chunk being written, and resuming needs no other state.
"""

from __future__ import annotations

import errno
import fcntl
import gzip
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rlvr.errors import ConfigError, DataError
from rlvr.records import Status

WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What file systems answer that know no locks, as some of clusters; two writers are then not noticed."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One verified sample: a row of ``samples.jsonl.gz``."""

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


def encode_samples(samples: Sequence[Sample]) -> bytes:
    """Rows as one gzip member."""
    rows = [
        json.dumps(asdict(sample), ensure_ascii=False, separators=(",", ":")) + "\n" for sample in samples
    ]
    return gzip.compress("".join(rows).encode(), compresslevel=6, mtime=0)


def read_samples(path: Path, repair: bool = False) -> Iterator[Sample]:
    """Read the rows of a samples file.

    Args:
        path: ``samples.jsonl.gz``; a missing file holds no rows.
        repair: cut off a last member that was never finished (the process was killed).

    Raises:
        DataError: a finished member is malformed; named by file and place.
    """
    if not path.exists():
        return
    number = end = 0
    for member, member_end in read_members(path):
        for line in member.splitlines():
            number += 1
            try:
                row = json.loads(line)
                row["status"] = Status(row["status"])
                yield Sample(**row)
            except (ValueError, TypeError, KeyError) as error:
                raise DataError(
                    f"malformed sample row: {error}",
                    where=f"{path}, row {number}",
                    fix="restore the file, or delete the folder and evaluate anew",
                ) from error
        end = member_end
    if repair and end < path.stat().st_size:
        os.truncate(path, end)


def read_members(path: Path, block: int = 1 << 20) -> Iterator[tuple[bytes, int]]:
    """Every whole gzip member of a file, and where it ends; an unfinished last one is left out.

    Raises:
        DataError: bytes that are no gzip.
    """
    with path.open("rb") as file:
        end, data = 0, b""
        while True:
            reader, parts, size = zlib.decompressobj(wbits=31), [], 0
            while not reader.eof:
                data = data or file.read(block)
                if not data:
                    return
                size += len(data)
                try:
                    parts.append(reader.decompress(data))
                except zlib.error as error:
                    raise DataError(
                        f"not gzip: {error}",
                        where=f"{path}, byte {end}",
                        fix="restore the file, or delete the folder and evaluate anew",
                    ) from error
                data = b""
            data = reader.unused_data
            end += size - len(data)
            yield b"".join(parts), end


def lock(file: int, path: Path) -> None:
    """Keep the file to this process; the lock ends with it, however it ends.

    Raises:
        ConfigError: another process holds it.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in WITHOUT_LOCKS:
            return
        if not isinstance(error, BlockingIOError):
            raise
        raise ConfigError(
            "another process is writing this evaluation",
            where=str(path),
            fix="wait for it or end it; or run.dir=ANOTHER_FOLDER",
        ) from error
