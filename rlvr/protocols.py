"""What the driver and the evaluator need from engines, learners, verifiers and trackers.

They are all that the training loop knows: whether Ray, vLLM or DeepSpeed stands behind
them is decided in cluster/ and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from rlvr.records import Completion, Problem, Verdict

if TYPE_CHECKING:  # verifiers and their workers import this module, and must not pay for torch
    from rlvr.batch import Annotations, RolloutBatch, TrainBatch


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """How responses are sampled."""

    temperature: float
    max_tokens: int
    top_p: float = 1.0
    top_k: int = -1
    """Draw from the so many likeliest tokens; -1 from all."""
    logprobs: bool = False
    """Whether the engine returns the log-probability of each sampled token."""
    stop_token_ids: tuple[int, ...] = ()
    """Tokens that end a response, besides the model's end of text."""
    seed: int | None = None
    """Gives every request a seed of its own, derived from this one and its key: what is sampled then depends
    neither on the engine that samples it nor on what it sampled before. None: the engine's own seed."""


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """``num_samples`` responses to one prompt, which is prefilled once."""

    key: int
    """Chosen by the caller; comes back with every completion."""
    prompt_tokens: Sequence[int]
    """Empty where the prompt is given in ``words``."""
    num_samples: int
    greedy: bool = False
    """Take the likeliest token at each step, whatever the settings say."""
    words: str | tuple[Mapping[str, Any], ...] = ""
    """The prompt for an engine that makes the tokens itself: plain text, or messages, which it puts into the
    model's own chat template. Images are parts of a message's content there, as OpenAI's protocol has them."""
    images: tuple[bytes, ...] = ()
    """Encoded images, one for each place that ``prompt_tokens`` has for one, in their order."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A token sequence on whose response part engine and learner are compared."""

    tokens: Sequence[int]
    """Each image has a place of one token here."""
    prompt_length: int
    """Tokens before it are only context; at least 1. Every image stands there."""
    images: tuple[bytes, ...] = ()
    """Encoded images, one for each place that ``tokens`` has for one, in their order."""


@dataclass(frozen=True, slots=True)
class ProbeScores:
    """What an engine says about a probe."""

    tokens: Sequence[int]
    """As it has read them, each image as all the tokens that it takes."""
    logprobs: Sequence[float]
    """Of the response part, the last tokens, in nats."""


@dataclass(frozen=True, slots=True)
class SyncReport:
    """Proof of a weight update: what the engines hold is what the learner holds."""

    version: int
    proved_share: float
    """Of the policy's parameters: as the engines hold them, they are bit by bit the learner's."""
    probe_mean_abs: float
    """Mean |engine − learner| log-probability over the probe tokens, nats, on the engine where it is largest."""
    probe_max_abs: float
    """The largest over the probe tokens and engines."""
    num_bytes: int

    def metrics(self) -> dict[str, float]:
        """``sync/…``."""
        return {
            "sync/version": float(self.version),
            "sync/proved_share": self.proved_share,
            "sync/probe_mean_abs": self.probe_mean_abs,
            "sync/probe_max_abs": self.probe_max_abs,
        }


class RolloutEngine(Protocol):
    """A pool of inference engines that hold the same weights."""

    @property
    def version(self) -> int:
        """Version of the weights that sample now."""

    def generate(
        self, requests: Sequence[SampleRequest], settings: SamplingSettings
    ) -> Iterator[tuple[int, list[Completion]]]:
        """Yield ``(key, completions)`` as requests finish, in any order, each exactly once."""

    def process_metrics(self) -> dict[str, float]:
        """``process/…``: state of all processes of the session; empty where there are none."""


class TrainingEngine(RolloutEngine, Protocol):
    """An engine that may be sampled from beside the learner's work, in another thread."""

    def stop(self) -> None:
        """End a call of ``generate`` that is under way in another thread, by a StoppedError; nothing is sampled any more."""


