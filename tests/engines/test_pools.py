"""The pools: the objective does not depend on their size, and every weight update is proved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import load_file

from rlvr.algorithms.algorithm import Sampling
from rlvr.algorithms.ppo import PPOConfig
from rlvr.algorithms.settings import KLConfig
from rlvr.batch import Annotations, RolloutBatch, TrainBatch, collate
from rlvr.cluster import RolloutPool
from rlvr.collect import collect
from rlvr.data.prompts import PromptRenderer
from rlvr.driver import probes_from
from rlvr.errors import WeightUpdateError
from rlvr.protocols import Probe, SampleRequest, SamplingSettings, SyncReport
from rlvr.records import Problem, RolloutGroup
from rlvr.rewards.final_answer import FinalAnswerVerifier
from tests.fakes import FakeTracker
from tests.tiny import leave_one_tensor_stale, tiny_pools, train_tiny

ALGORITHM = PPOConfig(
    group_size=4, kl=KLConfig(coef=0.01, placement="loss", estimator="k3"), importance_cap=2.0
).build()
"""With every part that an algorithm can have: a critic, a reference model, a corrected loss."""
SAMPLED = SamplingSettings(temperature=1.0, max_tokens=128, logprobs=True)
GREEDY = SamplingSettings(temperature=0.0, max_tokens=128)


@dataclass
class OneLearner:
    """What one worker and one learner did: five steps at learning rate 0, then one update of a batch."""

    rows: list[dict[str, float]]
    versions: list[int]
    greedy: list[dict[int, list[int]]]
    """Responses before and after the five steps."""
    likeliest: dict[int, list[int]]
    """Responses to the same, drawn at temperature 1 from the one likeliest token."""
    seeded: list[dict[int, list[tuple[int, ...]]]]
    """The same seeded requests twice, in another order; more prompt tokens than one engine step takes."""
    weights: list[dict[str, torch.Tensor]]
    """The same of the saved weights."""
    batch: RolloutBatch
    annotations: list[Annotations]
    """What the models say about the batch, before and after the update, which is made at rate 0."""
    metrics: dict[str, float]
    """Of the first of the two optimizer steps."""
    report: SyncReport


@pytest.fixture(scope="module")
def one_learner(
    problems: list[Problem], renderer: PromptRenderer, tmp_path_factory: pytest.TempPathFactory
) -> OneLearner:
    """One session of Ray at a time can run in a process, so this one ends before the tests begin."""
    folder = tmp_path_factory.mktemp("one_learner")
    tracker = FakeTracker()
    requests = [SampleRequest(i, renderer.render(problem), 1) for i, problem in enumerate(problems[:16])]
    with tiny_pools(ALGORITHM, num_workers=1, num_learners=1, zero_stage=0, learning_rate=0.0) as (
        engine,
        learner,
    ):
        greedy = [_greedy(engine, requests)]
        likeliest = _greedy(engine, requests, SamplingSettings(1.0, 128, top_k=1))
        many = [SampleRequest(i, renderer.render(problem), 4) for i, problem in enumerate(problems)]
        seeded = [_seeded(engine, order) for order in (many, many[::-1])]
        learner.save(folder / "before")
        train_tiny(
            engine, learner, ALGORITHM, problems, renderer, tracker, folder,
            num_steps=5, prompts_per_step=8,
        )  # fmt: skip
        versions = [engine.version]
        greedy.append(_greedy(engine, requests))
        batch = _with_mixed_rewards(collate(_sampled(engine, renderer, problems[:8]), 128))
        before = learner.annotate(batch, old_logprobs=True)
        metrics = learner.update(_minibatches(batch, before)[:1])
        after = learner.annotate(batch, old_logprobs=True)
        report = learner.publish(9, [Probe(request.prompt_tokens, 1) for request in requests[:2]])
        versions.append(engine.version)
    return OneLearner(
        rows=[row for _, row in tracker.rows],
        versions=versions,
        greedy=greedy,
        likeliest=likeliest,
        seeded=seeded,
        weights=[load_file(folder / name / "model.safetensors") for name in ("before", "after")],
        batch=batch,
        annotations=[before, after],
        metrics=metrics,
        report=report,
    )


def _tensors(annotations: Annotations) -> dict[str, torch.Tensor]:
    """All three, which this algorithm needs."""
    found = {"old_logprobs": annotations.old_logprobs, "ref_logprobs": annotations.ref_logprobs}
    found["values"] = annotations.values
    assert all(tensor is not None for tensor in found.values())
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def _sampled(
    engine: RolloutPool, renderer: PromptRenderer, problems: Sequence[Problem]
) -> list[RolloutGroup]:
    collected = collect(
        engine, renderer, FinalAnswerVerifier(), iter(problems), len(problems), Sampling(4), SAMPLED
    )
    return collected.groups


def _minibatches(batch: RolloutBatch, annotations: Annotations) -> Sequence[TrainBatch]:
    """Two optimizer steps of unequal length."""
    return ALGORITHM.assign_credit(batch, annotations, 20).minibatches


def _greedy(
    engine: RolloutPool, requests: Sequence[SampleRequest], settings: SamplingSettings = GREEDY
) -> dict[int, list[int]]:
    found = engine.generate(requests, settings)
    return {key: list(completion.response_tokens) for key, [completion] in found}


def _seeded(engine: RolloutPool, requests: Sequence[SampleRequest]) -> dict[int, list[tuple[int, ...]]]:
    found = engine.generate(requests, SamplingSettings(temperature=1.0, max_tokens=128, seed=1))
    return {key: [tuple(each.response_tokens) for each in completions] for key, completions in found}


def _with_mixed_rewards(batch: RolloutBatch) -> RolloutBatch:
    """Rewards that differ within groups whatever was sampled, so that there is a gradient."""
    fields = {name: getattr(batch, name) for name in RolloutBatch.__slots__}
    return RolloutBatch(**{**fields, "rewards": (torch.arange(len(batch)) % 3 == 0).float()})


def test_the_likeliest_token_alone_is_greedy(one_learner: OneLearner) -> None:
    assert one_learner.likeliest == one_learner.greedy[0]


def test_nothing_drifts_at_learning_rate_zero(one_learner: OneLearner) -> None:
    assert one_learner.versions == [5, 9]
    assert [row["sync/version"] for row in one_learner.rows] == [1, 2, 3, 4, 5]
    # It did try to learn: only a step whose groups are all uniform has no gradient.
    assert any(row["policy/grad_norm"] > 0 for row in one_learner.rows)
    before, after = one_learner.weights
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert one_learner.greedy[0] == one_learner.greedy[1]


def test_seeded_requests_give_the_same_responses_in_any_order(one_learner: OneLearner) -> None:
    first, second = one_learner.seeded
    assert first == second
    assert len({sample for samples in first.values() for sample in samples}) > 2 * len(first)


def test_engine_and_learner_agree(one_learner: OneLearner) -> None:
    """On every sampled token, and on whole prompts published as probes."""
    batch, logprobs = one_learner.batch, _tensors(one_learner.annotations[0])["old_logprobs"]
    assert ((logprobs - batch.rollout_logprobs) * batch.response_mask).abs().max() < 5e-4
    assert one_learner.metrics["mismatch/logprob_abs_mean"] < 1e-5
    assert one_learner.report.probe_mean_abs < 1e-5
    assert one_learner.report.proved_share == 1


def test_every_model_stands_still_at_learning_rate_zero(one_learner: OneLearner) -> None:
    before, after = map(_tensors, one_learner.annotations)
    assert torch.equal(before["old_logprobs"], after["old_logprobs"])
    assert torch.equal(before["values"], after["values"])
    assert torch.equal(before["ref_logprobs"], after["ref_logprobs"])
    # The reference is the start model, and so still is the policy.
    assert torch.allclose(before["ref_logprobs"], before["old_logprobs"], atol=1e-6)
    assert one_learner.metrics["reference/kl"] < 1e-9


@pytest.mark.parametrize("zero_stage", [2, 3])
def test_two_workers_and_two_learners_give_the_one_learner_loss(
    one_learner: OneLearner, problems: list[Problem], renderer: PromptRenderer, zero_stage: int
) -> None:
    batch, expected = one_learner.batch, _tensors(one_learner.annotations[0])
    # Smaller micro-batches as well: neither may matter.
    with tiny_pools(
        ALGORITHM,
        num_workers=2,
        num_learners=2,
        zero_stage=zero_stage,
        learning_rate=1e-3,
        micro_batch_tokens=700,
    ) as (engine, learner):
        annotations = learner.annotate(batch, old_logprobs=True)
        before = _tensors(annotations)
        for name in ("old_logprobs", "ref_logprobs", "values"):
            assert torch.allclose(before[name], expected[name], atol=1e-5), name
        first, _ = _minibatches(batch, annotations)
        metrics = learner.update([first])
        for name in (
            "policy/loss",
            "policy/grad_norm",
            "policy/entropy",
            "critic/value_loss",
            "critic/grad_norm",
        ):
            assert metrics[name] == pytest.approx(one_learner.metrics[name], rel=1e-4, abs=1e-6), name

        # The update moved policy and critic, not the reference; both engines must follow the policy.
        after = _tensors(learner.annotate(batch, old_logprobs=True))
        assert not torch.allclose(after["old_logprobs"], before["old_logprobs"], atol=1e-3)
        assert not torch.allclose(after["values"], before["values"], atol=1e-3)
        assert torch.equal(after["ref_logprobs"], before["ref_logprobs"])
        probes = probes_from(_sampled(engine, renderer, problems[:4]), renderer)
        # Three probes on two workers: each is scored once, and they come back in their order.
        scored, [whole, _] = engine.score(probes[:3]), engine.probe(probes[:3])
        assert [pytest.approx(each.logprobs, abs=1e-5) for each in whole] == scored
        report = learner.publish(1, probes)
        assert report.version == engine.version == 1
        assert report.proved_share == 1
        assert report.num_bytes > 2_000_000

        # A step that trains the critic alone leaves the policy as it is.
        metrics = learner.update([first], value_only=True)
        assert "policy/loss" not in metrics
        alone = _tensors(learner.annotate(batch, old_logprobs=True))
        assert torch.equal(alone["old_logprobs"], after["old_logprobs"])
        assert not torch.equal(alone["values"], after["values"])

        leave_one_tensor_stale(learner, "model.layers.1.mlp.down_proj.weight")
        learner.update(_minibatches(batch, annotations))
        with pytest.raises(WeightUpdateError, match=r"update 2 .* does not hold the learner's weights"):
            learner.publish(2, probes)
        assert engine.version == 1  # nothing is labelled with an update that was not proved
