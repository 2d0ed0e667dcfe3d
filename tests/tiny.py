"""The tiny model on real engines: Ray, vLLM and DeepSpeed as in production, only the model is small."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import ray
import torch

from rlvr.ahead import train_ahead
from rlvr.algorithms.algorithm import Algorithm
from rlvr.batch import TrainBatch
from rlvr.checkpoint import Checkpoints
from rlvr.cluster import LearnerPool, RolloutPool, training_pools
from rlvr.config import ClusterConfig, GuardsConfig, LearnerConfig, RolloutConfig, TrainConfig
from rlvr.data.prompts import PromptRenderer
from rlvr.driver import Stage, Training, train
from rlvr.guards import Guards
from rlvr.in_flight import train_in_flight
from rlvr.protocols import Tracker
from rlvr.records import Problem
from rlvr.rewards.final_answer import FinalAnswerVerifier

TINY = Path(__file__).resolve().parents[1] / "rlvr" / "models" / "tiny"
LENGTH, PROMPT = 60, 20
"""Tokens of each row of :func:`random_batch`, and of its prompt."""


def random_batch() -> TrainBatch:
    """Four rows of random tokens and advantages: enough for an update that moves the weights."""
    generator = torch.Generator().manual_seed(0)
    shape = (4, LENGTH - PROMPT)
    return TrainBatch(
        tokens=torch.randint(50, (4, LENGTH), generator=generator),
        prompt_lengths=torch.full((4,), PROMPT),
        response_mask=torch.ones(shape),
        rollout_logprobs=torch.zeros(shape),
        old_logprobs=None,
        advantages=torch.randn(shape, generator=generator),
        loss_weights=torch.full(shape, 1 / 4 / (LENGTH - PROMPT)),
    )


@contextmanager
def tiny_pools(
    algorithm: Algorithm,
    *,
    num_workers: int,
    num_learners: int,
    zero_stage: int,
    learning_rate: float,
    micro_batch_tokens: int = 4096,
    dtype: str = "auto",
    tensor_parallel_size: int = 1,
    max_num_seqs: int = 256,
    cache_at_update: str | None = None,
    cluster: ClusterConfig | None = None,
) -> Iterator[tuple[RolloutPool, LearnerPool]]:
    """Both pools on the tiny model; with ``cache_at_update`` weights may come in flight."""
    rollout = RolloutConfig(
        max_num_seqs=max_num_seqs,
        cache_at_update=cache_at_update or "recompute",
        num_workers=num_workers,
        tensor_parallel_size=tensor_parallel_size,
        dtype=dtype,
        max_prompt_tokens=80,
        max_response_tokens=128,
    )
    learner = LearnerConfig(
        num_learners=num_learners,
        dtype=dtype,
        threads_per_learner=1,
        zero_stage=zero_stage,
        learning_rate=learning_rate,
        micro_batch_tokens=micro_batch_tokens,
    )
    with training_pools(
        str(TINY),
        rollout,
        learner,
        cluster or ClusterConfig(),
        algorithm,
        1.0,
        seed=0,
        in_flight=cache_at_update is not None,
    ) as pools:
        yield pools


def train_tiny(
    engine: RolloutPool,
    learner: LearnerPool,
    algorithm: Algorithm,
    problems: Sequence[Problem],
    renderer: PromptRenderer,
    tracker: Tracker,
    folder: Path,
    *,
    num_steps: int,
    prompts_per_step: int,
    max_staleness: int = 0,
    num_logged_samples: int = 0,
) -> None:
    """A training run on such pools; its model lies in ``folder/after``."""
    loops: dict[int, Any] = {0: train, 1: train_ahead}
    loop = loops.get(max_staleness, partial(train_in_flight, engine=engine))
    config = TrainConfig(num_steps=num_steps, prompts_per_step=prompts_per_step, max_staleness=max_staleness)
    loop(
        Training(
            config=config,
            algorithm=algorithm,
            engine=engine,
            learner=learner,
            verifier=FinalAnswerVerifier(),
            renderer=renderer,
            stages=[Stage.of(config, problems, 128)],
            seed=0,
            tracker=tracker,
            num_logged_samples=num_logged_samples,
            guards=Guards(GuardsConfig(), folder / "run"),
        ),
        output=folder / "after",
        checkpoints=Checkpoints(folder / "run"),
    )


def leave_one_tensor_stale(learner: LearnerPool, name: str) -> None:
    """Sabotage the transfer inside the learner processes: one tensor is sent as it is now, for ever."""

    def sabotage(actor: Any) -> None:
        source = actor._transfer.source
        honest = source._weights
        stale = {key: tensor.clone() for key, tensor in honest()}[name]

        def weights() -> Iterator[tuple[str, torch.Tensor]]:
            for key, tensor in honest():
                yield key, stale if key == name else tensor

        source._weights = weights

    ray.get([worker.actor.__ray_call__.remote(sabotage) for worker in learner.workers])
