"""Sampling one step ahead: what is sampled by which weights, and that neither timing nor an interruption changes it."""

from __future__ import annotations

import json
import math
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rlvr.ahead import pending_from_json, pending_to_json
from rlvr.algorithms.registry import ALGORITHMS
from rlvr.checkpoint import PENDING_FILE, Checkpoints
from rlvr.collect import Collected
from rlvr.config import GuardsConfig
from rlvr.data.images import images_of
from rlvr.driver import Sampled
from rlvr.errors import TrainingError, WorkerLostError
from rlvr.protocols import SampleRequest, SamplingSettings
from rlvr.records import Completion, Rollout, RolloutGroup, Status, Verdict
from rlvr.signals import SIGNALS
from tests.fakes import FakeEngine, group, problem
from tests.test_resuming import Killed, SeededEngine, killed_at
from tests.training import Run, half_right
from tests.vision import encoded

PATIENCE = 20.0
"""Seconds after which a test that waits for the other side fails."""


def ahead(folder: Path, name: str = "grpo", engine: FakeEngine | None = None, **config: Any) -> Run:
    return Run(
        folder,
        engine=engine or SeededEngine(),
        algorithm=replace(ALGORITHMS[name], group_size=4, importance_cap=2.0),
        **{"num_steps": 6, "prompts_per_step": 4, "checkpoint_every": 3, "max_staleness": 1, **config},
    )


def test_every_batch_but_the_first_is_sampled_by_weights_that_are_one_step_older(tmp_path: Path) -> None:
    run = Run(tmp_path, max_staleness=1, num_steps=3)()
    # The batch of a fourth step lies in the last checkpoint.
    assert run.engine.sampled_versions == [0] * 8 + [0] * 8 + [1] * 8 + [2] * 8
    assert [row["rollout/staleness"] for _, row in run.tracker.rows] == [0, 1, 1]
    assert [int(batch.policy_version.max()) for batch in run.learner.batches] == [0, 0, 1]
    assert [row["sync/version"] for _, row in run.tracker.rows] == [1, 2, 3]
    assert [step for step, _ in run.tracker.samples] == [1, 2, 3]
    assert run.engine.is_stopped


def test_the_next_batch_is_sampled_while_this_one_is_learned(tmp_path: Path) -> None:
    """Each side goes on only once the other has begun: one after the other, neither would."""
    sampling, learning = threading.Event(), threading.Event()

    class Meeting(SeededEngine):
        def generate(
            self, requests: Sequence[SampleRequest], settings: SamplingSettings
        ) -> Iterator[tuple[int, list[Completion]]]:
            if self.version == 0 and self.requests:
                sampling.set()
                assert learning.wait(PATIENCE)
            yield from super().generate(requests, settings)

    run = ahead(tmp_path, engine=Meeting(), num_steps=1)
    update = run.learner.update

    def meeting(*args: Any, **kwargs: Any) -> dict[str, float]:
        learning.set()
        assert sampling.wait(PATIENCE)
        return update(*args, **kwargs)

    run.learner.update = meeting
    run()
    [(_, row)] = run.tracker.rows
    assert 0 < row["throughput/overlap_share"] <= 1
    assert row["time/step"] == pytest.approx(
        row["time/learn"] + row["time/wait_for_rollout"] + row["time/sync"]
    )


def test_its_metrics_are_documented(tmp_path: Path) -> None:
    table = (Path(__file__).resolve().parents[1] / "docs" / "metrics.md").read_text(encoding="utf-8")
    [(_, row), *_] = ahead(tmp_path)().tracker.rows
    assert [name for name in row if f"`{name}`" not in table] == []


class SlowEngine(SeededEngine):
    """Begins to answer once the learner has done the step beside it."""

    learned = threading.Semaphore(0)

    def generate(
        self, requests: Sequence[SampleRequest], settings: SamplingSettings
    ) -> Iterator[tuple[int, list[Completion]]]:
        if self.requests:
            assert self.learned.acquire(timeout=PATIENCE)
        yield from super().generate(requests, settings)


