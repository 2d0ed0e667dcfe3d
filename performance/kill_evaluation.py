"""Kill a running `rlvr evaluate` at random points, let it go on, and count what is there at the end.

Every kill is SIGKILL to the command itself, somewhere between its first sample and its last; some fall into the
start of an engine. At the end every (problem, sample) must be there exactly once, and no row that was there after
a kill may have changed.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from performance.common import machine, machine_line, parser, table, write_result
from rlvr.eval.samples import Sample, read_samples
from rlvr.run_folder import SAMPLES_FILE, evaluation_folder

POLL_SECONDS = 0.01
MAX_SECONDS = 600


def main(arguments: list[str]) -> None:
    """Kill, go on, and print what each session left."""
    made = parser("kill_evaluation", __doc__)
    made.add_argument("--kills", type=int, default=10)
    made.add_argument("--problems", type=int, default=40)
    made.add_argument("--samples", type=int, default=256)
    made.add_argument("--chunk", type=int, default=8, help="samples of one append")
    made.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    args = made.parse_args(arguments)
    print(machine_line(machine()), flush=True)
    total = args.problems * args.samples
    folder = Path(tempfile.mkdtemp(prefix="kill-evaluation-"))
    rng = random.Random(args.seed)
    sessions: list[dict[str, Any]] = []
    stored: list[Sample] = []
    try:
        for number in range(1, args.kills + 1):
            # Equal shares of what is left, so that the last kill still finds something to interrupt.
            share = (total - len(stored)) / (args.kills + 1 - number + 1)
            wanted = len(stored) + int(rng.uniform(0, 2 * share))
            session = run_until(folder, args, min(wanted, total - 1), rng.uniform(0, 0.3))
            found = rows(folder)
            assert found[: len(stored)] == stored, "a stored row has changed"
            sessions.append({"session": number, "before": len(stored), "after": len(found), **session})
            stored = found
            print(f"killed {number}: {len(stored):,} of {total:,} samples", flush=True)
        before = len(stored)
        subprocess.run(
            command(folder, args), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        found = rows(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    keys = {(row.problem, row.sample) for row in found}
    header = ("session", "samples before", "after", "killed after s", "its processes were gone after s")
    print(
        table(
            header,
            [
                (s["session"], s["before"], s["after"], f"{s['seconds']:.1f}", f"{s['gone']:.1f}")
                for s in sessions
            ],
        )
    )
    changed = found[:before] != stored
    doubled, lost = len(found) - len(keys), total - len(keys)
    print(f"{len(found):,} samples of {total:,} after {args.kills} kills: {doubled} doubled, {lost} lost")
    write_result(args.json, {"machine": machine(), "sessions": sessions, "doubled": doubled, "lost": lost})
    if doubled or lost or changed:
        sys.exit("FAILED")


def command(folder: Path, args: Any) -> list[str]:
    """`rlvr evaluate` on generated chains."""
    return [
        *(sys.executable, "-m", "rlvr.cli.main", "evaluate", f"model={args.model}", "name=killed"),
        *(f"benchmarks={{chains: {{num_problems: {args.problems}}}}}", f"num_samples={args.samples}"),
        *(f"run.dir={folder}", f"evaluation.chunk_size={args.chunk}", "rollout.num_workers=2", *args.rlvr),
    ]


def samples_file(folder: Path) -> Path:
    """Where the command stores."""
    return evaluation_folder(folder, "chains", "killed") / SAMPLES_FILE


def rows(folder: Path) -> list[Sample]:
    """What is stored, read as it lies there."""
    return list(read_samples(samples_file(folder)))


def run_until(folder: Path, args: Any, wanted: int, extra_seconds: float) -> dict[str, float]:
    """Start the command, and kill it a moment after so many samples are stored."""
    started = time.monotonic()
    process = subprocess.Popen(
        command(folder, args), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    size, count = -1, 0
    while count < wanted or not samples_file(folder).exists():
        if process.poll() is not None:
            sys.exit(f"the evaluation ended by itself with code {process.returncode}")
        if time.monotonic() > started + MAX_SECONDS:
            os.killpg(process.pid, signal.SIGKILL)
            sys.exit(f"{wanted} samples were not there after {MAX_SECONDS} s")
        path = samples_file(folder)
        if path.exists() and path.stat().st_size != size:
            size, count = path.stat().st_size, len(rows(folder))
        time.sleep(POLL_SECONDS)
    time.sleep(extra_seconds)
    # Ray's agents outlive a killed driver, for as long as they try to reach it; they compute nothing.
    family = [
        each.pid
        for each in psutil.Process(process.pid).children(recursive=True)
        if "Agent" not in " ".join(each.cmdline())
    ]
    process.kill()
    process.wait()
    killed = time.monotonic()
    return {"seconds": killed - started, "gone": wait_gone(family)}


def wait_gone(pids: Sequence[int], limit: float = 120.0) -> float:
    """Seconds until none of these processes is left; those that stay past the limit are ended."""
    started = time.monotonic()
    while time.monotonic() < started + limit:
        left = [pid for pid in pids if psutil.pid_exists(pid) and _alive(pid)]
        if not left:
            return time.monotonic() - started
        time.sleep(0.1)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    return limit


def _alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
