"""What the intervals say, in words: computed from the numbers, never written by hand.

A direction is claimed only where the interval of the difference excludes zero; otherwise
the sentence says that the data cannot tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlvr.eval.compare import AgainstBase, Comparison, MeanOfRuns, Trained
from rlvr.eval.report.labels import k_text, label, listed, number, p_value, percent
from rlvr.eval.statistics import TOLERANCE, Interval, is_high_variance
from rlvr.eval.store import Evaluation
from rlvr.records import Status

NOTED_SHARE = 0.02
"""Of a model's responses: as many cut off, or without an answer, are worth a word."""


@dataclass(frozen=True, slots=True)
class Findings:
    """Sentences of the summary."""

    models: dict[str, list[str]]
    """By name, the base left out: of single runs, and of means over runs."""
    caveats: list[str]
    """What holds for all of them, and what the data do not show."""


def findings(comparison: Comparison, evaluations: Sequence[Evaluation]) -> Findings:
    """Put a comparison into words."""
    models = {}
    for each in (*comparison.means, *comparison.against_base):
        sentences = [change(comparison, each, k) for k in headline_ks(comparison)]
        models[each.name] = [*sentences, crossing_sentence(comparison, each)]
    for mean in comparison.means:
        models[mean.name].append(runs_sentence(comparison, mean))
    for run in comparison.against_base:
        models[run.name].append(coverage_sentence(comparison, run))
    return Findings(models, caveats(comparison, evaluations))


def headline_ks(comparison: Comparison) -> tuple[int, ...]:
    """K = 1, the largest k that n supports well (k <= n/2), and the largest k."""
    steady = [k for k in comparison.ks if not is_high_variance(k, comparison.num_samples)]
    return tuple(sorted({1, *steady[-1:], comparison.ks[-1]}))


def tally(comparison: Comparison, k: int) -> str:
    """One sentence that sorts the trained models by what their paired intervals show at one k."""
    sorted_names: dict[str, list[str]] = {"above": [], "below": [], "not told apart from": []}
    for each in comparison.trained:
        difference = each.difference.at(k)
        told = "above" if difference.estimate > 0 else "below"
        sorted_names[told if difference.excludes_zero else "not told apart from"].append(label(each.name))
    parts = [f"{place} the base for {listed(names)}" for place, names in sorted_names.items() if names]
    return f"pass@{k} is {'; '.join(parts)}."


def headline(comparison: Comparison, each: Trained) -> str:
    """A model in one line: its direction at the smallest and at the largest k."""
    ends = [f"{direction(each.difference.at(k))} at k = {k}" for k in dict.fromkeys((1, comparison.ks[-1]))]
    return f"{label(each.name)}: {', '.join(ends)}"


def direction(difference: Interval) -> str:
    """What a paired interval shows."""
    if not difference.excludes_zero:
        return "no difference shown"
    return "better than the base" if difference.estimate > 0 else "worse than the base"


def change(comparison: Comparison, each: Trained, k: int) -> str:
    """One sentence on the difference between a model and the base at one k."""
    name = label(each.name)
    base, model = (found.curve.at(k).estimate for found in (comparison.base, each))
    difference = each.difference.at(k)
    span = f"{number(difference.estimate, signed=True)}, {interval_words(difference, comparison.level)}"
    if not difference.excludes_zero:
        return (
            f"pass@{k} is {number(model)} for {name} and {number(base)} for the base ({span}): "
            "the data cannot tell this difference from zero."
        )
    verb = "raises" if difference.estimate > 0 else "lowers"
    steady = (
        " This k exceeds n/2, where the estimate has high variance."
        if is_high_variance(k, comparison.num_samples)
        else ""
    )
    return f"{name} {verb} pass@{k} from {number(base)} to {number(model)} ({span}).{steady}"


def interval_words(value: Interval, level: float, digits: int = 3) -> str:
    """``95 % interval +0.11 to +0.17``."""
    low, high = (number(end, digits, signed=True) for end in (value.low, value.high))
    return f"{percent(level)} interval {low} to {high}"


def runs_sentence(comparison: Comparison, mean: MeanOfRuns) -> str:
    """What the single runs say at both ends of the grid, and how far they lie apart."""
    ends = []
    for k in dict.fromkeys((1, comparison.ks[-1])):
        found = [run.difference.at(k).estimate for run in comparison.runs_of(mean)]
        apart = mean.between_runs[comparison.ks.index(k)]
        ends.append(
            f"{listed([number(each, signed=True) for each in found])} at k = {k} (standard deviation {number(apart)})"
        )
    return f"The single runs differ from the base by {'; by '.join(ends)}."


def crossing_sentence(comparison: Comparison, each: Trained) -> str:
    """Whether and where the two curves cross, and how sure that is."""
    name, largest, cross = label(each.name), comparison.ks[-1], each.crossing
    if cross.k is None:
        how_often = (
            f"they do cross in {percent(cross.probability)} of the resamples" if cross.probability else ""
        )
        return f"The curves do not cross up to k = {largest}: {'; '.join(filter(None, [course(each), how_often]))}."
    share = f"{percent(cross.probability)} of the resamples"
    before = comparison.ks[comparison.ks.index(cross.k) - 1]
    ends = f"{k_text(cross.low, f'beyond {largest}')} to {k_text(cross.high, f'none up to {largest}')}"
    first = each.difference.first_below()
    sure = (
        f"The simultaneous band lies wholly below zero from k = {first}."
        if first is not None
        else "From there on the simultaneous band includes zero: the data do not establish that the base overtakes."
    )
    return (
        f"The curves cross between k = {before} and {cross.k}, at about {k_text(cross.at)} ({percent(comparison.level)} interval {ends}; {share} cross): "
        f"from there {name} falls behind the base. {sure}"
    )


