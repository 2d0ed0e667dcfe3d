"""The page of a paper's claims: what each study decides, beside what the paper has."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from rlvr.eval.claims import Decision
from rlvr.eval.report.html import Markup, element, join, section, table
from rlvr.eval.report.labels import label, number
from rlvr.eval.report.page import POLICY, asset

STYLE = """
.chip { display: inline-block; padding: 0 0.6em; border: 1px solid currentColor; border-radius: 1em; font-size: 0.85rem; }
.chip.supported { color: var(--up); } .chip.contradicted { color: var(--down); } .chip { color: var(--soft); }
td, tr > th { white-space: normal; vertical-align: top; }
.claim { padding-bottom: 0.4rem; }
.claim img { width: min(100%, 34rem); }
.claim h3 { display: flex; flex-wrap: wrap; gap: 0.6rem; align-items: baseline; justify-content: space-between; }
"""
WAITING = "not run"


def claims_page(
    data: Mapping[str, Any], reports: Mapping[str, str], figures: Mapping[str, str] | None = None
) -> str:
    """One HTML document without outside loads but the links to the studies' own reports.

    Args:
        data: as ``claims.json`` holds it.
        reports: by study, the path of its report as seen from the page; none for studies that are not finished.
        figures: by claim, the SVG to stand beside it.
    """
    claims = data["claims"]
    counts = {word: [each["decision"] for each in claims.values()].count(word) for word in Decision}
    waiting = sum(each["decision"] is None for each in claims.values())
    facts = ", ".join(f"{count} {word}" for word, count in counts.items())
    body = join(
        [
            element(
                "header",
                element("h1", data["title"]),
                element(
                    "p",
                    f"The claims of {data['source']}, decided by small studies: {facts}",
                    f"; {waiting} not run" if waiting else "",
                    ".",
                    css="facts",
                ),
            ),
            element(
                "main",
                section("limits", "What this does not show", element("ul", *(element("li", _with_code(each)) for each in data["limits"])), element("p", METHOD)),
                section("index", "Claims", table(["claim", "decision"], [_row(name, each) for name, each in claims.items()], sortable=False)),
                section("evidence", "Evidence", *(_evidence(name, each, reports, (figures or {}).get(name)) for name, each in claims.items())),
            ),
        ]
    )  # fmt: skip
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"{element('title', data['title'])}<style>{asset('page.css')}{STYLE}</style></head><body>{body}</body></html>\n"
    )


METHOD = (
    "A claim is supported where its condition holds for every model that it speaks of, contradicted where the opposite "
    "holds for one of them, and undecided otherwise; tests are two-sided at 5 % by the bootstrap over problems, adjusted by "
    "Holm over all claims on this page. Where a study trained several seeds, their mean is tested, and its interval covers "
    "the chance in training; where it trained one, the decision is about that run."
)


def _with_code(text: str) -> Markup:
    """Text whose words between backticks are code."""
    parts = text.split("`")
    return join(element("code", part) if i % 2 else part for i, part in enumerate(parts))


def _chip(decision: str | None) -> Markup:
    return element("span", decision or WAITING, css=f"chip {decision or 'waiting'}")


def _row(name: str, claim: Mapping[str, Any]) -> list[object]:
    return [element("a", claim["text"], href=f"#{name}"), _chip(claim["decision"])]


def _evidence(name: str, claim: Mapping[str, Any], reports: Mapping[str, str], drawn: str | None) -> Markup:
    parts: list[object] = [
        element("h3", element("span", claim["text"]), _chip(claim["decision"])),
        element("p", element("b", "The paper: "), claim["paper"]),
        element("p", element("b", "Condition: "), element("code", claim["condition"]), f" on {claim['benchmark']}", css="small"),
    ]  # fmt: skip
    if claim["decision"] is None:
        parts.append(element("p", f"The study {claim['study']} is not finished.", css="small"))
        return element("div", *parts, css="claim", id=name)
    runs = f"mean of {claim['num_runs']} runs" if claim["num_runs"] > 1 else "one run"
    rows = [
        [
            label(each["model"]),
            number(each["difference"]["estimate"], signed=True),
            f"{number(each['difference']['low'], signed=True)} to {number(each['difference']['high'], signed=True)}",
        ]
        for each in claim["effects"]
    ]
    parts.append(table(["model", "value", "95 % interval"], rows, sortable=False))
    words = f"{claim['num_problems']} problems × {claim['num_samples']} samples, {runs}; p = {claim['p_holm']:.2g} after Holm. "
    link = element("a", f"Report of {claim['study']}", href=reports[claim["study"]])
    parts.append(element("p", words, link, css="small"))
    if drawn is not None:
        source = f"data:image/svg+xml;base64,{base64.b64encode(drawn.encode()).decode()}"
        picture = element("img", src=source, alt=f"{claim['figure']} of {claim['study']}")
        parts.append(element("figure", picture))
    return element("div", *parts, css="claim", id=name)
