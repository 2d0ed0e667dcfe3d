"""Seconds per training step: sampling and learning in turn, at the same time (train.max_staleness of 1 and of 2), and TRL.

Five ways train the same model by GRPO on the same prompts, each in a process of its own, one after another, as often as
there are rounds:

- in turn, both pools on all cores: two engines of a thread each, and a learner of two threads, as recipe=tiny has it;
- in turn, one core each: an engine and a learner of one thread;
- one step ahead, one core each: the same, at the same time, batch by batch;
- in flight, one core each: the same, with weights that come while responses are being written;
- TRL, all cores: its GRPOTrainer, which samples with transformers and learns in turn (performance/trl_side.py).

Responses are short (the tiny model's own on its problems), or long-tailed: a model of random weights over many words hardly
ever ends a response by itself, so a response is as long as the context leaves room for, which is drawn from a log-normal
distribution for each problem. By default 1 % of them have twenty times the median. All prompts are then beginnings of one text,
which costs an engine next to nothing; the learner gets its end alone. Verdicts on such text are drawn by chance, so that
there is something to learn.

TRL has the same problems in the same order, group size, start weights, learning rate, clip range, optimizer and verdicts. Of
a long-tailed prompt it gets the end alone, the same tokens that our learner gets, and its response is as long as what our engine
has room for: the last token is an end of text, which ours does not have; both end before it where they sample one. Two
things are not equal: our engines look back on the whole prompt as well, and our ways that are not in turn correct for stale
weights. The column ``length_mean`` says how long the responses were. Where TRL measures fewer steps, the others are
compared with it over those steps alone, since batches differ in length.
"""

from __future__ import annotations

import itertools
import math
import random
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from performance.child import measure
from performance.common import (
    SEED,
    machine,
    machine_line,
    median,
    parser,
    prompts_in_order,
    recipe,
    section,
    table,
    write_result,
)
from performance.dealing import LONGEST, wordy_model
from performance.train_throughput import Stopwatch
from performance.trl_side import end_at, environment, train_with_trl, trl_side

if TYPE_CHECKING:
    from rlvr.protocols import Probe, SampleRequest, SamplingSettings, TokenRenderer
    from rlvr.records import Completion, Problem, Verdict

T = TypeVar("T")

ONE_EACH = {"workers": 1, "learner_threads": 1}
WAYS: dict[str, dict[str, int]] = {
    "in turn, all cores": {"workers": 2, "learner_threads": 2, "max_staleness": 0},
    "in turn, one core each": {**ONE_EACH, "max_staleness": 0},
    "one step ahead, one core each": {**ONE_EACH, "max_staleness": 1},
    "in flight, one core each": {**ONE_EACH, "max_staleness": 2},
}
TRL = "TRL, all cores"
LENGTHS = ("short", "long-tailed")
STAGES = ("rollout", "learn", "sync", "wait_for_rollout", "wait_for_learner")
SEEN_TOKENS = 16
"""Of a long-tailed response's prompt, which the learner gets."""
GROUP_SIZE = 8
LONG_TRL = {"per_device_train_batch_size": 16}
"""Rows; 64, as with short responses, take as long per row, and four times the memory: all are padded to the longest."""


def main(arguments: list[str]) -> None:
    """Measure all ways in turn, and print seconds per step and ratios."""
    made = parser("overlap", __doc__)
    made.add_argument("--steps", type=int, default=12, help="measured steps of each way in each round")
    made.add_argument("--warmup-steps", type=int, default=3, help="steps before them, left out")
    made.add_argument("--rounds", type=int, default=2, help="how often the ways take turns")
    made.add_argument("--lengths", nargs="+", choices=LENGTHS, default=list(LENGTHS))
    made.add_argument("--median", type=float, default=40.0, help="tokens of a long-tailed response")
    made.add_argument("--spread", type=float, default=1.29, help="standard deviation of the logarithm")
    made.add_argument(
        "--trl-steps",
        type=int,
        default=4,
        help="measured steps of TRL with long-tailed responses in each round; with short ones it takes as many as the others",
    )
    args = made.parse_args(arguments)
    found = machine()
    print(machine_line(found), flush=True)
    base = {
        "model": args.model,
        "recipe": recipe(args.rlvr),
        "group_size": GROUP_SIZE,
        "median": args.median,
        "spread": args.spread,
    }
    result: dict[str, Any] = {"machine": found, "settings": vars(args) | base, "lengths": {}}
    for lengths in args.lengths:
        seconds: dict[str, list[list[float]]] = {way: [] for way in [*WAYS, TRL]}
        stages: dict[str, dict[str, float]] = {}
        num_trl = min(args.trl_steps, args.steps) if lengths == "long-tailed" else args.steps
        for _ in range(args.rounds):
            for way in seconds:
                num_steps = args.warmup_steps + (num_trl if way == TRL else args.steps)
                raw = measured(way, {**base, "lengths": lengths, "num_steps": num_steps})
                steps = [end - start for start, end in itertools.pairwise(raw["ends"])]
                seconds[way].append(steps[args.warmup_steps :])
                stages[way] = {
                    name: median(values[args.warmup_steps :]) for name, values in raw["rows"].items()
                }
        print(lines(lengths, seconds, stages), flush=True)
        result["lengths"][lengths] = {"seconds": seconds, "stages": stages}
    write_result(args.json, result)


