"""``rlvr paper`` where studies fail: what is left out, what goes on, and what the command ends with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from rlvr.workflows import paper_run
from tests.cli.test_paper import OWN
from tests.fabricate import study_folder

FOUR: dict[str, Any] = {
    "one": {**OWN["studies"]["one"]},
    "on": {"recipe": "tiny", "about": "goes on from one", "minutes": 1, "after": ["one"]},
    "further": {"recipe": "tiny", "about": "and from that", "minutes": 1, "after": ["on"]},
    "two": OWN["studies"]["two"],
}
"""Two studies that need the first one, and one that does not."""


class Calls:
    """Stands in for the commands: that of study ``one`` ends with a code, all others leave a study."""

    def __init__(self, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.code = code
        self.started: list[str] = []
        monkeypatch.setattr(paper_run, "call", self)

    def __call__(self, words: list[str]) -> int:
        folder = Path(words[-1].partition("=")[2])
        self.started.append(folder.name)
        if folder.name == "one" and self.code:
            return self.code
        study_folder(folder, ("base", "grpo-seed0", "grpo-seed1"))
        return 0


@pytest.fixture
def four(cwd: Path) -> str:
    (cwd / "own.yaml").write_text(yaml.safe_dump({**OWN, "studies": FOUR}, sort_keys=False))
    return "claims=own.yaml"


def test_a_study_that_fails_leaves_out_those_that_need_it_and_no_others(
    rlvr, cwd: Path, four: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(3, monkeypatch)
    result = rlvr("paper", four, "only=one,on,further,two")
    assert result.code == 3
    assert calls.started == ["one", "two"]
    said, end = result.err.split("\nrlvr paper: ")
    failed = "the study one ended with exit code 3"
    left_out = "the study on was left out, since it needs one"
    assert (
        said.index(failed)
        < said.index("`rlvr study recipe=tiny run.reuse_from=runs run.dir=runs/one`")
        < said.index(left_out)
    )
    assert said.index("the study further was left out, since it needs on") < said.index("study 4 of 4: two")
    assert all(words in end for words in (failed, left_out, "the same command goes on"))
    data = json.loads((cwd / "runs/paper/claims.json").read_text())
    assert {name: each["failure"] for name, each in data["studies"].items()} == {
        "one": failed, "on": left_out, "further": "the study further was left out, since it needs on", "two": None,
    }  # fmt: skip
    claims = data["papers"]["own"]["claims"]
    assert claims["up"]["decision"] is None
    assert claims["down"]["decision"] is not None
    assert "not run yet   It rises." in result.out
    page = (cwd / "runs/paper/report.html").read_text()
    assert page.count("The study one ended with exit code 3.") == 2  # at its claim, and among the studies
    assert failed in (cwd / "runs/paper/claims.md").read_text()

    calls.code = 0
    assert rlvr("paper", four, "only=one,on,further,two").code == 0
    assert calls.started[2:] == ["one", "on", "further"]
    page = (cwd / "runs/paper/report.html").read_text()
    assert "ended with exit code" not in page
    assert ">None" not in page


@pytest.mark.parametrize(("code", "end"), [(7, 7), (8, 8), (-9, 137), (143, 143)])
def test_a_failure_that_is_the_machines_stops_all(
    rlvr, cwd: Path, four: str, monkeypatch: pytest.MonkeyPatch, code: int, end: int
) -> None:
    calls = Calls(code, monkeypatch)
    result = rlvr("paper", four)
    assert result.code == end
    assert calls.started == ["one"]
    assert "nothing more is run" in result.err
    data = json.loads((cwd / "runs/paper/claims.json").read_text())
    assert data["studies"]["one"]["failure"]
    assert data["studies"]["two"]["state"] == "to run"


def test_nothing_more_is_run_on_a_full_disk(rlvr, four: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(1, monkeypatch)
    monkeypatch.setattr(paper_run.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 99, 1))
    assert rlvr("paper", four).code == 1
    assert calls.started == ["one"]


def test_a_study_that_fails_ends_the_command_with_its_code(rlvr, four: str) -> None:
    result = rlvr("paper", four, "only=up", "train.num_stepz=2")
    assert result.code == 2
    assert "the study one ended with exit code 2" in result.err
