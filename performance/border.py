"""Where RL widens what a model solves and where it narrows it: number of skills × training steps, from finished studies.

Reads what `rlvr study -m recipe=tiny_border data.skills.num_skills=30,150,600` has written, and samples nothing. Each
point is one model after so many steps, with its paired difference to the base at k = 1 and at the largest k.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from performance.common import own_parser, table, write_result
from rlvr.errors import DataError
from rlvr.eval import frames
from rlvr.eval.results import checkpoint_of
from rlvr.run_folder import BASE, CONFIG_FILE

BENCHMARK = "skills"
COMMAND = "rlvr study -m recipe=tiny_border data.skills.num_skills=30,150,600"


@dataclass(frozen=True, slots=True)
class Point:
    """One trained model against the base."""

    num_skills: int
    num_steps: int
    largest_k: int
    base: tuple[float, float]
    """The base's pass@1 and pass@k at the largest k."""
    first: tuple[float, float, float]
    """Difference of pass@1, and its 95 % interval."""
    last: tuple[float, float, float]
    """Likewise at the largest k."""
    coverage: tuple[int, int, int, int]
    """Problems solved by both, by the base only, by the trained model only, by neither."""


def main(arguments: list[str]) -> None:
    """Print the points, and draw them."""
    made = own_parser("border", __doc__)
    made.add_argument("--folder", default="runs/tiny-border", help="of the studies, one subfolder each")
    made.add_argument("--figure", metavar="FILE", help="also draw them (.png or .svg)")
    args = made.parse_args(arguments)
    points = read_points(Path(args.folder))
    print(
        table(
            (
                "skills",
                "steps",
                "pass@1 of the base",
                "difference",
                "k",
                "pass@k",
                "difference",
                "both/base/RL/none",
            ),
            list(rows(points)),
        )
    )
    if args.figure:
        draw(points, Path(args.figure))
    write_result(args.json, {"points": [as_dict(point) for point in points]})


def read_points(folder: Path) -> list[Point]:
    """The points of all studies under a folder, by skills and then by steps.

    Raises:
        DataError: there is none.
    """
    points = [
        point
        for summary in folder.rglob("summary.json")
        if (summary.parent / CONFIG_FILE).exists()
        for point in points_of(summary.parent)
    ]
    if not points:
        raise DataError("no finished study is here", where=str(folder), fix=COMMAND)
    return sorted(points, key=lambda point: (point.num_skills, point.num_steps))


def points_of(study: Path) -> Iterable[Point]:
    """Those of one study: its trained model and the checkpoints on the way."""
    config = json.loads((study / CONFIG_FILE).read_text())
    curves = frames.pass_at_k(study).query("benchmark == @BENCHMARK").set_index(["model", "k"])
    solved = (
        frames.problems(study)
        .query("benchmark == @BENCHMARK")
        .pivot(index="problem", columns="model", values="num_correct")
        > 0
    )
    largest = max(k for _, k in curves.index)
    for name in solved.columns.drop(BASE):
        checkpoint = checkpoint_of(name)
        first, last = (curves.loc[(name, k)] for k in (1, largest))
        base, trained = solved[BASE], solved[name]
        yield Point(
            num_skills=config["data"]["skills"]["num_skills"],
            num_steps=checkpoint[1] if checkpoint else config["train"]["num_steps"],
            largest_k=largest,
            base=(float(curves.loc[(BASE, 1)].pass_at_k), float(curves.loc[(BASE, largest)].pass_at_k)),
            first=interval(first),
            last=interval(last),
            coverage=(
                int((base & trained).sum()),
                int((base & ~trained).sum()),
                int((~base & trained).sum()),
                int((~base & ~trained).sum()),
            ),
        )


def interval(row: Any) -> tuple[float, float, float]:
    """A difference and its bounds."""
    return float(row.difference), float(row.difference_low), float(row.difference_high)


def rows(points: Sequence[Point]) -> Iterable[Sequence[object]]:
    """The table."""
    for each in points:
        yield (
            each.num_skills,
            each.num_steps,
            f"{each.base[0]:.3f}",
            words(each.first),
            each.largest_k,
            f"{each.base[1]:.3f}",
            words(each.last),
            "/".join(map(str, each.coverage)),
        )


def words(difference: tuple[float, float, float]) -> str:
    """A difference with its interval."""
    estimate, low, high = difference
    return f"{estimate:+.3f} [{low:+.3f}, {high:+.3f}]"


def as_dict(point: Point) -> dict[str, Any]:
    """Plain data."""
    return {name: getattr(point, name) for name in point.__slots__}


def draw(points: Sequence[Point], path: Path) -> None:
    """Both differences over the steps, a line per number of skills."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from rlvr.eval.report.draw_print import STYLE
    from rlvr.eval.report.labels import COLOURS

    with rc_context(STYLE):
        figure = Figure(figsize=(8.4, 3.6), layout="constrained")
        panels = figure.subplots(1, 2)
        numbers = sorted({point.num_skills for point in points})
        for panel, title, which in zip(
            panels, ("pass@1", f"pass@{points[0].largest_k}"), ("first", "last"), strict=True
        ):
            panel.axhline(0, color="#888888", linewidth=0.8)
            for index, number in enumerate(numbers):
                line = [point for point in points if point.num_skills == number]
                found = [getattr(point, which) for point in line]
                # Side by side, since intervals on top of each other cannot be read.
                at = [point.num_steps + 3 * (index - (len(numbers) - 1) / 2) for point in line]
                panel.errorbar(
                    at,
                    [estimate for estimate, _, _ in found],
                    [[e - low for e, low, _ in found], [high - e for e, _, high in found]],
                    color=COLOURS[index],
                    marker="o",
                    markersize=4,
                    capsize=2,
                    label=f"{number} skills",
                )
            panel.set(title=f"{title}, trained minus base", xlabel="training steps", ylabel="difference")
            panel.set_xticks(sorted({point.num_steps for point in points}))
        panels[0].legend()
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
