"""Papers' claims and the numbers behind them as Markdown: what `docs/results.md` is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rlvr.eval.report.claims import METHOD, WAITING, adjusted_p, counts_line
from rlvr.eval.report.labels import bracket, duration, label
from rlvr.eval.statistics import Interval


def claims_markdown(data: Mapping[str, Any]) -> str:
    """The claims with what decides them, and every study's pass@k, as tables.

    Args:
        data: as ``claims.json`` holds it.
    """
    lines = ["# Results", "", "Written by `rlvr paper` (`claims.md`); not edited by hand.", ""]
    for paper in data["papers"].values():
        lines += _paper(paper)
    lines += ["## How claims are decided", "", METHOD, "", "## The studies", ""]
    for name, study in data["studies"].items():
        lines += _study(name, study)
    return "\n".join(lines).rstrip() + "\n"


def _paper(paper: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"## {paper['source']}: {paper['title']}", "", f"{counts_line([paper])}.", "")
    yield from _table(
        ("claim", "decided", "found here", "p", "the paper"),
        [
            (claim["text"], claim["decision"] or WAITING, *_found(claim), claim["paper"])
            for claim in paper["claims"].values()
        ],
    )
    yield from ("What this does not show:", "", *(f"- {each}" for each in paper["limits"]), "")


def _found(claim: Mapping[str, Any]) -> tuple[str, str]:
    """Our numbers of each model that a claim is about, and p after Holm."""
    if claim["decision"] is None:
        return "", ""
    signed = " - " in claim["condition"]
    several = len(claim["effects"]) > 1
    found = [
        (f"{label(each['model'])} " if several else "")
        + bracket(Interval(**each["difference"]), signed=signed)
        for each in claim["effects"]
    ]
    runs = f", mean of {claim['num_runs']} runs" if claim["num_runs"] > 1 else ""
    return "<br>".join(found) + runs, adjusted_p(claim["p_holm"]).removeprefix("p = ").removeprefix("p ")


def _study(name: str, study: Mapping[str, Any]) -> Iterator[str]:
    took = f"; {duration(study['wall_seconds'])}" if study["wall_seconds"] else ""
    failed = f"; {study['failure']}" if study["failure"] else ""
    yield from (f"### {name}", "", f"{study['about']} ({study['state']}{took}{failed})", "")
    for benchmark, numbers in study["measured"].items():
        first, last = numbers["k"]
        yield from _table(
            (benchmark, f"pass@{first}", "less the base", f"pass@{last}", "less the base"),
            [
                (label(model), *(cell for pair in zip(*_cells(row), strict=True) for cell in pair))
                for model, row in numbers["models"].items()
            ],
        )
        yield from (f"{numbers['num_problems']} problems × {numbers['num_samples']} samples.", "")


def _cells(row: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The pass@k of a model at the two ends, and what they are less the base's."""
    values = [bracket(Interval(*each)) for each in row["pass_at_k"]]
    differences = [bracket(Interval(*each), signed=True) for each in row["difference"] or ()]
    return values, differences or ["", ""]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield from (_row(header), "|" + "---|" * len(header), *map(_row, rows), "")


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
