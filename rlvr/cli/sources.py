"""Where an evaluation's responses come from: engines of our own, or a server that has the model."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol

from rlvr.cluster import check_plan, rollout_pool
from rlvr.config import ApiConfig, ClusterConfig, RolloutConfig
from rlvr.data.benchmarks import Benchmark
from rlvr.data.model_folder import model_hash
from rlvr.data.prompts import WordsRenderer, check_context, load_renderer, longest_prompt
from rlvr.data.templates import PromptTemplate
from rlvr.eval.store import SERVED
from rlvr.protocols import Renderer, RolloutEngine


class Source(Protocol):
    """What an evaluation needs to know of models, and what samples from them."""

    @property
    def about(self) -> str:
        """What is about to happen, for progress lines."""

    def check(self, models: Sequence[str], benchmarks: Sequence[Benchmark]) -> None:
        """Say what is wrong with models or benchmarks before anything starts.

        Raises:
            ConfigError: or another error of nothing having been started.
        """

    def identity(self, model: str) -> str:
        """What tells a model from all others: the ``model_sha256`` of its evaluations."""

    def renderer(self, model: str, template: PromptTemplate) -> Renderer:
        """Prompts for a model."""

    def engine(
        self, model: str, benchmarks: Sequence[Benchmark], seed: int
    ) -> AbstractContextManager[RolloutEngine]:
        """What samples from a model, for as long as the block lasts."""


@dataclass(frozen=True, slots=True)
class OwnEngines:
    """vLLM engines on model folders."""

    rollout: RolloutConfig
    cluster: ClusterConfig
    about: str = "starting vLLM"

    def check(self, models: Sequence[str], benchmarks: Sequence[Benchmark]) -> None:
        """Refuse hardware that is not there, and sequences longer than a model's positions."""
        check_plan(self.rollout, None, self.cluster)
        for model in models:
            self._sized(model, benchmarks)

    def identity(self, model: str) -> str:
        """Hash over weights and tokenizer."""
        return model_hash(model)

    def renderer(self, model: str, template: PromptTemplate) -> Renderer:
        """Prompts by the model's own tokenizer."""
        return load_renderer(model, template)

    def engine(
        self, model: str, benchmarks: Sequence[Benchmark], seed: int
    ) -> AbstractContextManager[RolloutEngine]:
        """A pool of engines."""
        images = max(len(problem.images) for each in benchmarks for problem in each.problems)
        return rollout_pool(model, self._sized(model, benchmarks), self.cluster, seed, max_images=images)

    def _sized(self, model: str, benchmarks: Sequence[Benchmark]) -> RolloutConfig:
        """The rollout pool made as long as the longest prompt and response of these benchmarks.

        Raises:
            ConfigError: longer than the model's positions.
        """
        prompts = max(
            longest_prompt(load_renderer(model, each.template), each.problems) for each in benchmarks
        )
        responses = max(each.plan.max_tokens for each in benchmarks)
        check_context(model, prompts, responses)
        return replace(self.rollout, max_prompt_tokens=prompts, max_response_tokens=responses)


@dataclass(frozen=True, slots=True)
class Server:
    """Models behind a server, by the names that it gives them."""

    api: ApiConfig

    @property
    def about(self) -> str:
        """What is about to happen."""
        return f"asking {self.api.host}"

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

    def engine(
        self, model: str, benchmarks: Sequence[Benchmark], seed: int
    ) -> AbstractContextManager[RolloutEngine]:
        """A client."""
        from rlvr.rollout.api_engine import api_engine

        return api_engine(model, self.api, seed)
