"""What the models wrote on each problem, right and wrong: read once, shown in several places."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from rlvr.eval.report.html import Markup, element
from rlvr.eval.samples import Sample
from rlvr.eval.store import Evaluation
from rlvr.records import Problem, Status

MAX_TEXT = 6000
"""Characters of a response shown; the whole of it lies in ``samples.jsonl.gz``."""
VERDICT_WORDS = {
    Status.CORRECT: "✓ correct",
    Status.INCORRECT: "✗ incorrect",
    Status.UNPARSED: "? no answer found",
    Status.TIMEOUT: "⏱ timed out",
    Status.ERROR: "verifier error",
}


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


def prompt_text(problem: Problem) -> str:
    """A problem's messages as text; the role is named where there are several, and images by their files."""
    images = [f"[{Path(image.path).name}, {image.width} × {image.height} pixels]" for image in problem.images]
    if len(problem.prompt) == 1:
        return "\n".join([*images, problem.prompt[0]["content"]])
    texts = [f"[{message['role']}] {message['content']}" for message in problem.prompt]
    return "\n\n".join([*images, *texts])


def response(sample: Sample) -> Markup:
    """A response with its verdict."""
    body = (
        sample.text
        if len(sample.text) <= MAX_TEXT
        else sample.text[:MAX_TEXT] + f"\n… ({len(sample.text):,} characters)"
    )
    cut = ", cut off" if sample.finish_reason == "length" else ""
    answer = f"answer {sample.answer}, " if sample.answer is not None else ""
    meta = f"{answer}{sample.num_tokens} tokens{cut}, sample {sample.sample}"
    css = "right" if sample.status is Status.CORRECT else "wrong"
    head = element(
        "p",
        element("span", VERDICT_WORDS[sample.status], css=f"chip {css}"),
        element("span", meta, css="small"),
    )
    return element("div", head, element("pre", body), css="response")
