"""Steps: samples whose steps are all right as well as their answer, beside those whose answer is, and what went wrong.

For generated problems that carry their solution graph. pass@k that counts only the former is the strict one of arXiv
2512.07783; steps that the graph does not know are allowed, as in its evaluation. Both are the unbiased estimator.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rlvr.eval.compare import Comparison, compare
from rlvr.eval.report.html import Cell, Markup, element, table
from rlvr.eval.report.labels import label, percent
from rlvr.eval.report.measurement import Measurement, Part
from rlvr.eval.report.rounding import difference, rounded_list
from rlvr.eval.report.sections import two_comparisons
from rlvr.eval.results import BenchmarkResults
from rlvr.eval.samples import Sample
from rlvr.eval.store import Evaluation
from rlvr.records import Problem, Status
from rlvr.rewards.final_answer import FinalAnswerVerifier
from rlvr.rewards.process import Fault, is_graph, judge_steps

ANCHOR = "solution_steps"
RIGHT = "right"
KINDS = (RIGHT, *(fault.value for fault in Fault))
HEADERS = {
    RIGHT: "right",
    Fault.DEPENDENCY: "wrong dependency",
    Fault.MISSING: "missing step",
    Fault.VALUE: "wrong value",
    Fault.ANSWER: "wrong answer only",
}


@dataclass(frozen=True, slots=True)
class JudgedSamples:
    """One model's samples, judged by their steps."""

    strict: np.ndarray
    """(P,) samples whose steps and answer are right."""
    answered: np.ndarray
    """(P,) samples whose answer is right."""
    kinds: Mapping[str, int]
    """Samples by :data:`KINDS`: right, or by the first step that is not."""


@dataclass(frozen=True, slots=True)
class Steps:
    """The models by their answers alone and by their steps as well."""

    kinds: Mapping[str, Mapping[str, int]]
    """By model."""
    answer: Comparison
    strict: Comparison


def read(results: BenchmarkResults, models: Sequence[Evaluation]) -> dict[str, JudgedSamples]:
    """Judge the steps of every sample, by model; of problems without solution graphs nothing."""
    problems = {problem.id: problem for problem in results.problems}
    if not problems or not all(is_graph(each.extra_info.get("solution_graph")) for each in problems.values()):
        return {}
    return {each.name: judged(each.problem_ids, each.samples(), problems) for each in models}


def judged(ids: Sequence[str], samples: Iterable[Sample], problems: Mapping[str, Problem]) -> JudgedSamples:
    """Judge the samples of one model; counts are in the order of the ids."""
    outcome = FinalAnswerVerifier()
    places = {problem_id: place for place, problem_id in enumerate(ids)}
    strict, answered = np.zeros((2, len(places)), dtype=np.int64)
    kinds: Counter[str] = Counter()
    # Many of a problem's samples are the same text.
    same = Counter(
        (sample.problem, sample.text, sample.finish_reason)
        for sample in samples
        if sample.status is not Status.ERROR
    )
    for (problem_id, text, finish_reason), times in same.items():
        problem, place = problems[problem_id], places[problem_id]
        answer = outcome.verify(problem, text, finish_reason).status is Status.CORRECT
        fault = judge_steps(problem.extra_info["solution_graph"], text).first_fault
        kind = fault or (RIGHT if answer else Fault.ANSWER)
        kinds[kind] += times
        answered[place] += times * answer
        strict[place] += times * (kind == RIGHT)
    return JudgedSamples(strict, answered, {kind: kinds[kind] for kind in KINDS})


def analyse(
    data: Mapping[str, JudgedSamples],
    results: BenchmarkResults,
    models: Sequence[Evaluation],
    whole: Comparison,
) -> Steps | None:
    """Compare the models in both ways."""
    if not data:
        return None

    def counted(which: str) -> Comparison:
        evaluations = [replace(each, num_correct=getattr(data[each.name], which)) for each in models]
        return compare(evaluations, ks=whole.ks, seed=whole.seed, num_resamples=whole.num_resamples)

    return Steps({name: each.kinds for name, each in data.items()}, counted("answered"), counted("strict"))


def section(part: Part) -> Markup | None:
    """Both comparisons, and the kinds of error."""
    found: Steps | None = part.analysis.found.get(ANCHOR)
    if found is None:
        return None
    rows = []
    for model, kinds in found.kinds.items():
        total = max(1, sum(kinds.values()))
        shares = [Cell(f"{percent(kinds[kind] / total, 1)}", kinds[kind] / total) for kind in KINDS]
        rows.append([label(model), *shares])
    return part.section(
        ANCHOR,
        "Steps",
        element(
            "p",
            "Every sample is judged on its problem's solution graph: the strict pass@k counts those whose steps are all there and "
            "right as well as the answer. Steps that the graph does not know are allowed.",
        ),
        two_comparisons((found.answer, "answer"), (found.strict, "answer and steps")),
        element("p", "All samples, by the first step that is not right:"),
        table(["samples", *(HEADERS[kind] for kind in KINDS)], rows),
    )


def summary(found: Steps) -> dict[str, Any]:
    """For ``summary.json``."""
    return {
        "kinds": {name: dict(kinds) for name, kinds in found.kinds.items()},
        **{
            f"{which}_{key}": value
            for which, comparison in (("answer", found.answer), ("strict", found.strict))
            for key, value in (
                ("pass_at_k", {m.name: rounded_list(m.curve.estimate) for m in comparison.models}),
                ("paired_difference", {a.name: difference(a) for a in comparison.against_base}),
            )
        },
    }


MEASUREMENT = Measurement(
    ANCHOR,
    "Solution steps",
    section,
    read=read,
    analyse=analyse,
    summary_key="solution_steps",
    summary=summary,
)
