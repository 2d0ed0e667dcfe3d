"""``rlvr completion``, as bash uses it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CASES = [
    ("rlvr che", {"checkpoints"}),
    ("rlvr train lea", {"learner."}),
    ("rlvr train learner.learning", {"learner.learning_rate="}),
    ("rlvr train recipe=tiny run.", {"run.dir=", "run.resume=", "run.reuse_from="}),
    ("rlvr train -m clus", {"cluster.", "cluster="}),
    ("rlvr study algorithm=gr", {"algorithm=grpo", "algorithm=grpo_verl", "algorithm=grpo_openrlhf"}),
    ("rlvr train algorithm=ppo algorithm.cri", {"algorithm.critic."}),
    ("rlvr pretrain recipe=tiny_m", {"recipe=tiny_mid", "recipe=tiny_mid_only"}),
    ("rlvr report runs/tiny be", {"benchmarks="}),
    ("rlvr report runs/ti", set()),
    ("rlvr nothing a", set()),
    ("rlvr completion b", {"bash"}),
    ("rlvr train 'variants={a", set()),
]


@pytest.mark.parametrize(("line", "found"), CASES)
def test_a_word_is_completed(rlvr, line: str, found: set[str]) -> None:
    result = rlvr("completion", f"--line={line}")
    assert (result.code, result.err) == (0, "")
    assert set(result.out.splitlines()) == found


def test_the_word_after_a_blank_may_be_any(rlvr) -> None:
    shown = rlvr("completion", "--line=rlvr train ").out.splitlines()
    assert {"model=", "seed=", "train.", "recipe=", "algorithm="} <= set(shown)
    assert rlvr("completion", "--line=rlvr ").out.split()[:2] == ["audit", "checkpoints"]


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("rlvr train learner.learning", ["learner.learning_rate="]),
        ("rlvr evaluate recipe=ora", []),
        ("rlvr pretrain recipe=tiny_v", ["tiny_visual"]),  # bash itself keeps what stands before the =
    ],
)
def test_bash_takes_the_script(tmp_path: Path, line: str, reply: list[str]) -> None:
    """What bash does at TAB: it sets the line, calls the function that ``complete`` has named, and reads COMPREPLY."""
    command = tmp_path / "rlvr"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m rlvr.cli.main "$@"\n')
    command.chmod(0o755)
    script = f"""
    eval "$(rlvr completion bash)"
    [[ "$(complete -p rlvr)" == *"-F _rlvr rlvr" ]] || exit 9
    compopt() {{ :; }}  # bash has it only while it completes
    COMP_LINE={line!r} COMP_POINT={len(line)}
    _rlvr rlvr
    for word in "${{COMPREPLY[@]}}"; do echo "$word"; done
    """
    root = str(Path(__file__).resolve().parents[2])
    ran = subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert ran.stdout.split() == reply
    assert ran.stderr == ""


def test_another_shell_is_refused(rlvr) -> None:
    result = rlvr("completion", "fish")
    assert result.code == 2
    assert "there is no completion for 'fish'" in result.err
    assert "bash" in result.err
