"""The measurement of CONTRIBUTING.md, taken from its text: one module and one line put it into page and summary."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rlvr.eval.loading import load_results
from rlvr.eval.report import analysis, overview, page, study_charts, summary, write, write_report
from rlvr.eval.report.measurements import MEASUREMENTS
from tests.fabricate import study_folder

CONTRIBUTING = Path(__file__).resolve().parents[2] / "CONTRIBUTING.md"


@pytest.fixture
def length(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example as a module, in the list of all measurements."""
    section = CONTRIBUTING.read_text().partition("## Add a measurement")[2].partition("\n## ")[0]
    [code] = re.findall(r"```python\n(.*?)```", section, re.S)
    found: Any = ModuleType("length")
    monkeypatch.setitem(sys.modules, "length", found)  # where its dataclass looks for itself
    exec(compile(code, "length.py", "exec"), found.__dict__)
    for module in (analysis, overview, page, study_charts, summary):
        monkeypatch.setattr(module, "MEASUREMENTS", (*MEASUREMENTS, found.MEASUREMENT))
    monkeypatch.setitem(page.NAVIGATION, found.ANCHOR, found.MEASUREMENT.navigation)
    monkeypatch.setattr(write, "write_figure", lambda *_: None)
    return found


def test_the_example_is_shown_and_summarised(length: ModuleType, tmp_path: Path) -> None:
    study_folder(tmp_path / "study", ("base", "grpo"), ("toy", "toy_long"))
    write_report(tmp_path / "out", load_results([tmp_path / "study"]), num_resamples=20)
    text = (tmp_path / "out/report.html").read_text()
    assert 'href="#length"' in text
    assert 'id="length"' in text
    assert 'id="benchmark-2-length"' in text  # in the section of the further benchmark
    found = json.loads((tmp_path / "out/summary.json").read_text())
    assert found["length"] == {"base": [5.0, 5.0], "grpo": [5.0, 5.0]}
    assert found["benchmarks"]["toy_long"]["length"] == found["length"]


def test_anchors_and_keys_are_each_used_once() -> None:
    anchors = [each.anchor for each in MEASUREMENTS]
    keys = [each.summary_key for each in MEASUREMENTS if each.summary_key]
    assert len(set(anchors)) == len(anchors)
    assert len(set(keys)) == len(keys)
    own = {
        "unfinished",
        "summary",
        "steps",
        "training",
        "samples",
        "provenance",
    }  # sections of the page itself
    assert not own & {*anchors, *keys}