def course(each: Trained) -> str:
    """How two curves run that do not cross downwards."""
    name, ahead, behind = (
        label(each.name),
        each.difference.estimate > TOLERANCE,
        each.difference.estimate < -TOLERANCE,
    )
    if ahead.any() and behind.any():
        return f"{name} is behind the base at first and ahead of it later"
    if ahead.any():
        return f"{name} is nowhere behind the base"
    return (
        f"{name} is nowhere ahead of the base"
        if behind.any()
        else f"{name} and the base are level throughout"
    )


def coverage_sentence(comparison: Comparison, each: AgainstBase) -> str:
    """Which problems only one side solves, and whether the imbalance could be chance."""
    counts, name = each.coverage.counts, label(each.name)
    adjusted = (
        f", {p_value(each.holm_p)} after Holm over {comparison.num_tests} tests"
        if comparison.num_tests > 1
        else ""
    )
    return (
        f"Of {comparison.num_problems} problems, {counts['both']} are solved by both (at least once in n samples), "
        f"{counts['base_only']} only by the base, {counts['rl_only']} only by {name} and {counts['neither']} by neither "
        f"(exact McNemar test {p_value(each.mcnemar_p)}{adjusted})."
    )


def training_caveats(comparison: Comparison) -> list[str]:
    """What the intervals cover of the chance in training."""
    covered = "The intervals cover the choice of problems and the sampling of answers."
    if not comparison.means:
        return [
            f"{covered} Each trained model is one training run: training noise is not included, and another seed may "
            "give another curve."
        ]
    once = [label(each.name) for each in comparison.trained if not comparison.runs_of(each)]
    fewest = min(len(mean.runs) for mean in comparison.means)
    lines = [
        f"{covered} Those of a mean over runs from different training seeds cover the chance in training too; those of one "
        "run do not.",
        f"From {fewest} runs it is little known how far runs lie apart: the intervals of their mean allow for that by Student's "
        f"t with {fewest - 1} degree{'s' if fewest > 2 else ''} of freedom, and are wide where the runs differ.",
    ]
    return lines + ([f"One run only: {listed(once)}. Another seed may give another curve."] if once else [])


def lost_answers(comparison: Comparison, evaluations: Sequence[Evaluation]) -> list[str]:
    """What pass@k owes to the length limit and to the form of answers, where that is worth a word."""
    lines = []
    if cut := [(m.cut_off, label(m.name)) for m in comparison.models if m.cut_off >= NOTED_SHARE]:
        limit = evaluations[0].spec.sampling.get("max_tokens")
        lines.append(
            f"Cut off by the length limit{f' of {limit:,} tokens' if limit else ''}, and so counted as wrong whatever they "
            f"would have said: {shares_of(cut)}. A larger evaluation.max_tokens may raise their pass@k."
        )
    if without := [(m.unanswered, label(m.name)) for m in comparison.models if m.unanswered >= NOTED_SHARE]:
        lines.append(
            f"Ended by themselves without an answer where the prompt asks for it: {shares_of(without)}. "
            "Part of a difference may be the form of answers."
        )
    return lines


def shares_of(found: Sequence[tuple[float, str]]) -> str:
    """``12 % of A's responses and 3 % of B's``."""
    [(share, first), *others] = found
    return listed(
        [f"{percent(share)} of {first}'s responses", *(f"{percent(s)} of {name}'s" for s, name in others)]
    )


def caveats(comparison: Comparison, evaluations: Sequence[Evaluation]) -> list[str]:
    """What a reader must know before quoting a number."""
    n, largest = comparison.num_samples, comparison.ks[-1]
    lines = [
        *training_caveats(comparison),
        "Intervals of single numbers hold for one k chosen beforehand; for reading along the curve use the "
        "simultaneous band.",
    ]
    if len(comparison.trained) > 1:
        lines.append(
            "Every trained model is compared with the base, not with the other ones: that one interval lies above "
            "another does not make its model the better one."
        )
    if is_high_variance(largest, n):
        lines.append(
            f"n is {n}: above k = {n // 2} the estimates have high variance. "
            f"For a firm pass@{largest}, draw at least {2 * largest} samples a problem."
        )
    if comparison.guess[-1] > 0:
        lines.append(f"Blind guessing would reach {number(comparison.guess[-1])} at k = {largest}.")
    if any((model.curve.high - model.curve.low < TOLERANCE).any() for model in comparison.models):
        lines.append(
            "Some intervals have no width, because all problems agree there. That is a limit of the bootstrap, "
            f"not certainty: {comparison.num_problems} problems that agree still leave room for about "
            f"{percent(min(1.0, 3 / comparison.num_problems), 1)} that would not."
        )
    lines += lost_answers(comparison, evaluations)
    if rare := [f"{len(m.rarely_solved)} for {label(m.name)}" for m in comparison.models if m.rarely_solved]:
        lines.append(
            f"Problems solved only once or twice in {n} samples: {', '.join(rare)}. "
            "Each rests on one or two verdicts and deserves to be read."
        )
    if lost := sum(evaluation.status_counts.get(Status.ERROR.value, 0) for evaluation in evaluations):
        lines.append(f"{lost} samples were lost to errors of the verifier and count for neither side.")
    return lines
