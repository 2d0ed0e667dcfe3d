"""What the models wrote on each problem, right and wrong: read once, shown in several places."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, field

from rlvr.eval.samples import Sample
from rlvr.eval.store import Evaluation
from rlvr.records import Status


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


def read_responses(
    models: Sequence[Evaluation], counted: Set[str] = frozenset()
) -> dict[str, list[Responses]]:
    """By problem id, a correct and an incorrect response of every model: one pass over all samples.

    Args:
        models: whose samples are read.
        counted: ids of the problems whose wrong answers are counted.
    """
    read = [responses_of(each, counted) for each in models]
    return {problem_id: [each[problem_id] for each in read] for problem_id in read[0]}


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
