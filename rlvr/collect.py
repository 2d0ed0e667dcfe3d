"""Sample, verify while others are still being sampled, and return whole groups."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from rlvr.errors import VerifierError
from rlvr.protocols import (
    Renderer,
    RolloutEngine,
    SampleRequest,
    SamplingSettings,
    StreamingVerifier,
    Verifier,
)
from rlvr.records import Completion, Problem, Rollout, RolloutGroup, Status, Verdict


@dataclass(frozen=True, slots=True)
class Collected:
    """The groups of one step, in the order of their prompts, and how they came about."""

    groups: list[RolloutGroup]
    verify_seconds: float
    """Time that collecting waited for verdicts: in the verifier, or for the pool once all is sampled."""
    num_tokens: int
    """Response tokens sampled."""
    pool_metrics: dict[str, float] = field(default_factory=dict)
    """``verify/…`` of a pool: rate, latency and queue wait; empty without one."""

    def metrics(self) -> dict[str, float]:
        """Metrics of the stages ``reward``, ``response`` and ``verify``."""
        rollouts = [rollout for group in self.groups for rollout in group.rollouts]
        statuses = Counter(rollout.verdict.status for rollout in rollouts)
        lengths = [len(rollout.completion.response_tokens) for rollout in rollouts]
        cut_off = sum(rollout.completion.finish_reason == "length" for rollout in rollouts)
        valid = [rollout.verdict.score for rollout in rollouts if rollout.verdict.counts]
        uniform = sum(len(set(group.valid_scores)) <= 1 for group in self.groups)
        return {
            "reward/mean": sum(valid) / max(1, len(valid)),
            "reward/uniform_group_share": uniform / len(self.groups),
            "response/length_mean": self.num_tokens / len(rollouts),
            "response/length_max": float(max(lengths)),
            "response/truncated_share": cut_off / len(rollouts),
            **{f"verify/{status.value}": statuses[status] / len(rollouts) for status in Status},
            **self.pool_metrics,
        }


def collect(
    engine: RolloutEngine,
    renderer: Renderer,
    verifier: Verifier,
    problems: Sequence[Problem],
    group_size: int,
    settings: SamplingSettings,
    on_progress: Callable[[int], None] = lambda num_done: None,
) -> Collected:
    """Sample ``group_size`` responses to every problem and verify each as it arrives.

    A :class:`StreamingVerifier` judges while the next responses are taken from the engine.

    Args:
        engine: where responses come from.
        renderer: prompts.
        verifier: verdicts.
        problems: one prompt each.
        group_size: responses per prompt.
        settings: how to sample.
        on_progress: called with the number of finished groups, sampled and verified.
    """
    requests = [
        SampleRequest(key, renderer.render(problem), group_size) for key, problem in enumerate(problems)
    ]
    waiting: dict[int, list[tuple[Completion, Future[Verdict]]]] = {}
    groups: dict[int, RolloutGroup] = {}
    verify_seconds, num_tokens = 0.0, 0

    def settle(keys: Sequence[int]) -> None:
        for key in keys:
            rollouts = [Rollout(completion, verdict.result()) for completion, verdict in waiting.pop(key)]
            groups[key] = RolloutGroup(problems[key], tuple(rollouts))
            on_progress(len(groups))

    for key, completions in engine.generate(requests, settings):
        started = time.perf_counter()
        waiting[key] = [
            (completion, judge_later(verifier, problems[key], completion)) for completion in completions
        ]
        verify_seconds += time.perf_counter() - started
        num_tokens += sum(len(completion.response_tokens) for completion in completions)
        settle([key for key, pairs in waiting.items() if all(verdict.done() for _, verdict in pairs)])
    started = time.perf_counter()
    settle(list(waiting))
    verify_seconds += time.perf_counter() - started
    pool_metrics = verifier.metrics() if isinstance(verifier, StreamingVerifier) else {}
    return Collected([groups[key] for key in range(len(problems))], verify_seconds, num_tokens, pool_metrics)


def judge_later(verifier: Verifier, problem: Problem, completion: Completion) -> Future[Verdict]:
    """Start verifying one response; a verifier that cannot stream judges it at once."""
    if isinstance(verifier, StreamingVerifier):
        return verifier.submit(problem, completion.text, completion.finish_reason)
    done: Future[Verdict] = Future()
    done.set_result(judge(verifier, problem, completion))
    return done


def judge(verifier: Verifier, problem: Problem, completion: Completion) -> Verdict:
    """Verify one response; a verifier that raises has failed, and its sample is left out."""
    try:
        return verifier.verify(problem, completion.text, completion.finish_reason)
    except Exception as error:  # noqa: BLE001 - whatever went wrong, the response is not to blame
        return Verdict(0.0, Status.ERROR, f"{type(error).__name__}: {error}"[:200])


def check_error_share(share: float, limit: float) -> None:
    """Stop when the verifier itself fails too often: its zeros would be trained on.

    Raises:
        VerifierError: the share of errors is above the limit.
    """
    if share > limit:
        raise VerifierError(
            f"the verifier failed on {share:.1%} of the responses (limit {limit:.1%})",
            where="verify/error",
            fix="see rollouts.jsonl for the cases; raise train.max_error_share only once they are understood",
        )
