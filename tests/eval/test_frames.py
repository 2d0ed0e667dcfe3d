"""Results as pandas tables: what is on disk, and the statistics of the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rlvr.errors import ConfigError
from rlvr.eval import frames
from rlvr.eval.compare import compare
from rlvr.eval.loading import load_results
from tests.fabricate import COUNTS, N, study_folder


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return study_folder(tmp_path / "study", benchmarks=("toy", "far"))


def test_samples_and_problems_are_what_was_stored(study: Path) -> None:
    rows = frames.samples(study)
    assert len(rows) == 2 * 3 * 12 * N
    assert set(rows.status) == {"correct", "incorrect"}
    counted = rows[rows.benchmark == "toy"].groupby(["model", "problem"], sort=False).score.sum()
    problems = frames.problems(study).query("benchmark == 'toy'").set_index(["model", "problem"])
    assert problems.num_correct.to_dict() == counted.to_dict()
    assert problems.loc["grpo"].num_correct.to_list() == COUNTS["grpo"]
    assert problems.accuracy.max() == 1.0


def test_curves_are_those_of_the_report(study: Path) -> None:
    rows = frames.pass_at_k(study, num_resamples=200).query("benchmark == 'toy'")
    [toy, _] = load_results([study]).benchmarks
    report = compare(toy.evaluations, ks=[1, 2, 4, 8], num_resamples=200, seed=0)
    for model in report.models:
        mine = rows[rows.model == model.name]
        assert mine.k.to_list() == [1, 2, 4, 8]
        for name in ("estimate", "low", "high"):
            column = "pass_at_k" if name == "estimate" else name
            np.testing.assert_allclose(mine[column], getattr(model.curve, name))
    for trained in report.trained:
        mine = rows[rows.model == trained.name]
        np.testing.assert_allclose(mine.difference, trained.difference.estimate)
        np.testing.assert_allclose(mine.difference_low, trained.difference.low)
    assert rows[rows.model == "base"].difference.isna().all()


def test_metrics_are_a_row_per_run_and_step(study: Path) -> None:
    rows = frames.metrics(study)
    assert rows.groupby("run").step.max().to_dict() == {"grpo": 6, "ppo": 6}
    assert rows["reward/mean"].max() == 0.6


def test_what_a_report_refuses_is_refused(study: Path, tmp_path: Path) -> None:
    other = study_folder(tmp_path / "other", changes={"prompt_template": "plain"}, tag="2")
    with pytest.raises(ConfigError):
        frames.problems(study, other)
