"""Collection: every prompt exactly once, in order, with the verdicts of its own problem."""

from __future__ import annotations

import pytest

from rlvr.collect import Collected, check_error_share, collect
from rlvr.errors import VerifierError
from rlvr.protocols import SamplingSettings
from rlvr.records import Status, Verdict
from tests.fakes import FakeEngine, FakeRenderer, FakeVerifier, group, problems

SETTINGS = SamplingSettings(1.0, 16, logprobs=True)


def run(engine: FakeEngine, count: int = 6, group_size: int = 3, **options) -> Collected:
    return collect(engine, FakeRenderer(), FakeVerifier(), problems(count), group_size, SETTINGS, **options)


def test_groups_come_in_the_order_of_their_prompts() -> None:
    engine = FakeEngine()
    collected = run(engine)
    assert engine.order != sorted(engine.order)  # the engine did not answer in that order
    assert [group.problem for group in collected.groups] == problems(6)
    for index, found in enumerate(collected.groups):
        assert [r.completion.text for r in found.rollouts] == [f"thinking {i} # {index}" for i in range(3)]
        assert found.valid_scores == [1, 1, 1]


def test_every_prompt_is_asked_once_for_a_whole_group() -> None:
    engine = FakeEngine()
    run(engine)
    assert [request.num_samples for request in engine.requests] == [3] * 6
    assert [list(request.prompt_tokens) for request in engine.requests] == [[1, i + 2] for i in range(6)]
    assert engine.settings == [SETTINGS]


def test_the_same_problem_twice_in_a_step_is_two_groups() -> None:
    twice = [problems(1)[0]] * 2
    collected = collect(FakeEngine(), FakeRenderer(), FakeVerifier(), twice, 2, SETTINGS)
    texts = [r.completion.text for group in collected.groups for r in group.rollouts]
    assert len(texts) == len(set(texts)) == 4


def test_the_verifier_sees_each_response_once_with_its_ending() -> None:
    verifier = FakeVerifier()
    engine = FakeEngine(lambda index, sample: f"# {index}" if sample else "cut…")
    collect(engine, FakeRenderer(), verifier, problems(2), 2, SETTINGS)
    assert sorted(verifier.calls) == [
        ("fake/train/0", "# 0", "stop"),
        ("fake/train/0", "cut…", "length"),
        ("fake/train/1", "# 1", "stop"),
        ("fake/train/1", "cut…", "length"),
    ]


def test_progress_counts_groups() -> None:
    seen: list[int] = []
    run(FakeEngine(), on_progress=seen.append)
    assert seen == [1, 2, 3, 4, 5, 6]


def test_metrics_of_a_step() -> None:
    responses = [["# 0", "# 9", "no…", "error"], ["# 1"] * 4, ["timeout"] * 4]
    metrics = run(FakeEngine(lambda index, sample: responses[index][sample]), 3, 4).metrics()
    assert metrics == pytest.approx(
        {
            "reward/mean": 5 / 11,  # what could not be verified is left out
            "reward/uniform_group_share": 2 / 3,
            "response/length_mean": 2.5,
            "response/length_max": 4,
            "response/truncated_share": 1 / 12,
            "verify/correct": 5 / 12,
            "verify/incorrect": 1 / 12,
            "verify/unparsed": 1 / 12,
            "verify/timeout": 4 / 12,
            "verify/error": 1 / 12,
        }
    )


def test_a_group_is_uniform_by_what_could_be_verified() -> None:
    collected = Collected([group([1, 1, 1, 0], errors=[3]), group([1, 0, 1, 0])], 0.0, 24)
    assert collected.metrics()["reward/uniform_group_share"] == 0.5


def test_a_verifier_that_raises_has_failed_on_that_response_alone() -> None:
    class Fragile(FakeVerifier):
        def verify(self, problem, response, finish_reason):
            if problem.id == "fake/train/1":
                raise ZeroDivisionError("by zero")
            return super().verify(problem, response, finish_reason)

    groups = collect(FakeEngine(), FakeRenderer(), Fragile(), problems(3), 2, SETTINGS).groups
    assert [[r.verdict.status for r in group.rollouts] for group in groups] == [
        [Status.CORRECT] * 2,
        [Status.ERROR] * 2,
        [Status.CORRECT] * 2,
    ]
    assert groups[1].rollouts[0].verdict == Verdict(0.0, Status.ERROR, "ZeroDivisionError: by zero")


def test_a_step_without_any_verdict_has_metrics() -> None:
    collected = Collected([group([0, 0], errors=[0, 1])], 0.0, 6)
    assert collected.metrics()["reward/mean"] == 0
    assert collected.metrics()[f"verify/{Status.ERROR.value}"] == 1


def test_an_engine_that_loses_a_prompt_is_noticed() -> None:
    class Forgetful(FakeEngine):
        def generate(self, requests, settings):
            yield from super().generate(requests[1:], settings)

    with pytest.raises(KeyError):
        run(Forgetful())


@pytest.mark.parametrize(
    ("share", "limit", "stops"), [(0.0, 0.0, False), (0.05, 0.05, False), (0.06, 0.05, True)]
)
def test_errors_above_the_limit_stop_the_run(share: float, limit: float, stops: bool) -> None:
    if not stops:
        check_error_share(share, limit)
        return
    with pytest.raises(VerifierError, match=r"6\.0%") as caught:
        check_error_share(share, limit)
    assert caught.value.fix
