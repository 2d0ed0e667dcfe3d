"""What the model of the pools predicts for 8 to 512 GPUs: seconds per step in each mode, and the best split of the GPUs.

The model (performance/pools_simulation.py) is checked against measured runs on a CPU by ``pools_check``. No GPU has been measured: bandwidth and
arithmetic of a GPU are its data sheet's, and how much of them engines and learners reach is assumed (``--help`` lists
every assumption, and each is a flag). ``--run FOLDER`` replaces what a training run of yours has measured: the learner's
seconds per token, those of a weight update, the spread of the lengths, and the level of the engine's speed, so that ten
steps on your own machines are enough to ask how many of them each pool should have.

``--published`` compares gains that others have published with the model's, as a check of plausibility and no more: their
lengths and settings are mostly not known.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist, fmean
from typing import Any, TypeVar

from performance.common import median, own_parser, table, write_result
from performance.pools import (
    AHEAD,
    IN_TURN,
    EngineRates,
    LearnerRates,
    Mode,
    Predicted,
    Prompt,
    Rates,
    in_flight,
    learning_work,
)
from performance.pools_simulation import Simulation

R = TypeVar("R", EngineRates, LearnerRates)
SHARED = "in turn, shared"
WARMUP, CYCLES = 2, 2
"""Steps before the measured ones, besides those that are sampled ahead; and what is measured, each of ``staleness`` + 1 steps: batches that were admitted together come in together, and then others."""
LEARNER_BYTES = 16
"""Of a learner for each parameter: weights, gradients and AdamW (docs/cluster.md), which ZeRO 3 shards."""
LEARNER_SHARE = 0.5
"""Of a learner's GPU that these may take; the rest is for activations and log-probabilities."""


@dataclass(frozen=True, slots=True)
class GPU:
    """Data-sheet values of a GPU."""

    bandwidth: float
    """Bytes per second."""
    flops: float
    """Dense bfloat16 operations per second."""
    memory: float
    """Bytes."""


GPUS = {"H100": GPU(3.35e12, 989e12, 80e9), "H20": GPU(4.0e12, 148e12, 96e9)}
"""NVIDIA's data sheets of the SXM versions."""
PUBLISHED = (
    ("verl, one step off", "H20", 32, "one step ahead", "1.23 (FSDP2), 1.40 (Megatron)"),
    ("verl, fully async", "H20", 32, "in flight", "2.66"),
    ("verl, fully async", "H20", 64, "in flight", "1.92"),
    ("verl, fully async", "H20", 128, "in flight", "2.35"),
    ("PipelineRL", "H100", 128, "in flight", "≈ 2"),
)
"""System, GPU, how many, mode, gain over sampling and learning in turn on the same GPUs, as it was published."""


def main(arguments: list[str]) -> None:
    """Predict, and print a table."""
    args = _arguments(arguments)
    sizes = [8] if args.published else args.gpus
    rates, batches = assumed(args), draw(args)
    if args.run:
        rates, batches = calibrated(args, Path(args.run))
    if args.published:
        print(published(args))
        return
    rows, kept = [], []
    for gpus in sizes:
        found = predict(args, rates, batches, gpus)
        base = found[SHARED][2]
        for name, (engines, learners, each) in found.items():
            rows.append(
                (
                    f"{gpus} {name}",
                    f"{engines} + {learners}" if name != SHARED else f"all {gpus}",
                    f"{each.step:,.0f}" if each.step >= 10 else f"{each.step:.2f}",
                    f"{each.engines_busy:.0%}",
                    f"{each.learner_busy:.0%}",
                    f"{each.tokens_per_second / gpus:,.0f}",
                    f"{base.step / each.step:.2f}",
                )
            )
            kept.append(
                {"gpus": gpus, "mode": name, "engines": engines, "learners": learners, "step": each.step}
            )
    header = (
        "GPUs, mode",
        "engines + learners",
        "s/step",
        "engines busy",
        "learner busy",
        "tokens/s/GPU",
        "×",
    )
    print(table(header, rows))
    print(
        f"×: speed against {SHARED}. Everything is predicted and nothing measured, except what --run has read."
    )
    write_result(args.json, {"settings": vars(args), "predicted": kept})


