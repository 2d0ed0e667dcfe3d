"""What finished studies say about papers' claims: the evidence, the decisions, and what page, tables and ``claims.json`` hold."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rlvr.errors import ConfigError, did_you_mean
from rlvr.eval.claims import Condition, Decided, Effect, decide, effects_of
from rlvr.eval.loading import load_results
from rlvr.eval.report.claims import claims_page
from rlvr.eval.report.claims_markdown import claims_markdown
from rlvr.eval.store import Evaluation
from rlvr.files import write_json, write_text
from rlvr.run_folder import FIGURES_FOLDER, REPORT_FILE, SUMMARY_FILE, read_json
from rlvr.workflows.paper import Claim, Paper, StudyOf
from rlvr.workflows.paper_plan import DONE, Standing

CLAIMS_FILE = "claims.json"
MARKDOWN_FILE = "claims.md"
FORMATS = ("svg", "png", "csv")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a study says about one claim."""

    effects: tuple[Effect, ...]
    num_runs: int
    """Training runs behind a model: 1, or the seeds whose mean it is."""
    num_problems: int
    num_samples: int
    """Per problem, of the model that has the fewest."""


Gathered = dict[tuple[str, str], Evidence]
"""By the names of a paper and a claim of it."""


def gather(papers: Iterable[Paper], there: Standing, *, seed: int = 0) -> Gathered:
    """What a finished study says about the claims that it decides.

    Args:
        papers: with the claims.
        there: the study.
        seed: of the bootstrap.

    Raises:
        ConfigError: the study has not measured what a claim is about.
        DataError: an evaluation is damaged.
    """
    name = there.study.name
    asked = [(paper, claim) for paper in papers for claim in paper.claims.values() if claim.study == name]
    benchmarks = measured(there.study, there.folder.parent) if asked else {}
    found = {}
    for paper, claim in asked:
        if claim.benchmark not in benchmarks:
            raise ConfigError(
                f"the study {claim.study} has not measured {claim.benchmark}",
                where=f"claims.{claim.name}.benchmark",
                fix=did_you_mean(claim.benchmark, benchmarks),
            )
        evaluations = benchmarks[claim.benchmark]
        condition = Condition.parse(claim.condition, f"claims.{claim.name}.condition")
        found[paper.name, claim.name] = Evidence(
            *effects_of(condition, evaluations, seed=seed),
            len(evaluations[0].problem_ids),
            min(int(each.num_samples.min()) for each in evaluations),
        )
    return found


def measured(study: StudyOf, root: Path) -> dict[str, Sequence[Evaluation]]:
    """By benchmark the evaluations of a finished study that conditions speak of, the base first.

    Raises:
        ConfigError: what is there cannot stand side by side.
        DataError: an evaluation is damaged.
    """
    own = root / study.name / study.measured_in
    if not study.sweep_of:
        return {each.name: each.evaluations for each in load_results([own]).benchmarks}
    found: dict[str, Sequence[Evaluation]] = {}
    for each in load_results([root / study.sweep_of], sweeps=[own]).benchmarks:
        base, *others = each.evaluations
        swept = {other.spec.model_sha256 for other in each.sweep}
        # The report's sweep has the models' names in the report; their folders have their own.
        renamed = [
            replace(other, spec=replace(other.spec, model_name=other.folder.name)) for other in each.sweep
        ]
        found[each.name] = [base, *(other for other in others if other.spec.model_sha256 in swept), *renamed]
    return found


def decisions(papers: Iterable[Paper], gathered: Gathered) -> dict[tuple[str, str], Decided]:
    """Decide all claims that there is evidence on, corrected for all that their paper makes."""
    found: dict[tuple[str, str], Decided] = {}
    for paper in papers:
        effects = {
            name: (gathered[paper.name, name].effects, gathered[paper.name, name].num_runs)
            for name in paper.claims
            if (paper.name, name) in gathered
        }
        found |= {
            (paper.name, name): each
            for name, each in (decide(effects, paper.num_claims) if effects else {}).items()
        }
    return found


def claims_data(
    papers: Sequence[Paper], gathered: Gathered, there: Mapping[str, Standing], output: Path
) -> dict[str, Any]:
    """What ``claims.json`` holds.

    Args:
        papers: the claims.
        gathered: what the finished studies say about them.
        there: how far each study has come.
        output: the folder of ``claims.json`` and the page, from which reports and figures are named.
    """
    decided = decisions(papers, gathered)
    return {
        "papers": {
            paper.name: {
                "title": paper.title,
                "source": paper.source,
                "claims": {
                    name: claim_data(claim, gathered.get((paper.name, name)), decided.get((paper.name, name)))
                    | {"figures": figure_files(claim, there[claim.study], output)}
                    for name, claim in paper.claims.items()
                },
                "limits": list(paper.limits),
                "tried": list(paper.tried),
            }
            for paper in papers
        },
        "studies": {name: study_data(each, output) for name, each in there.items()},
    }


