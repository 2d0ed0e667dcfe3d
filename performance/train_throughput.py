"""Rollouts per second of training: this framework against TRL's GRPOTrainer, same job, in one go.

Both sides train the same model with GRPO on the same prompts in the same order: group size,
response limit, temperature, learning rate, clip range, AdamW and the exact-answer reward are
the same, there is no KL term, one optimizer step takes all rollouts of a step, all in float32.
Each side runs in a process of its own, in turn (A B A B), with all cores. A step's time is from
the end of one step to the end of the next, so it holds everything that a side does in between;
the first steps warm up and are left out.

TRL generates with transformers, the only way it has on a CPU (performance/trl_side.py says why).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from performance.child import measure
from performance.common import (
    SEED,
    machine,
    machine_line,
    median,
    parser,
    recipe,
    section,
    table,
    write_result,
)
from performance.trl_side import environment


def main(arguments: list[str]) -> None:
    """Run both sides in turn and print the ratio."""
    args = _arguments(arguments)
    found = machine()
    sections = recipe(args.rlvr)
    if args.operations:
        sections["data"]["chains"]["operations"] = args.operations
    settings = {
        "model": args.model,
        "recipe": sections,
        "num_steps": args.warmup_steps + args.steps,
        "group_size": 8,
        "trl": OmegaConf.to_container(OmegaConf.from_dotlist(args.trl)),
    }
    children: dict[str, tuple[str, dict[str, str]]] = {
        "rlvr": ("performance.train_throughput", {}),
        "trl": ("performance.trl_side", environment()),
    }
    print(machine_line(found))
    print(
        f"{sections['train']['prompts_per_step']} prompts × {settings['group_size']} rollouts a step, "
        f"at most {sections['rollout']['max_response_tokens']} tokens, "
        f"{args.warmup_steps} warm-up + {args.steps} measured steps a round",
        flush=True,
    )
    rounds: list[dict[str, dict[str, Any]]] = []
    for _ in range(args.rounds):
        rounds.append({})
        for side in args.sides:
            module, variables = children[side]
            raw = measure(module, f"{side}_side", settings, variables)
            rounds[-1][side] = summarise(raw, args.warmup_steps)
        print(round_lines(len(rounds), rounds[-1]), flush=True)
    result: dict[str, Any] = {"machine": found, "settings": settings, "rounds": rounds}
    if len(args.sides) == 2:
        result["ratio"] = {
            name: _overall(rounds, "rlvr", name) / _overall(rounds, "trl", name)
            for name in ("rollouts_per_second", "tokens_per_second")
        }
        print(
            f"rlvr / TRL, medians over all measured steps: "
            f"{result['ratio']['rollouts_per_second']:.2f} × rollouts/s, "
            f"{result['ratio']['tokens_per_second']:.2f} × response tokens/s"
        )
    write_result(args.json, result)


def _arguments(arguments: list[str]) -> Any:
    made = parser("train_throughput", __doc__)
    made.add_argument("--steps", type=int, default=15, help="measured steps of each side in each round")
    made.add_argument("--warmup-steps", type=int, default=2, help="steps before them, left out")
    made.add_argument("--rounds", type=int, default=2, help="how often the two sides take turns")
    made.add_argument(
        "--operations",
        type=int,
        nargs="+",
        metavar="N",
        help="difficulties of the problems, which set the responses' length (2: about 30 tokens)",
    )
    made.add_argument(
        "--trl", nargs="*", default=[], metavar="KEY=VALUE", help="change an argument of TRL's GRPOConfig"
    )
    made.add_argument("--sides", nargs="+", choices=("rlvr", "trl"), default=["rlvr", "trl"])
    return made.parse_args(arguments)


# ------------------------------------------------------------------------------------------ figures


def summarise(raw: dict[str, Any], warmup_steps: int) -> dict[str, Any]:
    """Turn the ends of steps into rates; ``raw`` holds one entry per step, the start before the first."""
    seconds = [end - start for start, end in itertools.pairwise(raw["ends"])][warmup_steps:]
    tokens, rewards = raw["tokens"][warmup_steps:], raw["rewards"][warmup_steps:]
    return {
        "startup_seconds": raw["ends"][0] - raw["spawned_at"],
        "first_step_seconds": raw["ends"][1] - raw["ends"][0],
        "step_seconds": seconds,
        "rollouts_per_second": [raw["rollouts"] / s for s in seconds],
        "tokens_per_second": [n / s for n, s in zip(tokens, seconds, strict=True)],
        "mean_length": sum(tokens) / (raw["rollouts"] * len(tokens)),
        "mean_reward": sum(rewards) / len(rewards),
        "stages": {name: median(values[warmup_steps:]) for name, values in raw.get("stages", {}).items()},
    }


def round_lines(number: int, sides: dict[str, dict[str, Any]]) -> str:
    """The table of one round."""
    rows = [
        (
            name,
            f"{median(side['step_seconds']):.2f}",
            f"{min(side['step_seconds']):.2f}–{max(side['step_seconds']):.2f}",
            f"{median(side['rollouts_per_second']):.1f}",
            f"{median(side['tokens_per_second']):,.0f}",
            f"{side['mean_length']:.1f}",
            f"{side['mean_reward']:.3f}",
            f"{side['startup_seconds']:.0f}",
            f"{side['first_step_seconds']:.1f}",
        )
        for name, side in sides.items()
    ]
    header = (
        f"round {number}",
        "s/step",
        "range",
        "rollouts/s",
        "tokens/s",
        "length",
        "reward",
        "start-up s",
        "1st step s",
    )
    stages = [
        f"  {name}: " + ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in side["stages"].items())
        for name, side in sides.items()
        if side["stages"]
    ]
    return "\n".join([table(header, rows), *stages])


def _overall(rounds: Sequence[dict[str, dict[str, Any]]], side: str, name: str) -> float:
    return median([value for sides in rounds for value in sides[side][name]])


# -------------------------------------------------------------------------------------- child: rlvr


class Stopwatch:
    """A tracker that keeps when each step ended and what it sampled."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.rows: list[Mapping[str, float]] = []

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self.ends.append(time.time())
        self.rows.append(metrics)

    def log_samples(self, step: int, rows: Sequence[Mapping[str, object]]) -> None:
        pass

    def close(self) -> None:
        pass


