"""Charts of the training runs, from the rows of ``metrics.jsonl``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from rlvr.eval.names import family_of
from rlvr.eval.report.charts import Chart, LineChart, Series, StackChart
from rlvr.eval.report.labels import label, model_styles, significant
from rlvr.run_folder import MetricRow

Points = tuple[list[float], list[float]]
"""Steps and values of one run."""

PANELS = {
    "reward/mean": ("Reward", "mean verifier score"),
    "reward/shaped_mean": ("Shaped reward", "mean, penalties included"),
    "baseline/reward_mean": ("Greedy baseline reward", "mean verifier score"),
    "response/length_mean": ("Response length", "tokens, mean"),
    "policy/entropy": ("Policy entropy", "nats per token"),
    "mismatch/logprob_abs_mean": ("Trainer against engine", "mean |Δ log p| per token"),
    "mismatch/importance_weight_mean": ("Importance weight, engine to trainer", "mean, truncated"),
    "reference/kl": ("KL to the reference", "nats per token"),
    "policy/approximate_kl": ("KL to the old policy", "nats per token"),
    "policy/clip_share": ("Clipped tokens", "share"),
    "policy/grad_norm": ("Gradient norm", "before clipping"),
    "critic/explained_variance": ("Critic", "explained variance of the returns"),
    "critic/value_loss": ("Value loss", "mean over optimizer steps"),
    "filter/sampling_factor": ("Groups sampled per group kept", "by dynamic sampling"),
    "reward/uniform_group_share": ("Groups without a signal", "share, all right or all wrong"),
    "response/truncated_share": ("Cut-off responses", "share of rollouts"),
    "verify/unparsed": ("Unparsed answers", "share of rollouts"),
    "verify/error": ("Verifier errors", "share of rollouts"),
    "sync/probe_mean_abs": ("Weight-update probe", "mean |Δ log p|"),
    "throughput/rollouts_per_second": ("Throughput", "rollouts per second"),
}
"""Metric → title and unit, in the order of the page."""

TIME_PARTS = {
    "time/rollout": "Rollout and verification",
    "time/learn": "Learning",
    "time/sync": "Weight update",
}
"""Stages that follow one another; ``time/verify`` overlaps with sampling and lies within the rollout."""
WAIT_FOR_ROLLOUT = "time/wait_for_rollout"
"""With ``train.max_staleness=1`` the part of the rollout that belongs to the step: the rest lies beside learning."""
TIME_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#c9c9c9")
SMOOTHING = 20
"""A smoothed line averages over 1/20 of the run, centred."""
MAX_FAINT = 3
"""With more lines than this in a panel the unsmoothed values are left out."""
MAX_POINTS = 240
"""Points drawn per line; longer runs are thinned evenly, after smoothing."""


def dynamics_charts(
    metrics: Mapping[str, Sequence[MetricRow]], styles: Mapping[str, int]
) -> dict[str, Chart]:
    """One chart per known metric that some run recorded, less those of :func:`undrawn`, and the split of the time.

    Args:
        metrics: rows by training run.
        styles: style of each run, that of its model elsewhere in the report.
    """
    charts: dict[str, Chart] = {}
    said = undrawn(metrics)
    for key, (title, unit) in PANELS.items():
        points = points_of(metrics, key)
        if points and key not in said:
            series = [line_of(runs, styles, points) for runs in grouped(points)]
            if len(series) > MAX_FAINT:
                series = [replace(each, faint=(), runs=()) for each in series]
            slug = "training_" + key.replace("/", "_")
            charts[slug] = LineChart(slug, title, key, "step", unit, tuple(series))
    if (split := time_split(metrics)) is not None:
        charts[split.slug] = split
    return charts


def undrawn(metrics: Mapping[str, Sequence[MetricRow]]) -> dict[str, str]:
    """Metrics that a sentence tells as well as a chart, each with what is to be said of it.

    They never left one value, in any run, or are at every step what an earlier metric is (the shaped reward
    without penalties). One step alone shows nothing of the kind, except a zero.
    """
    said: dict[str, str] = {}
    drawn: dict[str, dict[str, Points]] = {}
    for key in PANELS:
        points = points_of(metrics, key)
        values = [y for _, ys in points.values() for y in ys]
        if not values:
            continue
        several = any(len(ys) > 1 for _, ys in points.values())
        twin = next((other for other, theirs in drawn.items() if several and alike(points, theirs)), None)
        if not any(values):
            said[key] = "Zero at every step"
        elif several and len(set(values)) == 1:
            said[key] = f"{significant(values[0])} at every step"
        elif twin is not None:
            said[key] = f"The same as “{PANELS[twin][0]}” at every step"
        else:
            drawn[key] = points
    return said


def undrawn_sentences(metrics: Mapping[str, Sequence[MetricRow]]) -> list[str]:
    """What is said of the metrics that are not drawn, those of one kind in one sentence."""
    said = undrawn(metrics)
    return [
        f"{what}: {', '.join(PANELS[key][0] for key, each in said.items() if each == what)}."
        for what in dict.fromkeys(said.values())
    ]


def alike(ours: Mapping[str, Points], theirs: Mapping[str, Points]) -> bool:
    """Whether two metrics have the same runs, the same steps, and the same values up to rounding."""
    return ours.keys() == theirs.keys() and all(
        x == theirs[run][0] and all(map(math.isclose, y, theirs[run][1])) for run, (x, y) in ours.items()
    )


def run_styles(models: Sequence[str], runs: Iterable[str]) -> dict[str, int]:
    """The style of each model, the base first, and of runs whose model was not measured."""
    return model_styles(list(dict.fromkeys([*models, *runs])))


def points_of(metrics: Mapping[str, Sequence[MetricRow]], key: str) -> dict[str, Points]:
    """A metric's points by run; runs that did not record it are left out."""
    found = {run: recorded(rows, key) for run, rows in metrics.items()}
    return {run: points for run, points in found.items() if points[0]}