def measured(way: str, settings: dict[str, Any]) -> dict[str, Any]:
    """One way in a process of its own."""
    if way == TRL:
        return measure("performance.overlap", "trl_way", {**settings, "trl": {}}, environment())
    return measure("performance.overlap", "side", {**settings, **WAYS[way]}, {})


def lines(lengths: str, seconds: dict[str, list[list[float]]], stages: dict[str, dict[str, float]]) -> str:
    """The table of one kind of responses, and the ratios; ``seconds`` are those of each way, round and step."""
    names = sorted(set().union(*stages.values()))
    rows = []
    for way, rounds in seconds.items():
        steps = list(itertools.chain.from_iterable(rounds))
        shown = (f"{stages[way][name]:.2f}" if name in stages[way] else "" for name in names)
        rows.append((way, len(steps), f"{median(steps):.2f}", f"{min(steps):.2f}–{max(steps):.2f}", *shown))
    in_turn = [way for way, settings in WAYS.items() if not settings["max_staleness"]]
    ratios = "\n".join(
        f"{way}: "
        + ", ".join(
            f"{times_as_fast(seconds[way], seconds[other]):.2f} times as fast as {other}"
            for other in ([TRL] if way in in_turn else [*in_turn, TRL])
        )
        for way in WAYS
    )
    header = (
        f"{lengths} responses", "steps", "s/step", "range", *(name.partition("/")[2] for name in names)
    )  # fmt: skip
    return f"\n{table(header, rows)}\n{ratios}"


def times_as_fast(way: list[list[float]], other: list[list[float]]) -> float:
    """How many times as fast one way is as another, by the medians over the steps that both have measured."""
    pairs = [pair for rounds in zip(way, other, strict=True) for pair in zip(*rounds, strict=False)]
    return median([theirs for _, theirs in pairs]) / median([mine for mine, _ in pairs])


def side(settings: dict[str, Any]) -> dict[str, Any]:
    """One of our ways: when it began and its steps ended, and the stages of each."""
    from rlvr.driver import Training

    stopwatch = Stopwatch()
    with training_of(settings, stopwatch, Training) as training:
        started = train_by_staleness(training, Path(settings["folder"]))
    names = [f"time/{stage}" for stage in STAGES]
    names += ["throughput/overlap_share", "response/length_mean"]
    kept = [name for name in names if name in stopwatch.rows[0]]
    return {
        "ends": [started, *stopwatch.ends],
        "rows": {name: [row[name] for row in stopwatch.rows] for name in kept},
    }


def train_by_staleness(training: Any, folder: Path) -> float:
    """Go through a :class:`~rlvr.driver.Training` by the loop of its ``max_staleness``; when it began (``time.time()``)."""
    from rlvr.ahead import train_ahead
    from rlvr.checkpoint import Checkpoints
    from rlvr.driver import train
    from rlvr.in_flight import train_in_flight

    loops: dict[int, Any] = {0: train, 1: train_ahead}
    loop = loops.get(training.config.max_staleness, partial(train_in_flight, engine=training.engine))
    started = time.time()
    loop(training, output=folder / "model", checkpoints=Checkpoints(folder / "run"))
    return started


def trl_way(settings: dict[str, Any]) -> dict[str, Any]:
    """TRL: when its steps ended, and the mean length of the responses in each."""
    raw = trl_side(settings) if settings["lengths"] == "short" else trl_long(settings)
    lengths = [tokens / raw["rollouts"] for tokens in raw["tokens"]]
    return {"ends": raw["ends"], "rows": {"response/length_mean": lengths}}


def trl_long(settings: dict[str, Any]) -> dict[str, Any]:
    """TRL on long-tailed responses: of each prompt the end that our learner gets, and a response as long as ours."""
    model = wordy_model(settings["model"], Path(settings["folder"]) / "start")
    problems = prompts_in_order(settings)
    whole = list(map(Beginnings(settings["median"], settings["spread"]).render, problems))
    prompts = [tokens[-SEEN_TOKENS:] for tokens in whole]
    lengths = {tuple(end): LONGEST - len(tokens) for end, tokens in zip(prompts, whole, strict=True)}
    trl = {"max_completion_length": LONGEST - SEEN_TOKENS, **LONG_TRL, **settings["trl"]}
    return train_with_trl(
        {**settings, "trl": trl}, model, problems, prompts, Chance(), partial(end_at, lengths=lengths)
    )


