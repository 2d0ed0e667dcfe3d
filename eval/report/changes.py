"""The problems on which training changed most, with what was written before and after.

A loss is shown by the base's right response and what the trained model writes most often instead, a gain the other way
round. Where the problem's family knows how its operations can be misread (``extra_info["solution_graph"]``), the
readings that a wrong response took are named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rlvr.eval.changes import Change, largest_changes
from rlvr.eval.compare import AgainstBase, Comparison
from rlvr.eval.report.html import Markup, details, element, join
from rlvr.eval.report.labels import label, model_styles, number
from rlvr.eval.report.measurement import Measurement, Part
from rlvr.eval.report.responses import Responses, prompt_text, response
from rlvr.eval.report.sections import problem_link
from rlvr.eval.samples import Sample
from rlvr.records import Problem
from rlvr.rewards.process import readings


def shown_runs(comparison: Comparison) -> list[AgainstBase]:
    """The runs whose changes are listed: of a mean the first one."""
    by_name = {run.name: run for run in comparison.against_base}
    return [next(iter(comparison.runs_of(each)), None) or by_name[each.name] for each in comparison.trained]


def changes_section(part: Part) -> Markup | None:
    """Losses and gains of every trained model, each opening on what was written."""
    problems = {problem.id: problem for problem in part.analysis.results.problems}
    models = {each.name: each for each in part.analysis.evaluations}
    base, responses, blocks = part.analysis.evaluations[0], part.analysis.responses, []
    for run in shown_runs(part.analysis.comparison):
        parts: list[Markup] = []
        for title, side in zip(
            ("Largest losses", "Largest gains"), largest_changes(base, models[run.name]), strict=True
        ):
            if side:
                parts.append(element("h4", title))
                parts += [change_fold(each, run.name, problems, responses) for each in side]
        if parts:
            blocks.append(join([element("h3", f"{label(run.name)} against the base"), *parts]))
    if not blocks:
        return None
    note = element(
        "p",
        "By the difference in accuracy. Extremes among many problems are partly chance. Of the wrong answers the most frequent "
        "one is shown."
        + (" Of several seeds the first run is listed." if part.analysis.comparison.means else ""),
        css="small",
    )
    several = len(blocks) > 1
    shown = [details("Other models", *blocks[1:])] if several else []
    return part.section("changes", "Largest losses and gains", note, blocks[0], *shown)


def change_fold(
    change: Change, run: str, problems: Mapping[str, Problem], responses: Mapping[str, Sequence[Responses]]
) -> Markup:
    """One problem: its accuracies, its prompt, and both sides' typical responses."""
    found = {each.model: each for each in responses.get(change.problem, ())}
    styles = model_styles(list(found))
    base, trained = next(iter(found.values()), None), found.get(run)
    title = (
        f"{change.problem}: {number(change.base)} → {number(change.trained)} "
        f"({number(change.difference, signed=True)})"
    )
    problem, lost = problems.get(change.problem), change.difference < 0
    columns = [
        side(each, right=lost == (each is base), problem=problem, style=styles[each.model])
        for each in (base, trained)
        if each is not None
    ]
    asked = [element("pre", prompt_text(problem), css="prompt")] if problem else []
    truth = [element("p", "Right answer: ", element("strong", problem.ground_truth))] if problem else []
    link = element("p", problem_link(change.problem, "all models on this problem"), css="small")
    return details(title, *asked, *truth, element("div", *columns, css="columns"), link)


def side(found: Responses, *, right: bool, problem: Problem | None, style: int) -> Markup:
    """What one model wrote: a right response, or its most frequent wrong one with its count and misreadings."""
    count = f"{found.num_correct} of {found.num_samples} correct"
    title = element(
        "h4",
        element("span", css=f"swatch s{style}"),
        label(found.model),
        element("span", count, css="count"),
    )
    parts: list[Markup] = [title]
    if right and found.correct is not None:
        parts.append(response(found.correct))
    elif (typical := found.typical_wrong()) is not None:
        sample, times = typical
        parts += [
            response(sample),
            element("p", f"This answer: {times} of {found.num_samples} samples.", css="small"),
        ]
        parts += misreadings(problem, sample)
    return element("div", *parts, css="column")


def misreadings(problem: Problem | None, sample: Sample) -> list[Markup]:
    """Which named operations a response took otherwise than they are meant, where the problem tells."""
    graph = problem.extra_info.get("solution_graph") if problem else None
    if not graph or not graph.get("skills"):
        return []
    wrong = [
        f"{each.skill} in {each.step} as {each.reading or 'neither of its readings'}"
        for each in readings(graph, sample.text)
        if not each.right
    ]
    return [element("p", f"Misread: {'; '.join(wrong)}.", css="small wrong")] if wrong else []


MEASUREMENT = Measurement("changes", "Losses and gains", changes_section, by_problem=True)
