"""``rlvr paper``: a paper's claims, each decided by a study of its own."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from rlvr.cli.words import WordsCommand
from rlvr.config import PaperConfig
from rlvr.errors import RlvrError
from rlvr.run_folder import REPORT_FILE

CLAIMS = Path(__file__).parent.parent / "recipes" / "paper"
EXAMPLES = """\
rlvr paper: the claims of arXiv 2504.13837 or 2512.07783, each decided by a study: supported, contradicted or undecided here.

Examples:
  rlvr paper --dry-run                          the claims, their studies, and which of these are there
  rlvr paper                                    runs what is missing, and writes the page
  rlvr paper claims=2512.07783                  the second paper: pre-training, mid-training and RL
  rlvr paper only=tiny-steps,pass_at_1_rises    some claims, by their names or those of their studies
  rlvr paper folder=runs/quick train.num_steps=4 evaluation.num_samples=8   other words go to every study

A study that is finished is not run again, whoever ran it; after an interruption the same command goes on.
Writes report.html and claims.json.
"""
COMMAND = WordsCommand("paper", PaperConfig, EXAMPLES, others="overrides")


def run(arguments: list[str]) -> None:
    """Run the command."""
    COMMAND.run(app, arguments)


def app(config: PaperConfig) -> None:
    """Run the studies that are missing, and write the page."""
    # Late, so that --help and mistakes are answered at once.
    from rlvr.eval.report.claims import claims_page
    from rlvr.files import write_json, write_text
    from rlvr.tracking.progress import say
    from rlvr.workflows.paper import Paper, claims_data, decide_claims, figure_of, measured, to_run

    paper = Paper.load(claims_file(config.claims)).only(config.only)
    root = Path(config.folder)
    waiting = {name: to_run(study, root / name, config.overrides) for name, study in paper.studies.items()}
    missing = [study for name, study in paper.studies.items() if waiting[name]]
    say(
        f"claims: {len(paper.claims)}; studies: {len(paper.studies)}, of which {len(paper.studies) - len(missing)} "
        f"are finished in {root}"
    )
    for study in missing:
        say(f"to run: {study.name}, {study.about}, about {study.minutes} minutes on two idle cores")
        for words in waiting[study.name] if config.dry_run else ():
            say(f"  rlvr {shlex.join(words)}")
    if config.dry_run:
        print(
            "\n".join(
                f"{claim.name:<38}{claim.study:<24}{claim.condition}" for claim in paper.claims.values()
            )
        )
        return
    for study in missing:
        # Asked again, for what studies share is there once the first of them has made it.
        for words in to_run(study, root / study.name, config.overrides):
            say(f"rlvr {shlex.join(words)}")
            run_command(words, study.name)
    results = {}
    for name, study in paper.studies.items():
        found = measured(root / name / study.measured_in)
        assert found is not None, name
        results[name] = found
    say("claims: intervals by bootstrap")
    output = Path(config.output or root / "paper")
    data = claims_data(paper, decide_claims(paper, results), results)
    places = {name: root / name / study.measured_in for name, study in paper.studies.items()}
    reports = {name: os.path.relpath(place / REPORT_FILE, output) for name, place in places.items()}
    figures = {
        name: drawn
        for name, claim in paper.claims.items()
        if (drawn := figure_of(claim, places[claim.study])) is not None
    }
    output.mkdir(parents=True, exist_ok=True)
    write_json(output / "claims.json", data)
    write_text(output / REPORT_FILE, claims_page(data, reports, figures))
    for claim in data["claims"].values():
        print(f"{claim['decision']:<14}{claim['text']}")
    print(f"\nreport: {output / REPORT_FILE}")


def claims_file(name: str) -> Path:
    """A file of claims: one of ours by its paper's number, or a path."""
    ours = CLAIMS / f"{name}.yaml"
    return ours if ours.is_file() else Path(name)


def run_command(command: list[str], study: str) -> None:
    """Run a study in a process of its own, whose words go on where ours go.

    Raises:
        RlvrError: it failed, with its exit code.
    """
    code = subprocess.run([sys.executable, "-m", "rlvr.cli.main", *command], check=False).returncode
    if code:
        error = RlvrError(
            f"the study {study} ended with exit code {code}", fix="the same command goes on from there"
        )
        error.exit_code = code if code > 0 else 128 - code
        raise error
