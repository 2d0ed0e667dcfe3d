"""Run the studies that papers' claims lack, one after the other, and keep the page up to date."""

from __future__ import annotations

import ctypes
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlvr.checkpoint import SPARE_BYTES
from rlvr.errors import CheckpointError, ResourceError, RlvrError
from rlvr.eval.report.claims import WAITING
from rlvr.run_folder import add_command_seconds
from rlvr.signals import SIGNALS
from rlvr.tracking.progress import say
from rlvr.workflows.paper import Paper
from rlvr.workflows.paper_claims import Gathered, claims_data, gather, write_claims
from rlvr.workflows.paper_plan import DONE, Plan, Standing, minutes, speed_line

PR_SET_PDEATHSIG = 1
"""Of ``prctl(2)``."""
MACHINES = (CheckpointError.exit_code, ResourceError.exit_code)
"""Exit codes of a command that failed for want of disk or memory."""
SIGNALLED = 128
"""A command that a signal has ended has this exit code and the signal's number."""


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


def run_studies(
    papers: Sequence[Paper], plan: Plan, output: Path
) -> tuple[Path, dict[str, Any], list[RlvrError]]:
    """Run what is missing; write the page at first, and after every study.

    A study that fails keeps those that need it from being run, and no others, unless the fault is the machine's
    (:func:`is_the_machines`): then nothing more is run.

    Args:
        papers: the claims.
        plan: their studies.
        output: the folder of the page.

    Returns:
        The page's path, what ``claims.json`` holds, and the error of each study that failed, in their order.

    Raises:
        KeyboardInterrupt: a signal came; the command that ran has ended.
        ConfigError: a study that was finished before has not measured what a claim is about.
        DataError: an evaluation is damaged.
    """
    page, data, gathered = page_of(papers, plan, output)
    failures: list[RlvrError] = []
    waiting = plan.waiting
    if waiting:
        say(f"the page so far: {page}. {speed_line(plan)}")
        for line in plan.not_taken():
            say(line)
    for number, each in enumerate(waiting, start=1):
        name = each.study.name
        if lacking := plan.lacking(each.study):
            plan = plan.again(name, f"the study {name} was left out, since it needs {' and '.join(lacking)}")
            say(plan.there[name].failure)
        else:
            say(
                f"study {number} of {len(waiting)}: {name}, {each.study.about}; about {minutes(plan.seconds_left(each))}, "
                f"with all that follow about {minutes(plan.seconds_left())}"
            )
            try:
                plan = run_study(plan, each)
                gathered |= gather(papers, plan.there[name])
            except RlvrError as error:
                failures.append(error)
                plan = plan.again(name, error.what)
                say(str(error))
        data = claims_data(papers, gathered, plan.there, output)
        write_claims(output, data)
        if failures and is_the_machines(failures[-1], plan.root):
            say("the next study would fail in the same way, so nothing more is run")
            break
    return page, data, failures


def run_study(plan: Plan, each: Standing) -> Plan:
    """Run the commands that a study lacks; returns the plan with it done.

    Raises:
        RlvrError: a command failed, with its exit code; or they have not made what they were to make.
    """
    for words in each.waiting:
        run_command(words, each)
    plan = plan.again(each.study.name)
    if (now := plan.there[each.study.name]).state != DONE:
        raise RlvrError(
            f"the study {each.study.name} is not finished, though its commands ended well",
            where=str(each.folder),
            fix=f"rlvr {shlex.join(now.waiting[0])}",
        )
    return plan


def is_the_machines(error: RlvrError, root: Path) -> bool:
    """Whether the next study would fail as this one did, since the fault is the machine's and not the study's own.

    It is if a checkpoint could not be written or memory was short, by the exit codes of these errors; if a signal ended the command,
    which is how the kernel takes memory back, and how a person says that it is enough; and if the disk is full, whatever the
    command failed with. Wrong settings, a lost worker, a proof or a verifier that failed, and training that cannot go on are a
    matter of one study.

    Args:
        error: what the study ended with.
        root: the folder that all studies share.
    """
    place = next(path for path in (root, *root.absolute().parents) if path.exists())
    is_full = shutil.disk_usage(place).free < SPARE_BYTES
    return is_full or error.exit_code in MACHINES or error.exit_code > SIGNALLED


def in_one(failures: Sequence[RlvrError], data: Mapping[str, Any]) -> RlvrError:
    """What the command ends with after failures: all of them, with the exit code of the first.

    Args:
        failures: at least one.
        data: as ``claims.json`` holds it.
    """
    told = [each["failure"] for each in data["studies"].values() if each["failure"]]
    error = RlvrError(";\n".join(told), fix="the same command goes on from there")
    error.exit_code = failures[0].exit_code
    return error


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
            fix=f"`rlvr {line}` goes on from there, and so does the same `rlvr paper`",
        )
        error.exit_code = code if code > 0 else SIGNALLED - code
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
