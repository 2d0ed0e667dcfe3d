"""The records that every stage exchanges: problem, completion, verdict, rollout.

Standard library only, so that a verifier worker, a report or a notebook can
import them without torch, Ray or an engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

ChatMessage = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image that a problem is about: a file, told from others by its content."""

    path: str
    sha256: str
    media_type: str
    """``image/png``, for example."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One item of a data set, in the column convention of verl's parquet files.

    The columns are ``data_source``, ``prompt`` (chat messages), ``ability``,
    ``reward_model = {style, ground_truth}`` and ``extra_info = {split, index, …}``;
    see https://verl.readthedocs.io/en/latest/preparation/prepare_data.html.
    """

    id: str
    """Unique within its data set; ``<data_source>/<split>/<index>`` by default."""
    prompt: tuple[ChatMessage, ...]
    """Chat messages, ``{"role": …, "content": …}`` each."""
    data_source: str
    ground_truth: str
    style: str = "rule"
    """How the ground truth is meant: ``rule`` (checked by a verifier)."""
    ability: str = "math"
    extra_info: Mapping[str, Any] = field(default_factory=dict)
    images: tuple[ImageFile, ...] = ()
    """In the order in which they are shown: where a message says ``<image>``, or else before the last message."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What the engine returned for one sample of one prompt."""

    prompt_tokens: Sequence[int]
    """As the engine has read them, each image as all the tokens that it takes. Empty, as are the response's, where an
    engine does not say which tokens it has read and written."""
    response_tokens: Sequence[int]
    logprobs: Sequence[float] | None
    """Engine log-probability of each response token at the sampling temperature, in nats."""
    text: str
    """The response, decoded without special tokens."""
    finish_reason: str
    """``stop`` (the model ended its answer) or ``length`` (it was cut off)."""
    policy_version: int
    """Version of the weights that sampled it, or at least its first token; 0 is the model as it was loaded."""
    tokens_counted: int | None = None
    """Length of the response in tokens as the engine states it, where it does not say which they are."""
    later_versions: tuple[tuple[int, int], ...] = ()
    """Where the weights were updated while it was written: ``(token, version)``, the place in the response from which on
    a version has written it."""

    @property
    def num_tokens(self) -> int:
        """Length of the response in tokens."""
        return len(self.response_tokens) if self.tokens_counted is None else self.tokens_counted

    @property
    def version_spans(self) -> list[tuple[int, int]]:
        """Versions of the weights that wrote it, each with the number of tokens that it wrote."""
        starts = [(0, self.policy_version), *self.later_versions]
        ends = [*(start for start, _ in self.later_versions), len(self.response_tokens)]
        return [(version, end - start) for (start, version), end in zip(starts, ends, strict=True)]

    @property
    def token_versions(self) -> list[int]:
        """Version of the weights that wrote each response token."""
        return [version for version, count in self.version_spans for _ in range(count)]


class Status(StrEnum):
    """How a verification ended. Only ``ERROR`` is our own fault."""

    CORRECT = "correct"
    INCORRECT = "incorrect"
    UNPARSED = "unparsed"
    TIMEOUT = "timeout"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verifier's judgement of one response.

    ``UNPARSED`` and ``TIMEOUT`` are wrong answers and score 0. ``ERROR`` means that
    the verifier failed: such a sample is left out of training and of pass@k.
    """

    score: float
    """Reward in [0, 1]; 1 only if ``status`` is ``CORRECT``."""
    status: Status
    answer: str | None = None
    """The answer as it was extracted, or None."""
    as_text: bool = False
    """Whether the ground truth has no meaning that the verifier knows, so that only equal texts are right."""

    @property
    def is_valid(self) -> bool:
        """Whether the sample may be used: everything but our own error."""
        return self.status is not Status.ERROR


@dataclass(frozen=True, slots=True)
class Rollout:
    """A response with its verdict."""

    completion: Completion
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class RolloutGroup:
    """All rollouts of one prompt in one step, in the order of their sample index."""

    problem: Problem
    rollouts: tuple[Rollout, ...]
    baseline: Rollout | None = None
    """The greedy response, where the algorithm asks for one; it is never trained on."""
    images: tuple[bytes, ...] = ()
    """Encoded images of the prompt, in their order."""

    @property
    def accuracy(self) -> float:
        """Share of correct answers among the rollouts on which the verifier did not fail."""
        counted = [
            rollout.verdict.status is Status.CORRECT for rollout in self.rollouts if rollout.verdict.is_valid
        ]
        return sum(counted) / max(1, len(counted))