def _arguments(arguments: list[str]) -> argparse.Namespace:
    made = own_parser("pools_model", __doc__)
    made.set_defaults(model="Qwen/Qwen2.5-7B")
    made.add_argument(
        "--run", metavar="FOLDER", help="a training run (config.json, metrics.jsonl) to calibrate by"
    )
    made.add_argument("--published", action="store_true", help="compare with published gains")
    for name, default, words in (
        ("prompts", 256, "prompts of a step"),
        ("group-size", 16, "responses of a prompt"),
        ("prompt-tokens", 300, "of a prompt"),
        ("longest", 16384, "tokens of a response at most"),
        ("places", 256, "responses that an engine decodes together"),
        ("tensor-parallel", 1, "GPUs of an engine"),
        ("staleness", 4, "K of the mode in flight"),
    ):
        made.add_argument(f"--{name}", type=int, default=default, help=f"{words} (default {default})")
    for name, value, words in (
        ("median", 2000.0, "tokens of a response"),
        ("spread", 1.0, "standard deviation of the logarithm of a response's tokens"),
        ("bandwidth-share", 0.6, "assumed: part of the memory's bandwidth that decoding reaches"),
        ("decode-share", 0.4, "assumed: part of the GPU's arithmetic that decoding and prompts reach"),
        (
            "learn-share",
            0.35,
            "assumed: part of it that the learner reaches (MFU), checkpointing counted as work",
        ),
        ("step-seconds", 0.003, "assumed: an engine's step besides the GPU's work"),
        (
            "publish",
            2.0,
            "assumed: seconds of a weight update with its proof (verl: 0.1 s for 7B without; Magistral: < 5)",
        ),
        ("switch", 5.0, "assumed: seconds in which engines on shared GPUs give them up and take them back"),
        ("update-seconds", 2.0, "assumed: an update besides the GPUs' work"),
    ):
        made.add_argument(f"--{name}", type=float, default=value, help=f"{words} (default {value:g})")
    made.add_argument(
        "--gpu", choices=list(GPUS), default="H100", help="whose data sheet is taken (default H100)"
    )
    made.add_argument("--gpus", type=int, nargs="+", default=[8, 16, 32, 64, 128, 256, 512], metavar="N")
    return made.parse_args(arguments)


def assumed(args: argparse.Namespace) -> Rates:
    """Rates by the data sheet: decoding reads weights and cache, everything else is arithmetic."""
    from rlvr.planning.model_shape import model_shape

    gpu, shape, ranks = GPUS[args.gpu], model_shape(args.model), args.tensor_parallel
    bandwidth = gpu.bandwidth * args.bandwidth_share * ranks
    arithmetic, learning = gpu.flops * args.decode_share * ranks, gpu.flops * args.learn_share
    parameters = shape.num_parameters
    return Rates(
        EngineRates(
            per_step=args.step_seconds + 2 * parameters / bandwidth,
            per_running=2 * parameters / arithmetic,
            per_context=2 * shape.layers * shape.kv_width / bandwidth,
            per_prompt_token=2 * parameters / arithmetic,
            places=args.places,
        ),
        # 2 operations per parameter forward, 4 backward, 2 for what checkpointing computes again. Causal attention takes as
        # many passes, with 2 operations for each pair of tokens and number of its width, of which half is masked.
        LearnerRates(
            args.update_seconds,
            8 * parameters / learning,
            8 * shape.layers * shape.heads * shape.head_dim / learning,
            forward_share=0.25,
        ),
        publish=args.publish,
    )


def draw(args: argparse.Namespace) -> list[list[Prompt]]:
    """Batches with log-normal lengths, enough for every mode."""
    drawn = random.Random(0)

    def length() -> int:
        return max(1, min(args.longest, round(drawn.lognormvariate(math.log(args.median), args.spread))))

    return [
        [
            Prompt(args.prompt_tokens, tuple(length() for _ in range(args.group_size)))
            for _ in range(args.prompts)
        ]
        for _ in range(num_steps(in_flight(args.staleness)))
    ]


