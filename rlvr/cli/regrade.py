"""``rlvr evaluate regrade=FOLDER``: judge the stored responses of a finished evaluation anew.

Nothing is sampled and no model is needed. The old rows stay; the new ones go to a folder beside them, with
the new verifier in their spec, so that the two are never mixed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

from rlvr.config import EvaluateConfig
from rlvr.data.loaders import benchmark_problems, problems_hash
from rlvr.errors import ConfigError, DataError
from rlvr.eval.store import (
    SAMPLES_FILE,
    SPEC_FILE,
    Evaluation,
    EvaluationSpec,
    Sample,
    SampleStore,
    load_evaluation,
    read_samples,
)
from rlvr.records import Problem, Verdict
from rlvr.rewards.registry import verifier_pool

REGRADED = "regraded"


def regrade(
    config: EvaluateConfig, problems: Sequence[Problem]
) -> tuple[Evaluation, Counter[tuple[str, str]]]:
    """Judge every stored response with the verifier of ``config.rewards``.

    Returns:
        The regraded evaluation in ``FOLDER/regraded``, and how often which status became which.

    Raises:
        ConfigError: the folder holds no evaluation, or one of other problems.
        DataError: the evaluation is not finished.
    """
    source = find_evaluation(Path(str(config.regrade)))
    old = load_evaluation(source, [problem.id for problem in problems])
    if old.spec.problems_sha256 != problems_hash(problems):
        raise ConfigError(
            "the evaluation was made with other problems",
            where=str(source / SPEC_FILE),
            fix="give the benchmark.* and data.* settings of that evaluation",
        )
    by_id = {problem.id: problem for problem in problems}
    target = source.parent / REGRADED
    changes: Counter[tuple[str, str]] = Counter()
    with verifier_pool(problems, config.rewards) as pool:
        store = SampleStore(target, replace(old.spec, verifier=pool.identity))
        try:
            rows = [
                row
                for row in read_samples(source / SAMPLES_FILE)
                if (row.problem, row.sample) not in store.done
            ]
            pending: list[tuple[Sample, Future[Verdict]]] = [
                (row, pool.submit(by_id[row.problem], row.text, row.finish_reason)) for row in rows
            ]
            for row, future in pending:
                verdict = future.result()
                changes[row.status.value, verdict.status.value] += 1
                store.append(
                    [replace(row, score=verdict.score, status=verdict.status, answer=verdict.answer)]
                )
        finally:
            store.close()
    return load_evaluation(target, [problem.id for problem in problems]), changes


def find_evaluation(folder: Path) -> Path:
    """The folder with the samples: the one given, or ``samples`` in a run of ``rlvr evaluate``.

    Raises:
        ConfigError: neither holds an evaluation.
    """
    for place in (folder, folder / "samples"):
        if (place / SPEC_FILE).exists():
            return place
    raise ConfigError(
        "there is no evaluation in this folder",
        where=f"regrade={folder}",
        fix="a folder that `rlvr evaluate` wrote",
    )


def load_for_regrading(config: EvaluateConfig) -> list[Problem]:
    """The problems of a stored evaluation.

    Raises:
        DataError: the spec cannot be read.
    """
    path = find_evaluation(Path(str(config.regrade))) / SPEC_FILE
    try:
        EvaluationSpec(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise DataError(f"the spec cannot be read: {error}", where=str(path), fix="evaluate again") from error
    return benchmark_problems(config.benchmark, config.data)


def change_lines(changes: Counter[tuple[str, str]]) -> list[str]:
    """What regrading changed, in words."""
    total = sum(changes.values())
    moved = {pair: count for pair, count in changes.items() if pair[0] != pair[1]}
    lines = [f"regraded {total} responses, {sum(moved.values())} verdicts changed"]
    lines += [f"  {count:6} {before} → {after}" for (before, after), count in sorted(moved.items())]
    return lines
