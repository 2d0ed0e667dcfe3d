"""Memory, open files, threads and step time over hundreds of training steps: flat, or what grows.

Runs `rlvr train recipe=tiny` with tiny steps on the real engines, checkpoints included, and reads the metrics that
the run itself writes about every process of it (`process/…`). Compared are the medians of the first and of the last
fifth of the steps after the warm-up. Of a run in flight (``--rlvr train.max_staleness=2 algorithm.importance_cap=2``), whose
prompts are begun and used at different times, it is also counted that every step has used as many as it should.

oneDNN, which multiplies matrices in an engine without a GPU, keeps a kernel for every number of tokens that it has met, up
to 1,024 of about 0.26 MiB. That is a cache that fills over hundreds of steps, and no leak: here it is kept small, by
``ONEDNN_PRIMITIVE_CACHE_CAPACITY``, unless the environment says otherwise.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from performance.common import machine, machine_line, median, parser, table, write_result
from rlvr.run_folder import read_metrics

PROMPTS_PER_STEP = 4
TINY_STEPS = (
    f"train.prompts_per_step={PROMPTS_PER_STEP}",
    "algorithm.group_size=4",
    "learner.threads_per_learner=1",
    "tracking.process_every=1",
    "tracking.tensorboard=true",
)
LIMITS = {"memory_gib": 0.02, "open_files": 0.01, "threads": 0.01}
"""Largest growth of each quantity of a process, as a share: not one thread or file of ours, one or two of Ray's own."""
MAX_SLOWDOWN = 0.1
"""Largest growth of the median step time; single steps vary with what the policy writes."""
KERNEL_CACHE = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "100"}
STEP_TIME = "time/step"
PROMPTS_USED = "rollout/prompts_used"


def main(arguments: list[str]) -> None:
    """Train, print a line for every process, and write the curve; exit code 1 where something grows."""
    args = _arguments(arguments)
    found = machine()
    print(machine_line(found), flush=True)
    with tempfile.TemporaryDirectory(prefix="rlvr-soak-") as temporary:
        run = Path(temporary) / "run"
        rows = _train(run, args.model, args.steps, args.rlvr)
    after = rows[args.warm_up :]
    if len(after) < 10:
        sys.exit(f"{len(rows)} steps are too few for a warm-up of {args.warm_up}")
    series = sorted(name for name in after[0] if _limit(name) is not None)
    results = [_compare(name, [row[name] for row in after]) for name in series]
    header = ("", "first fifth", "last fifth", "largest", "growth", "")
    print(table(header, [_line(result) for result in results]))
    grown = [result["name"] for result in results if not result["flat"]]
    if lost := _miscounted(rows):
        grown.append(PROMPTS_USED)
        print(f"prompts were lost or used twice: {lost}")
    print(
        f"{len(rows)} steps, {args.warm_up} of them warm-up; " + (f"grows: {grown}" if grown else "all flat")
    )
    _write_curve(Path(args.curve), rows, series)
    write_result(
        args.json, {"machine": found, "steps": len(rows), "warm_up": args.warm_up, "series": results}
    )
    if grown:
        sys.exit(1)


def _arguments(arguments: list[str]) -> Any:
    made = parser("soak", __doc__)
    made.add_argument("--steps", type=int, default=500, help="training steps")
    made.add_argument("--warm-up", type=int, default=100, help="steps that are not compared")
    made.add_argument("--curve", default="soak.csv", metavar="FILE", help="where the curve is written")
    return made.parse_args(arguments)


def _train(run: Path, model: str, steps: int, overrides: Sequence[str]) -> list[dict[str, float]]:
    command = [
        sys.executable,
        "-m",
        "rlvr.cli.main",
        "train",
        "recipe=tiny",
        f"model={model}",
        f"run.dir={run}",
    ]
    words = [*command, f"train.num_steps={steps}", *TINY_STEPS, *overrides]
    subprocess.run(words, check=True, env=KERNEL_CACHE | os.environ)
    return [dict(row) for row in read_metrics(run)]


def _limit(name: str) -> float | None:
    """The growth that a metric may show; None for one that is not watched."""
    if name == STEP_TIME:
        return MAX_SLOWDOWN
    if not name.startswith("process/"):
        return None
    return next((limit for ending, limit in LIMITS.items() if name.endswith(ending)), None)


def _compare(name: str, values: Sequence[float]) -> dict[str, Any]:
    fifth = len(values) // 5
    first, last = median(values[:fifth]), median(values[-fifth:])
    growth = last / first - 1
    limit = _limit(name)
    assert limit is not None
    return {
        "name": name,
        "first": first,
        "last": last,
        "largest": max(values),
        "growth": growth,
        "flat": growth <= limit,
    }


def _line(result: dict[str, Any]) -> Sequence[object]:
    numbers = (f"{result[key]:.4g}" for key in ("first", "last", "largest"))
    return (result["name"], *numbers, f"{result['growth']:+.2%}", "" if result["flat"] else "GROWS")


def _miscounted(rows: Sequence[dict[str, float]]) -> list[tuple[int, float]]:
    """Steps after which not as many prompts have been used as steps times their batch; GRPO refuses no group."""
    used = [(step, row[PROMPTS_USED]) for step, row in enumerate(rows, start=1) if PROMPTS_USED in row]
    if used:
        print(f"{used[-1][1]:.0f} prompts were used in {used[-1][0]} steps")
    return [(step, count) for step, count in used if count != step * PROMPTS_PER_STEP]


def _write_curve(path: Path, rows: Sequence[dict[str, float]], series: Sequence[str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["step", *series], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    print(f"curve: {path}")
