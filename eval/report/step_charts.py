"""Charts of saved models over training steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rlvr.eval.report.charts import CLEAR_BANDS, LineChart, Series
from rlvr.eval.report.labels import label
from rlvr.eval.report.measurement import BenchmarkAnalysis, RunOverSteps, StepPoint
from rlvr.eval.statistics import Interval


def step_charts(
    analysis: BenchmarkAnalysis, styles: Mapping[str, int], prefix: str = ""
) -> dict[str, LineChart]:
    """pass@1, pass@K and the gap against the step, a line per run; empty without checkpoints."""
    if not analysis.steps:
        return {}
    large = analysis.comparison.gap_k
    few = len(analysis.steps) <= CLEAR_BANDS
    wanted: dict[str, tuple[str, str, Callable[[StepPoint], Interval]]] = {
        "pass_at_1": ("pass@1", "share of problems", lambda point: point.pass_at_1),
        f"pass_at_{large}": (f"pass@{large}", "share of problems", lambda point: point.pass_at_large),
        "gap": ("ΔSE", "percentage points", lambda point: point.gap),
    }
    if large == 1:
        del wanted["gap"]
    return {
        slug: LineChart(
            f"{prefix}steps_{slug}",
            title,
            "Step 0 is the base, the last step the final model.",
            "step",
            unit,
            tuple(step_series(run, styles[run.run], value, quiet=not few) for run in analysis.steps),
        )
        for slug, (title, unit, value) in wanted.items()
    }


def step_series(run: RunOverSteps, style: int, value: Callable[[StepPoint], Interval], quiet: bool) -> Series:
    """One run's line with its intervals."""
    values = [value(point) for point in run.points]
    return Series(
        label(run.run),
        style,
        x=tuple(float(point.step) for point in run.points),
        y=tuple(each.estimate for each in values),
        low=tuple(each.low for each in values),
        high=tuple(each.high for each in values),
        quiet=quiet,
    )
