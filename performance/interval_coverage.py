"""How often the report's intervals hold the truth: simulated studies whose pass@k is known.

A world says how accuracies of base and trained model are distributed over problems, so the true
pass@k, difference and crossing are known. Each simulated study draws problems from it and samples
of each problem, and its intervals are computed by the very functions that the report uses. Nominal
is 95 %; with 500 studies the share itself is uncertain by about 2 points (twice its standard error).

One world has training chance: runs differ in what they gain and lose, over all problems and problem by
problem. Its truth is the mean over all runs that could have been; its studies train several, and both their
mean and the first run alone are held against that truth.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rlvr.eval.bootstrap import resample
from rlvr.eval.pass_at_k import FloatArray, default_ks
from rlvr.eval.statistics import Curve, crossing, crossing_points, curve, paired_difference
from rlvr.eval.training_runs import with_mean

World = Callable[[np.random.Generator, int], FloatArray]
TRUTH_PROBLEMS = 1_000_000
TRUTH_RUNS = 10_000
"""Runs that the truth with training chance is the mean of, each on its share of the problems."""


def sharpened(rng: np.random.Generator, problems: int) -> FloatArray:
    """Training helps where the base already succeeds and loses a fifth of the problems: the curves cross."""
    ease, noise = rng.normal(size=(2, problems))
    lost = rng.random(problems) < 0.2
    trained = np.where(lost, sigmoid(-7 + 2 * noise), sigmoid(0.2 + 2 * ease + 0.5 * noise))
    return np.stack([sigmoid(-1.5 + 2 * ease), trained])


def improved(rng: np.random.Generator, problems: int) -> FloatArray:
    """Training helps everywhere: the curves do not cross."""
    ease, noise = rng.normal(size=(2, problems))
    return np.stack([sigmoid(-4 + 3 * ease), sigmoid(-2 + 3 * ease + 0.5 * noise)])


def training_chance(
    rng: np.random.Generator, problems: int, runs: int = 1, chance: float = 1.0
) -> FloatArray:
    """As the first, and each run gains and loses by chance: (1 + R, P) accuracies of the base and R runs."""
    ease, noise, lasting = rng.normal(size=(3, problems))
    gain, loss = chance * rng.normal(size=(2, runs, 1))
    luck = chance * rng.normal(size=(runs, problems))
    lost = lasting + 0.3 * luck < -0.85 + 0.2 * loss
    kept = sigmoid(0.2 + 2 * ease + 0.4 * noise + 0.3 * luck + 0.3 * gain)
    return np.stack([sigmoid(-1.5 + 2 * ease), *np.where(lost, sigmoid(-7 + 2 * noise), kept)])


def sigmoid(x: FloatArray) -> FloatArray:
    """The logistic function."""
    return np.asarray(1 / (1 + np.exp(-x)))


WORLDS: dict[str, World] = {"sharpened": sharpened, "improved": improved}
TRAINING = "training_chance"


@dataclass(frozen=True, slots=True)
class Truth:
    """What a world's intervals should hold."""

    base: FloatArray
    difference: FloatArray
    meets: float
    """Where the curves cross; infinite where they do not."""

    @classmethod
    def of(cls, world: World, ks: tuple[int, ...], rng: np.random.Generator, runs: int = 1) -> Truth:
        """By integrating over very many problems, and as many runs as are asked for."""
        accuracy_mp = np.hstack([world(rng, TRUTH_PROBLEMS // runs) for _ in range(runs)])
        true_mk = np.stack([(1 - (1 - accuracy_mp) ** k).mean(axis=1) for k in ks], axis=1)
        difference = true_mk[1] - true_mk[0]
        return cls(true_mk[0], difference, float(crossing_points(difference[None], ks)[1][0]))


def holds(found: Curve, truth: FloatArray) -> tuple[bool, npt.NDArray[np.bool_]]:
    """Whether the band holds the whole curve, and (K,) whether each interval holds its point."""
    rounding = 1e-9
    band = (found.band_low - rounding <= truth) & (truth <= found.band_high + rounding)
    return bool(band.all()), (found.low - rounding <= truth) & (truth <= found.high + rounding)


def simulate(world: World, settings: argparse.Namespace) -> dict[str, Any]:
    """Coverage over many studies of one world."""
    rng = np.random.default_rng(settings.seed)
    n, ks = settings.samples, default_ks(settings.samples)
    truth = Truth.of(world, ks, rng)
    bands, points, crosses, grid = np.zeros(2), np.zeros((2, len(ks))), 0, 0
    for _ in range(settings.studies):
        correct_mp = rng.binomial(n, world(rng, settings.problems))
        drawn = resample(np.full_like(correct_mp, n), correct_mp, ks, rng, num_resamples=settings.resamples)
        for i, (found, true) in enumerate(
            ((curve(drawn, 0), truth.base), (paired_difference(drawn, 0, 1), truth.difference))
        ):
            band, each = holds(found, true)
            bands[i] += band
            points[i] += each
        cross = crossing(drawn, 0, 1)
        low, high = (np.inf if end is None else end for end in (cross.low, cross.high))
        crosses += low <= truth.meets <= high
        low, high, true_k = (next_k(end, ks) for end in (low, high, truth.meets))
        grid += low <= true_k <= high
    studies = settings.studies
    return {
        "true crossing": truth.meets if np.isfinite(truth.meets) else None,
        "band of pass@k": bands[0] / studies,
        "band of the difference": bands[1] / studies,
        "interval of pass@k, mean over k": float(points[0].mean() / studies),
        "interval of the difference, mean over k": float(points[1].mean() / studies),
        "interval of the crossing": crosses / studies,
        "the same, rounded up to the grid of k": grid / studies,
    }


def simulate_runs(settings: argparse.Namespace) -> dict[str, Any]:
    """Coverage over many studies of several runs: by the mean of the runs, and by the first run alone."""
    rng = np.random.default_rng(settings.seed)
    n, ks, runs = settings.samples, default_ks(settings.samples), settings.runs
    world = partial(training_chance, chance=settings.chance)
    truth = Truth.of(world, ks, rng, TRUTH_RUNS)
    sides = {"the mean of the runs": runs + 1, "the first run alone": 1}
    bands, points, crosses, widths = np.zeros(2), np.zeros((2, len(ks))), np.zeros(2), np.zeros(2)
    for _ in range(settings.studies):
        correct_mp = rng.binomial(n, world(rng, settings.problems, runs))
        drawn = resample(np.full_like(correct_mp, n), correct_mp, ks, rng, num_resamples=settings.resamples)
        drawn = with_mean(drawn, range(1, runs + 1), rng)
        for i, model in enumerate(sides.values()):
            found, cross = paired_difference(drawn, 0, model), crossing(drawn, 0, model)
            band, each = holds(found, truth.difference)
            bands[i] += band
            points[i] += each
            widths[i] += (found.high - found.low).mean() / 2
            low, high = (np.inf if end is None else end for end in (cross.low, cross.high))
            crosses[i] += low <= truth.meets <= high
    shares: dict[str, Any] = {"true crossing": truth.meets}
    for i, side in enumerate(sides):
        shares |= {
            f"band of the difference, {side}": bands[i] / settings.studies,
            f"interval of the difference, {side}": float(points[i].mean() / settings.studies),
            f"  its half width, mean over k, {side}": widths[i] / settings.studies,
            f"interval of the crossing, {side}": crosses[i] / settings.studies,
        }
    return shares


def next_k(place: float, ks: tuple[int, ...]) -> float:
    """The first k of the grid at which a curve that meets another at ``place`` is behind."""
    return next((float(k) for k in ks if k >= place), np.inf)


def show(title: str, found: dict[str, Any]) -> None:
    """Print the shares of one world."""
    print(title)
    for what, share in found.items():
        if what == "true crossing":
            print(f"  {what:<60}{'none' if share is None else f'k = {share:.1f}'}")
        else:
            print(f"  {what:<60}{100 * share:5.1f} %")


def main(arguments: list[str]) -> None:
    """Simulate every world and print the shares."""
    parser = argparse.ArgumentParser(prog="python -m performance interval_coverage", description=__doc__)
    worlds = [*WORLDS, TRAINING]
    parser.add_argument("--worlds", nargs="+", choices=worlds, default=worlds, help="all by default")
    parser.add_argument("--studies", type=int, default=500)
    parser.add_argument("--problems", type=int, default=100)
    parser.add_argument("--samples", type=int, default=128, help="samples per problem")
    parser.add_argument("--resamples", type=int, default=1000, help="of the bootstrap, per study")
    parser.add_argument("--runs", type=int, default=3, help="trained in each study with training chance")
    parser.add_argument("--chance", type=float, default=1.0, help="size of the training chance")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="keep everything measured in this file")
    settings, _ = parser.parse_known_args(arguments)
    start, found = time.perf_counter(), {}
    for name in settings.worlds:
        if name == TRAINING:
            found[name] = simulate_runs(settings)
            show(f"{name}: {settings.runs} runs a study", found[name])
        else:
            found[name] = simulate(WORLDS[name], settings)
            show(f"{name}: {(WORLDS[name].__doc__ or '').strip()}", found[name])
    print(f"{settings.studies} studies each, {time.perf_counter() - start:.0f} s")
    if settings.json:
        settings.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
