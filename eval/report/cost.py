"""What training cost: reward over steps and over wall time of runs side by side, and what is left of it in pass@k.

The mean over runs from several seeds has an interval that covers the chance in training (Student's t between the runs,
:mod:`rlvr.eval.training_runs`). Of a single run the only chance that its metrics show is that of the batches: how far the
rewards of its steps scatter around their centred means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlvr.eval.compare import Comparison, MeanOfRuns, Trained
from rlvr.eval.names import family_of, seed_of
from rlvr.eval.pass_at_k import FloatArray
from rlvr.eval.report.charts import CLEAR_BANDS, LineChart, Series
from rlvr.eval.report.dynamics import MAX_POINTS, group_label, grouped, recorded
from rlvr.eval.report.html import Cell, Markup, element, join, section, table
from rlvr.eval.report.labels import duration, percent
from rlvr.eval.report.measurement import panels, two_lines
from rlvr.eval.report.rounding import DIGITS
from rlvr.eval.statistics import LEVEL, Interval, student_t
from rlvr.run_folder import MetricRow

ANCHOR = "cost"
REWARD, SECONDS = "reward/mean", "time/step"
SMOOTHING = 6
"""Lines average over 1/6 of a run, centred: over wall time the batches that runs share do not stand side by side, and have
to be averaged out."""
LAST = 20
"""Steps at the end of a run whose reward stands in the table."""
GRID = MAX_POINTS
"""Times at which runs are read off, from the beginning to the end of the longest."""
UNITS = ((300, 1, "s"), (7200, 60, "min"), (np.inf, 3600, "h"))
"""Up to so many seconds: the seconds of a unit, and its name."""


@dataclass(frozen=True, slots=True)
class Line:
    """A mean over an axis with its pointwise interval, all (N,); the ends are NaN where nothing tells them."""

    x: FloatArray
    y: FloatArray
    low: FloatArray
    high: FloatArray


@dataclass(frozen=True, slots=True)
class Cost:
    """One run, or the runs of one family from several seeds."""

    name: str
    """Of the run, or of the family."""
    runs: tuple[str, ...]
    num_steps: int
    """That all of its runs have done."""
    last: int
    """Steps that ``reward`` is the mean of, the last ones."""
    step_seconds: float
    """Median over the steps of all runs."""
    seconds: float
    """Wall time of those steps, mean of the runs."""
    reward: Interval
    difference: Interval | None
    """Its ``reward`` less that of the first cost, by pairs of steps or, with several runs, of seeds; None of the first,
    and where nothing can be paired."""
    over_steps: Line
    over_seconds: Line

    @property
    def title(self) -> str:
        """As the comparison calls it."""
        return group_label(self.runs)


@dataclass(frozen=True, slots=True)
class Record:
    """What the steps of one run earned and took; (N,) each."""

    run: str
    steps: FloatArray
    rewards: FloatArray
    seconds: FloatArray

    def head(self, count: int) -> Record:
        """Its first steps."""
        return Record(self.run, self.steps[:count], self.rewards[:count], self.seconds[:count])


def costs(metrics: Mapping[str, Sequence[MetricRow]]) -> list[Cost]:
    """What each run, or family of runs, cost, in their order; empty unless there are two to compare.

    Args:
        metrics: rows by training run.
    """
    records: dict[str, Record] = {}
    for run, rows in metrics.items():
        timed = [row for row in rows if SECONDS in row]
        (steps, rewards), (at, seconds) = recorded(timed, REWARD), recorded(timed, SECONDS)
        if len(steps) > 1 and steps == at:
            records[run] = Record(run, np.array(steps), np.array(rewards), np.array(seconds))
    found = []
    for runs in grouped(records):
        num_steps = min(len(records[run].steps) for run in runs)
        found.append([records[run].head(num_steps) for run in runs])
    if len(found) < 2:
        return []
    first, longest = found[0], max(each.seconds.sum() for group in found for each in group)
    last = min(LAST, *(len(group[0].steps) for group in found))
    grid = np.linspace(0, longest, GRID + 1)
    return [cost_of(group, None if group is first else first, last, grid) for group in found]


def cost_of(records: Sequence[Record], first: Sequence[Record] | None, last: int, grid: FloatArray) -> Cost:
    """The cost of runs with as many steps each.

    Args:
        records: of one family.
        first: the runs that these are compared with.
        last: steps that rewards are the means of.
        grid: seconds at which they are read off.
    """
    several = len(records) > 1
    ends = np.stack([each.rewards[-last:] for each in records])
    return Cost(
        name=family_of(records[0].run) if several else records[0].run,
        runs=tuple(each.run for each in records),
        num_steps=len(records[0].steps),
        last=last,
        step_seconds=float(np.median([each.seconds for each in records])),
        seconds=float(np.mean([each.seconds.sum() for each in records])),
        reward=mean_interval(ends.mean(axis=1) if several else ends[0]),
        difference=None if first is None else paired(records, first, last),
        over_steps=over_steps(records),
        over_seconds=over_seconds(records, grid),
    )


def mean_interval(values: FloatArray) -> Interval:
    """The mean of at least two independent values, with Student's t."""
    mean = float(values.mean())
    half = student_t(len(values) - 1) * float(values.std(ddof=1)) / len(values) ** 0.5
    return Interval(mean, mean - half, mean + half)


