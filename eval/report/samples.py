"""A few problems to read: what the models wrote, right and wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from rlvr.eval.compare import Comparison
from rlvr.eval.report.analysis import BenchmarkAnalysis
from rlvr.eval.report.labels import label
from rlvr.eval.store import Evaluation, Sample
from rlvr.records import Problem, Status


@dataclass(slots=True)
class Responses:
    """One model on one problem."""

    model: str
    num_correct: int
    num_samples: int
    correct: Sample | None = None
    """The correct sample of lowest index."""
    incorrect: Sample | None = None

    def offer(self, sample: Sample) -> None:
        """Keep the sample if it is the first of its kind by index."""
        kind = "correct" if sample.status is Status.CORRECT else "incorrect"
        kept: Sample | None = getattr(self, kind)
        if kept is None or sample.sample < kept.sample:
            setattr(self, kind, sample)


@dataclass(frozen=True, slots=True)
class Example:
    """A problem with the responses of every model."""

    reason: str
    """Why it was picked."""
    problem: Problem
    responses: list[Responses] = field(default_factory=list)


def examples(analysis: BenchmarkAnalysis) -> list[Example]:
    """Pick problems and read their responses from disk; empty without problems or samples."""
    by_id = {problem.id: problem for problem in analysis.results.problems}
    chosen = picks(analysis.evaluations[0], analysis.comparison)
    picked = [(why, by_id[i]) for i, why in chosen.items() if i in by_id]
    shown = [Example(reason, problem) for reason, problem in picked]
    for evaluation in analysis.evaluations if shown else ():
        for example, responses in zip(
            shown, responses_of(evaluation, [p.id for _, p in picked]), strict=True
        ):
            example.responses.append(responses)
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


def responses_of(evaluation: Evaluation, problem_ids: list[str]) -> list[Responses]:
    """One pass over a model's samples."""
    position = {problem_id: i for i, problem_id in enumerate(evaluation.problem_ids)}
    found = {
        i: Responses(
            evaluation.name,
            int(evaluation.num_correct[position[i]]),
            int(evaluation.num_samples[position[i]]),
        )
        for i in problem_ids
    }
    for sample in evaluation.samples():
        if sample.problem in found and sample.status is not Status.ERROR:
            found[sample.problem].offer(sample)
    return [found[i] for i in problem_ids]