class PolledEngine(TrainingEngine, Protocol):
    """An engine that samples in short calls, made by the thread that publishes weights.

    So an update comes between two of them, and responses that are being written then are gone on with.
    """

    @property
    def num_open(self) -> int:
        """Requests that were submitted and have no answer yet."""

    def submit(self, requests: Sequence[SampleRequest], settings: SamplingSettings) -> None:
        """Have requests sampled, after those before, by calls of :meth:`poll`; keys differ from all that are open."""

    def poll(self) -> list[tuple[int, list[Completion]]]:
        """``(key, completions)`` of requests that have been finished since the last call, after a moment at most."""


class Learner(Protocol):
    """A pool of data-parallel ranks that hold the policy."""

    def annotate(self, batch: RolloutBatch, *, old_logprobs: bool) -> Annotations:
        """What the models that the algorithm has say about a batch, under the weights as they are.

        Args:
            batch: B rollouts.
            old_logprobs: whether the policy's own log-probabilities are needed, a forward pass.
        """

    def update(self, minibatches: Sequence[TrainBatch], *, value_only: bool = False) -> dict[str, float]:
        """One optimizer step per minibatch; metrics ``policy/…`` and ``critic/…`` averaged over them.

        Args:
            minibatches: in order.
            value_only: train the critic and leave the policy as it is.
        """

    def publish(self, version: int, probes: Sequence[Probe]) -> SyncReport:
        """Send the weights to the rollout engines and prove that they arrived.

        Raises:
            WeightUpdateError: the proof failed.
        """

    def save(self, folder: Path) -> None:
        """Write a Hugging Face folder: safetensors, config, tokenizer, chat template."""

    def save_state(self, folder: Path) -> None:
        """Write everything that training goes on from, but what the driver knows."""

    def load_state(self, folder: Path) -> None:
        """Go on from what :meth:`save_state` wrote; before the first update."""

    def stop(self) -> None:
        """End a call that is under way in another thread, by a WorkerLostError; nothing is learned any more."""


class Verifier(Protocol):
    """Judges responses; training and evaluation share one."""

    @property
    def identity(self) -> str:
        """Name and version, recorded with every result."""

    @property
    def expects(self) -> str:
        """Where an answer must stand in a response, for people who wonder why none was found: ``after the last ####``."""

    def verify(self, problem: Problem, response: str, finish_reason: str) -> Verdict:
        """Judge one response to a problem."""


@runtime_checkable
class StreamingVerifier(Verifier, Protocol):
    """A verifier that judges beside its caller, while more is sampled; rewards/pool.py makes one of any."""

    def submit(self, problem: Problem, response: str, finish_reason: str) -> Future[Verdict]:
        """Hand in one response; the future holds its verdict, and never an exception."""

    def metrics(self) -> dict[str, float]:
        """``verify/…``: rate, latency and queue wait since the last call."""


class Renderer(Protocol):
    """Turns a problem into a request; training and evaluation share one."""

    @property
    def identity(self) -> str:
        """Name of the prompt template, recorded with every result."""

    @property
    def stop_token_ids(self) -> tuple[int, ...]:
        """Tokens that end a response to such a prompt, besides the model's end of text."""

    def request(self, key: int, problem: Problem, num_samples: int) -> SampleRequest:
        """Ask for ``num_samples`` responses to a problem."""


class TokenRenderer(Renderer, Protocol):
    """A renderer with the model's tokenizer."""

    def render(self, problem: Problem) -> list[int]:
        """Prompt tokens, with the generation prompt; each image has a place of one token."""

    def probe(self, problem: Problem) -> Probe:
        """The prompt alone as a probe."""


class Tracker(Protocol):
    """Receives metrics and samples."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """One row of ``stage/name`` metrics; ``step`` only ever grows."""

    def log_samples(self, step: int, rows: Sequence[Mapping[str, object]]) -> None:
        """A few rollouts to read."""

    def close(self) -> None:
        """Flush and close."""