def recorded(rows: Sequence[MetricRow], key: str) -> Points:
    """Steps and values at which a metric was recorded and finite."""
    pairs = [
        (float(row["step"]), float(row[key]))
        for row in rows
        if "step" in row and isinstance(row.get(key), (int, float)) and math.isfinite(row[key])
    ]
    return [x for x, _ in pairs], [y for _, y in pairs]


def grouped(runs: Iterable[str]) -> list[list[str]]:
    """Runs in their order, those of one family from several seeds together."""
    found: dict[str, list[str]] = {}
    for run in runs:
        found.setdefault(family_of(run), []).append(run)
    return list(found.values())


def group_label(runs: Sequence[str]) -> str:
    """What a run, or the mean of several of one family, is called, as in the comparison of what was measured."""
    return label(runs[0]) if len(runs) == 1 else f"{label(family_of(runs[0]))} (mean of {len(runs)} runs)"


def line_of(runs: Sequence[str], styles: Mapping[str, int], points: Mapping[str, Points]) -> Series:
    """The line of a run; of several the mean, at the steps that all have, with the runs beside it."""
    name, style = group_label(runs), styles[runs[0]]
    if len(runs) == 1:
        return smoothed(name, style, *points[runs[0]])
    values = [dict(zip(*points[run], strict=True)) for run in runs]
    common = [step for step in values[0] if all(step in each for each in values)]
    lines = [smoothed(name, style, common, [each[step] for step in common]) for each in values]
    means = tuple(_mean(column) for column in zip(*(line.y for line in lines), strict=True))
    return replace(lines[0], y=means, faint=(), runs=tuple(line.y for line in lines))


def smoothed(name: str, style: int, x: Sequence[float], y: Sequence[float]) -> Series:
    """A line of centred means, with the values themselves behind it."""
    half = len(y) // (2 * SMOOTHING)
    means = [_mean(y[max(0, i - half) : i + half + 1]) for i in range(len(y))]
    keep = range(0, len(y), -(-len(y) // MAX_POINTS))
    return Series(
        name,
        style,
        x=tuple(x[i] for i in keep),
        y=tuple(means[i] for i in keep),
        faint=tuple(y[i] for i in keep) if half else (),
    )


def time_split(metrics: Mapping[str, Sequence[MetricRow]]) -> StackChart | None:
    """Mean seconds per step by stage; None if no run measured them."""
    rows = []
    for runs in grouped(metrics):
        steps = [row for run in runs for row in metrics[run]]
        parts = [_mean(recorded(steps, key)[1]) for key in TIME_PARTS]
        if waited := recorded(steps, WAIT_FOR_ROLLOUT)[1]:
            parts[0] = _mean(waited)
        total = _mean(recorded(steps, "time/step")[1])
        if sum(parts) > 0:
            rows.append((group_label(runs), (*parts, max(0.0, total - sum(parts)))))
    if not rows:
        return None
    used = [i for i in range(len(TIME_COLOURS)) if any(values[i] > 0 for _, values in rows)]
    names = (*TIME_PARTS.values(), "Other")
    return StackChart(
        "training_time",
        "Where the time of a step goes",
        "Mean seconds per step.",
        tuple(names[i] for i in used),
        tuple(TIME_COLOURS[i] for i in used),
        tuple((name, tuple(values[i] for i in used)) for name, values in rows),
        "s",
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
