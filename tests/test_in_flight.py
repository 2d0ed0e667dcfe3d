"""Sampling in flight: which prompts make which batch and how old they are, whoever is slow and whatever is killed."""

from __future__ import annotations

import gc
import json
import math
import random
import signal
import threading
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.algorithms.registry import ALGORITHMS
from rlvr.batch import RolloutBatch
from rlvr.checkpoint import PENDING_FILE, Checkpoints
from rlvr.collect import PromptStream
from rlvr.config import GuardsConfig, TrainConfig
from rlvr.errors import ConfigError, TrainingError, WorkerLostError
from rlvr.in_flight import batch_ends
from rlvr.protocols import SampleRequest, SamplingSettings
from rlvr.records import Completion
from rlvr.seeds import derive_seed
from rlvr.signals import SIGNALS
from tests.fakes import FakeEngine, FakeTracker, problems
from tests.test_resuming import Killed
from tests.training import Run

K, PROMPTS, GROUP = 2, 4, 4
PATIENCE = 20.0
"""Seconds after which a test that waits for the other side fails."""


@dataclass
class Writing:
    """A response that is being written."""

    length: int
    text: str
    versions: list[int] = field(default_factory=list)


class PolledFake(FakeEngine):
    """Writes a few tokens of every open response in each poll; one in twenty is twenty times as long as the others."""

    def __init__(
        self, *, tokens_per_poll: int = 3, seconds: float = 0.0, right: Sequence[float] = (0.1, 0.5, 0.9)
    ) -> None:
        super().__init__()
        self.tokens_per_poll, self.seconds, self.right = tokens_per_poll, seconds, right
        self.open: dict[int, tuple[SampleRequest, list[Writing]]] = {}
        self.most_open = 0
        self.prompts: list[int] = []
        """Keys of all requests, in the order in which they were submitted."""

    @property
    def num_open(self) -> int:
        return len(self.open)

    def submit(self, requests: Sequence[SampleRequest], settings: SamplingSettings) -> None:
        assert settings.seed is not None
        for request in requests:
            assert request.key not in self.open
            self.prompts.append(request.key)
            draws = random.Random(derive_seed(settings.seed, request.key))
            index = self.index(request.prompt_tokens)
            self.open[request.key] = (
                request,
                [
                    Writing(
                        draws.randint(1, 6) * (20 if draws.random() < 0.05 else 1),
                        f"# {index}" if draws.random() < self.right[index % 3] else "# no",
                    )
                    for _ in range(request.num_samples)
                ],
            )
        self.most_open = max(self.most_open, len(self.open))

    def poll(self) -> list[tuple[int, list[Completion]]]:
        time.sleep(self.seconds)
        for _, responses in self.open.values():
            for each in responses:
                count = min(self.tokens_per_poll, each.length - len(each.versions))
                each.versions += [self.version] * count
        done = [
            key
            for key, (_, responses) in self.open.items()
            if all(len(each.versions) == each.length for each in responses)
        ]
        random.Random(len(done)).shuffle(done)
        return [self._answer(key) for key in done]

    def _answer(self, key: int) -> tuple[int, list[Completion]]:
        request, responses = self.open.pop(key)
        return key, [
            Completion(
                request.prompt_tokens,
                [3] * each.length,
                [-0.5] * each.length,
                each.text,
                "stop",
                each.versions[0],
                later_versions=tuple(
                    (place, version)
                    for place, version in enumerate(each.versions)
                    if place and version != each.versions[place - 1]
                ),
            )
            for each in responses
        ]


def flight(folder: Path, name: str = "grpo", engine: FakeEngine | None = None, **config: Any) -> Run:
    return Run(
        folder,
        engine=engine or PolledFake(),
        algorithm=replace(ALGORITHMS[name], group_size=GROUP, importance_cap=2.0),
        **{"num_steps": 8, "prompts_per_step": PROMPTS, "checkpoint_every": 3, "max_staleness": K, **config},
    )


def prompts_of(batch: RolloutBatch) -> list[int]:
    """The problem of each group, as the fake renderer has it."""
    return [int(batch.tokens[row, 1]) - 2 for row in range(0, len(batch), GROUP)]


def in_order(count: int, start: int = 0) -> list[int]:
    """The problems of the stream's prompts."""
    stream = PromptStream(problems(6), 0, start)
    return [int(next(stream).extra_info["index"]) for _ in range(count)]


def ages(run: Run) -> list[list[int]]:
    """Of all tokens of each step's batch."""
    return [
        (step - batch.policy_version[batch.response_mask > 0]).tolist()
        for step, batch in enumerate(run.learner.batches)
    ]