@contextmanager
def training_of(settings: dict[str, Any], tracker: Any, kind: Callable[..., T]) -> Iterator[T]:
    """Pools, and a run of GRPO over them, which is made by ``kind`` (a :class:`~rlvr.driver.Training`).

    Of ``settings``: model, recipe, lengths, median, spread, workers, learner_threads, max_staleness, num_steps, folder; and
    group_size, unless it is 8.
    """
    from rlvr.algorithms.grpo import GRPOConfig
    from rlvr.cluster import training_pools
    from rlvr.config import ClusterConfig, GuardsConfig
    from rlvr.data.benchmarks import training_problems
    from rlvr.data.prompts import load_renderer
    from rlvr.driver import Stage
    from rlvr.guards import Guards
    from rlvr.rewards.pool import VerifierPool
    from rlvr.rewards.registry import verifier_for

    is_long = settings["lengths"] == "long-tailed"
    folder = Path(settings["folder"])
    problems = training_problems(section(settings, "data"))
    rollout = replace(section(settings, "rollout"), num_workers=settings["workers"], threads_per_worker=1)
    model, verifier = settings["model"], verifier_for(problems)
    renderer: TokenRenderer = load_renderer(model)
    if is_long:
        model = wordy_model(model, folder / "start")
        renderer, verifier = Beginnings(settings["median"], settings["spread"]), Chance()
        rollout = replace(rollout, max_prompt_tokens=LONGEST - 8, max_response_tokens=8)
    config = replace(
        section(settings, "train"),
        num_steps=settings["num_steps"],
        checkpoint_every=0,
        max_staleness=settings["max_staleness"],
    )
    learner = replace(section(settings, "learner"), threads_per_learner=settings["learner_threads"])
    algorithm = GRPOConfig(group_size=settings.get("group_size", GROUP_SIZE), importance_cap=2.0).build()
    with (
        VerifierPool(verifier, 1) as pool,
        training_pools(
            model,
            rollout,
            learner,
            ClusterConfig(),
            algorithm,
            config.temperature,
            SEED,
            in_flight=config.max_staleness > 1,
        ) as (engine, ranks),
    ):
        yield kind(
            config=config,
            algorithm=algorithm,
            engine=Trimmed(engine) if is_long else engine,
            learner=ranks,
            verifier=pool,
            renderer=renderer,
            stages=[Stage.of(config, problems, LONGEST if is_long else rollout.max_response_tokens)],
            seed=SEED,
            tracker=tracker,
            num_logged_samples=0,
            guards=Guards(GuardsConfig(), folder / "run"),
        )


class Beginnings:
    """Prompts that are beginnings of one text, and so long that what is left of the context is as drawn."""

    identity = "beginnings"
    stop_token_ids: tuple[int, ...] = ()

    def __init__(self, median: float, spread: float) -> None:
        drawn = random.Random(0)
        self._text = [drawn.randrange(10, 60) for _ in range(LONGEST)]
        self._median, self._spread = median, spread

    def render(self, problem: Problem) -> list[int]:
        """The beginning that belongs to a problem."""
        drawn = random.Random(problem.id)
        room = round(drawn.lognormvariate(math.log(self._median), self._spread))
        return self._text[: LONGEST - min(LONGEST - SEEN_TOKENS, max(8, room))]

    def request(self, key: int, problem: Problem, num_samples: int) -> SampleRequest:
        """Ask for responses to it."""
        from rlvr.protocols import SampleRequest

        return SampleRequest(key, self.render(problem), num_samples)

    def probe(self, problem: Problem) -> Probe:
        """It alone, to compare engine and learner on."""
        from rlvr.protocols import Probe

        return Probe(self.render(problem), 1)


class Chance:
    """Half of all responses are right, whatever they say, and always the same ones."""

    identity = "chance"
    expects = "anywhere"

    def verify(self, problem: Problem, response: str, finish_reason: str) -> Verdict:
        """By a checksum of the response."""
        from rlvr.records import Status, Verdict

        is_right = zlib.crc32(response.encode()) % 2
        return Verdict(float(is_right), Status.CORRECT if is_right else Status.INCORRECT, "")


class Trimmed:
    """An engine that forgets all but the end of a prompt once it has answered: the learner is to see responses."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.process_metrics, self.stop, self.submit = engine.process_metrics, engine.stop, engine.submit

    @property
    def version(self) -> int:
        """Of the engine's weights."""
        return int(self._engine.version)

    def generate(
        self, requests: Sequence[SampleRequest], settings: SamplingSettings
    ) -> Iterator[tuple[int, list[Completion]]]:
        """The engine's answers."""
        yield from map(self._trimmed, self._engine.generate(requests, settings))

    @property
    def num_open(self) -> int:
        """Of the engine's requests."""
        return int(self._engine.num_open)

    def poll(self) -> list[tuple[int, list[Completion]]]:
        """The engine's answers since the last call."""
        return [self._trimmed(answer) for answer in self._engine.poll()]

    def _trimmed(self, answer: tuple[int, list[Completion]]) -> tuple[int, list[Completion]]:
        key, completions = answer
        return key, [replace(each, prompt_tokens=each.prompt_tokens[-SEEN_TOKENS:]) for each in completions]