def claim_data(claim: Claim, evidence: Evidence | None, decided: Decided | None) -> dict[str, Any]:
    """One claim; its decision is None where its study is not finished."""
    row: dict[str, Any] = {key: value for key, value in asdict(claim).items() if key != "name"}
    if evidence is None or decided is None:
        return row | {"decision": None}
    return row | {
        "decision": decided.decision.value,
        "p_holm": decided.p,
        "num_runs": evidence.num_runs,
        "num_problems": evidence.num_problems,
        "num_samples": evidence.num_samples,
        "effects": [asdict(effect) for effect in evidence.effects],
    }


def study_data(there: Standing, output: Path) -> dict[str, Any]:
    """One study: how far it is, how long it took, and where its report lies as seen from the page."""
    report = report_folder(there) / REPORT_FILE
    return {
        "about": there.study.about,
        "state": there.state,
        "failure": there.failure or None,
        "planned_minutes": there.study.minutes,
        "wall_seconds": round(there.seconds, 1) if there.seconds else None,
        "wall_seconds_of": "commands" if there.is_whole else "trainings and evaluations",
        "report": os.path.relpath(report, output) if report.is_file() else None,
        "measured": study_numbers(there.folder / there.study.measured_in) if there.state == DONE else {},
    }


def study_numbers(measured_in: Path) -> dict[str, Any]:
    """By benchmark of a study, pass@k of each model and what it is less the base's, with intervals, at the smallest and largest k.

    Several seeds stand as their mean.

    Args:
        measured_in: the folder of the study's evaluations and their report.

    Raises:
        DataError: the summary of the report is malformed.
    """
    summary = read_json(measured_in / SUMMARY_FILE) if (measured_in / SUMMARY_FILE).is_file() else {}
    found = {}
    for name, numbers in summary.get("benchmarks", {}).items():
        means = numbers["mean_of_runs"]
        in_means = {run for mean in means.values() for run in mean["runs"]}
        models = {model: row for model, row in numbers["models"].items() if model not in in_means}
        less = numbers["paired_difference"] | {
            model: mean["paired_difference"] for model, mean in means.items()
        }
        found[name] = {
            "k": [numbers["k"][0], numbers["k"][-1]],
            "num_problems": numbers["num_problems"],
            "num_samples": numbers["num_samples"],
            "models": {
                model: {
                    "pass_at_k": both_ends(row, "pass_at_k"),
                    "difference": both_ends(less[model], "estimate") if model in less else None,
                }
                for model, row in {**models, **means}.items()
            },
        }
    return found


def both_ends(curve: Mapping[str, Sequence[float]], estimate: str) -> list[list[float]]:
    """Estimate and interval at the smallest and at the largest k."""
    return [[curve[key][place] for key in (estimate, "ci_low", "ci_high")] for place in (0, -1)]


def report_folder(there: Standing) -> Path:
    """Where the report of a study lies: in its folder, or where that has its evaluations."""
    inner = there.folder / there.study.measured_in
    return there.folder if (there.folder / REPORT_FILE).is_file() else inner


def figure_files(claim: Claim, there: Standing, output: Path) -> dict[str, str]:
    """By its format (svg, png, csv) the study's figure of what a claim is about, as seen from the page; those that are there.

    Raises:
        DataError: the summary of the study's report is malformed.
    """
    if not claim.figure or there.state != DONE:
        return {}
    report = report_folder(there)
    summary = read_json(report / SUMMARY_FILE) if (report / SUMMARY_FILE).is_file() else {}
    benchmarks = list(summary.get("benchmarks", {}))
    place = benchmarks.index(claim.benchmark) if claim.benchmark in benchmarks else 0
    name = f"benchmark_{place + 1}_{claim.figure}" if place else claim.figure
    paths = {each: report / FIGURES_FOLDER / f"{name}.{each}" for each in FORMATS}
    return {each: os.path.relpath(path, output) for each, path in paths.items() if path.is_file()}


def write_claims(output: Path, data: Mapping[str, Any]) -> Path:
    """Write ``claims.json``, ``claims.md`` and the page, in which the figures are drawn; returns the page's path."""
    output.mkdir(parents=True, exist_ok=True)
    drawn = {
        path: (output / path).read_text(encoding="utf-8")
        for paper in data["papers"].values()
        for claim in paper["claims"].values()
        if (path := claim["figures"].get("svg"))
    }
    write_json(output / CLAIMS_FILE, data)
    write_text(output / MARKDOWN_FILE, claims_markdown(data))
    write_text(output / REPORT_FILE, claims_page(data, drawn))
    return output / REPORT_FILE