class Slow:
    """A learner whose update takes until the engine has nothing more to do."""

    def __init__(self, run: Run) -> None:
        self.engine = cast(Any, run.engine)
        self.update, self.poll = run.learner.update, self.engine.poll
        self.ticks = threading.Semaphore(0)
        run.learner.update = self.wait  # type: ignore[method-assign]
        self.engine.poll = self.tick

    def tick(self) -> Any:
        self.ticks.release()
        return self.poll()

    def wait(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        while self.ticks.acquire(blocking=False):
            pass
        while True:
            assert self.ticks.acquire(timeout=PATIENCE)
            if not self.engine.num_open:
                break
        return self.update(*args, **kwargs)


def fast_engine(folder: Path, **config: Any) -> Run:
    return flight(folder, engine=PolledFake(tokens_per_poll=1000), **config)


def slow_engine(folder: Path, **config: Any) -> Run:
    return flight(folder, engine=PolledFake(tokens_per_poll=1, seconds=0.003), **config)


def slow_learner(folder: Path, **config: Any) -> Run:
    run = flight(folder, **config)
    Slow(run)
    return run


SIDES: dict[str, Callable[..., Run]] = {
    "fast engine": fast_engine,
    "slow engine": slow_engine,
    "slow learner": slow_learner,
}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("staleness", [2, 4])
def test_batches_are_the_next_prompts_in_order_whoever_is_slow(
    tmp_path: Path, side: str, staleness: int
) -> None:
    run = SIDES[side](tmp_path, max_staleness=staleness)()
    assert [prompts_of(batch) for batch in run.learner.batches] == [
        in_order(PROMPTS, PROMPTS * step) for step in range(8)
    ]
    engine: Any = run.engine
    assert engine.prompts == [2 * number for number in range(8 * PROMPTS)]  # none twice, none for nothing
    assert engine.most_open <= (staleness + 1) * PROMPTS
    assert engine.num_open == 0
    assert all(0 <= age <= staleness for step in ages(run) for age in step)
    if side == "slow learner":  # all that may be begun was done while a step was learned
        assert [max(step) for step in ages(run)] == [min(step, staleness) for step in range(8)]
        assert all(row["time/wait_for_learner"] > 0 for _, row in run.tracker.rows)
    rows = [row for _, row in run.tracker.rows]
    assert [row["rollout/prompts_used"] for row in rows] == [PROMPTS * step for step in range(1, 9)]
    assert [row["rollout/staleness_max"] for row in rows] == [max(step) for step in ages(run)]
    assert [row["rollout/staleness"] for row in rows] == pytest.approx(
        [sum(step) / len(step) for step in ages(run)]
    )
    assert all(row["rollout/prompts_resampled"] == 0 for row in rows)


class ToTheLast(PolledFake):
    """Writes every response until the learner needs it."""

    def poll(self) -> list[tuple[int, list[Completion]]]:
        time.sleep(0.005)
        done = []
        for key, (_, responses) in self.open.items():
            for each in responses:
                each.versions.append(self.version)
                each.length = len(each.versions)
            if self.version == key // 2 // PROMPTS:  # the weights that its batch is trained on
                done.append(key)
        return [self._answer(key) for key in done]


def test_responses_are_written_through_updates(tmp_path: Path) -> None:
    run = flight(tmp_path, engine=ToTheLast())()
    for step, batch in enumerate(run.learner.batches):
        for versions, mask in zip(batch.policy_version, batch.response_mask, strict=True):
            assert versions[mask > 0].unique().tolist() == list(range(max(0, step - K), step + 1))
    rows = [row for _, row in run.tracker.rows]
    assert [row["rollout/updated_share"] for row in rows] == [0, *[1] * 7]
    assert [row["rollout/staleness_max"] for row in rows] == [0, 1, *[K] * 6]
    assert all(0 < row["throughput/overlap_share"] <= 1 for row in rows[:-1])


def test_its_metrics_are_documented(tmp_path: Path) -> None:
    table = (Path(__file__).resolve().parents[1] / "docs" / "metrics.md").read_text(encoding="utf-8")
    [(_, row), *_] = flight(tmp_path)().tracker.rows
    assert [name for name in row if f"`{name}`" not in table] == []


class Forgetful(FakeTracker):
    """Keeps nothing but what the test asks for."""

    def __init__(self, measure: Callable[[int], None]) -> None:
        super().__init__()
        self.measure, self.used = measure, [0.0]

    def log(self, step: int, metrics: Any) -> None:
        self.used.append(metrics["rollout/prompts_used"])
        assert metrics["rollout/prompts_in_flight"] <= K * PROMPTS * 4
        self.measure(step)

    def log_samples(self, step: int, rows: Any) -> None:
        pass


@pytest.mark.parametrize("name", ["grpo", "dapo"])
def test_five_hundred_steps_lose_no_prompt_and_no_memory(tmp_path: Path, name: str) -> None:
    run = flight(tmp_path, name, engine=PolledFake(tokens_per_poll=10), num_steps=500, checkpoint_every=0)
    sizes: dict[int, int] = {}

    def measure(step: int) -> None:
        for kept in (
            run.learner.calls,
            run.learner.probes,
            run.learner.asked_old_logprobs,
            run.verifier.calls,
        ):
            kept.clear()
        if step % 100 == 0:
            gc.collect()
            sizes[step] = tracemalloc.get_traced_memory()[0]

    run.tracker = tracker = Forgetful(measure)
    seen: list[int] = []
    update, annotate = run.learner.update, run.learner.annotate

    def forgetting(*args: Any, **kwargs: Any) -> Any:
        run.learner.updates.clear()
        return update(*args, **kwargs)

    def noting(batch: RolloutBatch, **kwargs: Any) -> Any:
        seen.extend(prompts_of(batch))
        run.learner.batches.clear()
        return annotate(batch, **kwargs)

    run.learner.update, run.learner.annotate = forgetting, noting  # type: ignore[method-assign]
    tracemalloc.start()
    try:
        run()
    finally:
        tracemalloc.stop()
    engine: Any = run.engine
    assert engine.prompts == [2 * number for number in range(len(engine.prompts))]
    expected = in_order(int(tracker.used[-1]))
    if name == "grpo":
        assert seen == expected
        assert len(engine.prompts) == 500 * PROMPTS
    else:  # refused groups are passed over, and what is kept comes in the order of its prompts
        rest = iter(expected)
        assert all(each in rest for each in seen)
        assert len(seen) > 400 * PROMPTS
    assert all(later > earlier for earlier, later in zip(tracker.used, tracker.used[1:], strict=False))
    assert sizes[500] - sizes[200] < 300_000  # the keys that the test itself keeps are 50 kB


@pytest.mark.parametrize("name", ["ppo", "grpo", "reinforce_pp", "rloo", "remax", "dapo"])
def test_every_algorithm_runs_in_flight(tmp_path: Path, name: str) -> None:
    run = flight(tmp_path, name)()
    assert [step for step, _ in run.tracker.rows] == list(range(1, 9))
    assert all(0 <= age <= K for step in ages(run) for age in step)
    if name == "remax":
        assert all(batch.baseline_rewards is not None for batch in run.learner.batches)
    if name == "dapo":
        assert run.progress.num_drawn > 8 * PROMPTS
        for batch in run.learner.batches:
            scores = batch.rewards.view(-1, GROUP)
            assert (scores.min(1).values != scores.max(1).values).all()


@given(
    outcomes=st.lists(st.booleans(), max_size=60),
    known=st.integers(0, 60),
    size=st.integers(1, 5),
    factor=st.floats(1, 3),
    seed=st.integers(0, 99),
)
def test_no_group_comes_into_a_later_batch_than_was_reckoned_with(
    outcomes: list[bool], known: int, size: int, factor: float, seed: int
) -> None:
    """What is not known yet counts as kept: whatever it turns out to be, batches end there or later."""
    limit = math.ceil(factor * size)
    unknown = set(random.Random(seed).sample(range(len(outcomes)), min(known, len(outcomes))))
    reckoned, _ = batch_ends([kept or place in unknown for place, kept in enumerate(outcomes)], size, limit)
    found, _ = batch_ends(outcomes, size, limit)
    assert len(found) <= len(reckoned)
    assert all(end >= other for end, other in zip(found, reckoned, strict=False))
    for start, end in zip([0, *found], found, strict=False):
        assert sum(outcomes[start:end]) == size or end - start == limit


def test_a_step_of_which_nothing_is_kept_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="can teach anything"):
        flight(tmp_path, "dapo", engine=PolledFake(right=(0, 1, 0)))()


def killed_at(method: str, call: int) -> Callable[[Run], None]:
    """Kill in the so manieth call of a method of the learner."""

    def prepare(run: Run) -> None:
        plain, calls = getattr(run.learner, method), iter(range(1, 100))

        def killed(*args: Any, **kwargs: Any) -> Any:
            if next(calls) == call:
                raise Killed
            return plain(*args, **kwargs)

        setattr(run.learner, method, killed)

    return prepare


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
        run.learner.update = signalled  # type: ignore[method-assign]
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
        run.learner.update = failing  # type: ignore[method-assign]
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
