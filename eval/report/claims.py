"""The page of papers' claims: what the studies here decide, beside what the papers have."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any

from rlvr.eval.claims import Decision
from rlvr.eval.report.html import Markup, element, join, section, table
from rlvr.eval.report.labels import bracket, duration, label, listed
from rlvr.eval.report.page import POLICY, asset
from rlvr.eval.statistics import Interval

STYLE = """
header .facts { margin-bottom: 0.6rem; }
.chip { display: inline-block; padding: 0 0.6em; border: 1px solid currentColor; border-radius: 1em; font-size: 0.82rem; font-weight: 600; white-space: nowrap; }
.chip.supported { color: var(--up); } .chip.contradicted { color: var(--down); } .chip { color: var(--soft); }
th, td { white-space: normal; vertical-align: top; text-align: left; }
#claims .table tbody th, #time tbody th { font-weight: 400; }
#claims td, #time td { white-space: nowrap; }
#time small { display: block; color: var(--soft); }
#time small.failure { color: var(--down); }
.claim { padding: 0.4rem 0 1.2rem; border-bottom: 1px solid var(--grid); scroll-margin-top: 3.6rem; }
.claim h3 { display: flex; gap: 0.8rem; align-items: baseline; justify-content: space-between; }
.beside { display: grid; grid-template-columns: 1fr 1fr; gap: 0.4rem 2rem; }
.beside > div { min-width: 0; }
.beside h4 { margin: 0.3rem 0; color: var(--soft); font-weight: 500; font-size: 0.85rem; }
.beside p { margin: 0.2rem 0; }
.value { font-variant-numeric: tabular-nums; }
.claim img { width: min(100%, 34rem); background: #ffffff; }
@media (max-width: 40rem) { .beside { grid-template-columns: 1fr; } }
"""
WAITING = "not run yet"
NUMBERS = {2: "Two", 3: "Three", 4: "Four"}
METHOD = (
    "A claim is supported where its condition holds for every model that it speaks of, contradicted where the opposite "
    "holds for one of them, and undecided otherwise. Tests are two-sided at 5 % by the bootstrap over problems, and p is adjusted "
    "by Holm over all claims of the same paper, also those that are not run yet or not on this page, so a decision does not hang on "
    "which others are there; papers do not share a correction. Where a study trained "
    "several seeds, their mean is tested, and its interval covers the chance in training; where it trained one, the decision is about "
    "that run. Intervals are pointwise, at 95 %, so one that excludes the margin may belong to a claim that is undecided after Holm."
)


def claims_page(data: Mapping[str, Any], figures: Mapping[str, str]) -> str:
    """One HTML document without outside loads but the links to the studies' own reports and figures.

    Args:
        data: as ``claims.json`` holds it.
        figures: by the path that ``data`` has for it, the SVG to be drawn in the page.
    """
    papers = data["papers"]
    titles = [paper["title"] for paper in papers.values()]
    title = titles[0] if len(titles) == 1 else f"{NUMBERS.get(len(titles), len(titles))} papers in miniature"
    parts = {
        "limits": ("Limits", _limits(papers)),
        "claims": ("Claims", _index(papers)),
        **{f"paper-{name}": (paper["source"], _paper(name, paper, data["studies"], figures)) for name, paper in papers.items()},
        "time": ("Wall time", _wall_time(data["studies"])),
        "tried": ("Tried and dropped", _tried(papers)),
    }  # fmt: skip
    shown = {anchor: part for anchor, part in parts.items() if part[1] is not None}
    sources = listed([paper["source"] for paper in papers.values()])
    lead = f"The claims of {sources}, each decided by a small study that was run on this machine or is still to run."
    body = join(
        [
            element("header", element("h1", title), element("p", lead), element("p", counts_line(papers.values()), css="facts")),
            element("nav", *(element("a", name, href=f"#{anchor}") for anchor, (name, _) in shown.items())),
            element("main", *(part for _, part in shown.values())),
        ]
    )  # fmt: skip
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"{element('title', title)}<style>{asset('page.css')}{STYLE}</style></head><body>{body}</body></html>\n"
    )


def counts_line(papers: Iterable[Mapping[str, Any]]) -> str:
    """``12 claims: 8 supported, 0 contradicted, 3 undecided, 1 not run yet``."""
    found = [claim["decision"] for paper in papers for claim in paper["claims"].values()]
    counts = [f"{found.count(word)} {word or WAITING}" for word in (*Decision, None)]
    return f"{len(found)} claims: {', '.join(counts)}"


def _limits(papers: Mapping[str, Any]) -> Markup:
    parts: list[object] = []
    for paper in papers.values():
        if len(papers) > 1:
            parts.append(element("h3", f"{paper['source']}, {paper['title']}"))
        parts.append(element("ul", *(element("li", _with_code(each)) for each in paper["limits"])))
    return section("limits", "What this does not show", *parts)


def _index(papers: Mapping[str, Any]) -> Markup:
    parts: list[object] = []
    for name, paper in papers.items():
        rows = [
            [element("a", claim["text"], href=f"#{_anchor(name, key)}"), _chip(claim["decision"])]
            for key, claim in paper["claims"].items()
        ]
        if len(papers) > 1:
            parts.append(element("h3", f"{paper['source']}, {paper['title']}"))
            parts.append(element("p", counts_line([paper]), css="small"))
        parts.append(table(["claim", "decision"], rows, sortable=False))
    return section("claims", "Claims", *parts, element("p", METHOD, css="small"))


def _paper(
    name: str, paper: Mapping[str, Any], studies: Mapping[str, Any], figures: Mapping[str, str]
) -> Markup:
    found = (
        _evidence(_anchor(name, key), claim, studies[claim["study"]], figures)
        for key, claim in paper["claims"].items()
    )
    return section(f"paper-{name}", f"{paper['source']}: {paper['title']}", *found)


def _wall_time(studies: Mapping[str, Any]) -> Markup:
    rows = [
        [
            element("span", _study(name, each), element("small", each["about"]), _failure(each)),
            each["state"],
            _took(each),
            f"{each['planned_minutes']} min",
        ]
        for name, each in studies.items()
    ]
    total = sum(each["wall_seconds"] or 0 for each in studies.values())
    note = (
        f"All together {duration(total)}, as far as it is known. Planned are minutes on two idle cores. * The time of the trainings and "
        "evaluations alone, as their folders have it, for studies that other commands have run: starts of engines are not in it."
    )
    headers = ["study", "", "took", "planned"]
    return section("time", "Wall time of each study", table(headers, rows, sortable=False), element("p", note, css="small"))  # fmt: skip


def _failure(each: Mapping[str, Any]) -> Markup:
    """Why a study was not finished, where the command that wrote the page has tried."""
    return element("small", _sentence(each["failure"]), css="failure") if each["failure"] else join([])


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _study(name: str, each: Mapping[str, Any]) -> Markup:
    """A study's name, which leads to its report."""
    return element("a", name, href=each["report"]) if each["report"] else element("b", name)


def _took(each: Mapping[str, Any]) -> str:
    if not each["wall_seconds"]:
        return ""
    return duration(each["wall_seconds"]) + ("" if each["wall_seconds_of"] == "commands" else " *")


def _tried(papers: Mapping[str, Any]) -> Markup | None:
    parts: list[object] = []
    for paper in papers.values():
        if paper["tried"]:
            parts.append(element("h3", paper["source"]))
            parts.append(element("ul", *(element("li", _with_code(each)) for each in paper["tried"])))
    return section("tried", "Appendix: what was tried and dropped", *parts) if parts else None


def _anchor(paper: str, claim: str) -> str:
    return f"{paper}-{claim}"


def _with_code(text: str) -> Markup:
    """Text whose words between backticks are code."""
    parts = text.split("`")
    return join(element("code", part) if i % 2 else part for i, part in enumerate(parts))


def _chip(decision: str | None) -> Markup:
    return element("span", decision or WAITING, css=f"chip {decision or 'waiting'}")


def _evidence(
    anchor: str, claim: Mapping[str, Any], study: Mapping[str, Any], figures: Mapping[str, str]
) -> Markup:
    """A claim: the paper's numbers and ours side by side, and our figure."""
    here = (
        _here(claim)
        if claim["decision"]
        else [element("p", _sentence(study["failure"] or f"the study {claim['study']} is {study['state']}"))]
    )
    asked = join(["Holds if ", element("code", claim["condition"]), f" on {claim['benchmark']}."])
    parts: list[object] = [
        element("h3", element("span", claim["text"]), _chip(claim["decision"])),
        element(
            "div",
            element("div", element("h4", "The paper"), element("p", claim["paper"])),
            element("div", element("h4", "Here"), *here, element("p", asked, css="small")),
            css="beside",
        ),
    ]
    if claim["decision"] is not None:
        links = _links(claim, study)
        path = claim["figures"].get("svg")
        if path in figures:
            source = f"data:image/svg+xml;base64,{base64.b64encode(figures[path].encode()).decode()}"
            picture = element("img", src=source, alt=f"{claim['figure']} of {claim['study']}")
            parts.append(element("figure", picture))
        parts.append(element("p", *links, css="small"))
    return element("div", *parts, css="claim", id=anchor)


def _here(claim: Mapping[str, Any]) -> list[Markup]:
    """Our numbers for each model that the claim is about, and what they rest on."""
    signed = " - " in claim["condition"]  # a difference
    values = [
        element("p", element("b", f"{label(each['model'])}: "), bracket(Interval(**each["difference"]), signed=signed), css="value")
        for each in claim["effects"]
    ]  # fmt: skip
    runs = f"mean of {claim['num_runs']} runs" if claim["num_runs"] > 1 else "one run"
    measured = f"{claim['num_problems']} problems × {claim['num_samples']} samples, {runs}."
    facts = f"{adjusted_p(claim['p_holm'])} after Holm; {measured}"
    return [*values, element("p", facts, css="small")]


def adjusted_p(p: float) -> str:
    """``p = 0.012``, and nothing smaller than 0.001."""
    return "p = 1" if p >= 1 else f"p = {p:.2g}" if p >= 0.001 else "p < 0.001"


def _links(claim: Mapping[str, Any], study: Mapping[str, Any]) -> list[object]:
    """To the study's report, and to the files of the figure."""
    parts: list[object] = []
    if study["report"]:
        parts += [
            element("a", f"Report of {claim['study']}", href=study["report"]),
            ", down to each sample. ",
        ]
    if claim["figures"]:
        files = [element("a", name.upper(), href=path) for name, path in claim["figures"].items()]
        parts += [
            "The figure as ",
            *(part for i, each in enumerate(files) for part in ((", " if i else ""), each)),
            ".",
        ]
    return parts
