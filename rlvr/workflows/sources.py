"""Where an evaluation's responses come from: engines of our own, or a server that has the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from rlvr.cluster import RolloutPool, check_plan, rollout_pool
from rlvr.config import ApiConfig, ClusterConfig, RolloutConfig
from rlvr.data.benchmarks import Benchmark
from rlvr.data.model_folder import differ_in_weights_alone, model_hash
from rlvr.data.prompts import WordsRenderer, check_context, load_renderer, longest_prompt
from rlvr.data.templates import PromptTemplate
from rlvr.errors import RlvrError
from rlvr.eval.store import SERVED
from rlvr.planning.model_shape import model_shape
from rlvr.planning.plan import Plan, make_plan
from rlvr.protocols import Renderer, RolloutEngine
from rlvr.tracking.progress import say
from rlvr.workflows.preflight import is_local, refuse_misfits


class Engines(Protocol):
    """What samples from one model after another."""

    def of(self, model: str, seed: int) -> RolloutEngine:
        """The engine of a model, until another one is asked for; says what is about to happen."""


class Source(Protocol):
    """What an evaluation needs to know of models, and what samples from them."""

    @property
    def num_engines(self) -> int | None:
        """That sample side by side; None of a server, which does not say."""

    def check(self, models: Sequence[str], benchmarks: Sequence[Benchmark]) -> None:
        """Say what is wrong with models or benchmarks before anything starts.

        Raises:
            ConfigError: or another error of nothing having been started.
        """

    def identity(self, model: str) -> str:
        """What tells a model from all others: the ``model_sha256`` of its evaluations."""

    def renderer(self, model: str, template: PromptTemplate) -> Renderer:
        """Prompts for a model."""

    def engines(self, benchmarks: Sequence[Benchmark]) -> AbstractContextManager[Engines]:
        """What samples from models on these benchmarks, for as long as the block lasts."""


@dataclass(frozen=True, slots=True)
class OwnEngines:
    """vLLM engines on model folders."""

    rollout: RolloutConfig
    cluster: ClusterConfig
    ask_hub: bool = True
    """False in a dry run: what is on the hub has the length that ``rollout.max_prompt_tokens`` allows."""

    @property
    def num_engines(self) -> int:
        """As the rollout pool says."""
        return self.rollout.num_workers

    def check(self, models: Sequence[str], benchmarks: Sequence[Benchmark]) -> None:
        """Refuse hardware that is not there, sequences longer than a model's positions, and plans that do not fit."""
        check_plan(self.rollout, None, self.cluster)
        refuse_misfits(
            [(f"evaluation of {model}", self.plan(model, benchmarks)) for model in models], self.cluster
        )

    def plan(self, model: str, benchmarks: Sequence[Benchmark]) -> Plan:
        """How engines of a model lie on their hardware.

        Raises:
            RlvrError: the model cannot be read, or not these problems.
        """
        sized = self.sized(model, benchmarks)
        return make_plan(model_shape(model), sized, None, self.cluster, None)

    def identity(self, model: str) -> str:
        """Hash over weights and tokenizer."""
        return model_hash(model)

    def renderer(self, model: str, template: PromptTemplate) -> Renderer:
        """Prompts by the model's own tokenizer."""
        return load_renderer(model, template)

    @contextmanager
    def engines(self, benchmarks: Sequence[Benchmark]) -> Iterator[Engines]:
        """Pools of engines; models that differ in their weights alone share one."""
        with ExitStack() as stack:
            yield OnePool(self, benchmarks, stack)

    def sized(self, model: str, benchmarks: Sequence[Benchmark]) -> RolloutConfig:
        """The rollout pool made as long as the longest prompt and response of these benchmarks.

        Raises:
            ConfigError: longer than the model's positions.
        """
        responses = max(each.plan.max_tokens for each in benchmarks)
        is_asked = self.ask_hub or is_local(model)
        lengths = [
            longest_prompt(load_renderer(model, each.template), each.problems)
            if is_asked and each.problems
            else self.rollout.max_prompt_tokens
            for each in benchmarks
        ]
        prompts = max(lengths)
        if is_asked:
            check_context(model, prompts, responses)
        return replace(self.rollout, max_prompt_tokens=prompts, max_response_tokens=responses)


class OnePool:
    """The pool of the model that is sampled from; there is never a second one beside it."""

    def __init__(self, source: OwnEngines, benchmarks: Sequence[Benchmark], stack: ExitStack) -> None:
        """Start nothing yet.

        Args:
            source: what pools are made of.
            benchmarks: what is sampled.
            stack: ends the pool.
        """
        self._source, self._benchmarks, self._stack = source, benchmarks, stack
        self._held: tuple[str, RolloutConfig, RolloutPool] | None = None

    def of(self, model: str, seed: int) -> RolloutPool:
        """The pool with a model's weights: the one that there is, if it can read them, or a new one."""
        sized = self._source.sized(model, self._benchmarks)
        if self._held is not None:
            held, its_size, pool = self._held
            if sized == its_size and differ_in_weights_alone(held, model):
                say(f"reading the weights of {model} into the engines that there are")
                try:
                    pool.load(model)
                except RlvrError as error:
                    say(f"that failed, so new engines are started: {error}")
                else:
                    self._held = (model, sized, pool)
                    return pool
            self._held = None
            self._stack.close()
        say("starting vLLM")
        images = max(len(problem.images) for each in self._benchmarks for problem in each.problems)
        pool = self._stack.enter_context(
            rollout_pool(model, sized, self._source.cluster, seed, max_images=images)
        )
        self._held = (model, sized, pool)
        return pool


@dataclass(frozen=True, slots=True)
class Server:
    """Models behind a server, by the names that it gives them."""

    api: ApiConfig

    @property
    def num_engines(self) -> None:
        """Unknown."""

    def check(self, models: Sequence[str], benchmarks: Sequence[Benchmark]) -> None:
        """Refuse prompts that no server can be given, and models that this one does not have."""
        for each in benchmarks:
            renderer = WordsRenderer(each.template)
            for problem in each.problems:
                renderer.words(problem)
        if models:
            from rlvr.rollout.api_engine import check_served

            check_served(models, self.api)

    def identity(self, model: str) -> str:
        """Host and name: the server does not show its weights."""
        return f"{SERVED}{self.api.host}/{model}"

    def renderer(self, model: str, template: PromptTemplate) -> Renderer:
        """Prompts in words, which the server makes tokens of."""
        return WordsRenderer(template)

    @contextmanager
    def engines(self, benchmarks: Sequence[Benchmark]) -> Iterator[Engines]:
        """Clients."""
        with ExitStack() as stack:
            yield Clients(self.api, stack)


@dataclass(frozen=True, slots=True)
class Clients:
    """A client for each model of a server."""

    api: ApiConfig
    stack: ExitStack
    """Ends them."""

    def of(self, model: str, seed: int) -> RolloutEngine:
        """A client that asks for a model."""
        from rlvr.rollout.api_engine import api_engine

        say(f"asking {self.api.host}")
        return self.stack.enter_context(api_engine(model, self.api, seed))
