"""``rlvr evaluate regrade=FOLDER``: judge the stored responses of finished evaluations anew.

Nothing is sampled and no model is needed. The old rows stay; the new ones go to another folder, with the new
verifier in their spec, so that the two are never mixed.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlvr.checkpoint import set_aside
from rlvr.config import EvaluateConfig
from rlvr.data.loaders import problems_hash
from rlvr.data.templates import FILE_SUFFIXES, TEMPLATES, template
from rlvr.errors import ConfigError, DataError
from rlvr.eval.discovery import stores_in
from rlvr.eval.loading import load_results
from rlvr.eval.report import Report, write_report
from rlvr.eval.samples import Sample
from rlvr.eval.store import SampleStore, load_evaluation, read_problems, write_problems
from rlvr.provenance import plain_data, provenance
from rlvr.records import Verdict
from rlvr.rewards.config import RewardsConfig
from rlvr.rewards.registry import verifier_pool
from rlvr.run_folder import evaluation_folder
from rlvr.tracking.results import ResultTracker
from rlvr.workflows.ownership import refuse_not_for_evaluations
from rlvr.workflows.tracked import log_report

Changes = Counter[tuple[str, str]]
"""How often which status became which."""


def regrade_models(config: EvaluateConfig, resolved: dict[str, Any] | None = None) -> tuple[Changes, Report]:
    """What `rlvr evaluate regrade=FOLDER` does: new verdicts on the responses there, and their report in ``config.run.dir``.

    Args:
        config: ``regrade`` is the folder; ``rewards`` says how responses are judged now.
        resolved: the config as plain data without secrets; made of it by default.

    Raises:
        ConfigError: as for :func:`regrade`.
        DataError: likewise.
    """
    assert config.regrade is not None, "a folder to regrade"
    resolved = plain_data(config) if resolved is None else resolved
    folder = Path(config.run.dir)
    refuse_not_for_evaluations(folder)
    with ResultTracker(folder, config.tracking, resolved) as tracker:
        if config.run.resume == "never":
            set_aside(folder)
        changes = regrade(Path(config.regrade), folder, config.rewards)
        results = load_results([folder]).with_provenance(provenance(resolved))
        report = write_report(folder, results, seed=config.seed)
        log_report(tracker, report)
    return changes, report


def regrade(source: Path, target: Path, rewards: RewardsConfig) -> Changes:
    """Judge every response of every evaluation under a folder.

    Args:
        source: folder of `rlvr evaluate` or of a study, or of one evaluation in it.
        target: the new evaluations go to ``<target>/evaluation/<benchmark>/<model>``.
        rewards: how they are judged now.

    Raises:
        ConfigError: there is no evaluation, or the target is the source.
        DataError: an evaluation is not finished, or does not hold its problems.
    """
    if source.resolve() == target.resolve():
        raise ConfigError(
            "the new verdicts would stand among the old ones", where="run.dir", fix="run.dir=ANOTHER_FOLDER"
        )
    changes: Changes = Counter()
    for store in stores_in(source):
        folder = evaluation_folder(target, store.spec.benchmark, store.name)
        changes += regrade_one(store.folder, folder, rewards)
    return changes


def regrade_one(source: Path, target: Path, rewards: RewardsConfig) -> Changes:
    """Judge every response of one evaluation, or those that an interrupted call left."""
    problems = read_problems(source)
    old = load_evaluation(source, [problem.id for problem in problems])
    if old.spec.problems_sha256 != problems_hash(problems):
        raise DataError(
            "the folder does not hold the problems that were measured",
            where=str(source),
            fix="evaluate again",
        )
    name = old.spec.prompt_template.rpartition(":")[0]
    asked = template(name) if Path(name).suffix in FILE_SUFFIXES else TEMPLATES.get(name)
    judged = rewards.asked_for(asked.extraction) if asked else rewards
    by_id = {problem.id: problem for problem in problems}
    changes: Changes = Counter()
    with verifier_pool(problems, judged) as pool:
        store = SampleStore(target, replace(old.spec, verifier=pool.identity))
        write_problems(target, problems)
        try:
            rows = [row for row in old.samples() if (row.problem, row.sample) not in store.done]
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
    return changes


def change_lines(changes: Changes) -> list[str]:
    """What regrading changed, in words."""
    total = sum(changes.values())
    moved = {pair: count for pair, count in changes.items() if pair[0] != pair[1]}
    lines = [f"regraded {total} responses, {sum(moved.values())} verdicts changed"]
    lines += [f"  {count:6} {before} → {after}" for (before, after), count in sorted(moved.items())]
    return lines
