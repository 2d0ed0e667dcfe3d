"""Every block of docs/python.md runs, and does what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.fabricate import study_folder

PAGE = Path(__file__).resolve().parents[1] / "docs" / "python.md"
BLOCKS = re.findall(
    r"```python\n(.*?)```", PAGE.read_text().partition("## Commands as functions")[0], re.DOTALL
)
"""Those that start no engine; tests/cli/test_workflows.py runs the other one."""


def test_the_blocks_run_one_after_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study_folder(tmp_path / "runs" / "tiny")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    assert len(BLOCKS) == 4
    for block in BLOCKS:
        exec(compile(block, str(PAGE), "exec"), names)
    assert names["hardest"].to_dict() == {"base": 1, "grpo": 3, "ppo": 1}
    assert names["gained"].iloc[0] > 0
    assert "1.0 correct 0.75" in capsys.readouterr().out
