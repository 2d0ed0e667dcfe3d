"""The sandbox without root: the attacks in a process of nobody's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlvr.rewards import jail_kernel
from rlvr.rewards.config import LEVELS
from rlvr.rewards.sandbox_paths import import_root
from tests.rewards.attacks import DAEMONS, ENDINGS, GOOD_CALLS, NOT_STOPPED_BY_RLIMITS, PASSING_ATTACKS, STDIO
from tests.rewards.test_sandbox import (
    NOBODY,
    adopt_orphans,
    descendants,
    host_things,
    judge,
    nothing_left,
    prepared,
    server_of,
    untouched,
    verifier,
)

pytestmark = pytest.mark.xdist_group("sandbox")  # one at a time: they load the machine


def become_nobody() -> None:
    """In a child of root: make a private interpreter readable in a mount namespace, then drop root."""
    prefix = Path(sys.base_prefix).resolve()
    closed = [place for place in (prefix, *prefix.parents) if not place.stat().st_mode & 0o005]
    if closed:
        jail_kernel.unshare(jail_kernel.CLONE_NEWNS)
        jail_kernel.mount("none", "/", "", jail_kernel.MS_REC | jail_kernel.MS_PRIVATE)
        descriptor = os.open(prefix, os.O_RDONLY)
        jail_kernel.mount("tmpfs", str(closed[-1]), "tmpfs", 0, "mode=755")
        prefix.mkdir(parents=True)
        jail_kernel.mount(f"/proc/self/fd/{descriptor}", str(prefix), "", jail_kernel.MS_BIND)
        os.close(descriptor)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


@pytest.mark.skipif(os.geteuid() != 0, reason="this run is unprivileged already: the other tests say it all")
@pytest.mark.parametrize("level", LEVELS)
def test_an_unprivileged_user_gets_the_same_verdicts(level: str) -> None:
    done = subprocess.run(
        [sys.executable, "-B", "-m", "tests.rewards.test_unprivileged", level],
        preexec_fn=become_nobody,
        cwd=import_root(),
        env={
            "PATH": os.environ["PATH"],
            "HOME": "/tmp",
            "PYTHONPATH": os.pathsep.join([str(import_root()), *sys.path]),
        },
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    if "refused" in found:
        pytest.skip(f"{level} does not work here without root: {found['refused']}")
    assert found.pop("good") == dict.fromkeys(GOOD_CALLS, "correct")
    assert found.pop("left") == []
    assert {name for name, status in found["attacks"].items() if status in ("correct", "error")} == set()


def main(level: str) -> None:
    """The attacks and the right programs in this process; the verdicts as JSON."""
    import tempfile

    try:
        attacked = verifier(level, attacked=True)
    except BaseException as refusal:  # noqa: BLE001 - pytest's Skipped is one
        print(json.dumps({"refused": str(refusal)}))
        return
    adopt_orphans()
    before = descendants() - set(server_of(attacked))
    attacks = {}
    with tempfile.TemporaryDirectory() as folder, host_things(Path(folder)) as host:
        Path(folder).chmod(0o777)
        for name, source in PASSING_ATTACKS.items():
            if level != "rlimits" or name not in NOT_STOPPED_BY_RLIMITS:
                attacks[name] = judge(attacked, prepared(source, host)).value
        untouched(host)
    for name, source in DAEMONS.items():
        for ending in ENDINGS:
            with nothing_left(attacked):
                attacks[name + ending] = judge(attacked, source + ending, STDIO).value
    if level == "rlimits":  # without root a program may kill its jail, which is then our error
        attacks = {name: status for name, status in attacks.items() if "getppid" not in name}
    attacked.close()
    left = sorted(descendants() - before)
    good = {name: judge(verifier(level), source).value for name, source in GOOD_CALLS.items()}
    print(json.dumps({"attacks": attacks, "good": good, "left": left}))


if __name__ == "__main__":
    main(sys.argv[1])
