"""The sections whose axis is the training step: saved models, and the training runs themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rlvr.eval.report import reference
from rlvr.eval.report.charts import CLEAR_BANDS, Chart, LineChart
from rlvr.eval.report.html import Cell, Markup, details, element, section, table
from rlvr.eval.report.labels import bracket, label, listed, percent
from rlvr.eval.report.measurement import BenchmarkAnalysis, figure, panels


def steps_section(
    analyses: Sequence[BenchmarkAnalysis], charts: Sequence[Mapping[str, LineChart]]
) -> Markup | None:
    """Checkpoints of the runs on every benchmark, and the paper's own beside them."""
    if not any(charts):
        return None
    runs = [label(run.run) for run in analyses[0].steps]
    level = percent(analyses[0].comparison.level)
    hidden = " (point at a name)" if len(runs) > CLEAR_BANDS else ""
    lead = element(
        "p",
        f"The saved models of {listed(runs)}, from the base (step 0) to the final one. Bands{hidden}: {level} at each step "
        "alone. All steps are measured on the same problems.",
        css="small",
    )
    parts: list[Markup] = [lead]
    for analysis, drawn in zip(analyses, charts, strict=True):
        title = [element("h3", analysis.results.name)] if len(analyses) > 1 else []
        parts += [
            *title,
            panels(list(drawn.values()), columns=3),
            details("Numbers with intervals", steps_table(analysis)),
        ]
    return section("steps", "Over training steps", *parts, paper_steps())


def steps_table(analysis: BenchmarkAnalysis) -> Markup:
    """A row per saved model."""
    large = analysis.comparison.gap_k
    rows = [
        [
            f"{label(run.run)}, step {point.step}",
            Cell(bracket(point.pass_at_1), point.pass_at_1.estimate),
            Cell(bracket(point.pass_at_large), point.pass_at_large.estimate),
            Cell(bracket(point.gap, 1), point.gap.estimate),
        ]
        for run in analysis.steps
        for point in run.points
    ]
    return table(["", "pass@1", f"pass@{large}", "ΔSE, points"], rows)


def paper_steps() -> Markup:
    """The paper's GRPO run over its steps."""
    headers = ["step", *(name for benchmark in reference.BENCHMARKS for name in (benchmark, "ΔSE"))]
    rows = [
        [
            Cell(str(step), step),
            *(cell for i in range(len(reference.BENCHMARKS)) for cell in reference.reference_cells(row, i)),
        ]
        for step, row in reference.STEPS
    ]
    note = (
        f"{reference.STEPS_SOURCE}; pass@1 / pass@256 in percent, ΔSE in points. pass@1 on the training problems keeps "
        "rising while pass@256 falls. Another model and other problems: for orientation, not for comparison."
    )
    return details(
        "What the paper reports over training, for orientation",
        table(headers, rows),
        element("p", note, css="small"),
    )


def dynamics_section(charts: Mapping[str, Chart], undrawn: Sequence[str]) -> Markup | None:
    """The training runs over their steps; ``undrawn`` are sentences on metrics without a chart."""
    lines = [chart for chart in charts.values() if isinstance(chart, LineChart)]
    others = [chart for chart in charts.values() if not isinstance(chart, LineChart)]
    if not charts:
        return None
    parts: list[Markup] = []
    if lines:
        pale = (
            ", pale ones the steps themselves"
            if any(s.faint for chart in lines for s in chart.series)
            else ""
        )
        note = f"Lines are centred means over a twentieth of the run{pale}; long runs are thinned evenly."
        parts = [panels(lines), element("p", note, css="small")]
    parts += [figure(chart, heading=True) for chart in others]
    if undrawn:
        parts.append(element("p", " ".join(undrawn), css="small"))
    return section("training", "Training", *parts)
