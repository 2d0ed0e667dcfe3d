"""Evaluations and studies on disk, made up from counts of correct samples."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rlvr.eval.samples import Sample, encode_samples
from rlvr.eval.store import Evaluation, EvaluationSpec, load_evaluation, write_problems
from rlvr.files import write_json
from rlvr.records import Problem, Status
from rlvr.run_folder import SAMPLES_FILE, SPEC_FILE

N = 8
"""Samples per problem."""
COUNTS: dict[str, list[int]] = {
    "base": [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 8, 1],
    "grpo": [1, 0, 0, 5, 6, 7, 7, 8, 8, 8, 8, 0],
    "ppo": [0, 1, 2, 3, 3, 4, 4, 5, 5, 6, 8, 1],
    "grpo-step2": [0, 1, 1, 3, 3, 4, 4, 5, 5, 6, 8, 0],
    "grpo-step4": [0, 0, 1, 4, 5, 6, 6, 7, 7, 7, 8, 0],
    "grpo-seed0": [1, 0, 0, 5, 6, 7, 7, 8, 8, 8, 8, 0],
    "grpo-seed1": [0, 0, 1, 4, 5, 6, 6, 7, 7, 7, 8, 0],
    "grpo-seed7": [0, 1, 1, 3, 3, 4, 4, 5, 5, 6, 8, 0],
}


def toy_problems(count: int = 12, name: str = "toy") -> list[Problem]:
    """Problems with markup in their prompts."""
    return [
        Problem(
            f"{name}/test/{i}", ({"role": "user", "content": f"What is {i} + 1 <b>?</b>"},), name, str(i + 1)
        )
        for i in range(count)
    ]


def sha(name: str) -> str:
    """A hash that belongs to a name."""
    return hashlib.sha256(name.encode()).hexdigest()


def evaluation(
    folder: Path,
    name: str,
    correct: Sequence[int],
    *,
    text: str = "# 1",
    benchmark: str = "toy",
    samples: int = N,
    problems: Sequence[Problem] = (),
    cut_off: int = 0,
    unanswered: int = 0,
    **changes: Any,
) -> Evaluation:
    """One evaluation in ``folder``, its first ``correct[i]`` of ``samples`` samples of problem i right.

    Of each problem the last ``cut_off`` samples met the length limit, and ``unanswered`` before them hold no answer.

    ``problems`` are made up unless they are given.
    """
    problems = problems or toy_problems(len(correct), benchmark)
    spec = EvaluationSpec(
        model_name=name, model_path=f"runs/{name}", model_sha256=sha(name), benchmark=benchmark,
        problems_sha256=sha(benchmark), num_problems=len(problems), num_samples=samples, prompt_template="boxed",
        sampling={"temperature": 0.6, "top_p": 0.95}, verifier="math-1", seed=3, chance_level=0.05,
    )  # fmt: skip
    folder.mkdir(parents=True)
    write_json(folder / SPEC_FILE, asdict(replace(spec, **changes)))
    write_problems(folder, problems)
    rows = []
    for problem, right in zip(problems, correct, strict=True):
        for s in range(samples):
            status = Status.CORRECT if s < right else Status.INCORRECT
            if s >= samples - cut_off - unanswered:
                status = Status.UNPARSED
            ended = "length" if s >= samples - cut_off else "stop"
            rows.append(Sample(problem.id, s, float(status is Status.CORRECT), status, "1", text, 5, ended))
    (folder / SAMPLES_FILE).write_bytes(encode_samples(rows))
    return load_evaluation(folder, [problem.id for problem in problems])


def study_folder(
    home: Path,
    models: Sequence[str] = ("base", "grpo", "ppo"),
    benchmarks: Sequence[str] = ("toy",),
    *,
    tag: str = "",
    changes: Mapping[str, Any] | None = None,
) -> Path:
    """A study's folder as ``rlvr study`` leaves it, without the models themselves.

    Args:
        home: the folder.
        models: names from ``COUNTS``, checkpoints included.
        benchmarks: the in-domain one first.
        tag: makes the trained models' weights other ones.
        changes: fields of every spec.
    """
    for benchmark in benchmarks:
        for name in models:
            folder = home / "evaluation" / benchmark / name
            weights = name if name == "base" else name + tag
            evaluation(
                folder,
                name,
                COUNTS[name],
                benchmark=benchmark,
                **{"model_sha256": sha(weights), **(changes or {})},
            )
    write_json(
        home / "config.json",
        {"benchmarks": {name: {"out_of_domain": i > 0} for i, name in enumerate(benchmarks)}},
    )
    runs = [name for name in models if name != "base" and "-step" not in name]
    for second, name in enumerate(reversed(runs)):
        run = home / name
        run.mkdir()
        rows = [{"step": step, "reward/mean": step / 10} for step in range(1, 7)]
        (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        record = {
            "date": f"2026-01-05T10:00:0{second}+00:00", "command": f"rlvr study run.dir={home}", "seed": 0,
            "wall_seconds": 30.0, "model_sha256": sha(name + tag),
        }  # fmt: skip
        write_json(run / "trained.json", record)
    return home


def study_in_training(home: Path) -> Path:
    """A study in which GRPO trains while nothing has been measured."""
    for name in ("ppo", "grpo"):
        (home / name).mkdir(parents=True)
    write_json(
        home / "config.json",
        {
            "algorithm": {"name": "grpo"}, "algorithms": ["ppo", "grpo"], "seeds": [],
            "benchmarks": {"toy": {}, "toy_long": {"out_of_domain": True}},
        },
    )  # fmt: skip
    for name, steps in (("ppo", 4), ("grpo", 2)):
        write_json(home / name / "config.json", {"algorithm": {"name": name}, "train": {"num_steps": 4}})
        rows = [{"step": step, "reward/mean": step / 10} for step in range(1, steps + 1)]
        (home / name / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    record = {
        "date": "2026-01-05",
        "command": f"rlvr study run.dir={home}",
        "model_sha256": "1",
        "wall_seconds": 1,
    }
    write_json(home / "ppo" / "trained.json", record)
    return home
