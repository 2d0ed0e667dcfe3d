"""Collection: every prompt exactly once, in order, with the verdicts of its own problem; refilled where asked."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from rlvr.algorithms.algorithm import Sampling
from rlvr.algorithms.dapo import DAPOConfig
from rlvr.algorithms.remax import ReMaxConfig
from rlvr.batch import collate
from rlvr.collect import Collected, check_error_share, collect, why_unread
from rlvr.errors import TrainingError, VerifierError
from rlvr.protocols import SamplingSettings
from rlvr.records import Problem, RolloutGroup, Status, Verdict
from rlvr.rewards.training import TrainingReward
from tests.fakes import GREEDY, FakeEngine, FakeRenderer, FakeVerifier, Respond, group, problems

SETTINGS = SamplingSettings(1.0, 16, logprobs=True)


def run(
    engine: FakeEngine,
    count: int = 6,
    group_size: int = 3,
    *,
    stream: Iterable[Problem] | None = None,
    verifier: FakeVerifier | None = None,
    sampling: Sampling | None = None,
) -> Collected:
    """Collect ``count`` groups from a stream of just as many problems, unless one is given."""
    return collect(
        engine,
        FakeRenderer(),
        FakeVerifier() if verifier is None else verifier,
        iter(problems(count) if stream is None else stream),
        count,
        Sampling(group_size) if sampling is None else sampling,
        SETTINGS,
    )


def indices(groups: Iterable[RolloutGroup]) -> list[int]:
    return [group.problem.extra_info["index"] for group in groups]


# One round: what every algorithm needs.


def test_groups_come_in_the_order_of_their_prompts() -> None:
    engine = FakeEngine()
    collected = run(engine)
    assert engine.order != sorted(engine.order)  # the engine did not answer in that order
    assert [group.problem for group in collected.groups] == problems(6)
    assert collected.sampled == collected.groups
    for index, found in enumerate(collected.groups):
        assert [r.completion.text for r in found.rollouts] == [f"thinking {i} # {index}" for i in range(3)]
        assert [rollout.verdict.score for rollout in found.rollouts] == [1, 1, 1]


def test_every_prompt_is_asked_once_for_a_whole_group() -> None:
    engine = FakeEngine()
    run(engine)
    assert [request.num_samples for request in engine.requests] == [3] * 6
    assert [list(request.prompt_tokens) for request in engine.requests] == [[1, i + 2] for i in range(6)]
    assert not any(request.greedy for request in engine.requests)
    assert engine.settings == [SETTINGS]


def test_no_more_is_taken_from_the_stream_than_is_sampled() -> None:
    stream = iter(problems(9))
    run(FakeEngine(), 4, stream=stream)
    assert next(stream).extra_info["index"] == 4


def test_the_same_problem_twice_in_a_step_is_two_groups() -> None:
    collected = run(FakeEngine(), 2, 2, stream=[problems(1)[0]] * 2)
    texts = [r.completion.text for group in collected.groups for r in group.rollouts]
    assert len(texts) == len(set(texts)) == 4


def test_the_verifier_sees_each_response_once_with_its_ending() -> None:
    verifier = FakeVerifier()
    run(FakeEngine(lambda index, sample: f"# {index}" if sample else "cut…"), 2, 2, verifier=verifier)
    assert sorted(verifier.calls) == [
        ("fake/train/0", "# 0", "stop"),
        ("fake/train/0", "cut…", "length"),
        ("fake/train/1", "# 1", "stop"),
        ("fake/train/1", "cut…", "length"),
    ]


def test_metrics_of_a_step() -> None:
    responses = [["# 0", "# 9", "no…", "error"], ["# 1"] * 4, ["timeout"] * 4]
    metrics = run(FakeEngine(lambda index, sample: responses[index][sample]), 3, 4).metrics(TrainingReward())
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
            "filter/kept_groups": 3,
            "filter/sampling_factor": 1,
        }
    )


def test_a_group_is_uniform_by_what_could_be_verified() -> None:
    groups = [group([1, 1, 1, 0], errors=[3]), group([1, 0, 1, 0])]
    assert Collected(groups, groups, 0.0).metrics(TrainingReward())["reward/uniform_group_share"] == 0.5


def test_a_verifier_that_raises_has_failed_on_that_response_alone() -> None:
    class Fragile(FakeVerifier):
        def verify(self, problem, response, finish_reason):
            if problem.id == "fake/train/1":
                raise ZeroDivisionError("by zero")
            return super().verify(problem, response, finish_reason)

    groups = run(FakeEngine(), 3, 2, verifier=Fragile()).groups
    assert [[r.verdict.status for r in group.rollouts] for group in groups] == [
        [Status.CORRECT] * 2,
        [Status.ERROR] * 2,
        [Status.CORRECT] * 2,
    ]
    assert groups[1].rollouts[0].verdict == Verdict(0.0, Status.ERROR, "ZeroDivisionError: by zero")


def test_a_step_without_any_verdict_has_metrics() -> None:
    groups = [group([0, 0], errors=[0, 1])]
    metrics = Collected(groups, groups, 0.0).metrics(TrainingReward())
    assert metrics["reward/mean"] == 0
    assert metrics[f"verify/{Status.ERROR.value}"] == 1


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


# Dynamic sampling.

DYNAMIC = DAPOConfig(group_size=4).build().sampling


def mixed_where(useful) -> Respond:
    """Half right on the problems that ``useful`` names; on the others, all right or all wrong by turns."""

    def respond(index: int, sample: int) -> str:
        right = bool(sample % 2) if useful(index) else bool(index % 2)
        return f"# {index}" if right else "# no"

    return respond


def test_groups_that_teach_nothing_are_replaced_by_the_next_prompts() -> None:
    engine = FakeEngine(mixed_where(lambda index: index % 3 == 0))
    stream = iter(problems(40))
    collected = run(engine, 4, stream=stream, sampling=DYNAMIC)
    assert indices(collected.groups) == [0, 3, 6, 9]
    assert all(0 < group.accuracy < 1 for group in collected.groups)
    # 4 prompts give 2 groups (0 and 3); for 2 more at that rate 4 prompts, which give 1 (6); then 3.
    assert [len(list(batch)) for batch in (collected.groups, collected.sampled)] == [4, 11]
    assert indices(collected.sampled) == list(range(11))
    assert next(stream).extra_info["index"] == 11
    metrics = collected.metrics(TrainingReward())
    assert metrics["filter/kept_groups"] == 4
    assert metrics["filter/sampling_factor"] == pytest.approx(11 / 4)
    assert metrics["reward/uniform_group_share"] == pytest.approx(7 / 11)


@pytest.mark.parametrize(
    ("respond", "found", "absent"),
    [
        (
            lambda index, sample: f"so it is {index}",
            ["an answer is looked for after #", "'so it is 0'"],
            "length",
        ),
        (
            lambda index, sample: f"long {'x' * 300}…",
            ["cut 18 of them off (rollout.max_response_tokens)"],
            "form",
        ),
        (lambda index, sample: "# no", ["all answers are right or all are wrong"], "hold no answer"),
    ],
)
def test_groups_without_answers_are_told_from_problems_that_are_too_hard(
    respond: Respond, found: list[str], absent: str
) -> None:
    with pytest.raises(TrainingError) as error:
        run(FakeEngine(respond), sampling=DAPOConfig(group_size=3).build().sampling)
    for words in found:
        assert words in str(error.value)
    assert absent not in error.value.what


def test_answers_that_the_verifier_failed_on_are_no_unread_ones() -> None:
    collected = run(FakeEngine(lambda index, sample: "error"))
    assert why_unread(collected.sampled, "after #") is None


def test_a_step_that_needs_no_refill_samples_once() -> None:
    engine = FakeEngine(mixed_where(lambda index: True))
    collected = run(engine, 4, stream=problems(40), sampling=DYNAMIC)
    assert len(engine.settings) == 1
    assert collected.metrics(TrainingReward())["filter/sampling_factor"] == 1


def test_groups_kept_beyond_the_number_wanted_are_not_trained_on() -> None:
    engine = FakeEngine(mixed_where(lambda index: index == 0 or index > 3))
    collected = run(engine, 4, stream=problems(100), sampling=DYNAMIC)
    # One of the first four teaches, so twelve more are asked for, all of which do.
    assert indices(collected.groups) == [0, 4, 5, 6]
    assert len(collected.sampled) == 16


def test_what_was_accepted_is_kept_when_the_stream_runs_out() -> None:
    engine = FakeEngine(mixed_where(lambda index: index in (1, 6)))
    collected = run(engine, 4, stream=problems(7), sampling=DYNAMIC)
    assert indices(collected.groups) == [1, 6]
    assert len(collected.sampled) == 7
    assert collected.metrics(TrainingReward())["filter/sampling_factor"] == 3.5


def test_what_was_accepted_is_kept_when_the_limit_is_reached() -> None:
    sampling = DAPOConfig(group_size=4, max_sampling_factor=2.5).build().sampling
    collected = run(
        FakeEngine(mixed_where(lambda index: index == 2)), 4, stream=problems(99), sampling=sampling
    )
    assert indices(collected.groups) == [2]
    assert len(collected.sampled) == 10  # 2.5 × 4
    assert collected.metrics(TrainingReward())["filter/sampling_factor"] == 10


@pytest.mark.parametrize(("available", "sampled"), [(99, 12), (5, 5)])
def test_a_step_in_which_nothing_can_be_learned_says_so(available: int, sampled: int) -> None:
    sampling = DAPOConfig(group_size=4, max_sampling_factor=3).build().sampling
    engine = FakeEngine(mixed_where(lambda index: False))
    with pytest.raises(TrainingError, match=f"none of {sampled} groups of 4") as caught:
        run(engine, 4, stream=problems(available), sampling=sampling)
    assert caught.value.where == "dynamic sampling"
    assert "group_size" in (caught.value.fix or "")


def test_without_the_filter_groups_that_teach_nothing_are_kept() -> None:
    sampling = DAPOConfig(group_size=4, dynamic_sampling=False).build().sampling
    collected = run(FakeEngine(mixed_where(lambda index: False)), 4, stream=problems(9), sampling=sampling)
    assert indices(collected.groups) == [0, 1, 2, 3]


def test_the_filter_looks_at_the_answers_and_not_at_the_score() -> None:
    class Partial(FakeVerifier):
        """Gives wrong answers scores that differ: a reward with shades."""

        def verify(self, problem, response, finish_reason):
            verdict = super().verify(problem, response, finish_reason)
            if verdict.status is Status.CORRECT:
                return verdict
            return Verdict(0.1 * (len(self.calls) % 5), verdict.status)

    engine = FakeEngine(mixed_where(lambda index: index % 2 == 0))
    collected = run(engine, 2, stream=problems(20), verifier=Partial(), sampling=DYNAMIC)
    assert indices(collected.groups) == [0, 2]
    refused = [group for group in collected.sampled if group not in collected.groups]
    assert refused
    engine = FakeEngine(lambda index, sample: "# no")  # every answer wrong, the scores differ all the same
    with pytest.raises(TrainingError):
        run(engine, 2, stream=problems(20), verifier=Partial(), sampling=DYNAMIC)


@pytest.mark.parametrize(
    ("scores", "errors", "kept"),
    [
        ([1, 0, 0, 0], (), True),
        ([1, 1, 1, 0], (), True),
        ([1, 1, 1, 1], (), False),
        ([0, 0, 0, 0], (), False),
        ([1, 1, 1, 0], (3,), False),  # the only wrong one could not be verified
        ([0, 0, 0, 0], (0, 1, 2, 3), False),
        ([1, 0, 0, 0], (1,), True),
    ],
)
def test_a_group_is_kept_if_its_answers_differ(scores: list[float], errors: tuple, kept: bool) -> None:
    assert DYNAMIC.keep_group is not None
    assert DYNAMIC.keep_group(group(scores, errors=errors)) is kept


# The greedy baseline.

GREEDY_SAMPLING = ReMaxConfig(group_size=3).build().sampling


def test_the_greedy_response_is_one_more_request_of_the_same_pass() -> None:
    engine = FakeEngine()
    run(engine, 4, sampling=GREEDY_SAMPLING)
    assert len(engine.settings) == 1
    assert sorted((list(r.prompt_tokens), r.num_samples, r.greedy) for r in engine.requests) == sorted(
        ([1, index + 2], count, greedy) for index in range(4) for count, greedy in ((3, False), (1, True))
    )
    assert len({request.key for request in engine.requests}) == 8


def test_each_group_gets_the_greedy_response_to_its_own_prompt_and_never_as_a_rollout() -> None:
    right_if_even = lambda index: f"greedy # {index if index % 2 == 0 else 'no'}"  # noqa: E731
    engine = FakeEngine(
        lambda index, sample: right_if_even(index) if sample == GREEDY else f"thinking {sample} # {index}"
    )
    collected = run(engine, 4, sampling=GREEDY_SAMPLING)
    for index, found in enumerate(collected.groups):
        assert found.baseline is not None
        assert found.baseline.completion.text == right_if_even(index)
        assert [r.completion.text for r in found.rollouts] == [f"thinking {i} # {index}" for i in range(3)]
    batch = collate(collected.groups, 16)
    assert len(batch) == 12
    assert batch.baseline_rewards is not None
    assert batch.baseline_rewards.view(4, 3).tolist() == [[1] * 3, [0] * 3, [1] * 3, [0] * 3]
    assert batch.rewards.tolist() == [1] * 12


def test_a_greedy_response_that_was_not_verified_takes_its_group_out_of_the_batch() -> None:
    engine = FakeEngine(lambda index, sample: "error" if sample == GREEDY and index == 1 else f"# {index}")
    collected = run(engine, 3, sampling=GREEDY_SAMPLING)
    assert collate(collected.groups, 16).valid.view(3, 3).tolist() == [[True] * 3, [False] * 3, [True] * 3]


def test_metrics_count_greedy_responses_as_work_and_not_as_samples_of_the_policy() -> None:
    engine = FakeEngine(lambda index, sample: "error" if sample == GREEDY else f"# {index}")
    collected = run(engine, 2, sampling=GREEDY_SAMPLING)
    metrics = collected.metrics(TrainingReward())
    assert metrics["reward/mean"] == 1
    assert metrics["verify/error"] == 2 / 8
    sampled = sum(len(r.completion.response_tokens) for group in collected.groups for r in group.rollouts)
    assert metrics["response/length_mean"] == sampled / 6
    greedy = sum(len(g.baseline.completion.response_tokens) for g in collected.groups if g.baseline)
    assert collected.num_tokens == sampled + greedy
