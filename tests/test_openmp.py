"""Threads wait asleep, as the OpenMP runtime itself reports it."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from rlvr.openmp import ASLEEP

STARTED = """
from rlvr.cli.main import main
try: main(["{}", "--help"])
finally: import torch
"""
"""A command that has begun; its help alone needs no torch."""


@pytest.mark.parametrize(
    ("command", "own", "expected"),
    [
        ("pretrain", {}, "PASSIVE"),
        ("distill", {}, "PASSIVE"),
        ("pretrain", {"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE"),
    ],
)
def test_torch_is_loaded_with_threads_that_wait_asleep(
    command: str, own: dict[str, str], expected: str
) -> None:
    inherited = {name: value for name, value in os.environ.items() if name not in ASLEEP}
    started = subprocess.run(
        [sys.executable, "-c", STARTED.format(command)],
        env={**inherited, **own, "OMP_DISPLAY_ENV": "true"},
        capture_output=True,
        text=True,
        check=True,
    )
    # Each runtime that was loaded says this of itself, at the moment at which it was.
    assert set(re.findall(r"OMP_WAIT_POLICY\s*=\s*'(\w+)'", started.stderr)) == {expected}
