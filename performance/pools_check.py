"""The model of the pools (performance/pools_simulation.py) against measured runs: calibrated by some, it predicts others.

Calibrated on one engine and one learner of a thread each: every engine step is noted with what it held, every update with its
tokens, every weight update; then some steps with both pools at work, for how much they slow each other down on one machine.
Then whole runs of rlvr, of other lengths, group sizes, batch sizes and numbers of engines, in turn, one step ahead and in flight.
For each run the model gets the lengths of its responses, and is to say how long a step takes.

Responses are the tiny model's own on its problems, or long-tailed ones (see ``overlap``), which are another model and get
rates of their own. ``--json`` keeps the rates and all that they were fitted to.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from performance.child import measure
from performance.common import machine, machine_line, median, parser, recipe, table, write_result
from performance.overlap import SEEN_TOKENS, train_by_staleness, training_of
from performance.pools import (
    AHEAD,
    IN_TURN,
    EngineRates,
    LearnerRates,
    Mode,
    Prompt,
    Rates,
    in_flight,
    learning_work,
)
from performance.pools_simulation import Simulation
from performance.train_throughput import Stopwatch

CPU_BLOCK = 128
"""Tokens of a block of vLLM's cache on a CPU."""
CALIBRATION_PROMPTS = (32, 32, 8, 16, 32, 8, 16, 32, 8, 16, 32, 8, 16, 32)
"""Of each step that is calibrated on; the first two warm up."""
WARMUP = 2
FORWARD_SHARE = 1 / 3
"""Of the learner's time for a row with a gradient: backward takes twice what forward takes."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run to be predicted."""

    lengths: str
    prompts: int
    group_size: int
    workers: int = 1
    max_staleness: int = 0
    median: float = 40.0
    spread: float = 1.29

    def __str__(self) -> str:
        """In words."""
        shape = f", median {self.median:g}, spread {self.spread:g}" if self.lengths == "long-tailed" else ""
        engines = f"{self.workers} engine{'s' if self.workers > 1 else ''}"
        return f"{self.lengths}{shape}, {self.prompts} × {self.group_size}, {engines}, {self.mode.name}"

    @property
    def mode(self) -> Mode:
        """Its loop, as the model knows it."""
        return {0: IN_TURN, 1: AHEAD}.get(self.max_staleness, in_flight(self.max_staleness))


CALIBRATED = {"short": Run("short", 32, 8), "long-tailed": Run("long-tailed", 32, 8)}
CHECKED = (
    Run("short", 24, 4),
    Run("short", 24, 16, max_staleness=1),
    Run("short", 24, 16, max_staleness=2),
    Run("short", 32, 8, workers=2),
    Run("long-tailed", 24, 8, median=80.0, spread=1.0),
    Run("long-tailed", 48, 4, max_staleness=1),
    Run("long-tailed", 48, 4, max_staleness=2),
    Run("long-tailed", 16, 8, workers=2),
)


def main(arguments: list[str]) -> None:
    """Calibrate, run, predict; print both side by side."""
    made = parser("pools_check", __doc__)
    made.add_argument("--steps", type=int, default=8, help="measured steps of each run")
    made.add_argument("--warmup-steps", type=int, default=3, help="steps before them, left out")
    made.add_argument("--lengths", nargs="+", choices=list(CALIBRATED), default=list(CALIBRATED))
    args = made.parse_args(arguments)
    found = machine()
    print(machine_line(found), flush=True)
    base = {"model": args.model, "recipe": recipe(args.rlvr), "num_steps": args.warmup_steps + args.steps}
    calibrations = {lengths: _measured(base, CALIBRATED[lengths], "calibrate") for lengths in args.lengths}
    rates = {
        lengths: fit(raw, base["recipe"]["rollout"]["max_num_seqs"]) for lengths, raw in calibrations.items()
    }
    for lengths, fitted in rates.items():
        print(f"{lengths}: {fitted}", flush=True)
    result: dict[str, Any] = {
        "machine": found,
        "rates": {lengths: asdict(fitted) for lengths, fitted in rates.items()},
        "calibrations": calibrations,
        "checked": [],
    }
    rows = []
    for run in CHECKED:
        if run.lengths not in rates:
            continue
        raw = _measured(base, run, "follow")
        batches = [[Prompt(**prompt) for prompt in batch] for batch in raw["batches"]]
        predicted = Simulation(rates[run.lengths], batches, run.workers, 1, run.mode).run(args.warmup_steps)
        seconds = raw["seconds"][args.warmup_steps : args.warmup_steps + len(predicted.steps)]
        error = predicted.step / fmean(seconds) - 1  # in flight, a step makes up for the one before
        rows.append((run, f"{fmean(seconds):.2f}", f"{predicted.step:.2f}", f"{error:+.1%}"))
        print("  ".join(map(str, rows[-1])), flush=True)
        result["checked"].append({**asdict(run), "predicted": predicted.steps, **raw})
        write_result(args.json if args.json != "-" else None, result)
    print(table(("run, mean s/step", "measured", "predicted", "error"), rows))
    errors = [abs(float(row[3].rstrip("%"))) for row in rows]
    print(
        f"{sum(error <= 10 for error in errors)} of {len(errors)} within 10 %, the farthest {max(errors):.1f} % off"
    )
    write_result(args.json, result)