def predict(
    args: argparse.Namespace, rates: Rates, batches: Sequence[Sequence[Prompt]], gpus: int
) -> dict[str, tuple[int, int, Predicted]]:
    """Engines, learners and prediction of every mode: of shared GPUs, and of the split that is fastest in each."""
    ranks = args.tensor_parallel
    shared = replace(rates, publish=rates.publish + args.switch)
    found = {SHARED: (gpus // ranks, gpus, _run(shared, batches, gpus // ranks, gpus, IN_TURN))}
    fewest = fewest_learners(args)
    for mode in (IN_TURN, AHEAD, in_flight(args.staleness)):

        def with_engines(engines: int, mode: Mode = mode) -> Predicted:
            return _run(rates, batches, engines, gpus - engines * ranks, mode)

        most = (gpus - fewest) // ranks
        if most >= 1:
            engines, each = fastest(with_engines, most, max(1, gpus // ranks // 32))
            found[mode.name] = (engines, gpus - engines * ranks, each)
    return found


def fewest_learners(args: argparse.Namespace) -> int:
    """Learners that hold weights, gradients and optimizer between them."""
    from rlvr.planning.model_shape import model_shape

    held = LEARNER_BYTES * model_shape(args.model).num_parameters
    return max(1, math.ceil(held / (LEARNER_SHARE * GPUS[args.gpu].memory)))


def num_steps(mode: Mode) -> int:
    """Steps of a run: those before all batches are under way, the measured ones, and those that end without others beside."""
    return WARMUP + mode.staleness + max(4, CYCLES * (mode.staleness + 1)) + mode.staleness


def _run(
    rates: Rates, batches: Sequence[Sequence[Prompt]], engines: int, learners: int, mode: Mode
) -> Predicted:
    simulation = Simulation(rates, batches[: num_steps(mode)], engines, learners, mode)
    return simulation.run(WARMUP + mode.staleness)


def fastest(run: Callable[[int], Predicted], most: int, grain: int) -> tuple[int, Predicted]:
    """The number of engines, a multiple of ``grain``, with the shortest step; it first falls with the engines, then rises."""
    counts = [*range(grain, most + 1, grain)] or [most]
    seen: dict[int, Predicted] = {}

    def seconds(place: int) -> float:
        if place not in seen:
            seen[place] = run(counts[place])
        return seen[place].step

    low, high = 0, len(counts) - 1
    while high - low > 2:
        left, right = low + (high - low) // 3, high - (high - low) // 3
        if seconds(left) <= seconds(right):
            high = right
        else:
            low = left
    best = min(range(low, high + 1), key=seconds)
    return counts[best], seen[best]


def calibrated(args: argparse.Namespace, folder: Path) -> tuple[Rates, list[list[Prompt]]]:
    """Rates and batches by what a run in turn has recorded; lengths, batch and pools are the run's.

    What it records is one rollout time for each step, so that the shape of the engine's curve (what a step, a response and a
    token looked back on cost) stays as assumed, and its level is made to fit.
    """
    from rlvr.errors import ConfigError
    from rlvr.run_folder import CONFIG_FILE, METRICS_FILE, read_metrics

    file, rows = folder / CONFIG_FILE, list[Any](read_metrics(folder))[2:]
    if not file.exists() or not rows:
        raise ConfigError(
            f"--run needs a training run with {CONFIG_FILE} and at least three steps in {METRICS_FILE}",
            where=str(folder),
            fix="the folder that `rlvr train` has written, run.dir",
        )
    config = json.loads(file.read_text(encoding="utf-8"))

    def typical(name: str) -> float:
        return median([row[name] for row in rows])

    args.model = config["model"]
    args.prompts, args.group_size = config["train"]["prompts_per_step"], config["algorithm"]["group_size"]
    args.places, args.tensor_parallel = (
        config["rollout"]["max_num_seqs"],
        config["rollout"]["tensor_parallel_size"],
    )
    args.longest = config["rollout"]["max_response_tokens"]
    args.median, args.spread = lognormal(
        typical("response/length_mean"), typical("response/length_max"), args.prompts * args.group_size
    )
    learners, engines = config["learner"]["num_learners"], config["rollout"]["num_workers"]
    batches = draw(args)
    rates = replace(assumed(args), publish=typical("time/sync"))
    works = [learning_work(batch, rates.learner.forward_share) for batch in batches]
    learning = fmean(
        rates.learner.per_token * each + rates.learner.per_square * squares for each, squares in works
    )
    learner = replace(
        scaled(rates.learner, typical("time/learn") * learners / learning, "per_token", "per_square"),
        per_update=0.0,
    )
    alone = _run(replace(rates, learner=LearnerRates(0.0, 0.0), publish=0.0), batches, engines, 1, IN_TURN)
    engine = scaled(
        rates.engine,
        typical("time/rollout") / alone.step,
        "per_step",
        "per_running",
        "per_context",
        "per_prompt_token",
    )
    return replace(rates, engine=engine, learner=learner), batches


def scaled(rates: R, factor: float, *names: str) -> R:
    """The same, with some of its seconds so many times as long."""
    return replace(rates, **{name: getattr(rates, name) * factor for name in names})


def lognormal(mean: float, longest: float, count: int) -> tuple[float, float]:
    """Median and spread of the log-normal lengths of which ``count`` have this mean and this maximum."""
    z = NormalDist().inv_cdf(1 - 1 / (count + 1))
    # log(longest) = log(median) + z σ, and log(mean) = log(median) + σ² / 2.
    spread = z - math.sqrt(max(0.0, z * z - 2 * math.log(max(1.0, longest / mean))))
    return mean * math.exp(-spread * spread / 2), spread


def published(args: argparse.Namespace) -> str:
    """Gains over shared GPUs in turn, the model's beside those that were published."""
    rows = []
    for system, gpu, gpus, mode, gain in PUBLISHED:
        args.gpu = gpu
        found = predict(args, assumed(args), draw(args), gpus)
        [each] = [each for name, (_, _, each) in found.items() if name.startswith(mode)]
        rows.append((f"{system}, {gpus} × {gpu}", mode, gain, f"{found[SHARED][2].step / each.step:.2f}"))
    return table(("system", "mode", "published", "model"), rows)
