"""Run the studies that papers' claims lack, one after the other, and keep the page up to date."""

from __future__ import annotations

import ctypes
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlvr.errors import RlvrError
from rlvr.eval.report.claims import WAITING
from rlvr.run_folder import add_command_seconds
from rlvr.signals import SIGNALS
from rlvr.tracking.progress import say
from rlvr.workflows.paper import Paper
from rlvr.workflows.paper_claims import Gathered, claims_data, gather, write_claims
from rlvr.workflows.paper_plan import DONE, Plan, Standing, minutes, speed_line

PR_SET_PDEATHSIG = 1
"""Of ``prctl(2)``."""


def page_of(papers: Sequence[Paper], plan: Plan, output: Path) -> tuple[Path, dict[str, Any], Gathered]:
    """Write the page of what is there.

    Args:
        papers: the claims.
        plan: their studies.
        output: the folder of the page.

    Returns:
        The page's path, what ``claims.json`` holds, and the evidence that the decisions rest on.

    Raises:
        ConfigError: a study has not measured what a claim is about.
        DataError: an evaluation is damaged.
    """
    say("claims: intervals by bootstrap")
    gathered: Gathered = {}
    for each in plan.there.values():
        gathered |= gather(papers, each) if each.state == DONE else {}
    data = claims_data(papers, gathered, plan.there, output)
    return write_claims(output, data), data, gathered


def run_studies(papers: Sequence[Paper], plan: Plan, output: Path) -> tuple[Path, dict[str, Any]]:
    """Run what is missing; write the page at first, and after every study.

    Args:
        papers: the claims.
        plan: their studies.
        output: the folder of the page.

    Returns:
        The page's path, and what ``claims.json`` holds.

    Raises:
        RlvrError: a command failed, with its exit code.
        ConfigError: a study has not measured what a claim is about.
    """
    page, data, gathered = page_of(papers, plan, output)
    waiting = plan.waiting
    if waiting:
        say(f"the page so far: {page}. {speed_line(plan)}")
    for number, each in enumerate(waiting, start=1):
        say(
            f"study {number} of {len(waiting)}: {each.study.name}, {each.study.about}; about {minutes(plan.seconds_left(each))}, "
            f"with all that follow about {minutes(plan.seconds_left())}"
        )
        for words in each.waiting:
            run_command(words, each)
        plan = plan.again(each.study.name)
        if (now := plan.there[each.study.name]).state != DONE:
            raise RlvrError(
                f"the study {each.study.name} is not finished, though its commands ended well",
                where=str(each.folder),
                fix=f"rlvr {shlex.join(now.waiting[0])}",
            )
        gathered |= gather(papers, now)
        data = claims_data(papers, gathered, plan.there, output)
        write_claims(output, data)
    return page, data


def decision_lines(data: Mapping[str, Any]) -> list[str]:
    """A line for each claim."""
    return [
        f"{claim['decision'] or WAITING:<14}{claim['text']}"
        for paper in data["papers"].values()
        for claim in paper["claims"].values()
    ]


def run_command(words: Sequence[str], each: Standing) -> None:
    """Run a command of a study in a process of its own, whose words go on where ours go; keep how long it took.

    Raises:
        RlvrError: it failed, with its exit code.
    """
    line, started, code = shlex.join(words), time.monotonic(), None
    say(f"rlvr {line}")
    try:
        code = call(words)
    finally:
        if code == 0:
            each.folder.mkdir(parents=True, exist_ok=True)  # what it has made may lie in another one
        add_command_seconds(each.folder, line, time.monotonic() - started)
    if code:
        error = RlvrError(
            f"the study {each.study.name} ended with exit code {code}",
            fix="the same command goes on from there",
        )
        error.exit_code = code if code > 0 else 128 - code
        raise error


def call(words: Sequence[str]) -> int:
    """Run ``rlvr`` with these words; returns the exit code.

    A signal is passed on once, and the command ends as it does alone: training leaves a checkpoint. If this process is killed, the
    command is terminated.

    Raises:
        KeyboardInterrupt: a signal came; the command has ended.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "rlvr.cli.main", *words],
        start_new_session=True,  # a signal to the whole group comes here alone, since a second one would not wait
        preexec_fn=end_with_parent,
    )
    interrupted = False
    while True:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            interrupted = True
            process.send_signal(SIGNALS.received or signal.SIGINT)
            continue
        if interrupted:
            raise KeyboardInterrupt
        return code


def end_with_parent() -> None:
    """Have the kernel terminate this process when its parent dies."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
