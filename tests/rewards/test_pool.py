"""Verification beside its caller: nothing lost, nothing blocked, metrics that add up."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from rlvr.algorithms.algorithm import Sampling
from rlvr.collect import collect
from rlvr.protocols import SamplingSettings, StreamingVerifier
from rlvr.records import Problem, Status, Verdict
from rlvr.rewards.math.verifier import MathVerifier
from rlvr.rewards.pool import VerifierPool, quantile
from rlvr.rewards.training import TrainingReward
from tests.fakes import FakeEngine, FakeRenderer, FakeVerifier, problems


class GatedVerifier(FakeVerifier):
    """Judges nothing before the gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def verify(self, problem: Problem, response: str, finish_reason: str) -> Verdict:
        assert self.gate.wait(60)
        return super().verify(problem, response, finish_reason)


class BrokenVerifier(FakeVerifier):
    """Fails on every other response."""

    def verify(self, problem: Problem, response: str, finish_reason: str) -> Verdict:
        if "1" in response:
            raise RuntimeError("broken")
        return super().verify(problem, response, finish_reason)


def test_a_pool_is_a_streaming_verifier_and_a_plain_one_is_not() -> None:
    with VerifierPool(FakeVerifier(), 2) as pool:
        assert isinstance(pool, StreamingVerifier)
        assert not isinstance(pool.verifier, StreamingVerifier)
        assert pool.identity == "fake/1"


def test_sampling_goes_on_while_nothing_is_verified_yet() -> None:
    verifier = GatedVerifier()

    def respond(index: int, sample: int) -> str:
        if len(engine.order) == 6:  # the last of six prompts is being sampled, and no verdict has come
            verifier.gate.set()
        return f"# {index}"

    engine = FakeEngine(respond)
    with VerifierPool(verifier, 2) as pool:
        settings = SamplingSettings(1.0, 16)
        collected = collect(engine, FakeRenderer(), pool, iter(problems(6)), 6, Sampling(3), settings)
    assert all(rollout.verdict.score == 1 for group in collected.groups for rollout in group.rollouts)
    assert [group.problem for group in collected.groups] == problems(6)


def test_the_pools_metrics_are_those_of_the_step() -> None:
    with VerifierPool(FakeVerifier(), 2) as pool:
        settings = SamplingSettings(1.0, 16)
        collected = collect(FakeEngine(), FakeRenderer(), pool, iter(problems(5)), 5, Sampling(2), settings)
    assert collected.metrics(TrainingReward())["verify/per_second"] > 0
    assert pool.metrics()["verify/per_second"] == 0  # nothing since


def test_a_failing_verifier_costs_its_own_responses_only() -> None:
    with VerifierPool(BrokenVerifier(), 3) as pool:
        futures = [pool.submit(problems(1)[0], f"thinking {i % 2} # 0", "stop") for i in range(40)]
        found = Counter(future.result().status for future in futures)
    assert found == {Status.CORRECT: 20, Status.ERROR: 20}


def test_metrics_are_of_what_came_since_the_last_call() -> None:
    with VerifierPool(FakeVerifier(), 2) as pool:
        for _ in range(10):
            pool.verify(problems(1)[0], "# 0", "stop")
        first, second = pool.metrics(), pool.metrics()
    assert first["verify/per_second"] > 0
    assert 0 < first["verify/latency_p50"] <= first["verify/latency_p99"]
    assert 0 <= first["verify/queue_wait_p50"] <= first["verify/queue_wait_p99"]
    assert second == dict.fromkeys(first, 0.0)


def test_a_poisoned_batch_loses_no_other_verdict() -> None:
    hostile = [r"\binom{10^9}{10^8}", "9^{9^{9^9}}", "(" * 400 + "7" + ")" * 400, "7" * 1_000_000]
    golds = [("7", "7"), (r"\frac{x}{2}", "0.5x"), (r"\text{yes}", "Yes")]
    with VerifierPool(MathVerifier(num_workers=2), 2) as pool:
        expected, futures = [], []
        for index in range(400):
            poison = hostile[index // 100] if index % 100 == 0 else None
            gold, answer = golds[index % 3]
            expected.append(poison is None)
            futures.append(
                pool.submit(Problem(str(index), (), "d", gold), rf"\boxed{{{poison or answer}}}", "stop")
            )
        found = [future.result() for future in futures]
    assert [verdict.status is Status.CORRECT for verdict in found] == expected
    assert Status.ERROR not in {verdict.status for verdict in found}


@pytest.mark.parametrize(
    ("values", "share", "found"), [([], 0.5, 0.0), ([1.0], 0.99, 1.0), ([1.0, 2.0, 3.0], 0.5, 2.0)]
)
def test_quantiles(values: list[float], share: float, found: float) -> None:
    assert quantile(values, share) == found
