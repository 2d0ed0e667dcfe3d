"""Which model is the base: the same one to ``rlvr evaluate`` and to ``rlvr report``."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import pytest

from rlvr.eval import report
from rlvr.eval.report import write
from rlvr.workflows import evaluate
from tests.broken import rewrite
from tests.cli.pools import SMALL, Pools
from tests.fabricate import study_folder


@pytest.fixture(autouse=True)
def quick(pools: Pools, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real reports of few resamples, without figures."""
    short = partial(report.write_report, num_resamples=20)
    monkeypatch.setattr(write, "write_figure", lambda *_: None)
    monkeypatch.setattr(report, "write_report", short)
    monkeypatch.setattr(evaluate, "write_report", short)


def compared(folder: Path) -> tuple[list[str], list[str]]:
    """The models of a report in their order, and those that are compared with the base."""
    summary = json.loads((folder / "summary.json").read_text())
    return list(summary["models"]), list(summary["paired_difference"])


@pytest.mark.parametrize(
    ("named", "order", "said"),
    [
        (("zeta", "alpha"), ["zeta", "alpha"], "report: no model is called 'base', so the base is the first that was named, 'zeta'"),
        (("alpha", "zeta"), ["alpha", "zeta"], "report: no model is called 'base', so the base is the first that was named, 'alpha'"),
        (("base", "alpha"), ["base", "alpha"], ""),
        (("alpha", "base"), ["base", "alpha"], "evaluate: the base is the model called 'base', though 'alpha' is named first"),
    ],
)  # fmt: skip
def test_an_evaluation_and_a_later_report_of_it_have_the_same_base(
    rlvr, pools: Pools, tmp_path: Path, named: tuple[str, str], order: list[str], said: str
) -> None:
    other = shutil.copytree(pools.model, tmp_path / "other")
    rewrite(other, lambda tensors: tensors["lm_head.weight"].mul_(2))
    models = f"models={{{named[0]}: {pools.model}, {named[1]}: {other}}}"
    measured = rlvr("evaluate", models, "benchmark=chains", f"run.dir={tmp_path}/both", *SMALL)
    assert measured.code == 0, measured.err
    result = rlvr("report", f"{tmp_path}/both", f"output={tmp_path}/report")
    assert result.code == 0, result.err
    assert compared(tmp_path / "both") == compared(tmp_path / "report") == (order, order[1:])
    lines = [line for line in (measured.err + result.err).splitlines() if "the base is" in line]
    assert lines == ([said] if said else [])


def test_where_no_report_says_what_was_named_first_the_first_folder_does(rlvr, cwd: Path) -> None:
    for name in ("ppo", "grpo"):
        study_folder(cwd / name, (name,))
    result = rlvr("report", "ppo", "grpo")
    assert result.code == 0, result.err
    assert compared(cwd / "runs/report") == (["ppo", "grpo"], ["grpo"])
