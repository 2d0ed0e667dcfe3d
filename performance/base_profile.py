"""The shipped base on its own world: pass@k, the histogram of accuracies, and learned rates against the corpus's.

Samples with `rlvr evaluate` (and goes on where an earlier call stopped), then counts. This is what the world and the base
were chosen by, before any training; what must hold is in ``CRITERIA``, and tests/data/test_skills.py holds the model
card to the same.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from performance.common import machine, machine_line, parser, table, write_result
from rlvr.config import SkillsWorld
from rlvr.data.skills import all_skills
from rlvr.eval.bootstrap import resample
from rlvr.eval.pass_at_k import default_ks, guess_pass_at_k
from rlvr.eval.statistics import curve
from rlvr.eval.store import Evaluation, load_evaluation, read_problems
from rlvr.rewards.process import readings
from rlvr.run_folder import evaluation_folder

NAME, BENCHMARK = "base", "skills"
BINS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
MIN_READINGS = 50
"""Occurrences of a skill below which its learned rate is not drawn."""
CRITERIA = {
    "guess_at_256": (0.0, 0.03),
    "pass_at_1": (0.10, 0.45),
    "pass_at_256": (0.60, 0.92),
    "never_solved": (0.08, 1.0),
    "above_half": (0.08, 1.0),
}
"""Lowest and highest allowed value of each number, of the base alone; 256 is the largest k of `recipe=tiny`."""


def main(arguments: list[str]) -> None:
    """Sample what is missing, and print the profile."""
    made = parser("base_profile", __doc__)
    made.add_argument("--problems", type=int, default=400)
    made.add_argument("--samples", type=int, default=512)
    made.add_argument("--folder", default="runs/base-profile", help="where the samples are kept")
    made.add_argument(
        "--figure", metavar="FILE", help="also draw learned rates and accuracies (.png or .svg)"
    )
    args = made.parse_args(arguments)
    print(machine_line(machine()), flush=True)
    folder = Path(args.folder)
    subprocess.run(command(folder, args), check=True, stdout=subprocess.DEVNULL)
    where = evaluation_folder(folder, BENCHMARK, NAME)
    problems = read_problems(where)
    evaluation = load_evaluation(where, [problem.id for problem in problems])
    found = profile(evaluation)
    rates = learned_rates(evaluation, {p.id: p.extra_info["solution_graph"] for p in problems})
    found["calibration"] = calibration(rates)
    print(table(("k", "pass@k", "95 % interval"), pass_rows(found)))
    print()
    print(table(("accuracy", "problems"), list(zip(found["bins"], found["histogram"], strict=True))))
    print()
    for name, (low, high) in CRITERIA.items():
        inside = low <= found["criteria"][name] <= high
        print(
            f"{name} {found['criteria'][name]:.4f}, wanted {low} to {high}: {'holds' if inside else 'FAILS'}"
        )
    for name, value in found["calibration"].items():
        print(f"{name} {value}")
    if args.figure:
        draw(rates, evaluation, Path(args.figure))
    write_result(args.json, {"machine": machine(), **found})


def command(folder: Path, args: Any) -> list[str]:
    """`rlvr evaluate` of the base alone."""
    return [
        *(sys.executable, "-m", "rlvr.cli.main", "evaluate", f"model={args.model}", f"name={NAME}"),
        *(f"benchmarks={{{BENCHMARK}: {{num_problems: {args.problems}}}}}", f"num_samples={args.samples}"),
        *(f"run.dir={folder}", "rollout.num_workers=2", *args.rlvr),
    ]


def profile(evaluation: Evaluation) -> dict[str, Any]:
    """Every number of the base that does not look into its responses."""
    n = evaluation.spec.num_samples
    ks = default_ks(n)
    replicates = resample(evaluation.num_samples, evaluation.num_correct, ks, np.random.default_rng(0))
    curve_ = curve(replicates, 0)
    accuracy = evaluation.num_correct / evaluation.num_samples
    histogram = np.histogram(accuracy[accuracy > 0], BINS)[0].tolist()
    estimate = dict(zip(ks, map(float, curve_.estimate), strict=True))
    return {
        "num_problems": len(accuracy),
        "num_samples": n,
        "model_sha256": evaluation.spec.model_sha256,
        "k": list(ks),
        "pass_at_k": [float(x) for x in curve_.estimate],
        "ci_low": [float(x) for x in curve_.low],
        "ci_high": [float(x) for x in curve_.high],
        "bins": ["0", *(f"({low:g}, {high:g}]" for low, high in itertools.pairwise(BINS))],
        "histogram": [int((accuracy == 0).sum()), *histogram],
        "criteria": {
            "guess_at_256": float(guess_pass_at_k(evaluation.spec.chance_level, [256])[0]),
            "pass_at_1": estimate[1],
            "pass_at_256": estimate[256] if 256 in estimate else float("nan"),
            "never_solved": float((accuracy == 0).mean()),
            "above_half": float((accuracy > 0.5).mean()),
        },
    }


def learned_rates(evaluation: Evaluation, graphs: dict[str, Any]) -> dict[str, tuple[float, float, int]]:
    """By skill: the rate at which the corpus reads it rightly, that of the model, and its occurrences."""
    right: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    for sample in evaluation.samples():
        for reading in readings(graphs[sample.problem], sample.text):
            seen[reading.skill] += 1
            right[reading.skill] += reading.right
    return {
        skill.name: (skill.rate, right[skill.name] / seen[skill.name], seen[skill.name])
        for skill in all_skills(SkillsWorld())
        if seen[skill.name]
    }


def calibration(rates: dict[str, tuple[float, float, int]]) -> dict[str, Any]:
    """How near the learned rates are to the corpus's."""
    pairs = np.array([(corpus, model) for corpus, model, seen in rates.values() if seen >= MIN_READINGS])
    apart = np.abs(pairs[:, 0] - pairs[:, 1])
    logs = np.log10(np.maximum(pairs, 1e-3))
    return {
        "skills_seen": len(pairs),
        "mean_rate_corpus": round(float(pairs[:, 0].mean()), 4),
        "mean_rate_model": round(float(pairs[:, 1].mean()), 4),
        "mean_absolute_difference": round(float(apart.mean()), 4),
        "correlation": round(float(np.corrcoef(pairs.T)[0, 1]), 4),
        "correlation_of_logarithms": round(float(np.corrcoef(logs.T)[0, 1]), 4),
    }


