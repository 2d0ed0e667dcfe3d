"""A few problems to read: what the models wrote, right and wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field

from rlvr.eval.compare import Comparison
from rlvr.eval.report.analysis import BenchmarkAnalysis
from rlvr.eval.report.labels import label
from rlvr.eval.samples import Sample
from rlvr.eval.store import Evaluation
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
    wrong: dict[str | None, tuple[int, Sample]] = field(default_factory=dict)
    """Of problems whose wrong answers are kept: how often each was given, and one sample of it."""

    def typical_wrong(self) -> tuple[Sample, int] | None:
        """A sample of the most frequent wrong answer, and how often it was given."""
        if not self.wrong:
            return None
        count, sample = max(self.wrong.values(), key=lambda pair: (pair[0], -pair[1].sample))
        return sample, count

    def offer(self, sample: Sample, *, count_wrong: bool = False) -> None:
        """Keep the sample if it is the first of its kind by index; ``count_wrong`` counts its answer."""
        if count_wrong and sample.status is not Status.CORRECT:
            count, first = self.wrong.get(sample.answer, (0, sample))
            self.wrong[sample.answer] = (count + 1, min(first, sample, key=lambda each: each.sample))
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
    responses: list[Responses]


def read_responses(
    analysis: BenchmarkAnalysis, counted: Set[str] = frozenset()
) -> dict[str, list[Responses]]:
    """By problem id, a correct and an incorrect response of every model: one pass over all samples.

    Args:
        analysis: whose evaluations are read.
        counted: ids of the problems whose wrong answers are counted.
    """
    read = [responses_of(evaluation, counted) for evaluation in analysis.evaluations]
    return {problem_id: [each[problem_id] for each in read] for problem_id in read[0]}


def examples(analysis: BenchmarkAnalysis, responses: Mapping[str, list[Responses]]) -> list[Example]:
    """Pick problems worth reading; empty without problems or samples."""
    by_id = {problem.id: problem for problem in analysis.results.problems}
    chosen = picks(analysis.evaluations[0], analysis.comparison)
    shown = [Example(why, by_id[i], responses[i]) for i, why in chosen.items() if i in by_id]
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


def responses_of(evaluation: Evaluation, counted: Set[str] = frozenset()) -> dict[str, Responses]:
    """One model's responses by problem id."""
    found = {
        problem_id: Responses(evaluation.name, int(correct), int(samples))
        for problem_id, correct, samples in zip(
            evaluation.problem_ids, evaluation.num_correct, evaluation.num_samples, strict=True
        )
    }
    for sample in evaluation.samples():
        if sample.status is not Status.ERROR:
            found[sample.problem].offer(sample, count_wrong=sample.problem in counted)
    return found
