"""`rlvr checkpoints`: what a run has kept, and whether it is whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


def test_checkpoints_can_be_listed_and_verified(train, rlvr, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train("train.checkpoint_every=1").code == 0
    listed = rlvr("checkpoints", "list", run)
    assert listed.code == 0, listed.err
    assert [line.split()[0] for line in listed.out.splitlines()] == ["step", "1", "2"]
    assert rlvr("checkpoints", "verify", run).out.count(", whole") == 2
    [file] = (run / "checkpoints" / "step-000002" / "learner").iterdir()
    file.write_text("other")
    verified = rlvr("checkpoints", "verify", run, "--json")
    assert verified.code == 7
    assert [row["whole"] for row in json.loads(verified.out)] == [True, False]
    assert str(file) in verified.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("lst", "."), "did you mean 'list'"),
        (("list",), "no run is named"),
        (("verify", "."), "no checkpoints here"),
    ],
)
def test_questions_about_checkpoints_that_make_no_sense(rlvr, words, message: str) -> None:
    result = rlvr("checkpoints", *words)
    assert result.code == 2
    assert message in result.err