def test_a_slow_engine_and_a_slow_learner_train_on_the_same_batches(tmp_path: Path) -> None:
    slow_engine = ahead(tmp_path / "engine", engine=SlowEngine())
    update = slow_engine.learner.update

    def and_tell(*args: Any, **kwargs: Any) -> dict[str, float]:
        found = update(*args, **kwargs)
        SlowEngine.learned.release()
        return found

    slow_engine.learner.update = and_tell
    slow_engine()

    sampled = threading.Semaphore(0)

    class Telling(SeededEngine):
        def generate(
            self, requests: Sequence[SampleRequest], settings: SamplingSettings
        ) -> Iterator[tuple[int, list[Completion]]]:
            is_first = not self.requests
            yield from super().generate(requests, settings)
            if not is_first:
                sampled.release()

    slow_learner = ahead(tmp_path / "learner", engine=Telling())
    plain = slow_learner.learner.update

    def late(*args: Any, **kwargs: Any) -> dict[str, float]:
        assert sampled.acquire(timeout=PATIENCE)
        return plain(*args, **kwargs)

    slow_learner.learner.update = late
    slow_learner()
    assert_same_updates(slow_engine, slow_learner)
    # Each side has waited for the other. A learner is let go when the last response is there and not when all are verified, which may
    # take as long as its step where the machine has other things to do: some of its steps are behind.
    assert all(row["time/wait_for_rollout"] > 0 for _, row in slow_engine.tracker.rows)
    assert any(row["time/wait_for_learner"] > 0 for _, row in slow_learner.tracker.rows)


def assert_same_updates(run: Run, whole: Run, first: int = 0) -> None:
    """The steps after the first few are the same, and so is where the runs stand."""
    for found, expected in zip(run.learner.updates, whole.learner.updates[first:], strict=True):
        for minibatch, other in zip(found, expected, strict=True):
            for spec in fields(minibatch):
                left, right = getattr(minibatch, spec.name), getattr(other, spec.name)
                assert left is right is None or torch.equal(left, right), spec.name
    untimed = [
        [{key: row[key] for key in row if not key.startswith(("time/", "throughput/"))} for _, row in rows]
        for rows in (run.tracker.rows, whole.tracker.rows[first:])
    ]
    assert untimed[0] == untimed[1]
    assert run.tracker.samples == whole.tracker.samples[first:]
    assert run.progress.num_drawn == whole.progress.num_drawn
    assert run.progress.watched == whole.progress.watched
    last = [Checkpoints(each.folder).all()[-1] for each in (run, whole)]
    pending = [json.loads((each.folder / PENDING_FILE).read_text()) for each in last]
    for each in pending:
        del each["seconds"], each["verify_seconds"]
    assert pending[0] == pending[1]


def killed_while_sampling(run: Run) -> None:
    generate = run.engine.generate

    def killed(requests: Sequence[SampleRequest], settings: SamplingSettings) -> Any:
        for count, answer in enumerate(generate(requests, settings)):
            if run.engine.version == 4 and count == 2:  # the batch of step 6, beside learning the fifth
                raise Killed
            yield answer

    run.engine.generate = killed


