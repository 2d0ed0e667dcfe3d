"""Memory, open files and threads of real processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from rlvr.tracking import vitals
from rlvr.tracking.vitals import host_memory_used, measured, own_vitals, ray_vitals

HOLD = "import time; held = bytearray(200 * 2**20); open('/dev/null'); print('ready', flush=True); time.sleep(60)"


def test_memory_of_a_child_counts() -> None:
    before = own_vitals("here")
    with subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        during, alone = own_vitals("here"), measured([psutil.Process(child.pid)], "here")
        child.kill()
    # Threads and files are compared for the child: others of this process may end meanwhile.
    assert 200 * 2**20 < during.memory - before.memory < 300 * 2**20
    assert alone.threads == 1
    assert alone.open_files >= 3
    assert own_vitals("here").memory - before.memory < 50 * 2**20


def test_rays_processes_are_told_from_ours() -> None:
    """By the file that Python runs, not by a folder of that name above the interpreter."""
    marked = [sys.executable, "-c", "input()", "/x/site-packages/ray/_private/log_monitor.py"]
    plain = [sys.executable, "-c", "input()", "/home/ray/rewards/worker.py"]
    with (
        subprocess.Popen(marked, stdin=subprocess.PIPE) as rays,
        subprocess.Popen(plain, stdin=subprocess.PIPE) as ours,
    ):
        processes = [psutil.Process(rays.pid), psutil.Process(ours.pid)]
        assert [vitals._is_ray(process) for process in processes] == [True, False]
        assert ray_vitals("here").threads == 1
        rays.kill()
        ours.kill()


def test_an_ended_process_counts_nothing() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    process = psutil.Process(child.pid)
    child.wait()
    assert measured([process], "here").memory == 0


def test_a_control_groups_limit_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < host_memory_used() < 1
    group = tmp_path / "job"
    group.mkdir()
    (group / "memory.max").write_text("1000\n")
    (group / "memory.current").write_text("990\n")
    (group / "memory.stat").write_text("anon 700\ninactive_file 30\nactive_file 0\n")
    (tmp_path / "memory.max").write_text("max\n")
    monkeypatch.setattr(vitals, "_control_groups", lambda: [group, tmp_path, tmp_path / "absent"])
    assert host_memory_used() == pytest.approx(0.96)
