"""The samples file: what is read of it, whole, cut short or damaged."""

from __future__ import annotations

import errno
import gzip
import json
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import pytest

from rlvr.errors import DataError
from rlvr.eval import samples
from rlvr.eval.samples import encode_samples, read_members, read_samples
from rlvr.run_folder import SAMPLES_FILE
from tests.eval.test_store import ALL, sample, store_of


def test_samples_survive(tmp_path: Path) -> None:
    awkward = sample("p0", 0, text='a\nb\u2028"c" 答え \\ \t')
    path = store_of(tmp_path, awkward, ALL[1])
    assert list(read_samples(path)) == [awkward, ALL[1]]
    assert gzip.decompress(path.read_bytes()).count(b"\n") == 2  # as zcat shows them


@pytest.mark.parametrize("block", [1, 2, 3, 50, 1 << 20])
def test_members_are_found_however_the_file_is_read(tmp_path: Path, block: int) -> None:
    for row in ALL:
        path = store_of(tmp_path, row)
    members = list(read_members(path, block))
    assert [len(encode_samples([row])) for row in ALL] == [
        end - start for start, end in pairwise([0, *(end for _, end in members)])
    ]
    assert b"".join(member for member, _ in members) == gzip.decompress(path.read_bytes())


def test_a_file_system_without_locks_is_written_all_the_same(tmp_path: Path, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(samples.fcntl, "flock", refuse)
    assert list(read_samples(store_of(tmp_path, ALL[0]))) == ALL[:1]


def test_what_is_no_gzip_is_named_by_its_place(tmp_path: Path) -> None:
    path = store_of(tmp_path, ALL[0])
    end = path.stat().st_size
    path.write_bytes(path.read_bytes() + b"something else, long enough to be seen")
    with pytest.raises(DataError, match="not gzip") as caught:
        list(read_samples(path))
    assert caught.value.where == f"{path}, byte {end}"


def test_reading_does_not_repair(tmp_path: Path) -> None:
    store_of(tmp_path, ALL[0])
    path = store_of(tmp_path, ALL[1])
    cut = path.read_bytes()[:-3]
    path.write_bytes(cut)
    assert list(read_samples(path)) == ALL[:1]
    assert path.read_bytes() == cut


@pytest.mark.parametrize(
    "line",
    ["{", "5", "{}", json.dumps({**asdict(ALL[0]), "status": "?"}), json.dumps({**asdict(ALL[0]), "x": 1})],
)
def test_a_malformed_finished_line_is_named(tmp_path: Path, line: str) -> None:
    path = store_of(tmp_path, ALL[0])
    with path.open("ab") as file:
        file.write(gzip.compress(f"{line}\n".encode()))
    with pytest.raises(DataError, match="malformed") as caught:
        list(read_samples(path))
    assert caught.value.where == f"{path}, row 2"
    assert caught.value.fix


def test_no_file_is_no_rows(tmp_path: Path) -> None:
    assert list(read_samples(tmp_path / SAMPLES_FILE)) == []
