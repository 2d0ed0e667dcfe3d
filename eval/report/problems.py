"""Problem by problem: from a point of a curve to the problems behind it, and to what was written.

The page gets the counts and a few responses of every problem as JSON and shows them on demand
(``problems.js``). pass@k at a point of a curve is the mean of the column that the section shows at that k.
"""

from __future__ import annotations

import json
from typing import Any

from rlvr.eval.report.html import Markup, element
from rlvr.eval.report.labels import label, model_styles
from rlvr.eval.report.measurement import Measurement, Part
from rlvr.eval.report.responses import VERDICT_WORDS, Responses, prompt_text
from rlvr.eval.samples import Sample
from rlvr.records import Problem, Status

MAX_CHARACTERS = 8_000_000
"""Of all responses that the page carries for one benchmark; it opens from a disk or a mail, and must stay small."""
LONGEST, SHORTEST = 4000, 300
"""Characters of one response, where there are few and where there are many."""


def problems_section(part: Part) -> Markup | None:
    """A table of all problems that opens on prompt and responses, the models side by side."""
    data = problem_data(part)
    what = element(
        "p",
        "Every problem at one k: the mean of a column is the point of the curve. Click a point of a curve to come here with "
        "its k, a column's head to sort, a problem to read what the models wrote.",
        css="small",
    )
    script = element("script", Markup(json_for_html(data)), type="application/json")
    missing = element("noscript", element("p", "This section needs scripts."))
    return part.section(
        "problems", "Problem by problem", what, element("div", script, css="problems"), missing
    )


def json_for_html(data: Any) -> str:
    """JSON that is safe inside a script element: nothing in it can end the element or open a comment."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def problem_data(part: Part) -> dict[str, Any]:
    """What the script shows."""
    comparison, evaluations = part.analysis.comparison, part.analysis.evaluations
    problems = {problem.id: problem for problem in part.analysis.results.problems}
    ids = evaluations[0].problem_ids
    styles = model_styles([each.name for each in evaluations])
    longest = max(SHORTEST, min(LONGEST, MAX_CHARACTERS // (2 * len(ids) * len(evaluations))))
    return {
        "ks": list(comparison.ks),
        "models": [{"name": label(each.name), "style": styles[each.name]} for each in evaluations],
        "verdicts": {status.value: words for status, words in VERDICT_WORDS.items()},
        "problems": [
            {
                "id": problem_id,
                "n": [int(each.num_samples[row]) for each in evaluations],
                "c": [int(each.num_correct[row]) for each in evaluations],
                **asked(problems.get(problem_id), longest),
                "responses": [shown(each, longest) for each in part.analysis.responses.get(problem_id, ())],
            }
            for row, problem_id in enumerate(ids)
        ],
    }


def asked(problem: Problem | None, longest: int) -> dict[str, str]:
    """The prompt and the right answer, where they are known."""
    if problem is None:
        return {}
    return {"prompt": shortened(prompt_text(problem), longest), "truth": shortened(problem.ground_truth, 300)}


def shown(responses: Responses, longest: int) -> list[dict[str, Any]]:
    """A model's correct and incorrect response, those that there are."""
    found = (responses.correct, responses.incorrect)
    return [response(sample, longest) for sample in found if sample is not None]


def response(sample: Sample, longest: int) -> dict[str, Any]:
    """One response with its verdict."""
    cut = ", cut off" if sample.finish_reason == "length" else ""
    answer = f"answer {sample.answer}, " if sample.answer is not None else ""
    return {
        "status": sample.status.value,
        "right": sample.status is Status.CORRECT,
        "note": f"{answer}{sample.num_tokens} tokens{cut}, sample {sample.sample}",
        "text": shortened(sample.text, longest),
    }


def shortened(text: str, longest: int) -> str:
    """Beginning and end of a long text: the answer stands at the end."""
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters left out …\n{text[-half:]}"


MEASUREMENT = Measurement("problems", "Problems", problems_section, by_problem=True)
