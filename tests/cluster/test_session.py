"""Starting Ray on a machine that is busy, or where it does not start at all."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import ray

from rlvr.cluster import session
from rlvr.cluster.learner_pool import LearnerPool
from rlvr.cluster.resources import plan_resources, resolve_rollout
from rlvr.cluster.watch import Watch, Worker
from rlvr.config import ClusterConfig, RolloutConfig
from rlvr.errors import WorkerError, WorkerLostError

BUSY = "The current node timed out during startup. This could happen because"


def test_a_slow_start_is_tried_again_and_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def init(**options: Any) -> None:
        started.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))
        if len(started) < session.START_ATTEMPTS:
            raise RuntimeError(BUSY)

    monkeypatch.setattr(session.ray, "init", init)
    session.start_ray(address="local")
    assert len(started) == session.START_ATTEMPTS
    *failed, good = started
    assert [process.wait(timeout=10) for process in failed] == [-9] * len(failed)
    assert good.poll() is None
    good.kill()


def test_ray_does_not_keep_our_handler_of_sigterm(monkeypatch: pytest.MonkeyPatch) -> None:
    def ours(*_: Any) -> None:
        pass

    before = signal.signal(signal.SIGTERM, ours)
    monkeypatch.setattr(session.ray, "init", lambda **_: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    try:
        session.start_ray(address="local")
        assert signal.getsignal(signal.SIGTERM) is ours
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("error", "attempts"),
    [(RuntimeError(BUSY), session.START_ATTEMPTS), (ConnectionError("no cluster at 10.0.0.1:6379"), 1)],
)
def test_ray_that_does_not_start_is_one_error(
    error: Exception, attempts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def init(**options: Any) -> None:
        calls.append(options)
        raise error

    monkeypatch.setattr(session.ray, "init", init)
    with pytest.raises(WorkerError, match="Ray did not start") as raised:
        session.start_ray(address="10.0.0.1:6379")
    assert str(error) in raised.value.what
    assert raised.value.where == "cluster.address=10.0.0.1:6379"
    assert len(calls) == attempts


KILLED_WITH_ITS_GROUP = """
import os, signal, sys, time
import ray
from rlvr.cluster.resources import plan_resources, resolve_rollout
from rlvr.cluster.session import placed, ray_session
from rlvr.config import ClusterConfig, RolloutConfig
from rlvr.signals import SIGNALS

SIGNALS.install()
needed = plan_resources(resolve_rollout(RolloutConfig(num_workers=1, device="cpu")), None)
try:
    with ray_session(ClusterConfig(), needed):
        placed(needed.rollout_bundle, 1, "rollout")
        try:
            os.killpg(os.getpgrp(), signal.SIGTERM)
            time.sleep(60)
        except KeyboardInterrupt:
            time.sleep(3)  # a checkpoint is written, on living workers
            assert ray.get(ray.remote(num_cpus=0)(lambda: os.getpid()).remote(), timeout=60) != os.getpid()
            raise
except KeyboardInterrupt:
    sys.exit(SIGNALS.exit_code)
"""


@pytest.mark.engines
def test_a_signal_to_the_whole_process_group_leaves_ray_to_the_driver() -> None:
    command = [sys.executable, "-c", KILLED_WITH_ITS_GROUP]
    done = subprocess.run(command, start_new_session=True, capture_output=True, text=True, timeout=200)
    assert done.returncode == 128 + signal.SIGTERM, done.stderr


class Sleeper:
    """Stands for a learner that is at work for long."""

    def update(self) -> None:
        time.sleep(600)


@pytest.mark.engines
def test_a_learner_that_is_stopped_ends_its_call_in_another_thread() -> None:
    needed = plan_resources(resolve_rollout(RolloutConfig(num_workers=1, device="cpu")), None)
    with session.ray_session(ClusterConfig(), needed), ThreadPoolExecutor(1) as thread:
        watch = Watch(ClusterConfig())
        learner = Worker("learner 0", ray.remote(Sleeper).remote())
        watch.learners.append(learner)
        pool = LearnerPool.__new__(LearnerPool)  # without engines, which it would connect to
        pool._watch = watch
        update = thread.submit(watch.call, [learner], "update")
        with pytest.raises(TimeoutError):
            update.result(timeout=5)
        pool.stop()
        with pytest.raises(WorkerLostError, match="was ended with the run"):
            update.result(timeout=60)