def rlvr_side(settings: dict[str, Any]) -> dict[str, Any]:
    """What ``rlvr train recipe=tiny`` does, with metrics and samples written to disk as there."""
    from dataclasses import replace

    from rlvr.algorithms.grpo import GRPOConfig
    from rlvr.checkpoint import Checkpoints
    from rlvr.cluster import training_pools
    from rlvr.config import ClusterConfig, GuardsConfig, TrackingConfig
    from rlvr.data.benchmarks import training_problems
    from rlvr.data.prompts import load_renderer
    from rlvr.driver import Stage, Training, train
    from rlvr.guards import Guards
    from rlvr.rewards.registry import verifier_for
    from rlvr.tracking.trackers import make_trackers

    rollout = section(settings, "rollout")
    config = replace(section(settings, "train"), num_steps=settings["num_steps"], checkpoint_every=0)
    algorithm = GRPOConfig(group_size=settings["group_size"]).build()
    problems = training_problems(section(settings, "data"))
    renderer = load_renderer(settings["model"])
    verifier = verifier_for(problems)
    folder = Path(settings["folder"])
    stopwatch = Stopwatch()
    tracker = make_trackers(folder / "run", TrackingConfig(), {}, stopwatch)
    with training_pools(
        settings["model"],
        rollout,
        section(settings, "learner"),
        ClusterConfig(),
        algorithm,
        config.temperature,
        SEED,
    ) as (engine, learner):
        started = time.time()
        training = Training(
            config=config,
            algorithm=algorithm,
            engine=engine,
            learner=learner,
            verifier=verifier,
            renderer=renderer,
            stages=[Stage.of(config, problems, rollout.max_response_tokens)],
            seed=SEED,
            tracker=tracker,
            num_logged_samples=4,
            guards=Guards(GuardsConfig(), folder / "run"),
        )
        train(training, output=folder / "model", checkpoints=Checkpoints(folder / "run"))
    tracker.close()
    rollouts = config.prompts_per_step * settings["group_size"]
    return {
        "spawned_at": settings["spawned_at"],
        "ends": [started, *stopwatch.ends],
        "rollouts": rollouts,
        "tokens": [row["response/length_mean"] * rollouts for row in stopwatch.rows],
        "rewards": [row["reward/mean"] for row in stopwatch.rows],
        "stages": {
            name: [row[f"time/{name}"] for row in stopwatch.rows] for name in ("rollout", "learn", "sync")
        },
    }
