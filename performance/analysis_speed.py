"""Seconds from verdicts to every statistic of the report: 500 problems × 1,024 samples × 8 models, 10,000 resamples.

The verdicts are made up; counting them, comparing all models with the base, the adjustment over all
tests, coverage and histograms are the report's own functions. Drawing is not in it.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np

from rlvr.eval.bootstrap import NUM_RESAMPLES
from rlvr.eval.compare import compare, holm_across
from rlvr.eval.store import Evaluation, EvaluationSpec
from rlvr.records import Status


def evaluation(name: str, ids: tuple[str, ...], correct_pn: np.ndarray) -> Evaluation:
    """An evaluation as it is once its rows have been read: counts of (P, n) verdicts."""
    problems, samples = correct_pn.shape
    right = int(correct_pn.sum())
    spec = EvaluationSpec(
        model_name=name, model_path=name, model_sha256=name, benchmark="made-up", problems_sha256="",
        num_problems=problems, num_samples=samples, prompt_template="", sampling={}, verifier="", seed=0,
        chance_level=0.0,
    )  # fmt: skip
    counts = {Status.CORRECT.value: right, Status.INCORRECT.value: correct_pn.size - right}
    return Evaluation(
        spec, ids, correct_pn.sum(axis=1), np.full(problems, samples), Path(name), counts, 0, 0, 0.0
    )


def main(arguments: list[str]) -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(prog="python -m performance analysis_speed", description=__doc__)
    parser.add_argument("--problems", type=int, default=500)
    parser.add_argument("--samples", type=int, default=1024)
    parser.add_argument("--models", type=int, default=8)
    parser.add_argument("--resamples", type=int, default=NUM_RESAMPLES)
    parser.add_argument("--json", type=Path, help="keep what was measured in this file")
    settings, _ = parser.parse_known_args(arguments)
    rng = np.random.default_rng(0)
    ids = tuple(f"made-up/{i}" for i in range(settings.problems))
    verdicts = [
        rng.random((settings.problems, settings.samples)) < rng.beta(0.3, 0.6, settings.problems)[:, None]
        for _ in range(settings.models)
    ]
    start, cpu = time.perf_counter(), time.process_time()
    evaluations = [evaluation(f"model-{i}", ids, correct) for i, correct in enumerate(verdicts)]
    [comparison] = holm_across([compare(evaluations, num_resamples=settings.resamples)])
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{settings.problems} problems × {settings.samples} samples × {settings.models} models, "
        f"{comparison.num_resamples:,} resamples: {seconds:.1f} s "
        f"({cpu:.1f} s of CPU), peak memory {memory:.1f} GiB"
    )
    if settings.json:
        settings.json.write_text(
            json.dumps({"seconds": seconds, "cpu_seconds": cpu, "peak_gib": memory}) + "\n"
        )


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