def _measured(base: dict[str, Any], run: Run, function: str) -> dict[str, Any]:
    settings = {**base, **asdict(run), "learner_threads": 1}
    return measure("performance.pools_check", function, settings, {})


# ----------------------------------------------------------------------------------- in the child: runs


def workload(groups: Sequence[Any], renderer: Any, lengths: str) -> list[dict[str, Any]]:
    """What the model is told of a batch: lengths, and which groups have unequal rewards."""
    is_long = lengths == "long-tailed"
    return [
        asdict(
            Prompt(
                len(renderer.render(group.problem)),
                tuple(len(rollout.completion.response_tokens) for rollout in group.rollouts),
                len({rollout.verdict.score for rollout in group.rollouts}) > 1,
                cached=is_long,
                learned=SEEN_TOKENS if is_long else None,
            )
        )
        for group in groups
    ]


def follow(settings: dict[str, Any]) -> dict[str, Any]:
    """A whole run: seconds of each step, and what each had to do."""
    from rlvr.driver import Sampled, Training

    batches = []

    class Followed(Training):
        def check(self, step: int, sampled: Sampled) -> dict[str, float]:
            batches.append(workload(sampled.collected.groups, self.renderer, settings["lengths"]))
            return super().check(step, sampled)

    settings["recipe"]["train"]["prompts_per_step"] = settings["prompts"]
    settings["num_steps"] += settings["max_staleness"]  # beside the last ones nothing is sampled
    stopwatch = Stopwatch()
    with training_of(settings, stopwatch, Followed) as training:
        started = train_by_staleness(training, Path(settings["folder"]))
    ends = [started, *stopwatch.ends]
    names = [name for name in stopwatch.rows[0] if name.startswith("time/")]
    return {
        "seconds": [after - before for before, after in pairwise(ends)],
        "batches": batches,
        "stages": {name: [row[name] for row in stopwatch.rows] for name in names},
    }


def calibrate(settings: dict[str, Any]) -> dict[str, Any]:
    """What every stage took, and what it had to do."""
    import ray

    from rlvr.ahead import Sampler
    from rlvr.driver import Training

    found: dict[str, Any] = {name: [] for name in ("engine", "sample", "learn", "publish", "verdict")}
    together: dict[str, Any] = {"engine": [], "learn": []}
    with training_of(settings, Stopwatch(), Training) as training:
        [worker] = training.learner._engines.workers  # type: ignore[attr-defined]  # no protocol knows actors
        ray.get(worker.actor.__ray_call__.remote(note_steps))
        training.publish_first(0)
        [stage], num_drawn = training.stages, 0
        for step, prompts in enumerate(CALIBRATION_PROMPTS, start=1):
            ray.get(worker.actor.__ray_call__.remote(take_steps))
            training.stages = [replace(stage, prompts_per_step=prompts)]
            sampled = training.sample(step, num_drawn)
            engine_steps = ray.get(worker.actor.__ray_call__.remote(take_steps))
            num_drawn = sampled.num_drawn
            batch = workload(sampled.collected.groups, training.renderer, settings["lengths"])
            learn_started = time.perf_counter()
            training.check(step, sampled)
            training.learn(step, sampled)
            learned = time.perf_counter()
            training.publish(step, sampled)
            published = time.perf_counter()
            if step <= WARMUP:
                continue
            work = learning_work([Prompt(**prompt) for prompt in batch], FORWARD_SHARE)
            found["engine"] += engine_steps
            found["sample"].append(
                [sum(each[3] for each in engine_steps), sampled.collected.num_rollouts, sampled.seconds]
            )
            found["learn"].append([*work, learned - learn_started])
            found["publish"].append(published - learned)
            found["verdict"].append(1 / sampled.collected.pool_metrics["verify/per_second"])
        with Sampler(training) as sampler:
            for step in range(len(CALIBRATION_PROMPTS) + 1, len(CALIBRATION_PROMPTS) + 6):
                ray.get(worker.actor.__ray_call__.remote(take_steps))
                started = time.time()
                sampler.start(step + 1, sampled.num_drawn)
                training.learn(step, sampled)
                learned = time.time()
                following = sampler.take()
                engine_steps = ray.get(worker.actor.__ray_call__.remote(take_steps))
                training.publish(step, sampled)
                batch = workload(sampled.collected.groups, training.renderer, settings["lengths"])
                work = learning_work([Prompt(**prompt) for prompt in batch], FORWARD_SHARE)
                beside = min(learned - started, following.seconds)
                together["learn"].append([*work, learned - started, beside])
                together["engine"] += [each for each in engine_steps if started < each[4] < learned]
                sampled = following
    return {**found, "together": together}