PLACES = {
    "sampling": killed_while_sampling,
    "learning": killed_at("update", 5),
    "publishing": killed_at("publish", 6),  # the first call is that of the start
    "saving": killed_at("save_state", 2),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", ["ppo", "grpo", "reinforce_pp", "rloo", "remax", "dapo"])
def test_a_run_killed_anywhere_goes_on_with_the_batches_that_it_would_have_had(
    tmp_path: Path, name: str, place: str
) -> None:
    whole = ahead(tmp_path / "whole", name)()
    killed = ahead(tmp_path / "cut", name)
    PLACES[place](killed)
    with pytest.raises(Killed):
        killed()
    resumed = ahead(tmp_path / "cut", name)(resume=True)
    assert resumed.learner.calls[:2] == ["load state", "publish 3"]
    assert_same_updates(resumed, whole, first=3)
    assert (whole.progress.num_drawn > 6 * 4) == (name == "dapo")  # refused groups are replaced


def test_a_finished_run_that_is_made_longer_equals_a_longer_one(tmp_path: Path) -> None:
    whole = ahead(tmp_path / "whole", "dapo")()
    ahead(tmp_path / "short", "dapo", num_steps=3)()
    assert_same_updates(ahead(tmp_path / "short", "dapo")(resume=True), whole, first=3)


def test_a_signal_waits_for_the_step_and_its_batch(tmp_path: Path) -> None:
    whole = ahead(tmp_path / "whole")()
    run = ahead(tmp_path / "run", checkpoint_every=0)
    update = run.learner.update

    def signalled(*args: Any, **kwargs: Any) -> dict[str, float]:
        if len(run.learner.updates) == 1:
            signal.raise_signal(signal.SIGTERM)
        return update(*args, **kwargs)

    run.learner.update = signalled
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    SIGNALS.install()
    try:
        with pytest.raises(KeyboardInterrupt):
            run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert run.said == ["checkpoint of step 2 written"]
    assert_same_updates(ahead(tmp_path / "run")(resume=True), whole, first=2)


def test_an_error_while_sampling_ahead_reaches_the_driver_as_it_is(tmp_path: Path) -> None:
    lost = WorkerLostError("the worker's process died", where="rollout worker 0")

    class Losing(SeededEngine):
        def generate(
            self, requests: Sequence[SampleRequest], settings: SamplingSettings
        ) -> Iterator[tuple[int, list[Completion]]]:
            if self.version == 1:
                raise lost
            yield from super().generate(requests, settings)

    run = ahead(tmp_path, engine=Losing(), checkpoint_every=1)
    with pytest.raises(WorkerLostError) as caught:
        run()
    assert caught.value is lost
    assert caught.value.exit_code == 3
    # The learner has moved on: the run goes on from the checkpoint before, with the batch that lies in it.
    assert run.learner.calls[-1] == "update"
    assert [each.step for each in Checkpoints(tmp_path).all()] == [1]
    assert not any(thread.name.startswith("sampler") for thread in threading.enumerate())


def test_a_learner_that_fails_ends_the_sampling_beside_it(tmp_path: Path) -> None:
    """The engine would wait for ever for what nobody wants any more."""

    class Endless(SeededEngine):
        stopped = threading.Event()

        def stop(self) -> None:
            self.stopped.set()

        def generate(
            self, requests: Sequence[SampleRequest], settings: SamplingSettings
        ) -> Iterator[tuple[int, list[Completion]]]:
            if self.requests:
                assert self.stopped.wait(PATIENCE)
                raise TrainingError("stopped")
            yield from super().generate(requests, settings)

    run = ahead(tmp_path, engine=Endless())
    failure = WorkerLostError("the learner's process died", where="learner 0")

    def fail(*args: Any, **kwargs: Any) -> dict[str, float]:
        raise failure

    run.learner.update = fail
    with pytest.raises(WorkerLostError) as caught:
        run()
    assert caught.value is failure
    assert not any(thread.name.startswith("sampler") for thread in threading.enumerate())


def test_a_guard_that_refuses_a_batch_leaves_a_checkpoint_with_it(tmp_path: Path) -> None:
    """It is looked at when its own step begins, at which the learner stands where the checkpoint says."""
    wrong = FakeEngine(lambda index, sample: "# no" if wrong.version >= 3 else half_right(index, sample))
    guards = GuardsConfig(window=3, on_jump="stop")
    run = Run(tmp_path, engine=wrong, guards=guards, num_steps=9, max_staleness=1)
    with pytest.raises(TrainingError, match=r"reward/mean is 0\.000 at step 5"):
        run()
    assert run.said == ["checkpoint of step 4 written"]
    sampled = len(wrong.requests)
    again = Run(tmp_path, engine=wrong, guards=guards, num_steps=9, max_staleness=1)
    with pytest.raises(TrainingError, match=r"reward/mean is 0\.000 at step 5"):
        again(resume=True)
    assert len(wrong.requests) == sampled  # the batch was there
    letting_pass = Run(tmp_path, engine=FakeEngine(), guards=GuardsConfig(), num_steps=6, max_staleness=1)
    assert [step for step, _ in letting_pass(resume=True).tracker.rows] == [5, 6]


def test_a_batch_in_a_checkpoint_is_what_it_was_to_the_last_bit(tmp_path: Path) -> None:
    odd = Completion(
        [1, 2], [3, 4, 5], [-0.1, -math.inf, 1e-300], "“é\ud800", "length", 7, None, ((1, 8), (2, 9))
    )
    verdict = Verdict(0.5, Status.TIMEOUT, None, as_text=True)
    greedy = RolloutGroup(problem(1), (Rollout(odd, verdict),) * 2, Rollout(odd, verdict))
    groups = [group([1, 0]), greedy, group([0, 0], index=2)]
    groups[0], groups[2] = (
        replace(each, problem=problem(place)) for each, place in ((groups[0], 0), (groups[2], 2))
    )
    # Images are read again from their files, as the problem names them.
    content = encoded("red", (8, 8))
    (tmp_path / "red.png").write_bytes(content)
    seen = replace(groups[0].problem, images=images_of({"images": ["red.png"]}, tmp_path, "row 1"))
    groups[0] = replace(groups[0], problem=seen, images=(content,))
    before = Sampled(Collected(groups[:2], groups, 0.25, {"verify/per_second": 3.0}), 17, 1.5)
    text = json.dumps(pending_to_json(before))
    after = pending_from_json(json.loads(text), [each.problem for each in groups])
    assert after == before
    assert [id(each) for each in after.collected.groups] == [id(each) for each in after.collected.sampled[:2]]


def test_an_older_checkpoint_that_keeps_its_model_alone_has_no_batch(tmp_path: Path) -> None:
    ahead(tmp_path, keep_model_every=2, checkpoint_every=2, keep_checkpoints=1)()
    found = Checkpoints(tmp_path).all()
    assert [(each.step, (each.folder / PENDING_FILE).exists()) for each in found] == [
        (2, False),
        (4, False),
        (6, True),
    ]
    assert PENDING_FILE in found[-1].files  # its hash is in the manifest
