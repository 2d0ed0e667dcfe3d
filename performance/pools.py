"""What the model of the pools (performance/pools_simulation.py) goes in with, and what comes out: rates, prompts, modes, steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean


@dataclass(frozen=True, slots=True)
class EngineRates:
    """Seconds of one engine."""

    per_step: float
    """A step, whatever it holds."""
    per_running: float
    """More for each response in it."""
    per_context: float
    """More for each token, prompt and response so far, that these look back on."""
    per_prompt_token: float
    """Computing a token of a prompt, or of a response once more."""
    per_response: float = 0.0
    """Handing over a response that has ended."""
    places: int = 256
    """Responses in hand together."""
    block: int = 16
    """Tokens of a cache block: what fills none is computed again for every response to a prompt."""
    slowed: float = 1.0
    """Times as long while the learner is at work; 1 on devices of its own."""


@dataclass(frozen=True, slots=True)
class LearnerRates:
    """Seconds of the learner pool for one batch; tokens are those of prompts and responses."""

    per_update: float
    """Whatever the batch holds, the driver's part included."""
    per_token: float
    """Forward and backward, on one learner."""
    per_square: float = 0.0
    """More for the square of each row's tokens: attention, on one learner."""
    forward_share: float = 1 / 3
    """Of both, for rows whose advantages are 0; forward takes half as long as backward."""
    slowed: float = 1.0
    """Times as long while engines are at work; 1 on devices of its own."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Everything that is calibrated, or assumed."""

    engine: EngineRates
    learner: LearnerRates
    publish: float
    """Seconds of a weight update with its proof."""
    verify: float = 0.0
    """Seconds between two verdicts."""
    per_batch: float = 0.0
    """Seconds of sampling a batch in which no engine is at work."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt and how long its responses will be."""

    tokens: int
    responses: tuple[int, ...]
    """Tokens of each."""
    teaches: bool = True
    """Whether its responses have advantages."""
    cached: bool = False
    """Whether its whole blocks are in the engine's cache already, as those of all such prompts: beginnings of one text."""
    learned: int | None = None
    """Tokens of the prompt that the learner gets; None: all."""


@dataclass(frozen=True, slots=True)
class Mode:
    """A training loop."""

    name: str
    staleness: int
    """Publications that a batch's first token may lie behind the weights that it is trained on."""
    in_flight: bool
    """Whether weights are published while responses are being written."""


IN_TURN = Mode("in turn", 0, in_flight=False)
AHEAD = Mode("one step ahead", 1, in_flight=False)


def in_flight(staleness: int) -> Mode:
    """Weights updated within responses, at most ``staleness`` + 1 batches under way."""
    return Mode(f"in flight, {staleness}", staleness, in_flight=True)


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a run was like, without its first steps."""

    steps: list[float]
    """Seconds of each step."""
    engines_busy: float
    """Share of the time in which an engine had a response in hand, mean over engines."""
    learner_busy: float
    tokens_per_second: float
    """Response tokens."""

    @property
    def step(self) -> float:
        """Mean seconds of a step."""
        return fmean(self.steps)


def learning_work(batch: Sequence[Prompt], forward_share: float) -> tuple[float, float]:
    """Sums over a batch's rows of their tokens and of the squares of these; a row without a gradient counts by its share."""
    tokens = squares = 0.0
    for prompt in batch:
        share = 1.0 if prompt.teaches else forward_share
        kept = prompt.tokens if prompt.learned is None else prompt.learned
        tokens += share * sum(kept + response for response in prompt.responses)
        squares += share * sum((kept + response) ** 2 for response in prompt.responses)
    return tokens, squares
