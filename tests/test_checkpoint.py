"""Checkpoints: whole or not at all, checked before use, pruned."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from rlvr.checkpoint import (
    LEARNER_FOLDER,
    MANIFEST_FILE,
    STATE_FILE,
    Checkpoints,
    Progress,
    identity_of,
    keep_model_only,
    save_model,
    set_aside,
)
from rlvr.errors import CheckpointError
from rlvr.run_folder import MODEL_FOLDER

IDENTITY = identity_of({"seed": 1}, {"problems_sha256": "data"})


def write(folder: Path) -> None:
    """What a learner writes."""
    for name in (MODEL_FOLDER, LEARNER_FOLDER):
        (folder / name).mkdir(parents=True)
        (folder / name / "weights.bin").write_bytes(name.encode() * 1000)


def store(run: Path, **options) -> tuple[Checkpoints, list[str]]:
    said: list[str] = []
    return Checkpoints(run, **{"keep": 2, "identity": IDENTITY, "report": said.append, **options}), said


def saved(run: Path, *steps: int, **options) -> tuple[Checkpoints, list[str]]:
    checkpoints, said = store(run, **options)
    for step in steps:
        checkpoints.save(Progress(step, num_drawn=10 * step, seconds=2.5), write)
    return checkpoints, said


def newest(run: Path) -> int:
    found = store(run)[0].newest()
    return 0 if found is None else found.step


def test_what_is_saved_is_what_is_found(tmp_path: Path) -> None:
    saved(tmp_path, 3)
    found = store(tmp_path)[0].newest()
    assert found is not None
    assert found.progress() == Progress(3, num_drawn=30, seconds=2.5)
    assert found.faults() == []
    assert found.num_bytes > 2 * 1000 * len(MODEL_FOLDER)
    state = found.state()
    assert state["config"] == {"seed": 1}
    assert state["versions"]["rlvr"]
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000003"]


def test_nothing_is_found_where_nothing_was_saved(tmp_path: Path) -> None:
    checkpoints, _ = store(tmp_path / "none")
    assert checkpoints.newest() is None
    assert checkpoints.all() == []
    assert not (tmp_path / "none").exists()


def test_the_newest_is_the_one_of_the_highest_step(tmp_path: Path) -> None:
    saved(tmp_path, 9, 10, 1_000_000)
    assert newest(tmp_path) == 1_000_000


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    checkpoints, _ = saved(tmp_path, 1, 2, 3, 4, keep=2)
    assert [each.step for each in checkpoints.all()] == [3, 4]


def test_a_kept_model_can_be_read_but_not_gone_on_from(tmp_path: Path) -> None:
    checkpoints, _ = saved(tmp_path, 2, 4, 6, keep=1, keep_model_every=4)
    model, last = checkpoints.all()
    assert (model.step, model.resumable, last.step, last.resumable) == (4, False, 6, True)
    assert sorted(path.name for path in model.folder.iterdir()) == [MANIFEST_FILE, MODEL_FOLDER]
    assert model.faults() == []
    assert newest(tmp_path) == 6


@pytest.mark.parametrize("file", [f"{MODEL_FOLDER}/weights.bin", f"{LEARNER_FOLDER}/weights.bin", STATE_FILE])
@pytest.mark.parametrize("damage", ["flip", "cut", "lose"])
def test_a_damaged_file_is_named_and_the_run_falls_back_one_step(
    tmp_path: Path, file: str, damage: str
) -> None:
    checkpoints, said = saved(tmp_path, 1, 2)
    path = checkpoints.all()[1].folder / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    {
        "flip": lambda: path.write_bytes(content),
        "cut": lambda: os.truncate(path, len(content) // 2),
        "lose": path.unlink,
    }[damage]()
    found = checkpoints.newest()
    assert found is not None
    assert found.step == 1
    [line] = said
    assert "step 2" in line
    assert str(path) in line


def test_a_checkpoint_without_a_readable_manifest_is_none(tmp_path: Path) -> None:
    checkpoints, _ = saved(tmp_path, 1, 2)
    (checkpoints.all()[1].folder / MANIFEST_FILE).write_text('{"files": ')
    assert newest(tmp_path) == 1


def test_it_is_an_error_if_every_checkpoint_is_damaged(tmp_path: Path) -> None:
    checkpoints, said = saved(tmp_path, 1, 2)
    for each in checkpoints.all():
        (each.folder / STATE_FILE).write_text("{}")
    with pytest.raises(CheckpointError, match="every checkpoint") as caught:
        checkpoints.newest()
    assert "rlvr checkpoints verify" in str(caught.value)
    assert len(said) == 2


def test_a_damaged_step_is_written_anew(tmp_path: Path) -> None:
    checkpoints, _ = saved(tmp_path, 1, 2)
    (checkpoints.all()[1].folder / STATE_FILE).unlink()
    assert newest(tmp_path) == 1
    saved(tmp_path, 2)
    assert newest(tmp_path) == 2


def test_another_format_is_refused(tmp_path: Path) -> None:
    checkpoints, _ = saved(tmp_path, 1)
    monkey = checkpoints.all()[0].folder
    state = json.loads((monkey / STATE_FILE).read_text())
    shutil.rmtree(monkey)
    checkpoints._identity = IDENTITY | {"format": state["format"] + 1}
    checkpoints.save(Progress(1), write)
    with pytest.raises(CheckpointError, match="format"):
        checkpoints.newest()


def fails(folder: Path) -> None:
    write(folder)
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    checkpoints, _ = saved(tmp_path, 1)
    with pytest.raises(CheckpointError, match=r"step 2 could not be written: .*No space left") as caught:
        checkpoints.save(Progress(2), fails)
    assert caught.value.exit_code == 7
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-000001"]
    assert newest(tmp_path) == 1


def write_as_the_libraries_do(folder: Path) -> None:
    """A megabyte each by safetensors and by torch, which write in Rust and in C++."""
    for name in (MODEL_FOLDER, LEARNER_FOLDER):
        (folder / name).mkdir(parents=True)
    save_file({"weight": torch.zeros(1 << 18)}, folder / MODEL_FOLDER / "model.safetensors")
    torch.save({"weight": torch.zeros(1 << 18)}, folder / LEARNER_FOLDER / "policy.pt")


def write_torch_only(folder: Path) -> None:
    (folder / LEARNER_FOLDER).mkdir(parents=True)
    torch.save({"weight": torch.zeros(1 << 18)}, folder / LEARNER_FOLDER / "policy.pt")


@pytest.mark.parametrize("writer", [write_as_the_libraries_do, write_torch_only])
def test_a_write_that_the_system_refuses_leaves_what_was_there(
    tmp_path: Path, writer: Callable[[Path], None]
) -> None:
    checkpoints, _ = saved(tmp_path, 1)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, limit[1]))
    try:
        with pytest.raises(CheckpointError, match="step 2 could not be written"):
            checkpoints.save(Progress(2), writer)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-000001"]
    assert newest(tmp_path) == 1


def test_a_save_that_will_not_fit_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    checkpoints, _ = saved(tmp_path, 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1 << 40, 0, 1 << 20))
    begun: list[Path] = []
    with pytest.raises(CheckpointError, match="GiB free"):
        checkpoints.save(Progress(2), begun.append)
    assert begun == []
    assert newest(tmp_path) == 1
    with pytest.raises(CheckpointError, match=r"needs 10\.2 GiB"):
        store(tmp_path / "new")[0].require_space(10 << 30)


class Killed(BaseException):
    """Stands for kill -9: no handler of an Exception sees it."""


def strike_at(point: int, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> Callable[[], int]:
    """Raise at the n-th call that changes the disk or waits for it; returns how many there were.

    From a death on nothing happens any more, no clean-up either; any other error occurs once.
    """
    count = 0

    def watched(name: str, original: Callable) -> Callable:
        def call(*args, **kwargs):
            nonlocal count
            count += 1
            if count == point and name == "write_text":  # half a file
                Path(args[0]).write_bytes(args[1][: len(args[1]) // 2].encode())
            if count == point or (count > point and isinstance(error, Killed)):
                raise error
            return original(*args, **kwargs)

        return call

    for owner, names in (
        (os, ("fsync", "unlink", "rmdir", "mkdir")),
        (Path, ("replace", "write_text", "mkdir", "unlink")),
    ):
        for name in names:
            monkeypatch.setattr(owner, name, watched(name, getattr(owner, name)))
    return lambda: count


@pytest.mark.parametrize("error", [Killed(), OSError(errno.ENOSPC, "No space left on device")])
def test_a_save_cut_short_at_any_point_leaves_a_run_that_goes_on(
    tmp_path: Path, error: BaseException
) -> None:
    """The fourth save, which prunes: to the model alone for step 2, and away for step 3."""
    point, outcomes, endings = 0, set(), set()
    saved(tmp_path / "start", 2, 3, keep=2)
    while True:
        point += 1
        run = tmp_path / str(point)
        shutil.copytree(tmp_path / "start", run)
        checkpoints, said = store(run, keep=1, keep_model_every=2)
        with pytest.MonkeyPatch.context() as patch:
            points = strike_at(point, patch, error)
            ending = None
            try:
                checkpoints.save(Progress(4), write)
            except (Killed, CheckpointError) as caught:
                ending = type(caught)
        if ending is CheckpointError:
            assert list(checkpoints.folder.glob(".*")) == [], point
        endings.add(ending)
        step = newest(run)
        outcomes.add(step)
        # The same command goes on, and leaves nothing of the failed save behind.
        saved(run, *range(step + 1, 6), keep=1, keep_model_every=2)
        assert newest(run) == 5
        left = {path.name for path in (run / "checkpoints").iterdir()}
        assert {"step-000004", "step-000005"} <= left <= {"step-000002", "step-000004", "step-000005"}, point
        if points() < point:  # it went through
            break
    assert said == []
    assert point > 20
    assert outcomes == {3, 4}
    assert endings == {None, Killed if isinstance(error, Killed) else CheckpointError}


WRITER = """
import sys
from pathlib import Path
from rlvr.checkpoint import Checkpoints, Progress

