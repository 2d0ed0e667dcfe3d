"""What training cost: rewards over steps and over wall time, of runs and of means over seeds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rlvr.eval.compare import compare
from rlvr.eval.report import BenchmarkResults, StudyResults, write_report
from rlvr.eval.report.charts import LineChart, Series
from rlvr.eval.report.cost import LAST, SMOOTHING, Cost, cost_charts, costs, smooth
from rlvr.eval.report.dynamics import dynamics_charts, run_styles
from rlvr.eval.statistics import student_t
from rlvr.run_folder import MetricRow
from tests.fabricate import COUNTS, evaluation, toy_problems

PROMPTS = np.random.default_rng(3).normal(0, 0.1, 40)
"""How much easier the prompts of each step are than most; the same for all runs."""


def rows(level: float, seconds: float, num_steps: int = 40, seed: int = 0) -> list[MetricRow]:
    """Steps that take so long; rewards scatter a little around a level, and with the prompts."""
    own = np.random.default_rng(seed).normal(0, 0.01, num_steps)
    return [
        {"step": step + 1, "reward/mean": float(level + PROMPTS[step] + own[step]), "time/step": seconds}
        for step in range(num_steps)
    ]


# https://www.itl.nist.gov/div898/handbook/eda/section3/eda3672.htm
@pytest.mark.parametrize(
    ("freedom", "t"), [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (20, 2.086), (100, 1.984)]
)
def test_students_t_is_that_of_the_tables(freedom: int, t: float) -> None:
    assert student_t(freedom) == pytest.approx(t, abs=5e-4)
    assert student_t(freedom, 0.5) < student_t(freedom, 0.9) < t


def test_one_run_has_nothing_to_be_compared_with() -> None:
    assert costs({}) == []
    assert costs({"grpo": rows(0.5, 2.0)}) == []
    assert costs({f"grpo-seed{seed}": rows(0.5, 2.0, seed=seed) for seed in range(3)}) == []
    untimed = [{key: value for key, value in row.items() if key != "time/step"} for row in rows(0.5, 2.0)]
    assert costs({"grpo": rows(0.5, 2.0), "ppo": untimed}) == []
    assert cost_charts([], {}) == {}


def test_two_runs_are_compared_step_by_step() -> None:
    slow, fast = costs({"slow": rows(0.5, 3.0), "fast": rows(0.45, 2.0, seed=1)})
    assert (slow.name, slow.step_seconds, slow.seconds, slow.num_steps) == ("slow", 3.0, 120.0, 40)
    assert (fast.seconds, fast.last) == (80.0, LAST)
    ends = [row["reward/mean"] for row in rows(0.5, 3.0)][-LAST:]
    half = 2.093 * np.std(ends, ddof=1) / LAST**0.5
    assert slow.reward.estimate == pytest.approx(np.mean(ends))
    assert slow.reward.high - slow.reward.estimate == pytest.approx(half, rel=1e-3)
    assert slow.difference is None
    assert fast.difference is not None
    assert fast.difference.low < -0.05 < fast.difference.high < 0
    # The prompts of a step make its rewards alike, which the pairs leave out.
    assert fast.difference.high - fast.difference.low < 0.25 * (fast.reward.high - fast.reward.low)


def test_runs_are_read_off_at_the_same_times_as_far_as_they_go() -> None:
    found = costs({"slow": rows(0.5, 3.0), "fast": rows(0.4, 1.0), "short": rows(0.6, 3.0, num_steps=2)})
    slow, fast, short = (each.over_seconds for each in found)
    assert (slow.x[0], slow.x[-1]) == (3.0, 120.0)
    assert (fast.x[0], fast.x[-1]) == (1.0, 40.0)
    assert (short.x[0], short.x[-1]) == (3.0, 6.0)
    assert len(set(fast.x) & set(slow.x)) > 70
    assert found[2].difference is None  # its last steps are others than those of the first
    assert {each.last for each in found} == {2}
    charts = cost_charts(found, run_styles(["base"], ["slow", "fast", "short"]))
    assert charts["cost_reward_time"].x_label == "wall time, s"
    assert [series.name for series in charts["cost_reward_time"].series] == ["slow", "fast", "short"]
    bands = [bool(series.low) for series in charts["cost_reward_steps"].series]
    assert bands == [True, True, False]  # two steps do not say how far steps scatter
    hours = cost_charts(
        costs({"a": rows(0.5, 300.0), "b": rows(0.4, 200.0)}), run_styles(["base"], ["a", "b"])
    )
    assert hours["cost_reward_time"].x_label == "wall time, h"
    assert hours["cost_reward_time"].series[0].x[-1] == pytest.approx(40 * 300 / 3600, abs=1e-3)


def of_seeds(family: str, levels: dict[int, float], seconds: float) -> dict[str, list[MetricRow]]:
    return {f"{family}-seed{seed}": rows(level, seconds, seed=seed) for seed, level in levels.items()}


def test_runs_from_several_seeds_are_one_line_whose_interval_is_between_them() -> None:
    now = of_seeds("now", {0: 0.3, 1: 0.5, 2: 0.7}, 3.0)
    old = of_seeds("old", {0: 0.2, 1: 0.41, 5: 0.9}, 2.0)
    first, second = costs(now | old | {"other": rows(0.5, 1.0)})[:2]
    assert (first.name, first.title) == ("now", "now (mean of 3 runs)")
    means = [np.mean([row["reward/mean"] for row in each[-LAST:]]) for each in now.values()]
    assert first.reward.estimate == pytest.approx(np.mean(means))
    half = student_t(2) * np.std(means, ddof=1) / 3**0.5
    assert first.reward.high - first.reward.estimate == pytest.approx(half)
    line = first.over_steps
    assert line.high[20] - line.y[20] == pytest.approx(half, rel=0.1)
    assert second.difference is not None
    assert second.difference.estimate == pytest.approx(-0.095, abs=0.01)  # of the two seeds that both have


def test_the_band_of_a_single_run_holds_what_its_steps_scatter_around() -> None:
    rng = np.random.default_rng(0)
    trend = np.linspace(0.2, 0.5, 120)
    held = []
    for _ in range(300):
        means, half = smooth(trend + rng.normal(0, 0.1, 120))
        held.append(np.abs(means - trend) <= half)
    window = 120 // (2 * SMOOTHING)
    inside = np.mean(held, axis=0)[window:-window]  # where the mean is as much before as behind
    assert 0.92 < inside.mean() < 0.97
    flat = [np.abs(each[0]) <= each[1] for each in (smooth(rng.normal(0, 0.1, 120)) for _ in range(300))]
    assert 0.92 < np.mean(flat, axis=0)[[0, 60, -1]].mean() < 0.97  # at the ends, of fewer steps, as well


def reward_lines(metrics: dict[str, list[MetricRow]]) -> tuple[Series, ...]:
    """What the chart of the reward shows."""
    chart = dynamics_charts(metrics, run_styles(["base"], metrics))["training_reward_mean"]
    assert isinstance(chart, LineChart)
    return chart.series


def test_training_charts_have_a_line_for_each_family() -> None:
    metrics = of_seeds("now", {0: 0.3, 1: 0.5}, 3.0) | {"other": rows(0.1, 1.0)}
    mean, other = reward_lines(metrics)
    assert (mean.name, other.name) == ("now (mean of 2 runs)", "other")
    assert len(mean.runs) == 2
    assert mean.y[7] == pytest.approx((mean.runs[0][7] + mean.runs[1][7]) / 2)
    unequal = metrics | {"now-seed1": metrics["now-seed1"][:30]}
    assert reward_lines(unequal)[0].x[-1] == 30


@pytest.fixture
def study(tmp_path: Path) -> StudyResults:
    counts = {"base": COUNTS["base"], "slow": COUNTS["ppo"], "fast": COUNTS["grpo"]}
    measured = [evaluation(tmp_path / name, name, count) for name, count in counts.items()]
    metrics = {"slow": rows(0.5, 3.0), "fast": rows(0.4, 2.0, seed=1)}
    return StudyResults([BenchmarkResults(measured, toy_problems())], metrics)


def test_the_page_has_cost_and_what_is_left_of_it_in_one_table(study: StudyResults, tmp_path: Path) -> None:
    write_report(tmp_path / "report", study, num_resamples=100)
    page = (tmp_path / "report" / "report.html").read_text()
    section = page[page.index('<section id="cost">') :]
    section = section[: section.index("</section>")]
    for words in (
        "s/step",
        "Less what slow has",
        "pass@1 − base",
        "3.00",
        "1 min 20 s",
        "do not cover the chance in training",
    ):
        assert words in section
    assert section.count("<figure") == 2
    assert (tmp_path / "report" / "figures" / "cost_reward_time.csv").exists()
    found = json.loads((tmp_path / "report" / "summary.json").read_text())["training_cost"]
    assert found["slow"]["difference"] is None
    assert found["fast"]["step_seconds"] == 2.0
    assert found["fast"]["difference"]["ci_high"] < 0


def test_pass_at_k_is_compared_with_that_of_the_first_trained_model(study: StudyResults) -> None:
    evaluations = study.benchmarks[0].evaluations
    whole = compare(evaluations, num_resamples=2000)
    [(name, less)] = whole.less_first.items()
    assert name == "fast"
    direct = compare(evaluations[1:], num_resamples=2000).against_base[0].difference
    assert less.estimate == pytest.approx(direct.estimate)
    assert less.low == pytest.approx(direct.low, abs=0.03)
    assert less.high == pytest.approx(direct.high, abs=0.03)
    assert compare(evaluations[:2], num_resamples=20).less_first == {}


def test_means_of_runs_are_compared_with_one_another(tmp_path: Path) -> None:
    levels = {"base": 4, "a-seed0": 6, "a-seed1": 7, "b-seed0": 2, "b-seed1": 3, "c": 5}
    measured = [evaluation(tmp_path / name, name, [level] * 12) for name, level in levels.items()]
    found = compare(measured, num_resamples=500)
    assert list(found.less_first) == ["b (mean of 2 runs)", "c"]
    num_samples = int(measured[0].num_samples[0])
    of_means, of_one = (each.at(1) for each in found.less_first.values())
    assert of_means.estimate == pytest.approx((2.5 - 6.5) / num_samples)
    assert of_one.estimate == pytest.approx((5 - 6.5) / num_samples)
    assert of_means.high - of_means.low > of_one.high - of_one.low  # the chance in the training of both


def test_what_is_measured_first_is_not_taken_for_what_was_trained_first(
    study: StudyResults, tmp_path: Path
) -> None:
    other = StudyResults(study.benchmarks, {"unmeasured": rows(0.5, 1.0), **study.metrics})
    write_report(tmp_path / "report", other, num_resamples=100)
    page = (tmp_path / "report" / "report.html").read_text()
    table = page[page.index("Less what unmeasured has") :]
    assert "pass@" not in table[: table.index("</table>")]


def test_a_page_of_one_run_speaks_of_no_cost(study: StudyResults, tmp_path: Path) -> None:
    alone = StudyResults(study.benchmarks, {"slow": study.metrics["slow"]})
    write_report(tmp_path / "report", alone, num_resamples=100)
    assert 'id="cost"' not in (tmp_path / "report" / "report.html").read_text()
    assert json.loads((tmp_path / "report" / "summary.json").read_text())["training_cost"] == {}


def test_a_line_of_many_steps_is_thinned() -> None:
    many = [{"step": step, "reward/mean": 0.5, "time/step": 1.0} for step in range(1, 1001)]
    found: list[Cost] = costs({"a": many, "b": many})
    for chart in cost_charts(found, run_styles(["base"], ["a", "b"])).values():
        assert all(len(series.x) <= 300 for series in chart.series)
