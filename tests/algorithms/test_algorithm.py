"""Credit assignment: what the optimizer steps of one driver step hold."""

from __future__ import annotations

import pytest
import torch

from rlvr.algorithms.grpo import GRPOConfig
from rlvr.algorithms.reductions import REDUCTIONS
from rlvr.batch import Annotations, RolloutBatch, collate
from tests.fakes import group


def batch_of(num_groups: int, errors: tuple[int, ...] = ()) -> RolloutBatch:
    return collate(
        [
            group([1, 0, 0, 1], lengths=[1, 2, 3, 4], errors=errors if index == 0 else (), index=index)
            for index in range(num_groups)
        ]
    )


def annotations_of(batch: RolloutBatch) -> Annotations:
    rows = torch.arange(len(batch), dtype=torch.float32)
    return Annotations(-rows[:, None] * batch.response_mask)


ALGORITHM = GRPOConfig(group_size=4).build()


def test_minibatches_are_whole_groups_in_order_each_row_once() -> None:
    batch = batch_of(4)
    steps = ALGORITHM.assign_credit(batch, 8, annotations_of(batch))
    assert [len(step) for step in steps] == [8, 8]
    for name in ("tokens", "prompt_lengths", "response_mask", "rollout_logprobs"):
        assert torch.equal(torch.cat([getattr(step, name) for step in steps]), getattr(batch, name))
    old = [step.old_logprobs for step in steps if step.old_logprobs is not None]
    assert torch.equal(torch.cat(old), annotations_of(batch).old_logprobs)
    for step in steps:
        by_group = step.advantages[:, 0].view(-1, 4)
        torch.testing.assert_close(by_group.sum(1), torch.zeros(2), atol=1e-5, rtol=0)


@pytest.mark.parametrize("reduction", ["token_mean", "sequence_mean"])
@pytest.mark.parametrize("minibatch", [4, 8, 16])
def test_the_weights_of_every_minibatch_sum_to_one(reduction: str, minibatch: int) -> None:
    batch = batch_of(4, errors=(1,))
    algorithm = GRPOConfig(group_size=4, reduction=reduction).build()
    for step in algorithm.assign_credit(batch, minibatch, annotations_of(batch)):
        assert step.loss_weights.sum().item() == pytest.approx(1)
        assert (step.loss_weights[step.response_mask == 0] == 0).all()


def test_the_first_step_after_sampling_needs_no_old_logprobs() -> None:
    [step] = ALGORITHM.assign_credit(batch_of(2), 8, None)
    assert step.old_logprobs is None


@pytest.mark.parametrize("reduction", list(REDUCTIONS))
def test_a_row_that_was_not_verified_carries_neither_advantage_nor_weight(reduction: str) -> None:
    algorithm = GRPOConfig(group_size=4, reduction=reduction).build()
    [step] = algorithm.assign_credit(batch_of(2, errors=(3,)), 8, None)
    assert (step.advantages[3] == 0).all()
    assert (step.loss_weights[3] == 0).all()
    assert (step.loss_weights[:3][step.response_mask[:3] > 0] > 0).all()
    # The other three of its group are compared among themselves: mean 1/3, not 1/2.
    [mean_free] = (
        GRPOConfig(group_size=4, divide_by_std=False).build().assign_credit(batch_of(2, errors=(3,)), 8, None)
    )
    assert mean_free.advantages[:3, 0].tolist() == pytest.approx([2 / 3, -1 / 3, -1 / 3])
    assert mean_free.advantages[4:, 0].tolist() == pytest.approx([0.5, -0.5, -0.5, 0.5])


@pytest.mark.parametrize(("minibatch", "annotated"), [(6, True), (4, False), (16, True)])
def test_a_minibatch_that_does_not_fit_is_refused(minibatch: int, annotated: bool) -> None:
    batch = batch_of(2)
    with pytest.raises(ValueError, match=f"minibatches of {minibatch}"):
        ALGORITHM.assign_credit(batch, minibatch, annotations_of(batch) if annotated else None)