def paired(records: Sequence[Record], first: Sequence[Record], last: int) -> Interval | None:
    """The difference in reward over the last steps; None where these are others, or there are not two pairs.

    Runs from one seed draw the same prompts at the same step, so what these have in common falls out.
    """
    ours, theirs = records[0], first[0]
    if not np.array_equal(ours.steps[-last:], theirs.steps[-last:]):
        return None
    if len(records) == len(first) == 1:
        return mean_interval(ours.rewards[-last:] - theirs.rewards[-last:])
    by_seed = {seed(each): each.rewards[-last:].mean() for each in first}
    pairs = [each.rewards[-last:].mean() - by_seed[seed(each)] for each in records if seed(each) in by_seed]
    return mean_interval(np.array(pairs)) if len(pairs) > 1 else None


def seed(record: Record) -> int | None:
    """Of a run that is one of several."""
    found = seed_of(record.run)
    return found[1] if found else None


def over_steps(records: Sequence[Record]) -> Line:
    """Centred means of the reward, at every step."""
    return with_interval(records[0].steps, [smooth(each.rewards) for each in records])


def over_seconds(records: Sequence[Record], grid: FloatArray) -> Line:
    """The same at times since the first step began, from where all runs have done a step to where the first one ends."""
    ends = [np.cumsum(each.seconds) for each in records]
    stop = min(each[-1] for each in ends)
    start = min(stop, max(each[0] for each in ends))
    at = np.unique([start, *grid[(grid > start) & (grid < stop)], stop])
    read = [
        np.stack([np.interp(at, end, row) for row in smooth(each.rewards)])
        for end, each in zip(ends, records, strict=True)
    ]
    return with_interval(at, read)


def smooth(rewards: FloatArray) -> FloatArray:
    """(2, N) centred means, and half the interval of each by the scatter of the steps; NaN where a mean is of one step."""
    half = len(rewards) // (2 * SMOOTHING)
    places = np.arange(len(rewards))
    counts = np.minimum(places, half) + np.minimum(places[::-1], half) + 1
    sums = np.concatenate([[0.0], rewards.cumsum()])
    means = (sums[np.minimum(places + half + 1, len(rewards))] - sums[np.maximum(places - half, 0)]) / counts
    if not half:
        return np.stack([means, np.full_like(means, np.nan)])
    # A step is a part of its own mean, which makes what it differs by smaller.
    variance = float(np.mean((rewards - means) ** 2 / (1 - 1 / counts)))
    return np.stack([means, student_t(len(rewards) - 1) * np.sqrt(variance / counts)])


def with_interval(x: FloatArray, runs: Sequence[FloatArray]) -> Line:
    """The mean of the runs with Student's t between them; of one run with the scatter of its steps.

    Args:
        x: (N,) axis.
        runs: of each what :func:`smooth` makes, read off there.
    """
    mean_n, half_n = runs[0]
    if len(runs) > 1:
        lines_rn = np.stack([means for means, _ in runs])
        mean_n = lines_rn.mean(axis=0)
        half_n = student_t(len(runs) - 1) * lines_rn.std(axis=0, ddof=1) / len(runs) ** 0.5
    return Line(x, mean_n, mean_n - half_n, mean_n + half_n)


def cost_charts(found: Sequence[Cost], styles: Mapping[str, int]) -> dict[str, LineChart]:
    """Reward over steps and over wall time; empty without costs."""
    if not found:
        return {}
    longest = max(each.seconds for each in found)
    per_unit, unit = next((size, name) for limit, size, name in UNITS if longest <= limit)
    quiet = len(found) > CLEAR_BANDS
    drawn = {
        "steps": ("Reward over steps", "step", 1, [each.over_steps for each in found]),
        "time": (
            "Reward over wall time",
            f"wall time, {unit}",
            per_unit,
            [each.over_seconds for each in found],
        ),
    }
    return {
        f"cost_reward_{key}": LineChart(
            f"cost_reward_{key}",
            title,
            REWARD,
            axis,
            "mean verifier score",
            tuple(
                series(each, styles[each.runs[0]], line, scale, quiet=quiet)
                for each, line in zip(found, lines, strict=True)
            ),
        )
        for key, (title, axis, scale, lines) in drawn.items()
    }


