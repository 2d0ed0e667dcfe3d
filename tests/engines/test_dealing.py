"""Requests are dealt as places become free; what is sampled does not depend on the engine that gets them."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
import ray

from rlvr.cluster import RolloutPool, dealing, rollout_pool
from rlvr.config import ClusterConfig, RolloutConfig
from rlvr.data.prompts import PromptRenderer
from rlvr.protocols import SampleRequest, SamplingSettings
from rlvr.records import Problem
from tests.tiny import TINY

PLACES = 8
SAMPLED = SamplingSettings(1.0, 128, logprobs=True, seed=7)
Handed = list[tuple[str, list[int]]]


@pytest.fixture(scope="module")
def pool() -> Iterator[RolloutPool]:
    rollout = RolloutConfig(
        num_workers=2, max_prompt_tokens=128, max_response_tokens=128, max_num_seqs=PLACES
    )
    with rollout_pool(str(TINY), rollout, ClusterConfig(), 0) as pool:
        yield pool


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> Handed:
    """Which worker was handed the requests of which keys."""
    found: Handed = []
    plain = dealing.Share.hand_over

    def hand_over(share: dealing.Share, requests: Sequence[SampleRequest], are_last: bool) -> None:
        found.append((share.worker.name, [request.key for request in requests]))
        plain(share, requests, are_last)

    monkeypatch.setattr(dealing.Share, "hand_over", hand_over)
    return found


def sampled(pool: RolloutPool, requests: Sequence[SampleRequest], seed: int = 7) -> dict[int, list[object]]:
    """Tokens and log-probabilities of every response."""
    return {
        key: [(list(each.response_tokens), each.logprobs) for each in completions]
        for key, completions in pool.generate(requests, replace(SAMPLED, seed=seed))
    }


def test_a_worker_that_gets_nowhere_holds_up_only_what_it_has_in_hand(
    pool: RolloutPool, handed: Handed, problems: list[Problem], renderer: PromptRenderer
) -> None:
    requests = [SampleRequest(key, renderer.render(problem), 1) for key, problem in enumerate(problems)] * 2
    requests = [replace(request, key=key) for key, request in enumerate(requests)]
    slow = pool.workers[1]
    process = ray.get(slow.actor.__ray_call__.remote(lambda actor: os.getpid()))
    answered: list[int] = []
    try:
        for key, _ in pool.generate(requests, SAMPLED):
            if not answered:
                os.kill(process, signal.SIGSTOP)
            answered.append(key)
            if len(answered) == len(requests) - 2 * PLACES:  # dealt in turn beforehand, half would be missing
                os.kill(process, signal.SIGCONT)
    finally:
        os.kill(process, signal.SIGCONT)
    assert sorted(answered) == list(range(len(requests)))
    counts = Counter(name for name, keys in handed for _ in keys)
    assert counts[slow.name] < len(requests) / 4
    assert max(len(keys) for _, keys in handed) <= PLACES * dealing.AHEAD


def test_responses_do_not_depend_on_who_samples_them(
    pool: RolloutPool, handed: Handed, problems: list[Problem], renderer: PromptRenderer
) -> None:
    requests = [SampleRequest(key, renderer.render(problem), 4) for key, problem in enumerate(problems)]
    found = sampled(pool, requests)
    first = {key: name for name, keys in handed for key in keys}
    handed.clear()
    again = sampled(pool, requests[::-1])
    second = {key: name for name, keys in handed for key in keys}
    assert any(first[key] != second[key] for key in first)
    assert again == found
    assert sampled(pool, requests, seed=8) != found


def test_a_caller_may_stop_in_the_middle(
    pool: RolloutPool, problems: list[Problem], renderer: PromptRenderer
) -> None:
    requests = [SampleRequest(key, renderer.render(problem), 4) for key, problem in enumerate(problems)]
    for number, _ in enumerate(pool.generate(requests, SAMPLED)):
        if number == 2:
            break
    assert sorted(sampled(pool, requests[:3])) == [0, 1, 2]
    assert sorted(sampled(pool, requests[:1])) == [0]  # one worker has nothing to do
    assert len(sampled(pool, requests)) == len(requests)
