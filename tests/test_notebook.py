"""docs/first_look.ipynb runs on the evaluation that lies beside it, and prints what the file says that it prints."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rlvr.run_folder import SUMMARY_FILE
from tests.notebook import code_cells, outputs, run_cells, text

DOCS = Path(__file__).resolve().parents[1] / "docs"
NOTEBOOK = json.loads((DOCS / "first_look.ipynb").read_text(encoding="utf-8"))


def test_the_notebook_prints_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(DOCS / "first_look", tmp_path / "first_look")
    monkeypatch.chdir(tmp_path)
    shown = outputs(NOTEBOOK)
    assert len(shown) == len(code_cells(NOTEBOOK)) >= 7
    assert run_cells(NOTEBOOK) == shown
    summary = json.loads((tmp_path / "runs/first-look" / SUMMARY_FILE).read_text())
    assert list(summary["models"]) == ["base", "grpo"]
    assert f"pass@1 {summary['models']['grpo']['pass_at_k'][0]:.3f}" in shown[-1]


def test_the_evaluation_beside_it_is_whole_and_of_a_real_model() -> None:
    specs = [json.loads(path.read_text()) for path in sorted((DOCS / "first_look").rglob("spec.json"))]
    assert [spec["model_name"] for spec in specs] == ["base", "grpo"]
    assert {(spec["num_problems"], spec["num_samples"]) for spec in specs} == {(40, 64)}
    words = "".join(text(cell["source"]) for cell in NOTEBOOK["cells"])
    assert "40 of its 300 problems, 64 of its 256 samples" in words