def series(cost: Cost, style: int, line: Line, scale: float, *, quiet: bool) -> Series:
    """One line with its band, thinned evenly."""
    keep = slice(None, None, -(-len(line.x) // MAX_POINTS))
    x, y, low, high = (
        tuple(np.round(values[keep], 4).tolist()) for values in (line.x / scale, line.y, line.low, line.high)
    )
    known = not np.isnan(line.low).any()
    return Series(cost.title, style, x, y, low if known else (), high if known else (), quiet=quiet)


def cost_section(
    found: Sequence[Cost],
    charts: Mapping[str, LineChart],
    styles: Mapping[str, int],
    comparison: Comparison | None,
) -> Markup | None:
    """Both charts, and a row for each run or family; nothing without costs.

    Args:
        found: at least two costs, or none.
        charts: of :func:`cost_charts`.
        styles: of models and runs.
        comparison: on the first benchmark, if anything is measured.
    """
    if not found:
        return None
    first = found[0].title
    return section(
        ANCHOR,
        "Cost of training",
        panels(list(charts.values())),
        cost_table(found, styles, comparison),
        element("h3", f"Less what {first} has"),
        difference_table(found, styles, comparison),
        element("p", note(found), css="small"),
    )


def cost_table(found: Sequence[Cost], styles: Mapping[str, int], comparison: Comparison | None) -> Markup:
    """Seconds per step, the reward at the end, and what is left of it in pass@k."""
    ks = sorted({1, comparison.gap_k}) if comparison else []
    headers = ["", "s/step", "steps", "wall time", f"reward, last {found[0].last}"]
    headers += [f"pass@{k} − base" for k in ks]
    rows = []
    for each in found:
        trained = trained_of(each, comparison)
        rows.append(
            [
                join([element("span", css=f"swatch s{styles[each.runs[0]]}"), each.title]),
                Cell(f"{each.step_seconds:.2f}", each.step_seconds),
                Cell(f"{each.num_steps:,}", each.num_steps),
                Cell(duration(each.seconds), each.seconds),
                two_lines(each.reward, 3),
                *(difference_cell(trained.difference.at(k) if trained else None) for k in ks),
            ]
        )
    return element("div", table(headers, rows), css="overview")


def difference_table(
    found: Sequence[Cost], styles: Mapping[str, int], comparison: Comparison | None
) -> Markup:
    """Reward at the end and pass@k, less those of the first."""
    first, *others = found
    # What was measured first need not be what was trained first: that may still be unfinished.
    is_same = comparison is not None and trained_of(first, comparison) in comparison.trained[:1]
    ks = sorted({1, comparison.gap_k}) if comparison and is_same else []
    headers = ["", f"reward, last {first.last}", *(f"pass@{k}" for k in ks)]
    rows = []
    for each in others:
        trained = trained_of(each, comparison)
        less = comparison.less_first.get(trained.name) if comparison and trained else None
        rows.append(
            [
                join([element("span", css=f"swatch s{styles[each.runs[0]]}"), each.title]),
                difference_cell(each.difference),
                *(difference_cell(less.at(k) if less else None) for k in ks),
            ]
        )
    return element("div", table(headers, rows), css="overview")


def difference_cell(value: Interval | None) -> Cell | str:
    """A difference with its interval; a dash where there is none."""
    return "–" if value is None else two_lines(value, 3, signed=True)


def trained_of(cost: Cost, comparison: Comparison | None) -> Trained | None:
    """What was measured of the same run, or of the mean of the same runs; None where nothing was."""
    for each in comparison.trained if comparison else ():
        if (each.family if isinstance(each, MeanOfRuns) else each.name) == cost.name:
            return each
    return None


def note(found: Sequence[Cost]) -> str:
    """What lines, bands and times are."""
    bands = "Bands (point at a name)" if len(found) > CLEAR_BANDS else "Bands"
    several = {len(each.runs) > 1 for each in found}
    how = {
        True: "Those of several runs are Student's t between them, with differences paired by seed. ",
        False: "Those of a single run come from the scatter of its steps, with differences paired step by step, and do not "
        "cover the chance in training. ",
    }
    return (
        f"Lines are centred means over a sixth of a run. {bands} and intervals of the reward: {percent(LEVEL)}. "
        + "".join(words for which, words in how.items() if which in several)
        + "Those of pass@k are over problems and samples, as everywhere in the report. s/step: median. Wall time is that of "
        "the steps, on the machine as it was: starting, saving and logging are left out."
    )


def cost_summary(found: Sequence[Cost]) -> dict[str, Any]:
    """For ``summary.json``, by run or family."""
    return {
        each.name: {
            "runs": list(each.runs),
            "num_steps": each.num_steps,
            "step_seconds": round(each.step_seconds, DIGITS),
            "wall_seconds": round(each.seconds, DIGITS),
            "last_steps": each.last,
            "reward": plain_interval(each.reward),
            "difference": None if each.difference is None else plain_interval(each.difference),
        }
        for each in found
    }


def plain_interval(value: Interval) -> dict[str, float]:
    """As ``summary.json`` has it."""
    return {
        "estimate": round(value.estimate, DIGITS),
        "ci_low": round(value.low, DIGITS),
        "ci_high": round(value.high, DIGITS),
    }
