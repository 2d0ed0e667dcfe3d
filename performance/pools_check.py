"""The model of the pools (performance/pools.py) against measured runs: calibrated by some, it predicts others.

Calibrated on one engine and one learner of a thread each: every engine step is noted with what it held, every update with its
tokens, every weight update; then some steps with both pools at work, for how much they slow each other down on one machine.
Then whole runs of rlvr, of other lengths, group sizes, batch sizes and numbers of engines, in turn and one step ahead.
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
from typing import Any

import numpy as np

from performance.child import measure
from performance.common import machine, machine_line, median, parser, recipe, table, write_result
from performance.overlap import SEEN_TOKENS, training_of
from performance.pools import (
    AHEAD,
    IN_TURN,
    EngineRates,
    LearnerRates,
    Prompt,
    Rates,
    Simulation,
    rows_tokens,
)
from performance.train_throughput import Stopwatch

CPU_BLOCK = 128
"""Tokens of a block of vLLM's cache on a CPU."""
CALIBRATION_PROMPTS = (32, 32, 8, 16, 32, 8, 16, 32, 8, 16, 32)
"""Of each step that is calibrated on; the first two warm up."""
WARMUP = 2


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
        loop = "one step ahead" if self.max_staleness else "in turn"
        engines = f"{self.workers} engine{'s' if self.workers > 1 else ''}"
        return f"{self.lengths}{shape}, {self.prompts} × {self.group_size}, {engines}, {loop}"


CALIBRATED = {"short": Run("short", 32, 8), "long-tailed": Run("long-tailed", 32, 8)}
CHECKED = (
    Run("short", 24, 4),
    Run("short", 24, 16),
    Run("short", 24, 16, max_staleness=1),
    Run("short", 32, 8, workers=2),
    Run("long-tailed", 24, 8, median=80.0, spread=1.0),
    Run("long-tailed", 24, 8, median=80.0, spread=1.0, max_staleness=1),
    Run("long-tailed", 48, 4, max_staleness=1),
    Run("long-tailed", 32, 8, workers=2),
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
    rows, checked = [], []
    for run in CHECKED:
        if run.lengths not in rates:
            continue
        raw = _measured(base, run, "follow")
        batches = [[Prompt(**prompt) for prompt in batch] for batch in raw["batches"]]
        loop = AHEAD if run.max_staleness else IN_TURN
        predicted = Simulation(rates[run.lengths], batches, run.workers, 1, loop).run(args.warmup_steps)
        seconds = raw["seconds"][args.warmup_steps : args.warmup_steps + len(predicted.steps)]
        measured = sum(seconds) / len(seconds)
        error = predicted.step / measured - 1
        rows.append((run, f"{measured:.2f}", f"{predicted.step:.2f}", f"{error:+.1%}"))
        print("  ".join(map(str, rows[-1])), flush=True)
        checked.append(
            {**asdict(run), "seconds": seconds, "predicted": predicted.steps, "stages": raw["stages"]}
        )
    print(table(("run", "measured s/step", "predicted", "error"), rows))
    errors = [abs(float(row[3].rstrip("%"))) for row in rows]
    print(
        f"{sum(error <= 10 for error in errors)} of {len(errors)} within 10 %, the farthest {max(errors):.1f} % off"
    )
    write_result(
        args.json,
        {
            "machine": found,
            "rates": {lengths: asdict(fitted) for lengths, fitted in rates.items()},
            "calibrations": calibrations,
            "checked": checked,
        },
    )


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
    from rlvr.ahead import train_ahead
    from rlvr.checkpoint import Checkpoints
    from rlvr.driver import Sampled, Training, train

    batches = []

    class Followed(Training):
        def sample(self, step: int, num_drawn: int) -> Sampled:
            sampled = super().sample(step, num_drawn)
            batches.append(workload(sampled.collected.groups, self.renderer, settings["lengths"]))
            return sampled

    settings["recipe"]["train"]["prompts_per_step"] = settings["prompts"]
    stopwatch, folder = Stopwatch(), Path(settings["folder"])
    with training_of(settings, stopwatch, Followed) as training:
        loop = train_ahead if settings["max_staleness"] else train
        started = time.time()
        loop(training, output=folder / "model", checkpoints=Checkpoints(folder / "run"))
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
        [worker] = training.learner._engines.workers  # type: ignore[attr-defined]
        ray.get(worker.actor.__ray_call__.remote(note_steps))
        training.publish_first(0)
        plain, num_drawn = training.config, 0
        for step, prompts in enumerate(CALIBRATION_PROMPTS, start=1):
            ray.get(worker.actor.__ray_call__.remote(take_steps))
            training.config = replace(plain, prompts_per_step=prompts)
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
            tokens = rows_tokens([Prompt(**prompt) for prompt in batch])
            found["engine"] += engine_steps
            found["sample"].append(
                [sum(each[3] for each in engine_steps), sampled.collected.num_rollouts, sampled.seconds]
            )
            found["learn"].append([*tokens, learned - learn_started])
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
                tokens = rows_tokens([Prompt(**prompt) for prompt in batch])
                beside = min(learned - started, following.seconds)
                together["learn"].append([*tokens, learned - started, beside])
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
    """Rates by least squares, none of them negative."""
    steps = np.array(raw["engine"])
    per_step, per_running, per_context, per_prompt_token = least_squares(
        np.column_stack([np.ones(len(steps)), steps[:, :3]]), steps[:, 3]
    )
    samples = np.array(raw["sample"])
    per_batch, per_response = least_squares(
        np.column_stack([np.ones(len(samples)), samples[:, 1]]), samples[:, 2] - samples[:, 0]
    )
    learns = np.array(raw["learn"])
    per_update, taught, scored = least_squares(
        np.column_stack([np.ones(len(learns)), learns[:, :2]]), learns[:, 2]
    )
    beside = np.array(raw["together"]["engine"])
    alone = np.column_stack([np.ones(len(beside)), beside[:, :3]]) @ (
        per_step, per_running, per_context, per_prompt_token,
    )  # fmt: skip
    both = np.array(raw["together"]["learn"])
    longer = both[:, 2] - (per_update + both[:, 0] * taught + both[:, 1] * scored)
    return Rates(
        EngineRates(
            per_step,
            per_running,
            per_context,
            per_prompt_token,
            per_response,
            places,
            CPU_BLOCK,
            slowed=max(1.0, float(beside[:, 3].sum() / alone.sum())),
        ),
        LearnerRates(
            per_update,
            taught,
            scored / taught,
            # Of the time beside a working engine, what the work would not have taken alone is the slowing down.
            slowed=max(1.0, float(1 / (1 - longer.sum() / both[:, 3].sum()))),
        ),
        publish=median(raw["publish"]),
        verify=median(raw["verdict"]),
        per_batch=per_batch,
    )


def least_squares(features: np.ndarray, seconds: np.ndarray) -> list[float]:
    """Coefficients of which none is negative: those that would be are left out, the most negative first."""
    kept = list(range(features.shape[1]))
    while True:
        scale = np.abs(features[:, kept]).max(0)
        found, *_ = np.linalg.lstsq(features[:, kept] / scale, seconds, rcond=None)
        if (found >= 0).all() or len(kept) == 1:
            break
        del kept[int(found.argmin())]
    whole = np.zeros(features.shape[1])
    whole[kept] = found / scale
    return [float(each) for each in whole]
