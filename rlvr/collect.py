"""Sample, verify while others are still being sampled, and return whole groups."""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import NoReturn

from rlvr.algorithms.algorithm import Sampling
from rlvr.errors import TrainingError, VerifierError
from rlvr.protocols import (
    Renderer,
    RolloutEngine,
    SamplingSettings,
    StreamingVerifier,
    Verifier,
)
from rlvr.records import Completion, Problem, Rollout, RolloutGroup, Status, Verdict
from rlvr.rewards.training import TrainingReward
from rlvr.seeds import derive_seed

UNREAD_SHARE = 0.9
"""A step in which so many responses hold no answer that can be read is worth a warning."""
SHOWN_CHARACTERS = 200
"""Of the end of a response, where its answer should be."""


class PromptStream(Iterator[Problem]):
    """The problems in a new seeded order every epoch, without end."""

    def __init__(self, problems: Sequence[Problem], seed: int, num_drawn: int = 0) -> None:
        """Go on after ``num_drawn`` problems have been taken."""
        self._problems, self._seed = problems, seed
        self._epoch, self._order = -1, list[int]()
        self.num_drawn = num_drawn
        """Problems taken so far: order and place follow from it alone, so setting it goes to any place."""

    def __next__(self) -> Problem:
        """The next problem."""
        epoch, place = divmod(self.num_drawn, len(self._problems))
        if epoch != self._epoch:
            self._epoch, self._order = epoch, list(range(len(self._problems)))
            random.Random(f"data/{self._seed}/{epoch}").shuffle(self._order)
        self.num_drawn += 1
        return self._problems[self._order[place]]


@dataclass(frozen=True, slots=True)
class Collected:
    """The groups of one step, in the order of their prompts, and how they came about."""

    groups: list[RolloutGroup]
    """What is trained on."""
    sampled: list[RolloutGroup]
    """All that was sampled, refused groups included: what the policy can do."""
    verify_seconds: float
    """Time that collecting waited for verdicts: in the verifier, or for the pool once all is sampled."""
    pool_metrics: dict[str, float] = field(default_factory=dict)
    """``verify/…`` of a pool: rate, latency and queue wait; empty without one."""

    @property
    def num_tokens(self) -> int:
        """Response tokens sampled."""
        return sum(len(rollout.completion.response_tokens) for rollout in self._rollouts(baselines=True))

    @property
    def num_rollouts(self) -> int:
        """Responses sampled, greedy baselines left out."""
        return sum(1 for _ in self._rollouts())

    def _rollouts(self, baselines: bool = False) -> Iterator[Rollout]:
        for group in self.sampled:
            yield from group.rollouts
            if baselines and group.baseline is not None:
                yield group.baseline

    def metrics(self, reward: TrainingReward) -> dict[str, float]:
        """Metrics of the stages ``reward``, ``response``, ``verify`` and ``filter``, over all that was sampled."""
        rollouts = list(self._rollouts())
        statuses = Counter(rollout.verdict.status for rollout in self._rollouts(baselines=True))
        lengths = [len(rollout.completion.response_tokens) for rollout in rollouts]
        cut_off = sum(rollout.completion.finish_reason == "length" for rollout in rollouts)
        valid = [rollout.verdict.score for rollout in rollouts if rollout.verdict.is_valid]
        uniform = sum(
            len({reward(group.problem, rollout) for rollout in group.rollouts if rollout.verdict.is_valid})
            <= 1
            for group in self.sampled
        )
        form = (
            {}
            if reward.format is None
            else {"reward/well_formed_share": sum(map(reward.fits, rollouts)) / len(rollouts)}
        )
        return {
            "reward/mean": sum(valid) / max(1, len(valid)),
            "reward/uniform_group_share": uniform / len(self.sampled),
            **form,
            "response/length_mean": sum(lengths) / len(lengths),
            "response/length_max": float(max(lengths)),
            "response/truncated_share": cut_off / len(rollouts),
            **{f"verify/{status.value}": statuses[status] / statuses.total() for status in Status},
            **self.pool_metrics,
            "filter/kept_groups": float(len(self.groups)),
            "filter/sampling_factor": len(self.sampled) / max(1, len(self.groups)),
        }


def collect(
    engine: RolloutEngine,
    renderer: Renderer,
    verifier: Verifier,
    stream: Iterator[Problem],
    num_groups: int,
    sampling: Sampling,
    settings: SamplingSettings,
) -> Collected:
    """Take prompts from a stream until ``num_groups`` groups are kept.

    Where ``sampling.keep_group`` refuses groups, the next prompts of the stream replace them,
    round by round; each round asks for as many as the share kept so far suggests. The step is
    made of what was kept when the limit is reached or the stream ends, even if that is less.

    A :class:`StreamingVerifier` judges while the next responses are taken from the engine.

    Args:
        engine: where responses come from.
        renderer: prompts.
        verifier: verdicts.
        stream: problems, one prompt each.
        num_groups: groups wanted.
        sampling: what is asked for each prompt, and which groups are kept.
        settings: how to sample; with a seed, each round derives its own.

    Raises:
        TrainingError: not a single group was kept.
    """
    limit = math.ceil(sampling.max_sampling_factor * num_groups)
    kept: list[RolloutGroup] = []
    sampled: list[RolloutGroup] = []
    verify_seconds = 0.0
    while len(kept) < num_groups and len(sampled) < limit:
        share_kept = len(kept) / len(sampled) if kept else 1.0
        wanted = math.ceil((num_groups - len(kept)) / share_kept)
        problems = list(islice(stream, min(wanted, limit - len(sampled))))
        if not problems:
            break
        seed = None if settings.seed is None else derive_seed(settings.seed, len(sampled))
        groups, seconds = sample_groups(
            engine, renderer, verifier, problems, sampling, replace(settings, seed=seed)
        )
        verify_seconds += seconds
        sampled += groups
        kept += [group for group in groups if sampling.keep_group is None or sampling.keep_group(group)]
    if not kept:
        refuse_useless(sampled, sampling, verifier.expects)
    pool_metrics = verifier.metrics() if isinstance(verifier, StreamingVerifier) else {}
    return Collected(kept[:num_groups], sampled, verify_seconds, pool_metrics)


