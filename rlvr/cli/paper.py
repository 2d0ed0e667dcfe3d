"""``rlvr paper``: papers' claims, each decided by a study of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rlvr.cli.words import WordsCommand
from rlvr.config import PaperConfig
from rlvr.errors import RlvrError

if TYPE_CHECKING:
    from rlvr.workflows.paper import Paper

EXAMPLES = """\
rlvr paper: the claims of arXiv 2504.13837 and 2512.07783, each decided by a study: supported, contradicted or undecided here.

Examples:
  rlvr paper --dry-run                          the claims, their studies, how far these are, and how long the rest will take
  rlvr paper                                    runs what is missing, and writes the page after every study
  rlvr paper --page-only                        the page of the studies that are there; nothing is run
  rlvr paper claims=2504.13837                  one of the papers; or a file of your own, claims=mine.yaml
  rlvr paper only=tiny-steps,pass_at_1_rises    some claims, by their names or those of their studies
  rlvr paper 'seeds=[0,1,2]' folder=runs/seeds run.reuse_from=runs   three training runs where there was one, which is taken over
  rlvr paper folder=runs/quick train.num_steps=4 evaluation.num_samples=8   other words go to every study, train
                                                and evaluate command that knows them; what they do not reach is said

A study that is finished is not run again, whoever ran it; after an interruption the same command goes on. One that fails
leaves out those that need it and no others, unless disk or memory is short; the exit code is that of the first that failed.
Writes report.html, claims.json, and claims.md with the tables of all studies.
"""
COMMAND = WordsCommand("paper", PaperConfig, EXAMPLES, others="overrides")


def run(arguments: list[str]) -> None:
    """Run the command."""
    COMMAND.run(app, arguments)


def app(config: PaperConfig) -> None:
    """Say how far the studies are; run those that are missing, and write the page after each of them."""
    # Late, so that --help and mistakes are answered at once.
    from rlvr.tracking.progress import say
    from rlvr.workflows.paper import load_papers, only, studies_of
    from rlvr.workflows.paper_plan import Plan, plan_lines
    from rlvr.workflows.paper_run import decision_lines, in_one, page_of, run_studies

    every = load_papers(config.claims)
    papers = only(every, config.only)
    plan = Plan.of(studies_of(every), studies_of(papers), Path(config.folder), config.overrides, config.seeds)
    say(
        f"claims: {sum(len(paper.claims) for paper in papers)}; studies: {len(plan.there)}, of which "
        f"{len(plan.there) - len(plan.waiting)} are finished in {config.folder}"
    )
    if config.dry_run:
        print("\n".join([*plan_lines(plan), *(line for paper in papers for line in claim_lines(paper))]))
        return
    output = Path(config.output or plan.root / "paper")
    failures: list[RlvrError] = []
    if config.page_only:
        page, data, _ = page_of(papers, plan, output)
    else:
        page, data, failures = run_studies(papers, plan, output)
    print("\n".join([*decision_lines(data), "", f"report: {page}"]))
    if failures:
        raise in_one(failures, data)


def claim_lines(paper: Paper) -> list[str]:
    """The claims of a paper, each with its study and condition."""
    rows = [f"{claim.name:<38}{claim.study:<24}{claim.condition}" for claim in paper.claims.values()]
    return ["", f"{paper.source}:", *rows]
