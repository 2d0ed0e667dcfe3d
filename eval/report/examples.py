"""A few problems to read: what the models wrote, right and wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rlvr.eval.compare import Comparison
from rlvr.eval.report.labels import label
from rlvr.eval.report.measurement import BenchmarkAnalysis
from rlvr.eval.report.responses import Responses
from rlvr.eval.store import Evaluation
from rlvr.records import Problem


@dataclass(frozen=True, slots=True)
class Example:
    """A problem with the responses of every model."""

    reason: str
    """Why it was picked."""
    problem: Problem
    responses: Sequence[Responses]


def examples(analysis: BenchmarkAnalysis) -> list[Example]:
    """Pick problems worth reading; empty without problems or samples."""
    by_id = {problem.id: problem for problem in analysis.results.problems}
    chosen = picks(analysis.evaluations[0], analysis.comparison)
    shown = [Example(why, by_id[i], analysis.responses[i]) for i, why in chosen.items() if i in by_id]
    return [each for each in shown if any(r.correct or r.incorrect for r in each.responses)]


def picks(base: Evaluation, comparison: Comparison) -> dict[str, str]:
    """Problem id → reason: one of each kind, no problem twice."""
    accuracy = dict(zip(base.problem_ids, base.num_correct / base.num_samples, strict=True))
    chosen: dict[str, str] = {}

    def pick(candidates: Iterable[str], reason: str) -> None:
        found = next((problem_id for problem_id in candidates if problem_id not in chosen), None)
        if found is not None:
            chosen[found] = reason

    for each in comparison.against_base[:1]:
        name = label(each.name)
        pick(
            sorted(each.coverage.base_only, key=lambda i: -accuracy[i]),
            f"Solved by the base, never by {name}",
        )
        pick(each.coverage.rl_only, f"Solved by {name}, never by the base")
    ranked = sorted((i for i in base.problem_ids if accuracy[i] > 0), key=lambda i: accuracy[i])
    pick(ranked, "Hard: among the problems that the base solves most rarely")
    pick(reversed(ranked), "Easy: among the problems that the base solves most often")
    return chosen