def pass_rows(found: dict[str, Any]) -> list[Sequence[str]]:
    """The table of pass@k."""
    return [
        (str(k), f"{value:.3f}", f"{low:.3f} to {high:.3f}")
        for k, value, low, high in zip(
            found["k"], found["pass_at_k"], found["ci_low"], found["ci_high"], strict=True
        )
    ]


def draw(rates: dict[str, tuple[float, float, int]], evaluation: Evaluation, path: Path) -> None:
    """Learned rates against the corpus's, and the accuracies of all problems in order."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from rlvr.eval.report.draw_print import STYLE
    from rlvr.eval.report.labels import COLOURS

    with rc_context(STYLE):
        figure = Figure(figsize=(8.4, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        pairs = np.array([(c, m) for c, m, seen in rates.values() if seen >= MIN_READINGS])
        left.plot([0.003, 1], [0.003, 1], color="#888888", linewidth=0.8)
        left.scatter(*np.maximum(pairs, 0.003).T, s=7, alpha=0.6, color=COLOURS[0], linewidths=0)
        left.set(xscale="log", yscale="log", xlim=(0.003, 1.1), ylim=(0.003, 1.1))
        left.set(
            title="Right readings, a point per skill", xlabel="rate in the corpus", ylabel="rate of the base"
        )
        accuracy = np.sort(evaluation.num_correct / evaluation.num_samples)
        right.plot(np.arange(len(accuracy)) / len(accuracy), accuracy, color=COLOURS[0])
        right.set(title="Accuracy, problems in order", xlabel="fraction of the problems", ylabel="accuracy")
        right.set(xlim=(0, 1), ylim=(0, 1))
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
