"""Stand-ins for engine, learner, verifier, renderer and tracker; each records how it was used."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch

from rlvr.batch import Annotations, RolloutBatch, TrainBatch
from rlvr.errors import WeightUpdateError
from rlvr.protocols import Probe, SampleRequest, SamplingSettings, SyncReport
from rlvr.records import Completion, Problem, Rollout, RolloutGroup, Status, Verdict

Respond = Callable[[int, int], str]
"""Problem index (see :class:`FakeRenderer`) and number of the response to it → response text.
A greedy response has the number ``GREEDY``."""

GREEDY = -1

LEARNER_METRICS = (
    "policy/entropy",
    "policy/clip_share",
    "policy/ratio_mean",
    "policy/approximate_kl",
    "mismatch/logprob_abs_mean",
    "mismatch/kl",
    "policy/loss",
    "policy/ratio_max",
    "policy/grad_norm",
    "policy/dropped_updates",
    "policy/learning_rate",
)
"""What a learner's ``update`` reports for any algorithm."""


def problem(index: int, answer: str | None = None, split: str = "train") -> Problem:
    """A problem whose answer is its index, unless given."""
    return Problem(
        id=f"fake/{split}/{index}",
        prompt=({"role": "user", "content": f"say {index}"},),
        data_source="fake",
        ground_truth=str(index) if answer is None else answer,
        extra_info={"split": split, "index": index},
    )


def problems(count: int, split: str = "train") -> list[Problem]:
    """Problems 0 … count − 1."""
    return [problem(index, split=split) for index in range(count)]


def completion(
    text: str = "# 0",
    *,
    prompt: Sequence[int] = (1, 2),
    response: Sequence[int] = (3, 4, 5),
    finish_reason: str = "stop",
    version: int = 0,
) -> Completion:
    """A completion whose log-probabilities are −0.5, −1.0, …"""
    logprobs = [-0.5 * (i + 1) for i in range(len(response))]
    return Completion(list(prompt), list(response), logprobs, text, finish_reason, version)


def group(
    scores: Sequence[float],
    *,
    lengths: Sequence[int] | None = None,
    errors: Sequence[int] = (),
    prompt: Sequence[int] = (1, 2),
    index: int = 0,
    baseline: float | None = None,
    baseline_error: bool = False,
) -> RolloutGroup:
    """A group with these scores and response lengths; rollouts in ``errors`` were not verified.

    ``baseline`` is the score of a greedy response, which was not verified if ``baseline_error``.
    """
    rollouts = []
    for i, score in enumerate(scores):
        length = 3 if lengths is None else lengths[i]
        status = Status.CORRECT if score == 1 else Status.INCORRECT
        status = Status.ERROR if i in errors else status
        response = [10 * (index + 1) + i] * length
        rollouts.append(Rollout(completion(prompt=prompt, response=response), Verdict(float(score), status)))
    greedy = None
    if baseline is not None:
        status = Status.CORRECT if baseline == 1 else Status.INCORRECT
        verdict = Verdict(baseline, Status.ERROR if baseline_error else status)
        greedy = Rollout(completion(prompt=prompt, response=[99] * 7), verdict)
    return RolloutGroup(problem(index), tuple(rollouts), greedy)


class FakeRenderer:
    """Renders problem ``i`` as ``[1, i + 2]``."""

    identity = "fake_template"
    stop_token_ids: tuple[int, ...] = ()

    def render(self, problem: Problem) -> list[int]:
        return [1, int(problem.extra_info["index"]) + 2]

    def request(self, key: int, problem: Problem, num_samples: int) -> SampleRequest:
        return SampleRequest(key, self.render(problem), num_samples)

    def probe(self, problem: Problem) -> Probe:
        return Probe(self.render(problem), 1)


def index_of(prompt_tokens: Sequence[int]) -> int:
    """Inverse of :meth:`FakeRenderer.render`."""
    return prompt_tokens[1] - 2


def answer_right(index: int, sample: int) -> str:
    """The right answer, always."""
    return f"thinking {sample} # {index}"


