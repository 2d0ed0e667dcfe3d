"""All charts of a study: of each benchmark, over saved models, and of the training runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rlvr.eval.report.charts import Chart, LineChart, comparison_charts
from rlvr.eval.report.cost import cost_charts, costs
from rlvr.eval.report.dynamics import dynamics_charts, run_styles
from rlvr.eval.report.measurement import BenchmarkAnalysis, Drawing
from rlvr.eval.report.measurements import MEASUREMENTS
from rlvr.eval.report.step_charts import step_charts
from rlvr.eval.results import StudyResults, last_step


@dataclass(frozen=True, slots=True)
class StudyCharts:
    """Charts by what they show; a run has the same style in all of them."""

    benchmarks: Sequence[Mapping[str, Chart]]
    """Of each benchmark, in their order."""
    steps: Sequence[Mapping[str, LineChart]]
    """Of each benchmark, empty without checkpoints."""
    cost: Mapping[str, LineChart]
    """Empty with one run."""
    training: Mapping[str, Chart]
    styles: Mapping[str, int]
    """Of models and runs, by name."""

    def __iter__(self) -> Iterator[Chart]:
        """All of them."""
        for charts in (*self.benchmarks, *self.steps, self.cost, self.training):
            yield from charts.values()


def study_charts(study: StudyResults, analyses: Sequence[BenchmarkAnalysis]) -> StudyCharts:
    """Describe every chart of a report."""
    # The style of the base is kept free where nothing is measured yet, so that the runs keep theirs.
    models = [model.name for model in analyses[0].comparison.models] if analyses else [""]
    runs = [run.run for run in analyses[0].steps] if analyses else []
    styles = run_styles(models, [*runs, *study.metrics])
    prefixes = [f"benchmark_{number}_" if number > 1 else "" for number in range(1, len(analyses) + 1)]
    drawing = Drawing(styles, {run: last_step(rows) for run, rows in study.metrics.items()})
    return StudyCharts(
        [benchmark_charts(each, prefix, drawing) for each, prefix in zip(analyses, prefixes, strict=True)],
        [step_charts(each, styles, prefix) for each, prefix in zip(analyses, prefixes, strict=True)],
        cost_charts(costs(study.metrics), styles),
        dynamics_charts(study.metrics, styles),
        styles,
    )


def benchmark_charts(analysis: BenchmarkAnalysis, prefix: str, drawing: Drawing) -> dict[str, Chart]:
    """The charts of one benchmark."""
    more = [
        chart
        for each in MEASUREMENTS
        if each.anchor in analysis.found
        for chart in each.charts(analysis, drawing)
    ]
    added = {chart.slug: replace(chart, slug=prefix + chart.slug) for chart in more}
    return comparison_charts(analysis.comparison, prefix) | added
