"""Sampling in flight, killed, interrupted, failing or stopped by a guard: no prompt is lost or used twice."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from rlvr.checkpoint import PENDING_FILE, Checkpoints
from rlvr.config import GuardsConfig, TrainConfig
from rlvr.errors import ConfigError, TrainingError, WorkerLostError
from rlvr.signals import SIGNALS
from tests.polled import (
    PATIENCE,
    PROMPTS,
    K,
    PolledFake,
    ToTheLast,
    flight,
    in_order,
    prompts_of,
)
from tests.test_resuming import Killed, killed_at
from tests.training import Run


def killed_while_sampling(run: Run) -> None:
    engine: Any = run.engine
    poll = engine.poll

    def killed() -> Any:
        if engine.version == 4:
            raise Killed
        return poll()

    engine.poll = killed


PLACES = {
    "sampling": killed_while_sampling,
    "learning": killed_at("update", 5),
    "publishing": killed_at("publish", 6),  # the first call is that of the start
    "saving": killed_at("save_state", 2),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", ["grpo", "remax", "dapo"])
def test_a_run_killed_anywhere_loses_and_doubles_no_prompt(
    tmp_path: Path, name: str, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    killed = flight(tmp_path, name, engine=PolledFake(tokens_per_poll=1, seconds=0.003))
    PLACES[place](killed)
    with pytest.raises(Killed):
        killed()
    [checkpoint] = Checkpoints(tmp_path).all()
    pending = json.loads((checkpoint.folder / PENDING_FILE).read_text())
    finished = {group["number"] for group in pending["groups"]}
    used = checkpoint.progress().num_drawn
    assert finished <= set(range(used, pending["num_drawn"]))

    engine = PolledFake(tokens_per_poll=1)
    resumed = flight(tmp_path, name, engine=engine)(resume=True)
    assert resumed.learner.calls[:2] == ["load state", "publish 3"]
    assert [step for step, _ in resumed.tracker.rows] == [4, 5, 6, 7, 8]
    again = sorted({key // 2 for key in engine.prompts})
    assert not finished & set(again)
    assert sorted([*finished, *again]) == list(range(used, used + len(finished) + len(again)))
    num_resampled = sum(number < pending["num_drawn"] for number in again)
    assert num_resampled > 0
    assert [row["rollout/prompts_resampled"] for _, row in resumed.tracker.rows] == [
        num_resampled,
        0,
        0,
        0,
        0,
    ]
    assert f"{num_resampled} prompts were being sampled" in capsys.readouterr().err
    if name != "dapo":
        assert [prompts_of(batch) for batch in resumed.learner.batches] == [
            in_order(PROMPTS, PROMPTS * step) for step in range(3, 8)
        ]
    versions = [(batch.policy_version, batch.response_mask > 0) for batch in resumed.learner.batches]
    assert all(
        0 <= step - version <= K
        for step, (found, mask) in enumerate(versions, 3)
        for version in found[mask].tolist()
    )


def test_a_signal_waits_for_the_step_and_not_for_a_batch(tmp_path: Path) -> None:
    run = flight(tmp_path / "run", engine=PolledFake(tokens_per_poll=1), checkpoint_every=0)
    engine: Any = run.engine
    update, poll = run.learner.update, engine.poll

    def signalled(*args: Any, **kwargs: Any) -> dict[str, float]:
        if len(run.learner.updates) == 1:
            signal.raise_signal(signal.SIGTERM)
        return update(*args, **kwargs)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    SIGNALS.install()
    try:
        run.learner.update = signalled
        with pytest.raises(KeyboardInterrupt):
            run()
        assert run.said == ["checkpoint of step 2 written"]
        SIGNALS.install()
        waiting = flight(tmp_path / "run", engine=ToTheLast())
        other: Any = waiting.engine
        poll = other.poll

        def signalled_poll() -> Any:
            if other.version == 4 and not SIGNALS._held:
                signal.raise_signal(signal.SIGTERM)
            return poll()

        other.poll = signalled_poll
        with pytest.raises(KeyboardInterrupt):
            waiting(resume=True)
        assert waiting.said[-1:] == ["checkpoint of step 4 written"]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    rest = flight(tmp_path / "run")(resume=True)
    assert [step for step, _ in rest.tracker.rows] == [5, 6, 7, 8]
    sessions = (run, waiting, rest)
    assert [
        each for session in sessions for batch in session.learner.batches for each in prompts_of(batch)
    ] == (in_order(8 * PROMPTS))


@pytest.mark.parametrize("end", ["second signal", "lost engine"])
def test_an_update_that_nobody_wants_any_more_is_not_waited_for(tmp_path: Path, end: str) -> None:
    run = flight(tmp_path)
    engine: Any = run.engine
    poll, at_work, stopped = engine.poll, threading.Event(), threading.Event()

    def endless(*args: Any, **kwargs: Any) -> dict[str, float]:
        at_work.set()
        assert stopped.wait(PATIENCE)
        raise WorkerLostError("the learner's process was ended with the run")

    def ending_poll() -> Any:
        if at_work.is_set() and end == "lost engine":
            raise WorkerLostError("no engine is left")
        if at_work.is_set():
            signal.raise_signal(signal.SIGTERM)  # held
            signal.raise_signal(signal.SIGTERM)
        return poll()

    run.learner.update, run.learner.stop, engine.poll = endless, stopped.set, ending_poll
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    SIGNALS.install()
    try:
        with pytest.raises(WorkerLostError if end == "lost engine" else KeyboardInterrupt):
            run()
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
            signal.signal(number, handler)
    assert stopped.is_set()
    assert not any(thread.name.startswith("learner") for thread in threading.enumerate())


@pytest.mark.parametrize("side", ["engine", "learner"])
def test_an_error_of_either_side_reaches_the_driver_as_it_is(tmp_path: Path, side: str) -> None:
    lost = WorkerLostError("the process died", where=side)
    run = flight(tmp_path, checkpoint_every=1)
    engine: Any = run.engine
    poll = engine.poll

    def failing(*args: Any, **kwargs: Any) -> Any:
        raise lost

    def failing_poll() -> Any:
        if engine.version == 2 and "update" in run.learner.calls[-3:]:
            raise lost
        return poll()

    if side == "engine":
        engine.poll = failing_poll
    else:
        run.learner.update = failing
    with pytest.raises(WorkerLostError) as caught:
        run()
    assert caught.value is lost
    assert not any(thread.name.startswith("learner") for thread in threading.enumerate())


def test_a_guard_that_refuses_a_batch_leaves_a_checkpoint_with_it(tmp_path: Path) -> None:
    guards = GuardsConfig(window=3, on_jump="stop", reward_jump=1e-9)
    run = flight(tmp_path, checkpoint_every=0)
    run.guards = guards
    with pytest.raises(TrainingError, match="at step 4"):
        run()
    assert run.said == ["checkpoint of step 3 written"]
    [checkpoint] = Checkpoints(tmp_path).all()
    pending = json.loads((checkpoint.folder / PENDING_FILE).read_text())
    assert {group["number"] for group in pending["groups"]} >= set(range(12, 16))
    resumed = flight(tmp_path)(resume=True)
    assert [step for step, _ in resumed.tracker.rows] == [4, 5, 6, 7, 8]


def test_weights_that_have_run_away_from_those_that_sampled_stop_the_run(tmp_path: Path) -> None:
    run = flight(tmp_path)
    run.guards = GuardsConfig(max_mismatch_kl=0.4)  # the fake learner has 0.5
    with pytest.raises(TrainingError, match="away from the weights that sampled") as caught:
        run()
    assert caught.value.where == "mismatch/kl"
    assert "guards.max_mismatch_kl" in str(caught.value)


def test_a_batch_is_not_younger_than_now() -> None:
    with pytest.raises(ConfigError) as caught:
        TrainConfig(max_staleness=-1)
    assert caught.value.where == "train.max_staleness"
