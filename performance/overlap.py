"""Seconds per training step: sampling and learning in turn, against at the same time (train.max_staleness of 1 and of 2).

Four ways train the same model by GRPO on the same prompts, each in a process of its own, one after another, as often as
there are rounds:

- in turn, both pools on all cores: two engines of a thread each, and a learner of two threads, as recipe=tiny has it;
- in turn, one core each: an engine and a learner of one thread;
- one step ahead, one core each: the same, at the same time, batch by batch;
- in flight, one core each: the same, with weights that come while responses are being written.

Responses are short (the tiny model's own on its problems), or long-tailed: a model of random weights over many words hardly
ever ends a response by itself, so a response is as long as the context leaves room for, which is drawn from a log-normal
distribution for each problem. By default 1 % of them have twenty times the median. All prompts are then beginnings of one text,
which costs an engine next to nothing; the learner gets its end alone. Verdicts on such text are drawn by chance, so that
there is something to learn.
"""

from __future__ import annotations

import itertools
import math
import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from performance.child import measure
from performance.common import machine, machine_line, median, parser, recipe, section, table, write_result
from performance.dealing import LONGEST, wordy_model
from performance.train_throughput import SEED, Stopwatch

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
LENGTHS = ("short", "long-tailed")
STAGES = ("rollout", "learn", "sync", "wait_for_rollout", "wait_for_learner")
SEEN_TOKENS = 16
"""Of a long-tailed response's prompt, which the learner gets."""
GROUP_SIZE = 8


def main(arguments: list[str]) -> None:
    """Measure all ways in turn, and print seconds per step and ratios."""
    made = parser("overlap", __doc__)
    made.add_argument("--steps", type=int, default=12, help="measured steps of each way in each round")
    made.add_argument("--warmup-steps", type=int, default=3, help="steps before them, left out")
    made.add_argument("--rounds", type=int, default=2, help="how often the ways take turns")
    made.add_argument("--lengths", nargs="+", choices=LENGTHS, default=list(LENGTHS))
    made.add_argument("--median", type=float, default=40.0, help="tokens of a long-tailed response")
    made.add_argument("--spread", type=float, default=1.29, help="standard deviation of the logarithm")
    args = made.parse_args(arguments)
    found = machine()
    print(machine_line(found), flush=True)
    base = {
        "model": args.model,
        "recipe": recipe(args.rlvr),
        "num_steps": args.warmup_steps + args.steps,
        "median": args.median,
        "spread": args.spread,
    }
    result: dict[str, Any] = {"machine": found, "settings": base, "lengths": {}}
    for lengths in args.lengths:
        seconds: dict[str, list[float]] = {way: [] for way in WAYS}
        stages: dict[str, dict[str, float]] = {}
        for _ in range(args.rounds):
            for way, settings in WAYS.items():
                raw = measure("performance.overlap", "side", {**base, **settings, "lengths": lengths}, {})
                steps = [end - start for start, end in itertools.pairwise(raw["ends"])]
                seconds[way] += steps[args.warmup_steps :]
                stages[way] = {
                    name: median(values[args.warmup_steps :]) for name, values in raw["rows"].items()
                }
        print(lines(lengths, seconds, stages), flush=True)
        result["lengths"][lengths] = {"seconds": seconds, "stages": stages}
    write_result(args.json, result)


def lines(lengths: str, seconds: dict[str, list[float]], stages: dict[str, dict[str, float]]) -> str:
    """The table of one kind of responses, and the ratios of the medians."""
    names = sorted(set().union(*stages.values()))
    rows = [
        (
            way,
            f"{median(seconds[way]):.2f}",
            f"{min(seconds[way]):.2f}–{max(seconds[way]):.2f}",
            *(f"{stages[way][name]:.2f}" if name in stages[way] else "" for name in names),
        )
        for way in WAYS
    ]
    in_turn = [way for way, settings in WAYS.items() if not settings["max_staleness"]]
    ratios = "\n".join(
        f"{way.partition(',')[0]}: "
        + ", ".join(
            f"{median(seconds[other]) / median(seconds[way]):.2f} times as fast as {other}"
            for other in in_turn
        )
        for way in WAYS
        if way not in in_turn
    )
    header = (f"{lengths} responses", "s/step", "range", *(name.partition("/")[2] for name in names))
    return f"\n{table(header, rows)}\n{ratios}"


def side(settings: dict[str, Any]) -> dict[str, Any]:
    """One way: the ends of its steps, and the stages of each."""
    from rlvr.ahead import train_ahead
    from rlvr.checkpoint import Checkpoints
    from rlvr.driver import Training, train
    from rlvr.in_flight import train_in_flight

    stopwatch, folder = Stopwatch(), Path(settings["folder"])
    with training_of(settings, stopwatch, Training) as training:
        loops: dict[int, Any] = {0: train, 1: train_ahead}
        loop = loops.get(
            settings["max_staleness"], partial(train_in_flight, engine=cast(Any, training.engine))
        )
        loop(training, output=folder / "model", checkpoints=Checkpoints(folder / "run"))
    names = [f"time/{stage}" for stage in STAGES]
    kept = [name for name in [*names, "throughput/overlap_share"] if name in stopwatch.rows[0]]
    return {
        "ends": stopwatch.ends,
        "rows": {name: [row[name] for row in stopwatch.rows][1:] for name in kept},
    }


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
