"""Temperature: the models over a sweep, each against the base at the report's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rlvr.eval.compare import Comparison
from rlvr.eval.entropy import Entropies, read_entropies
from rlvr.eval.report.charts import LineChart, Series
from rlvr.eval.report.html import Cell, Markup, element, table
from rlvr.eval.report.labels import bracket, crossing_words, label, number, percent
from rlvr.eval.report.measurement import BenchmarkAnalysis, Drawing, Measurement, Part, interval_cell, panels
from rlvr.eval.report.rounding import DIGITS, rounded, rounded_list
from rlvr.eval.results import BenchmarkResults
from rlvr.eval.statistics import LEVEL
from rlvr.eval.store import Evaluation
from rlvr.eval.temperature import AtTemperature, over_temperatures
from rlvr.eval.training_runs import families

ANCHOR = "temperature"


def read(results: BenchmarkResults, models: Sequence[Evaluation]) -> dict[Path, Entropies]:
    """What `rlvr entropy` has left beside the samples, by folder; read for a sweep alone."""
    every = [*models, *results.sweep] if results.sweep else []
    return {each.folder: found for each in every if (found := read_entropies(each.folder)) is not None}


def analyse(
    entropies: Mapping[Path, Entropies],
    results: BenchmarkResults,
    models: Sequence[Evaluation],
    whole: Comparison,
) -> tuple[AtTemperature, ...]:
    """All models at all temperatures; empty without a sweep."""
    return over_temperatures(models, results.sweep, whole, entropies)


def charts(analysis: BenchmarkAnalysis, drawing: Drawing) -> list[LineChart]:
    """pass@1 and pass@K over the temperature; none without a sweep."""
    rows, comparison = analysis.found[ANCHOR], analysis.comparison
    return [
        LineChart(
            f"temperature_pass_at_{k}",
            f"pass@{k} over the temperature",
            "",
            "temperature",
            f"pass@{k}",
            tuple(lines(rows, comparison, k, drawing.styles)),
        )
        for k in (sorted({1, comparison.gap_k}) if rows else ())
    ]


def names(rows: Sequence[AtTemperature]) -> list[str]:
    """Models in their order."""
    return list(dict.fromkeys(row.name for row in rows))


def lines(
    rows: Sequence[AtTemperature], comparison: Comparison, k: int, styles: Mapping[str, int]
) -> Iterator[Series]:
    """A line for each model; of several seeds their mean, or where only some were measured at other temperatures, these alone."""
    of_model = {name: [row for row in rows if row.name == name] for name in names(rows)}
    mean_of = {run: mean for mean in comparison.means for run in mean.runs}
    told = set()
    for name, own in of_model.items():
        mean = mean_of.get(name)
        if mean is None:
            yield line(name, own, k, styles[name])
            continue
        runs = [of_model[run] for run in mean.runs]
        if len({tuple(row.temperature for row in run) for run in runs}) > 1:
            if len(own) > 1:
                yield line(name, own, k, styles[name])
        elif mean.name not in told:
            told.add(mean.name)
            yield mean_line(mean.name, runs, k, styles[name])


def line(name: str, rows: Sequence[AtTemperature], k: int, style: int) -> Series:
    """One model."""
    values = [row.curve.at(k) for row in rows]
    return Series(
        label(name),
        style,
        x=tuple(row.temperature for row in rows),
        y=tuple(value.estimate for value in values),
        low=tuple(value.low for value in values),
        high=tuple(value.high for value in values),
    )


def mean_line(name: str, runs: Sequence[Sequence[AtTemperature]], k: int, style: int) -> Series:
    """The mean of runs at the same temperatures, and the runs thin. It has no band: these intervals know no chance in training."""
    values = [tuple(row.curve.at(k).estimate for row in run) for run in runs]
    return Series(
        label(name),
        style,
        x=tuple(row.temperature for row in runs[0]),
        y=tuple(fmean(column) for column in zip(*values, strict=True)),
        runs=tuple(values),
    )


def temperature_section(part: Part) -> Markup | None:
    """Every model at every temperature."""
    rows: Sequence[AtTemperature] = part.analysis.found.get(ANCHOR, ())
    if not rows:
        return None
    large = part.analysis.comparison.gap_k
    base = next(row for row in rows if row.own and row.name == part.analysis.comparison.base.name)
    with_entropy = any(row.entropy is not None for row in rows)
    cells = []
    for row in rows:
        entropy = [] if not with_entropy else [
            Cell(bracket(row.entropy, 2), row.entropy.estimate) if row.entropy else Cell("–", -1.0)
        ]  # fmt: skip
        cells.append(
            [
                label(row.name),
                Cell(f"{row.temperature:g}" + (" (the report's)" if row.own else ""), row.temperature),
                *entropy,
                interval_cell(row.curve.at(1)),
                interval_cell(row.curve.at(large)),
                *(
                    (Cell("–", 0.0), Cell("–", float("inf")))
                    if row is base
                    else (
                        interval_cell(row.difference.at(large), signed=True),
                        Cell(crossing_words(row.crossing), row.crossing.at or float("inf")),
                    )
                ),
            ]
        )
    against = f"{label(base.name)} at {base.temperature:g}"
    headers = ["", "temperature", *(["entropy, nats"] if with_entropy else []), "pass@1", f"pass@{large}"]
    headers += [f"pass@{large} less that of {against}", f"curves cross ({against})"]
    drawn = [
        chart
        for key, chart in part.charts.items()
        if isinstance(chart, LineChart) and key.startswith("temperature_")
    ]
    return part.section(
        ANCHOR, "Temperature", panels(drawn), *matched(rows, base, large), table(headers, cells)
    )


def matched(rows: Sequence[AtTemperature], base: AtTemperature, k: int) -> list[Markup]:
    """What remains of each trained model's lead at the base's entropy, in words."""
    note = f"Bands and brackets: {percent(LEVEL)} intervals at each temperature alone."
    if families(names(rows)):
        note += " Of several seeds the figure has the mean, and its runs thin; where only some have other temperatures, these alone."
    sentences = [element("p", note, css="small")]
    if base.entropy is None:
        return sentences
    target = base.entropy.estimate
    for name in names(rows):
        found = [
            (row, row.entropy)
            for row in rows
            if name == row.name != base.name
            and row.entropy is not None
            and row.entropy.low <= target <= row.entropy.high
        ]
        if found:
            row, entropy = min(found, key=lambda pair: abs(pair[1].estimate - target))
            sentence = (
                f"At temperature {row.temperature:g} the entropy of {label(name)}, {number(entropy.estimate, 2)} nats per token, "
                f"is that of {label(base.name)} at {base.temperature:g}; there its pass@{k} differs from the base's by "
                f"{bracket(row.difference.at(k), signed=True)}."
            )
            sentences.append(element("p", sentence))
    return sentences


def summary_row(row: AtTemperature) -> dict[str, Any]:
    """One model at one temperature, for ``summary.json``."""
    return {
        "model": row.name,
        "temperature": row.temperature,
        "pass_at_k": rounded_list(row.curve.estimate),
        "difference_to_base": rounded_list(row.difference.estimate),
        "difference_band_low": rounded_list(row.difference.band_low),
        "difference_band_high": rounded_list(row.difference.band_high),
        "crossing_at": rounded(row.crossing.at),
        "entropy": round(row.entropy.estimate, DIGITS) if row.entropy else None,
    }


def summary(rows: Sequence[AtTemperature]) -> list[dict[str, Any]]:
    """For ``summary.json``."""
    return [summary_row(row) for row in rows]


MEASUREMENT = Measurement(
    ANCHOR,
    "Temperature",
    temperature_section,
    read=read,
    analyse=analyse,
    charts=charts,
    summary_key="temperature",
    summary=summary,
)