def write(folder):
    for number in range(20):
        (folder / "model" / str(number)).mkdir(parents=True)
        (folder / "model" / str(number) / "weights.bin").write_bytes(bytes([number]) * 300_000)

checkpoints = Checkpoints(Path(sys.argv[1]), keep=2)
found = checkpoints.newest()
step = found.step if found else 0
while True:
    step += 1
    checkpoints.save(Progress(step), write)
    print(step, flush=True)
"""


def test_a_process_that_is_killed_five_times_while_it_saves_loses_nothing(tmp_path: Path) -> None:
    rng = random.Random(0)
    last = 0
    for _ in range(5):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        assert writer.stdout.readline().strip() == str(last + 1)  # it goes on where it was killed
        time.sleep(rng.uniform(0, 0.5))
        writer.kill()
        printed = writer.stdout.read().split()
        writer.wait()
        checkpoints, said = store(tmp_path, identity=None)
        found = checkpoints.newest()
        assert found is not None
        assert said == []  # none is damaged
        last = int(printed[-1]) if printed else last + 1
        assert found.step in (last, last + 1)  # one more if it had no time left to say so
        last = found.step
    assert last > 5


def test_pruning_to_the_model_survives_being_cut_short(tmp_path: Path) -> None:
    checkpoints, _ = saved(tmp_path, 1, 2)
    first = checkpoints.all()[0]
    keep_model_only(first)
    shutil.copytree(checkpoints.all()[1].folder / LEARNER_FOLDER, first.folder / LEARNER_FOLDER)
    assert [each.resumable for each in checkpoints.all()] == [False, True]


def test_a_model_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save_model(folder, write)
    content = sorted(folder.rglob("*"))
    with pytest.raises(OSError, match="No space"):
        save_model(folder, fails)
    assert sorted(folder.rglob("*")) == content


def test_what_is_set_aside_keeps_its_content(tmp_path: Path) -> None:
    assert set_aside(tmp_path / "run") is None
    for number in (1, 2):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "file").write_text(str(number))
        aside = set_aside(tmp_path / "run")
        assert aside == tmp_path / f"run.old{number}"
        assert (aside / "file").read_text() == str(number)
