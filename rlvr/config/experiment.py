"""``rlvr train`` and ``rlvr study``."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from rlvr.algorithms.algorithm import Algorithm
from rlvr.algorithms.settings import AlgorithmConfig
from rlvr.config.benchmarks import as_benchmarks
from rlvr.config.checks import require
from rlvr.config.data import DataConfig
from rlvr.config.evaluation import EvaluationConfig
from rlvr.config.pools import ClusterConfig, LearnerConfig, RolloutConfig
from rlvr.config.run import MISSING_PATH, RunConfig, TrackingConfig, require_model
from rlvr.config.stages import FIRST_STEP, changed, refuse_wrong_stages
from rlvr.config.training import GuardsConfig, TrainConfig
from rlvr.errors import ConfigError
from rlvr.rewards.config import RewardsConfig


@dataclass
class ExperimentConfig:
    """A training run and, for ``rlvr study``, the evaluation around it."""

    algorithm: AlgorithmConfig
    """One of the algorithm dataclasses (Hydra group ``algorithm``)."""
    algorithms: list[str] = field(default_factory=list)
    """``rlvr study`` only: names of the group ``algorithm``, each trained from the same start, on the same
    problems in the same order; empty studies ``algorithm`` alone."""
    variants: dict[str, list[str]] = field(default_factory=dict)
    """``rlvr study`` only: in place of ``algorithms``, training runs that differ in some overrides, by name,
    such as ``{kl_0: [algorithm.kl.coef=0], kl_0.001: [algorithm.kl.coef=0.001]}``."""
    seeds: list[int] = field(default_factory=list)
    """``rlvr study`` only: training seeds, such as ``[0, 1, 2]``: each algorithm or variant is trained from every one of
    them, and the report shows the mean of its runs with intervals that cover the chance in training; empty trains each
    once, from ``seed``."""
    seed: int = 0
    """Seed of data order, sampling and initialisation; with ``seeds`` of the evaluation and the bootstrap alone."""
    model: str = MISSING_PATH
    """Hugging Face folder or hub name of the start model."""
    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    prompt: str | None = None
    """Prompt template of training and of all benchmarks, by name (rlvr/data/templates.py), or a YAML file with one of your
    own; null takes the data's own: a registered benchmark's, or the messages of a file."""
    benchmarks: Any = None
    """``rlvr study`` only: what is measured: names of registered benchmarks and files, ``[math500,own.jsonl]``,
    or settings by name, each a :class:`BenchmarkConfig`."""
    train: TrainConfig = field(default_factory=TrainConfig)
    stages: list[Any] = field(default_factory=list)
    """What changes at a step of the training, each stage on top of those before it, such as ``[{from_step: 181, train:
    {prompts_per_step: 128}, rollout: {max_response_tokens: 32768}}]``: prompts per step, minibatch, longest response and
    data may. Problems that differ from those of the stage before are begun with their first epoch."""
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    rewards: RewardsConfig = field(default_factory=RewardsConfig)
    guards: GuardsConfig = field(default_factory=GuardsConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)

    def __post_init__(self) -> None:
        """Check what involves more than one section."""
        require_model(self.model)
        require(
            all(seed >= 0 for seed in self.seeds) and len(set(self.seeds)) == len(self.seeds),
            f"the training seeds are {self.seeds}",
            "seeds",
            "numbers from 0, each once, such as [0, 1, 2]",
        )
        self.benchmarks = as_benchmarks(self.benchmarks or {})
        given: dict[str, Any] = dict(self.variants)
        for name, overrides in given.items():
            require(
                isinstance(overrides, list) and all(isinstance(word, str) for word in overrides),
                f"{overrides!r} is no list of overrides",
                f"variants.{name}",
                "such as [algorithm.kl.coef=0.001]",
            )
        self._check_staleness()
        self._check_minibatch()
        self.in_stages()

    def in_stages(self) -> dict[int, ExperimentConfig]:
        """The config of every stage, which itself has none, by its first step, 1 for the first.

        Raises:
            ConfigError: a stage changes what no stage can change, or what it makes of the config is refused.
        """
        refuse_wrong_stages(self.stages)
        if not self.stages:
            return {1: self}
        found = {1: replace(self, stages=[])}
        for number, stage in enumerate(self.stages):
            changes = {name: value for name, value in stage.items() if name != FIRST_STEP}
            before = found[max(found)]
            try:
                found[stage[FIRST_STEP]] = changed(before, changes, f"stages[{number}]")
            except ConfigError as error:
                where = str(error.where)
                where = where if where.startswith("stages") else f"stages[{number}]: {where}"
                raise ConfigError(error.what, where=where, fix=error.fix) from error
        return found

    def for_longest(self) -> RolloutConfig:
        """The rollout pool as it is started: for the longest response of any stage."""
        longest = max(each.rollout.max_response_tokens for each in self.in_stages().values())
        return replace(self.rollout, max_response_tokens=longest)

    def _check_minibatch(self) -> None:
        """Refuse a step that does not come out even."""
        group_size = self.build_algorithm().group_size
        rollouts = self.train.prompts_per_step * group_size
        minibatch = self.train.minibatch_size
        if minibatch is not None:
            require(
                minibatch > 0 and minibatch % group_size == 0,
                f"minibatch of {minibatch} rollouts is not divisible by the group size {group_size}",
                "train.minibatch_size",
                f"a multiple of {group_size}: the rollouts of one prompt share a baseline and stay together",
            )
            require(
                rollouts % minibatch == 0,
                f"a step of {self.train.prompts_per_step} prompts × {group_size} = {rollouts} rollouts "
                f"is not divisible into minibatches of {minibatch}",
                "train.minibatch_size",
                f"a divisor of {rollouts}",
            )

    def _check_staleness(self) -> None:
        """Refuse to train on a batch of older weights as if the newest had sampled it, or where nothing is gained."""
        steps = self.train.max_staleness
        if not steps:
            return
        require(
            self.build_algorithm().importance_cap is not None or not self.train.correct_staleness,
            f"with train.max_staleness={steps} a batch is trained on weights that are newer than those that sampled it, by "
            f"{steps} step{'s' * (steps > 1)} at most, and nothing in this algorithm corrects for that: its ratio is between "
            "the learner's own weights",
            "algorithm.importance_cap",
            "algorithm.importance_cap=2 (truncated importance sampling), or train.max_staleness=0",
        )
        require(
            not self.cluster.colocate,
            "engines and learners that share their GPUs take turns, so that nothing can be sampled while they learn",
            "train.max_staleness, cluster.colocate",
            "train.max_staleness=0, or a cluster with GPUs for each (cluster.colocate=false)",
        )
        require(
            steps == 1 or not self.stages,
            f"with train.max_staleness={steps} prompts are begun before it is known in which step they will be, and a stage "
            "says for each step what its prompts are",
            "train.max_staleness, stages",
            "train.max_staleness=1, or no stages",
        )

    def build_algorithm(self) -> Algorithm:
        """Compose the algorithm from its own config."""
        return self.algorithm.build()