def note_steps(actor: Any) -> None:
    """Runs in an engine's process: from now on what each of its steps holds and takes is noted."""
    engine = actor._engine._engine
    scheduler = engine.engine_core.engine_core.scheduler
    actor.noted = []
    plain_schedule, plain_step = scheduler.schedule, engine.step

    def schedule(*args: Any) -> Any:
        plan = plain_schedule(*args)
        counts = plan.num_scheduled_tokens
        context = sum(scheduler.requests[name].num_computed_tokens for name in counts)
        actor.noted.append([len(counts), context, sum(counts.values()) - len(counts)])
        return plan

    def step() -> Any:
        started, before = time.perf_counter(), len(actor.noted)
        found = plain_step()
        if len(actor.noted) > before:
            actor.noted[-1] += [time.perf_counter() - started, time.time()]
        return found

    scheduler.schedule, engine.step = schedule, step


def take_steps(actor: Any) -> list[list[float]]:
    """Of each step since the last call: responses, tokens that they look back on, prompt tokens, seconds, its end."""
    noted, actor.noted[:] = [each for each in actor.noted if len(each) == 5 and each[0]], []
    return noted


# ------------------------------------------------------------------------------------------ fitting


def fit(raw: dict[str, Any], places: int) -> Rates:
    """Rates by least absolute deviations, which a step that was interrupted by something else hardly moves."""
    steps = np.array(raw["engine"])
    engine = robust(with_ones(steps[:, :3]), steps[:, 3])
    per_step, per_running, per_context, per_prompt_token = engine
    samples = np.array(raw["sample"])
    per_batch, per_response = robust(with_ones(samples[:, 1:2]), samples[:, 2] - samples[:, 0])
    learns = np.array(raw["learn"])
    learner = robust(with_ones(learns[:, :2]), learns[:, 2])
    per_update, per_token, per_square = learner
    beside = np.array(raw["together"]["engine"])
    both = np.array(raw["together"]["learn"])
    longer = both[:, 2] - with_ones(both[:, :2]) @ learner
    return Rates(
        EngineRates(
            per_step,
            per_running,
            per_context,
            per_prompt_token,
            per_response,
            places,
            CPU_BLOCK,
            slowed=max(1.0, float(np.median(beside[:, 3] / (with_ones(beside[:, :3]) @ engine)))),
        ),
        LearnerRates(
            per_update,
            per_token,
            per_square,
            FORWARD_SHARE,
            # Of the time beside a working engine, what the work would not have taken alone is the slowing down.
            slowed=max(1.0, float(np.median(1 / (1 - longer / both[:, 3])))),
        ),
        publish=median(raw["publish"]),
        verify=median(raw["verdict"]),
        per_batch=per_batch,
    )


def with_ones(columns: np.ndarray) -> np.ndarray:
    """The same with a first column of ones, whose coefficient is what everything takes in any case."""
    return np.column_stack([np.ones(len(columns)), columns])


def robust(features: np.ndarray, seconds: np.ndarray) -> list[float]:
    """Coefficients with the least sum of absolute deviations, by least squares whose weights are their inverses."""
    weights, floor = np.ones(len(seconds)), 1e-3 * float(np.abs(seconds).mean())
    for _ in range(30):
        found = least_squares(features * weights[:, None], seconds * weights)
        weights = 1 / np.sqrt(np.maximum(np.abs(seconds - features @ found), floor))
    return found


def least_squares(features: np.ndarray, seconds: np.ndarray) -> list[float]:
    """Coefficients of which none is negative: those that would be are left out, the most negative first."""
    kept = list(range(features.shape[1]))
    while True:
        scale = np.maximum(np.abs(features[:, kept]).max(0), np.finfo(float).tiny)
        found, *_ = np.linalg.lstsq(features[:, kept] / scale, seconds, rcond=None)
        if (found >= 0).all() or len(kept) == 1:
            break
        del kept[int(found.argmin())]
    whole = np.zeros(features.shape[1])
    whole[kept] = found / scale
    return [float(each) for each in whole]
