"""The sections made of text: samples to read, and provenance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rlvr.eval.report.examples import Example
from rlvr.eval.report.html import Markup, element, section, table
from rlvr.eval.report.labels import duration, label, model_styles, plain
from rlvr.eval.report.measurement import BenchmarkAnalysis
from rlvr.eval.report.responses import Responses, prompt_text, response
from rlvr.eval.report.settings import settings_table
from rlvr.eval.results import StudyResults


def samples_section(shown: Sequence[Example]) -> Markup | None:
    """A few problems with a correct and an incorrect response of each model."""
    if not shown:
        return None
    lead = element(
        "p",
        "Of each kind of response the one with the lowest sample index is shown: not picked by hand.",
        css="small",
    )
    return section("samples", "Samples to read", lead, *(example_card(example) for example in shown))


def example_card(example: Example) -> Markup:
    """One problem."""
    problem = example.problem
    styles = model_styles([responses.model for responses in example.responses])
    columns = [model_column(responses, styles[responses.model]) for responses in example.responses]
    return element(
        "article",
        element("h3", example.reason),
        element(
            "p",
            element("code", problem.id, css="id"),
            " Ground truth: ",
            element("strong", problem.ground_truth),
        ),
        element("pre", prompt_text(problem), css="prompt"),
        element("div", *columns, css="columns"),
        css="card example",
    )


def model_column(responses: Responses, style: int) -> Markup:
    """One model's responses to the problem."""
    count = f"{responses.num_correct} of {responses.num_samples} correct"
    title = element(
        "h4",
        element("span", css=f"swatch s{style}"),
        label(responses.model),
        element("span", count, css="count"),
    )
    shown = [response(sample) for sample in (responses.correct, responses.incorrect) if sample is not None]
    return element("div", title, *shown, css="column")


def provenance_section(study: StudyResults, analyses: Sequence[BenchmarkAnalysis]) -> Markup:
    """Everything needed to make the numbers again."""
    models = {
        label(e.name): f"{e.spec.model_sha256}, weights not seen"
        if e.spec.is_served
        else f"{e.spec.model_path}, sha256 {e.spec.model_sha256}"
        for e in (analyses[0].results.evaluations if analyses else ())
    }
    several = len(analyses) > 1
    groups: dict[str, Mapping[str, Any]] = {"Run": study.provenance}
    for analysis in analyses:
        groups[f"Measurement, {analysis.results.name}" if several else "Measurement"] = measurement(analysis)
    groups["Models"] = models
    parts: list[Markup] = []
    for title, values in groups.items():
        if rows := list(flat(values)):
            parts += [element("h3", title), table(["", "value"], rows, sortable=False)]
    if analyses and (prompt := analyses[0].prompt) is not None:
        parts += [element("h3", "The first problem's prompt, as the model read it"), element("pre", prompt)]
    return section("provenance", "Provenance", settings_table(study.configs), *parts)


def measurement(analysis: BenchmarkAnalysis) -> dict[str, Any]:
    """How one benchmark was measured."""
    spec, comparison = analysis.evaluations[0].spec, analysis.comparison
    return {
        "benchmark": spec.benchmark,
        "problems": f"{comparison.num_problems}, sha256 {spec.problems_sha256}",
        "samples per problem": spec.num_samples,
        "prompt template": spec.prompt_template,
        "sampling": spec.sampling,
        "verifier": spec.verifier,
        "evaluation seed": spec.seed,
        "chance level": spec.chance_level,
        "bootstrap": f"{comparison.num_resamples:,} resamples of problems, samples redrawn within, seed {comparison.seed}",
    }


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[list[str]]:
    """Rows of a nested mapping; nothing for what is empty."""
    for key, value in values.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            if key == "wall_seconds":
                yield from (
                    [f"wall time, {stage}", duration(float(seconds))] for stage, seconds in value.items()
                )
            else:
                yield from flat(value, f"{prefix}{key}: ")
        elif value is not None and value != "":
            yield [name, plain(value)]
