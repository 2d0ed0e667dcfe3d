"""Rebuilt from the paper: verdicts as its coverage table and solved sets imply, printed as it prints them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import unescape
from pathlib import Path

import pytest

from rlvr.eval.coverage import coverage
from rlvr.eval.loading import load_results
from rlvr.eval.report import write, write_report
from rlvr.eval.report.reference import COVERAGE, ReferenceCoverage
from tests.fabricate import evaluation

COUNTS = {
    "AIME24": (19, 4, 0, 7),
    "MATH500": (462, 18, 5, 15),
    "MATH500, reproduced": (462, 19, 3, 16),
}
"""Problems solved by both, base only, RL only, neither: the only whole numbers that give the paper's shares."""


def verdicts(both: int, base_only: int, rl_only: int, neither: int) -> tuple[list[int], list[int]]:
    """Correct samples of base and trained model."""
    base = [1] * both + [1] * base_only + [0] * rl_only + [0] * neither
    trained = [1] * both + [0] * base_only + [1] * rl_only + [0] * neither
    return base, trained


def coverage_rows(page: str) -> list[list[str]]:
    """The cells of the coverage section's own table, without its tests."""
    section = page[page.index('<section id="coverage"') :]
    body = section[section.index("<tbody>") : section.index("</tbody>")]
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in body.split("<tr>")[1:]]
    return [[unescape(re.sub("<[^>]*>", "", cell)) for cell in row] for row in rows]


@pytest.mark.parametrize("row", COVERAGE, ids=lambda row: row.benchmark)
def test_the_coverage_section_prints_the_papers_table(
    row: ReferenceCoverage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "write_figure", lambda *_: None)
    counts: Sequence[int] = COUNTS[row.benchmark]
    base, trained = verdicts(*counts)
    evaluation(tmp_path / "a" / "base", "base", base, benchmark=row.benchmark)
    evaluation(tmp_path / "a" / "grpo", "grpo", trained, benchmark=row.benchmark)
    write_report(tmp_path / "out", load_results([tmp_path / "a"]), num_resamples=50)
    [cells] = coverage_rows((tmp_path / "out/report.html").read_text())
    wanted = [f"{n} ({share:.1f}\N{NO-BREAK SPACE}%)" for n, share in zip(counts, row.shares, strict=True)]
    assert cells[1:5] == wanted


def test_the_solved_sets_of_livecodebench() -> None:
    """Problems 400 to 449: the base solves 23, the trained model 20, and these five tell them apart."""
    base_only, rl_only = {409, 432, 436, 448}, {430}
    both = [i for i in range(400, 450) if i not in base_only | rl_only][:19]
    base = [int(i in base_only or i in both) for i in range(400, 450)]
    trained = [int(i in rl_only or i in both) for i in range(400, 450)]
    assert (sum(base), sum(trained)) == (23, 20)
    found = coverage([str(i) for i in range(400, 450)], base, trained)
    assert {int(i) for i in found.base_only} == base_only
    assert {int(i) for i in found.rl_only} == rl_only
    assert found.counts == {"both": 19, "base_only": 4, "rl_only": 1, "neither": 26}
