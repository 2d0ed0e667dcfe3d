"""The report of several models on several benchmarks, with checkpoints over training steps."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rlvr.errors import ConfigError
from rlvr.eval.compare import compare, holm_across
from rlvr.eval.names import checkpoint_of
from rlvr.eval.report import BenchmarkResults, StudyResults, write, write_report
from rlvr.eval.report.analysis import analyse
from rlvr.eval.report.charts import FEW_MODELS, LineChart, StackChart, comparison_charts, facets
from rlvr.eval.report.draw_print import write_figure
from rlvr.eval.report.draw_web import draw
from rlvr.eval.report.findings import tally
from rlvr.eval.report.html import Cell
from rlvr.eval.report.labels import COLOURS, crossing_words, is_dashed, label, style_of
from rlvr.eval.report.measurement import BenchmarkAnalysis
from rlvr.eval.report.overview import model_cells, paper_cell
from rlvr.eval.report.reference import IN_DOMAIN, STEPS, TABLE, row_of
from rlvr.eval.report.study_charts import study_charts
from rlvr.eval.statistics import holm
from rlvr.eval.store import Evaluation
from tests.eval.test_report import Page
from tests.fabricate import COUNTS, evaluation, toy_problems

MODELS = ("base", "grpo", "ppo", "remax", "grpo-step4", "grpo-step2", "grpo-step6")
"""Steps out of order, and the last one a copy of the final model."""
MORE = {"remax": [1] * 12, "grpo-step6": COUNTS["grpo"]}
METRICS = {
    run: [
        {"step": s, "reward/mean": s / 10} | {key: value * s for key, value in own.items()}
        for s in range(1, 7)
    ]
    for run, own in {
        "ppo": {"critic/explained_variance": -0.2},
        "grpo": {"reference/kl": 0.01},
        "remax": {"baseline/reward_mean": 0.4},
        "not_measured": {},
    }.items()
}


def results(folder: Path, benchmark: str, *, out_of_domain: bool) -> BenchmarkResults:
    counts = COUNTS | MORE
    evaluations = [
        evaluation(
            folder / benchmark / name, name, counts[name][:: -1 if out_of_domain else 1], benchmark=benchmark
        )
        for name in MODELS
    ]
    return BenchmarkResults(evaluations, toy_problems(name=benchmark), out_of_domain)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    folder = tmp_path_factory.mktemp("study")
    inside = results(folder, "toy", out_of_domain=False)
    return StudyResults([inside, results(folder, "toy_long", out_of_domain=True)], METRICS)


@pytest.fixture(scope="module")
def analyses(study: StudyResults) -> tuple[BenchmarkAnalysis, ...]:
    return analyse(study, num_resamples=200)


@pytest.fixture(scope="module")
def written(study: StudyResults, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "write_figure", lambda *_: None)
        write_report(output, study, num_resamples=200)
    return output


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("grpo-step150", ("grpo", 150)),
        ("grpo (kl.coef_0.001)-step20", ("grpo (kl.coef_0.001)", 20)),
        ("my-step-model", None),
        ("grpo", None),
        ("-step3", None),
    ],
)
def test_the_names_of_checkpoints(name: str, found: tuple[str, int] | None) -> None:
    assert checkpoint_of(name) == found


def test_checkpoints_are_models_of_a_run_and_not_runs(analyses: tuple[BenchmarkAnalysis, ...]) -> None:
    for analysis in analyses:
        assert [model.name for model in analysis.comparison.models] == ["base", "grpo", "ppo", "remax"]
        [steps] = analysis.steps
        assert steps.run == "grpo"
        # 6 is the last step of the metrics: there stands the final model, once.
        assert [point.step for point in steps.points] == [0, 2, 4, 6]


def test_a_run_over_steps_begins_with_the_base_and_ends_with_the_final_model(
    analyses: tuple[BenchmarkAnalysis, ...],
) -> None:
    comparison, [steps] = analyses[0].comparison, analyses[0].steps
    first, second, _, last = steps.points
    assert (first.pass_at_1, first.gap) == (comparison.base.curve.at(1), comparison.base_gap)
    assert second.pass_at_1.estimate == pytest.approx(sum(COUNTS["grpo-step2"]) / 96)
    assert last.pass_at_large == comparison.models[1].curve.at(comparison.gap_k)
    assert last.gap == comparison.against_base[0].gap
    # The base's pass@K is what every gap is measured from.
    for point in steps.points:
        assert point.gap.estimate == pytest.approx(
            100 * (first.pass_at_large.estimate - point.pass_at_1.estimate)
        )


def test_without_metrics_the_final_model_has_no_step(study: StudyResults) -> None:
    [steps] = analyse(StudyResults(study.benchmarks[:1]), num_resamples=20)[0].steps
    assert [point.step for point in steps.points] == [0, 2, 4, 6]
    assert steps.points[-1].pass_at_1.estimate == pytest.approx(sum(MORE["grpo-step6"]) / 96)


def test_tests_are_adjusted_over_all_models_and_benchmarks(analyses: tuple[BenchmarkAnalysis, ...]) -> None:
    both = [each for analysis in analyses for each in analysis.comparison.against_base]
    assert [each.holm_p for each in both] == holm([each.mcnemar_p for each in both])
    assert {analysis.comparison.num_tests for analysis in analyses} == {6}
    assert "after Holm over 6 tests" in analyses[1].findings.models["grpo"][-1]


def test_the_family_decides_the_adjustment(tmp_path: Path) -> None:
    counts = [[0] * 8 + [8] * 4, [8] * 12]
    base, model = (evaluation(tmp_path / name, name, c) for name, c in zip("ab", counts, strict=True))
    alone = compare([base, model], num_resamples=10)
    assert alone.against_base[0].holm_p == pytest.approx(2 / 2**8)
    family = holm_across([alone, alone, alone])
    assert [each.against_base[0].holm_p for each in family] == pytest.approx([6 / 2**8] * 3)


def test_benchmarks_must_hold_the_same_models(study: StudyResults) -> None:
    first, second = study.benchmarks
    fewer = BenchmarkResults(second.evaluations[:-1], out_of_domain=True)
    with pytest.raises(
        ConfigError, match="but 'toy_long' holds base, grpo, ppo, remax, grpo-step4, grpo-step2"
    ):
        analyse(StudyResults([first, fewer]), num_resamples=10)


def test_the_page_has_a_section_for_what_is_out_of_domain(written: Path) -> None:
    text = (written / "report.html").read_text()
    page = Page(text)
    assert page.open == []
    assert page.sections == [
        "summary", "pass-at-k", "difference", "gap", "coverage", "accuracy", "changes", "benchmark-2", "steps", "training",
        "problems", "samples", "provenance",
    ]  # fmt: skip
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {"benchmark-2-pass-at-k", "benchmark-2-difference", "benchmark-2-coverage"} <= set(ids)
    assert "<h2>Out of domain: toy_long</h2>" in text
    assert "toy, in domain" in text
    assert "toy_long, out of domain" in text


def test_the_summary_has_every_benchmark_and_the_first_on_top(written: Path) -> None:
    summary = json.loads((written / "summary.json").read_text())
    assert list(summary["benchmarks"]) == ["toy", "toy_long"]
    inside, outside = summary["benchmarks"].values()
    assert {key: summary[key] for key in inside} == inside
    assert set(outside) == set(inside)
    assert (inside["evaluation"]["out_of_domain"], outside["evaluation"]["out_of_domain"]) == (False, True)
    assert list(summary["models"]) == ["base", "grpo", "ppo", "remax"]
    steps = summary["steps"]["grpo"]
    assert steps["step"] == [0, 2, 4, 6]
    assert steps["pass_at_1"]["estimate"][1] == pytest.approx(sum(COUNTS["grpo-step2"]) / 96)
    assert len(steps["pass_at_8"]["ci_low"]) == len(steps["sampling_efficiency_gap"]["ci_high"]) == 4


def test_charts_of_every_benchmark_and_of_the_steps(
    study: StudyResults, analyses: tuple[BenchmarkAnalysis, ...]
) -> None:
    slugs = [chart.slug for chart in study_charts(study, analyses)]
    assert len(set(slugs)) == len(slugs)
    for slug in (
        "pass_at_k",
        "paired_difference",
        "coverage",
        "steps_pass_at_1",
        "steps_pass_at_8",
        "steps_gap",
    ):
        assert {slug, f"benchmark_2_{slug}"} <= set(slugs)
    for key in ("critic_explained_variance", "reference_kl", "baseline_reward_mean"):
        assert f"training_{key}" in slugs


@pytest.mark.parametrize("key", ["pass_at_k", "paired_difference", "accuracy_histogram"])
def test_charts_of_many_models_are_drawn_for_print(
    study: StudyResults, analyses: tuple[BenchmarkAnalysis, ...], key: str, tmp_path: Path
) -> None:
    write_figure(study_charts(study, analyses).benchmarks[0][key], tmp_path)
    text = (tmp_path / f"{key}.svg").read_text()
    assert all(name in text for name in ("GRPO", "PPO", "ReMax"))


def test_a_run_looks_the_same_everywhere(
    study: StudyResults, analyses: tuple[BenchmarkAnalysis, ...]
) -> None:
    charts = study_charts(study, analyses)
    styles: dict[str, set[int]] = {}
    for chart in charts:
        if isinstance(chart, LineChart):
            for series in chart.series:
                styles.setdefault(series.name.partition(" − ")[0], set()).add(series.style)
    assert styles["GRPO"] == {1}
    assert styles["PPO"] == {2}
    assert styles["not_measured"] == {4}
    assert all(len(found) == 1 for found in styles.values())


def test_many_models_are_drawn_apart(study: StudyResults, analyses: tuple[BenchmarkAnalysis, ...]) -> None:
    assert len(analyses[0].comparison.against_base) > FEW_MODELS
    charts = study_charts(study, analyses).benchmarks[0]
    curves, difference = charts["pass_at_k"], charts["paired_difference"]
    assert isinstance(curves, LineChart)
    assert isinstance(difference, LineChart)
    assert [series.quiet for series in curves.series] == [False, True, True, True, False]
    panels = facets(difference)
    assert [panel.title for panel in panels] == ["GRPO − Base", "PPO − Base", "ReMax − Base"]
    assert len({panel.y_range for panel in panels}) == 1
    accuracy = charts["accuracy_histogram"]
    assert isinstance(accuracy, StackChart)
    assert all(sum(values) == 12 for _, values in accuracy.rows)


def test_styles_differ_for_twelve_trained_models() -> None:
    styles = [style_of(index) for index in range(13)]
    assert len(set(styles)) == 13
    assert len({(COLOURS[style], is_dashed(style)) for style in styles}) == 13


def test_the_tally_sorts_models_by_their_intervals(analyses: tuple[BenchmarkAnalysis, ...]) -> None:
    comparison = analyses[0].comparison
    assert [each.difference.at(1).excludes_zero for each in comparison.against_base] == [True, False, True]
    assert tally(comparison, 1) == (
        "pass@1 is above the base for GRPO; below the base for ReMax; not told apart from the base for PPO."
    )
    assert tally(comparison, 8).startswith("pass@8 is ")


def test_the_overview_marks_what_is_told_from_the_base(analyses: tuple[BenchmarkAnalysis, ...]) -> None:
    comparison = analyses[0].comparison
    one, many, gap = model_cells(comparison, "grpo")
    assert "▲" in one.text
    assert "▲" not in many.text + gap.text
    assert "▼" in model_cells(comparison, "remax")[0].text
    assert gap.order == comparison.against_base[0].gap.estimate
    assert "▲" not in "".join(cell.text for cell in model_cells(comparison, "base"))


def test_the_papers_row_stands_beside_a_model_of_its_algorithm() -> None:
    assert row_of("grpo (kl.coef_0.001)") is TABLE[1]
    assert row_of("mine") is None
    assert paper_cell("mine", IN_DOMAIN) == Cell("–", -1.0)
    assert "0.251" in paper_cell("grpo", IN_DOMAIN).text
    assert "ΔSE 44.0" in paper_cell("grpo", IN_DOMAIN).text
    assert label("grpo (kl.coef_0.001)") == "GRPO (kl.coef_0.001)"


def test_the_papers_steps() -> None:
    assert [step for step, _ in STEPS] == [0, 150, 300, 450]
    assert [round(row.gap(IN_DOMAIN), 1) for _, row in STEPS] == [58.9, 44.0, 42.0, 40.8]


def test_an_evaluation_with_lost_samples_bounds_k_for_all(tmp_path: Path) -> None:
    whole = [evaluation(tmp_path / name, name, COUNTS[name]) for name in ("base", "grpo", "grpo-step2")]
    cut = whole[2]
    fewer = Evaluation(
        cut.spec, cut.problem_ids, cut.num_correct.clip(max=5), cut.num_samples - 3, cut.folder, {}, 0, 0, 1.0
    )
    [analysis] = analyse(StudyResults([BenchmarkResults([*whole[:2], fewer])]), num_resamples=10)
    assert analysis.comparison.ks == (1, 2, 4)


def test_the_crossing_is_marked_with_its_interval(
    analyses: tuple[BenchmarkAnalysis, ...], tmp_path: Path
) -> None:
    comparison = analyses[0].comparison
    chart = comparison_charts(comparison)["pass_at_k"]
    assert isinstance(chart, LineChart)
    grpo, cross = chart.series[1], comparison.against_base[0].crossing
    assert cross.at is not None
    assert grpo.meeting is not None
    assert (grpo.meeting.x, grpo.meeting.words) == (cross.at, crossing_words(cross))
    # It lies on both curves.
    both = [
        np.interp(np.log2(cross.at), np.log2(comparison.ks), m.curve.estimate) for m in comparison.models[:2]
    ]
    assert both == pytest.approx([grpo.meeting.y] * 2)
    assert chart.series[0].meeting is None
    assert "where the curves cross" in chart.caption
    assert 'class="meetings quiet" data-series="GRPO"' in draw(chart)
    few = replace(chart, series=tuple(replace(series, quiet=False) for series in chart.series))
    assert crossing_words(cross) in draw(few)
    write_figure(few, tmp_path)
    assert crossing_words(cross) in (tmp_path / "pass_at_k.svg").read_text()