def refuse_useless(sampled: Sequence[RolloutGroup], sampling: Sampling, expects: str) -> NoReturn:
    """Raise a TrainingError for a step of whose groups not a single one was kept."""
    refuse_unread(sampled, expects)
    accuracy = sum(group.accuracy for group in sampled) / max(1, len(sampled))
    raise TrainingError(
        f"none of {len(sampled)} groups of {sampling.group_size} can teach anything: in each, all answers are "
        f"right or all are wrong (accuracy {accuracy:.3f})",
        where="dynamic sampling",
        fix="problems nearer to what the model can do, a larger algorithm.group_size, or a larger "
        "algorithm.max_sampling_factor",
    )


def refuse_unread(sampled: Sequence[RolloutGroup], expects: str) -> None:
    """Raise a TrainingError if groups taught nothing for want of answers, and not because they were too hard."""
    unread = why_unread(sampled, expects, share=0.5)
    if unread is not None:
        raise TrainingError(
            f"none of {len(sampled)} groups can teach anything: {unread}",
            where="dynamic sampling",
            fix="a prompt=NAME that asks for the answer where the verifier looks for it, or "
            "where responses are cut off a larger rollout.max_response_tokens",
        )


def why_unread(groups: Sequence[RolloutGroup], expects: str, share: float = UNREAD_SHARE) -> str | None:
    """What a person should know where most responses hold no answer: how many, the likely cause, and one of them.

    Args:
        groups: what was sampled.
        expects: the verifier's words for where an answer must stand.
        share: of the responses that the verifier has judged; with fewer unread ones there is nothing to say.

    Returns:
        Sentences, or None.
    """
    judged = [rollout for group in groups for rollout in group.rollouts if rollout.verdict.is_valid]
    unread = [rollout.completion for rollout in judged if rollout.verdict.status is Status.UNPARSED]
    if not unread or len(unread) < share * len(judged):
        return None
    cut_off = [completion for completion in unread if completion.finish_reason == "length"]
    ended = [completion for completion in unread if completion.finish_reason != "length"]
    if len(cut_off) >= len(ended):
        cause = f"the length limit, which cut {len(cut_off):,} of them off (rollout.max_response_tokens)"
    else:
        cause = f"their form: an answer is looked for {expects}, so the prompt has to ask for it there (prompt=NAME)"
    shown = (cut_off if len(cut_off) >= len(ended) else ended)[0].text
    ends = "ends" if len(shown) > SHOWN_CHARACTERS else "is"
    return (
        f"{len(unread):,} of {len(judged):,} responses hold no answer that the verifier can read. The likely cause is "
        f"{cause}. One response {ends} {shown[-SHOWN_CHARACTERS:]!r}"
    )


def sample_groups(
    engine: RolloutEngine,
    renderer: Renderer,
    verifier: Verifier,
    problems: Sequence[Problem],
    sampling: Sampling,
    settings: SamplingSettings,
) -> tuple[list[RolloutGroup], float]:
    """One group per problem, in their order, and the seconds spent waiting for verdicts.

    Each response goes to the verifier as it arrives, while others are still being sampled. A
    greedy baseline is one more request of the same pass.
    """
    requests = []
    for key, problem in enumerate(problems):
        request = renderer.request(key, problem, sampling.group_size)
        requests.append(request)
        if sampling.greedy_baseline:
            requests.append(replace(request, key=key + len(problems), num_samples=1, greedy=True))
    judged: dict[int, list[tuple[Completion, Future[Verdict]]]] = {}
    seconds = 0.0
    for key, completions in engine.generate(requests, settings):
        problem = problems[key % len(problems)]
        started = time.perf_counter()
        judged[key] = [(completion, judge_later(verifier, problem, completion)) for completion in completions]
        seconds += time.perf_counter() - started
    started = time.perf_counter()
    found = {
        key: tuple(Rollout(completion, verdict.result()) for completion, verdict in pairs)
        for key, pairs in judged.items()
    }
    seconds += time.perf_counter() - started
    baselines = {key - len(problems): rollouts[0] for key, rollouts in found.items() if key >= len(problems)}
    images = {request.key: request.images for request in requests}
    groups = [
        RolloutGroup(problem, found[key], baselines.get(key), images[key])
        for key, problem in enumerate(problems)
    ]
    return groups, seconds


def judge_later(verifier: Verifier, problem: Problem, completion: Completion) -> Future[Verdict]:
    """Start verifying one response; a verifier that cannot stream judges it at once."""
    # Not isinstance: to look through a protocol takes longer than to judge a number, and this is done for every response.
    submit = getattr(verifier, "submit", None)
    if submit is not None:
        later: Future[Verdict] = submit(problem, completion.text, completion.finish_reason)
        return later
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
