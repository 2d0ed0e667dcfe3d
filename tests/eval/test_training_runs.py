"""Runs from several training seeds: their names, their mean, and an interval that covers training chance."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rlvr.eval.bootstrap import Replicates
from rlvr.eval.compare import Comparison, compare
from rlvr.eval.loading import load_results
from rlvr.eval.names import family_of, seed_name, seed_of
from rlvr.eval.report import BenchmarkResults, StudyResults, write, write_report
from rlvr.eval.report.charts import LineChart, comparison_charts, y_limits
from rlvr.eval.report.draw_print import table
from rlvr.eval.report.labels import label, model_styles
from rlvr.eval.statistics import paired_difference
from rlvr.eval.store import Evaluation
from rlvr.eval.tables import table_lines
from rlvr.eval.training_runs import families, with_mean
from tests.fabricate import COUNTS, evaluation, study_folder

RUNS = {name: COUNTS[name] for name in ("grpo-seed0", "grpo-seed1", "grpo-seed7")}


def without_other_noise(difference_rk: list[list[float]], ks: tuple[int, ...]) -> Replicates:
    """A base at 0.5 and runs that differ from it as given; problems and samples add nothing."""
    estimate = 0.5 + np.array([[0.0] * len(ks), *difference_rk])
    return Replicates(ks, estimate, np.repeat(estimate[:, None], 40_000, axis=1))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("grpo-seed0", ("grpo", 0)),
        ("kl_0.1-seed12 (runs/a)", ("kl_0.1 (runs/a)", 12)),
        ("grpo", None),
        ("my-seed-run", None),
        ("grpo-seed0-step20", None),
    ],
)
def test_names_of_runs(name: str, found: tuple[str, int] | None) -> None:
    assert seed_of(name) == found
    assert family_of(name) == (found[0] if found else name)


def test_a_family_has_at_least_two_runs() -> None:
    names = [seed_name("a", 0), "b", seed_name("c", 0), seed_name("a", 5)]
    assert families(names) == {"a": [0, 3]}


@pytest.mark.parametrize(("runs", "quantile"), [(2, 12.706), (3, 4.303), (5, 2.776)])
def test_the_interval_of_the_mean_is_students_where_nothing_else_varies(runs: int, quantile: float) -> None:
    values = np.linspace(-0.001, 0.002, runs)[:, None] * [1.0, -2.0]
    found = with_mean(
        without_other_noise(values.tolist(), (1, 2)), range(1, runs + 1), np.random.default_rng(0)
    )
    difference = paired_difference(found, 0, runs + 1)
    np.testing.assert_allclose(difference.estimate, values.mean(axis=0), atol=1e-12)
    half = quantile * values.std(axis=0, ddof=1) / np.sqrt(runs)
    np.testing.assert_allclose(difference.high - difference.estimate, half, rtol=0.05)
    np.testing.assert_allclose(difference.estimate - difference.low, half, rtol=0.05)


def test_runs_that_agree_add_nothing_and_curves_move_as_a_whole() -> None:
    same = with_mean(without_other_noise([[0.1, 0.2]] * 3, (1, 2)), [1, 2, 3], np.random.default_rng(0))
    np.testing.assert_allclose(same.resampled[-1], 0.5 + np.array([[0.1, 0.2]] * 40_000), atol=1e-12)
    # All runs lie on one line: so does every resample.
    moved = with_mean(
        without_other_noise([[0.01, 0.02], [0.0, 0.0], [-0.02, -0.04]], (1, 2)),
        [1, 2, 3],
        np.random.default_rng(0),
    )
    inside = np.abs(moved.resampled[-1] - 0.5).max(axis=1) < 0.4
    first, second = moved.resampled[-1][inside].T - moved.estimate[-1][:, None]
    np.testing.assert_allclose(second, 2 * first, atol=1e-9)


def runs(folder: Path, benchmark: str = "toy") -> list[Evaluation]:
    counts = {"base": COUNTS["base"], **RUNS, "ppo": COUNTS["ppo"]}
    return [evaluation(folder / name, name, correct, benchmark=benchmark) for name, correct in counts.items()]


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    return compare(runs(tmp_path), num_resamples=400)


def test_the_mean_stands_for_its_runs(comparison: Comparison) -> None:
    [mean] = comparison.means
    assert mean.name == "grpo (mean of 3 runs)"
    assert [each.name for each in comparison.trained] == [mean.name, "ppo"]
    assert [run.name for run in comparison.runs_of(mean)] == list(RUNS)
    assert mean.difference.at(1).estimate == pytest.approx(
        np.mean([run.difference.at(1).estimate for run in comparison.runs_of(mean)])
    )
    assert mean.between_runs[0] == pytest.approx(
        np.std([sum(counts) / 96 for counts in RUNS.values()], ddof=1)
    )


def test_training_chance_makes_the_interval_of_the_mean_wider_than_that_of_problems(tmp_path: Path) -> None:
    far = {"base": [4] * 12, "a-seed0": [1] * 12, "a-seed1": [4] * 12, "a-seed2": [7] * 12}
    near = {name: [4] * 12 for name in far}
    widths = []
    for kind, counts in {"far": far, "near": near}.items():
        models = [evaluation(tmp_path / kind / name, name, each) for name, each in counts.items()]
        interval = compare(models, num_resamples=400).means[0].difference.at(1)
        widths.append(interval.high - interval.low)
    assert widths[0] > 4 * widths[1]


def test_a_single_run_from_a_seed_has_no_mean(tmp_path: Path) -> None:
    models = [evaluation(tmp_path / name, name, COUNTS["grpo"]) for name in ("base", "grpo-seed4")]
    found = compare(models, num_resamples=50)
    assert found.means == ()
    assert [each.name for each in found.trained] == ["grpo-seed4"]


def test_runs_share_a_colour_and_are_drawn_thin(comparison: Comparison) -> None:
    styles = model_styles([model.name for model in comparison.models])
    assert styles["grpo-seed0"] == styles["grpo-seed7"] == styles["grpo"] == 1
    assert styles["ppo"] == 2
    chart = comparison_charts(comparison)["pass_at_k"]
    assert isinstance(chart, LineChart)
    assert [series.name for series in chart.series[:3]] == ["Base", "GRPO (mean of 3 runs)", "PPO"]
    assert [len(series.runs) for series in chart.series[:3]] == [0, 3, 0]
    header, *rows = table(chart)
    assert header[-3:] == ["run 1", "run 2", "run 3"]
    assert {len(row) for row in rows} == {len(header)}


def test_the_report_says_what_its_intervals_cover(
    tmp_path: Path, comparison: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "write_figure", lambda *_: None)
    study = StudyResults([BenchmarkResults(runs(tmp_path / "again"))])
    write_report(tmp_path / "report", study, num_resamples=100)
    page = (tmp_path / "report" / "report.html").read_text()
    for words in (
        "GRPO (mean of 3 runs)",
        "GRPO, seed 7",
        "One run only: PPO",
        "cover the chance in training",
        "Run by run, in words",
    ):
        assert words in page
    found = json.loads((tmp_path / "report" / "summary.json").read_text())["mean_of_runs"]["grpo"]
    assert found["runs"] == list(RUNS)
    assert len(found["paired_difference"]["ci_low"]) == len(found["between_runs"]) == 4
    assert any("grpo (mean of 3 runs)" in line for line in table_lines([comparison]))


def test_runs_of_one_study_stay_a_family_beside_those_of_another(tmp_path: Path) -> None:
    for tag in ("a", "b"):
        study_folder(tmp_path / tag, ("base", "grpo-seed0", "grpo-seed1"), tag=tag)
    study = load_results([tmp_path / "a", tmp_path / "b"])
    found = [each.name for each in study.benchmarks[0].evaluations[1:]]
    assert sorted(found) == ["grpo-seed0 (a)", "grpo-seed0 (b)", "grpo-seed1 (a)", "grpo-seed1 (b)"]
    assert set(families(found)) == {"grpo (a)", "grpo (b)"}
    assert label("grpo-seed1 (a)") == "GRPO (a), seed 1"
    assert label("grpo (a) (mean of 2 runs)") == "GRPO (a) (mean of 2 runs)"
    means = compare(study.benchmarks[0].evaluations, num_resamples=20).means
    assert [len(mean.runs) for mean in means] == [2, 2]


def test_the_axis_holds_the_interval_at_each_k_where_it_is_wider_than_the_band(
    comparison: Comparison,
) -> None:
    chart = comparison_charts(comparison)["paired_difference"]
    assert isinstance(chart, LineChart)
    wide = replace(chart.series[0], inner_high=(0.9,) * len(comparison.ks))
    assert y_limits(replace(chart, series=(wide,)))[1] > 0.9
