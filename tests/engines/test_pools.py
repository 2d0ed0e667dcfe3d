"""The pools: the objective does not depend on their size, and every weight update is proved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import ray
import torch

from rlvr.algorithms.grpo import GRPOConfig
from rlvr.batch import RolloutBatch, collate
from rlvr.cluster import LearnerPool, RolloutPool
from rlvr.collect import collect
from rlvr.config import TrainConfig
from rlvr.data.prompts import ChatRenderer
from rlvr.driver import probes_from, train
from rlvr.errors import WeightUpdateError
from rlvr.protocols import Probe, SampleRequest, SamplingSettings
from rlvr.records import Problem
from rlvr.rewards.final_answer import FinalAnswerVerifier
from tests.engines.conftest import tiny_pools

ALGORITHM = GRPOConfig(group_size=4).build()
SAMPLED = SamplingSettings(temperature=1.0, max_tokens=128, logprobs=True)
GREEDY = SamplingSettings(temperature=0.0, max_tokens=128)


class ListTracker:
    """Keeps the rows."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def log(self, step: int, metrics: Any) -> None:
        self.rows.append(dict(metrics))

    def log_samples(self, step: int, rows: Sequence[Any]) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def one_learner() -> Iterator[tuple[RolloutPool, LearnerPool]]:
    """One worker, one learner, no ZeRO; the learning rate is 0."""
    with tiny_pools(num_workers=1, num_learners=1, zero_stage=0, learning_rate=0.0) as pools:
        yield pools


@pytest.fixture(scope="module")
def batch(
    one_learner: tuple[RolloutPool, LearnerPool], problems: list[Problem], renderer: ChatRenderer
) -> RolloutBatch:
    """Rollouts of eight prompts, with rewards that differ within groups whatever was sampled."""
    engine, _ = one_learner
    collected = collect(engine, renderer, FinalAnswerVerifier(), problems[:8], 4, SAMPLED)
    sampled = collate(collected.groups)
    rewards = (torch.arange(len(sampled)) % 3 == 0).float()
    fields = {name: getattr(sampled, name) for name in RolloutBatch.__slots__}
    return RolloutBatch(**{**fields, "rewards": rewards})


@pytest.fixture(scope="module")
def one_learner_result(
    one_learner: tuple[RolloutPool, LearnerPool], batch: RolloutBatch
) -> tuple[dict[str, float], torch.Tensor]:
    """Metrics and log-probabilities that every other arrangement must reproduce."""
    _, learner = one_learner
    metrics = learner.update(ALGORITHM.assign_credit(batch, len(batch), None))
    return metrics, learner.annotate(batch).old_logprobs


def test_nothing_drifts_at_learning_rate_zero(
    one_learner: tuple[RolloutPool, LearnerPool],
    problems: list[Problem],
    renderer: ChatRenderer,
    tmp_path: Any,
) -> None:
    from safetensors.torch import load_file

    engine, learner = one_learner
    requests = [SampleRequest(i, renderer.render(problem), 1) for i, problem in enumerate(problems[:16])]

    def greedy() -> dict[int, list[int]]:
        found = engine.generate(requests, GREEDY)
        return {key: list(completion.response_tokens) for key, [completion] in found}

    before = greedy()
    learner.save(tmp_path / "before")
    tracker = ListTracker()
    train(
        config=TrainConfig(num_steps=5, prompts_per_step=4),
        algorithm=ALGORITHM,
        engine=engine,
        learner=learner,
        verifier=FinalAnswerVerifier(),
        renderer=renderer,
        problems=problems,
        max_response_tokens=128,
        seed=0,
        tracker=tracker,
        num_logged_samples=0,
        output=tmp_path / "after",
    )
    assert engine.version == 5
    assert [row["sync/version"] for row in tracker.rows] == [1, 2, 3, 4, 5]
    assert all(row["policy/grad_norm"] > 0 for row in tracker.rows)  # it did try to learn
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("before", "after")]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert greedy() == before


def test_engine_and_learner_agree_on_sampled_tokens(
    batch: RolloutBatch, one_learner_result: tuple[dict[str, float], torch.Tensor]
) -> None:
    _, logprobs = one_learner_result
    assert ((logprobs - batch.rollout_logprobs) * batch.response_mask).abs().max() < 1e-4


def test_two_workers_and_two_zero3_learners_give_the_one_learner_loss(
    batch: RolloutBatch,
    one_learner_result: tuple[dict[str, float], torch.Tensor],
    problems: list[Problem],
    renderer: ChatRenderer,
) -> None:
    expected_metrics, expected_logprobs = one_learner_result
    # Smaller micro-batches as well: neither may matter.
    with tiny_pools(
        num_workers=2, num_learners=2, zero_stage=3, learning_rate=1e-3, micro_batch_tokens=700
    ) as (engine, learner):
        assert torch.allclose(learner.annotate(batch).old_logprobs, expected_logprobs, atol=1e-5)
        metrics = learner.update(ALGORITHM.assign_credit(batch, len(batch), None))
        for name in ("policy/loss", "policy/grad_norm", "policy/entropy"):
            assert metrics[name] == pytest.approx(expected_metrics[name], rel=1e-4, abs=1e-6), name

        # The update moved the weights: both engines must follow, and are proved to.
        assert not torch.allclose(learner.annotate(batch).old_logprobs, expected_logprobs, atol=1e-3)
        probes = probes_from(
            collect(engine, renderer, FinalAnswerVerifier(), problems[:4], 4, SAMPLED).groups
        )
        report = learner.publish(1, probes)
        assert report.version == engine.version == 1
        assert report.probe_max_abs < 1e-4
        assert report.num_bytes > 2_000_000

        _leave_one_tensor_stale(learner, "model.layers.1.mlp.down_proj.weight")
        learner.update(ALGORITHM.assign_credit(batch, len(batch), None))
        with pytest.raises(WeightUpdateError, match=r"update 2 .* does not hold the learner's weights"):
            learner.publish(2, probes)
        assert engine.version == 1  # nothing is labelled with an update that was not proved


def _leave_one_tensor_stale(learner: LearnerPool, name: str) -> None:
    """Sabotage the transfer inside the learner processes: one tensor is sent as it is now, for ever."""

    def sabotage(actor: Any) -> None:
        source = actor._transfer.source
        honest = source._weights
        stale = {key: tensor.clone() for key, tensor in honest()}[name]

        def weights() -> Iterator[tuple[str, torch.Tensor]]:
            for key, tensor in honest():
                yield key, stale if key == name else tensor

        source._weights = weights

    ray.get([actor.__ray_call__.remote(sabotage) for actor in learner._actors])


def test_a_probe_needs_context(one_learner: tuple[RolloutPool, LearnerPool], renderer: ChatRenderer) -> None:
    """Publishing the same weights again is proved with whole prompts as probes, and costs no drift."""
    engine, learner = one_learner
    tokens = renderer.render(Problem("x", ({"role": "user", "content": "a = 3 ; a ?"},), "chains", "3"))
    report = learner.publish(9, [Probe(tokens, 1)])
    assert report.probe_max_abs < 1e-4
    assert engine.version == 9