class FakeEngine:
    """Answers in a seeded order of its own, never in the order of the requests."""

    def __init__(
        self,
        respond: Respond = answer_right,
        *,
        die_after: int | None = None,
        index: Callable[[Sequence[int]], int] = index_of,
    ) -> None:
        self.respond = respond
        self.index = index
        self.die_after = die_after
        self.version = -1  # nothing is published yet
        self.requests: list[SampleRequest] = []
        self.settings: list[SamplingSettings] = []
        self.order: list[int] = []
        self.sampled_versions: list[int] = []
        self._counts: dict[int, int] = {}
        self.is_stopped = False

    def stop(self) -> None:
        self.is_stopped = True

    def process_metrics(self) -> dict[str, float]:
        return {"process/restarts": 0.0}

    def generate(
        self, requests: Sequence[SampleRequest], settings: SamplingSettings
    ) -> Iterator[tuple[int, list[Completion]]]:
        self.requests += requests
        self.settings.append(settings)
        shuffled = list(requests)
        random.Random(len(requests)).shuffle(shuffled)
        if len(shuffled) > 1 and shuffled == list(requests):
            shuffled.reverse()
        for finished, request in enumerate(shuffled):
            if finished == self.die_after:
                raise KeyboardInterrupt
            self.order.append(request.key)
            yield request.key, [self._sample(request) for _ in range(request.num_samples)]

    def _sample(self, request: SampleRequest) -> Completion:
        index = self.index(request.prompt_tokens)
        sample = GREEDY
        if not request.greedy:
            sample = self._counts[index] = self._counts.get(index, -1) + 1
        text = self.respond(index, sample)
        self.sampled_versions.append(self.version)
        response = [3] * (1 + sample % 4)
        return completion(
            text,
            prompt=request.prompt_tokens,
            response=response,
            finish_reason="length" if text.endswith("…") else "stop",
            version=self.version,
        )


class FakeLearner:
    """Records its calls; ``publish`` moves the engine to the new version."""

    def __init__(self, engine: FakeEngine, *, lose_update: int | None = None) -> None:
        self.engine = engine
        self.lose_update = lose_update
        self.calls: list[str] = []
        self.updates: list[list[TrainBatch]] = []
        self.batches: list[RolloutBatch] = []
        self.asked_old_logprobs: list[bool] = []
        self.probes: list[Sequence[Probe]] = []
        self.num_updates = 0
        """Stands for weights and optimizer."""

    def annotate(self, batch: RolloutBatch, *, old_logprobs: bool) -> Annotations:
        """Everything that any algorithm may ask for: −0.25, −0.5 and a value of 0.5 everywhere."""
        self.calls.append("annotate")
        self.batches.append(batch)
        self.asked_old_logprobs.append(old_logprobs)
        filled = [torch.full_like(batch.response_mask, value) for value in (-0.25, -0.5, 0.5)]
        return Annotations(filled[0] if old_logprobs else None, ref_logprobs=filled[1], values=filled[2])

    def update(self, minibatches: Sequence[TrainBatch], *, value_only: bool = False) -> dict[str, float]:
        self.calls.append("update values" if value_only else "update")
        self.updates.append(list(minibatches))
        self.num_updates += len(minibatches)
        return dict.fromkeys(LEARNER_METRICS, 0.5) | {"policy/dropped_updates": 0.0}

    def publish(self, version: int, probes: Sequence[Probe]) -> SyncReport:
        self.calls.append(f"publish {version}")
        self.probes.append(probes)
        if version == self.lose_update:
            raise WeightUpdateError(f"update {version} was lost")
        self.engine.version = version
        return SyncReport(version, 1.0, 1e-7, 1e-6, 100)

    def save(self, folder: Path) -> None:
        self.calls.append(f"save {folder.name}")
        folder.mkdir(parents=True)
        (folder / "weights.json").write_text(json.dumps(self.num_updates))

    def save_state(self, folder: Path) -> None:
        self.calls.append("save state")
        folder.mkdir(parents=True)
        (folder / "state.json").write_text(json.dumps(self.num_updates))

    def load_state(self, folder: Path) -> None:
        self.calls.append("load state")
        self.num_updates = json.loads((folder / "state.json").read_text())

    def stop(self) -> None:
        self.calls.append("stop")


class FakeVerifier:
    """Judges by the word that the response holds: ``error``, ``timeout``, or the answer after #."""

    identity = "fake/1"
    expects = "after #"

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, str]] = []

    def verify(self, problem: Problem, response: str, finish_reason: str) -> Verdict:
        self.calls.append((problem.id, response, finish_reason))
        for status in (Status.ERROR, Status.TIMEOUT):
            if status.value in response:
                return Verdict(0.0, status)
        answer = response.partition("# ")[2]
        if not answer:
            return Verdict(0.0, Status.UNPARSED)
        correct = answer == problem.ground_truth
        return Verdict(float(correct), Status.CORRECT if correct else Status.INCORRECT, answer)


class FakeTracker:
    """Keeps what it receives."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.samples: list[tuple[int, list[Mapping[str, object]]]] = []
        self.closed = 0

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self.rows.append((step, dict(metrics)))

    def log_samples(self, step: int, rows: Sequence[Mapping[str, object]]) -> None:
        self.samples.append((step, list(rows)))

    def close(self) -> None:
        self.closed += 1
