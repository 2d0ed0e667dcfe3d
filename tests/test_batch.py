"""Collating groups, and taking rows out of a minibatch."""

from __future__ import annotations

import pytest
import torch

from rlvr.batch import RolloutBatch, TrainBatch, collate, response_lengths
from rlvr.records import Completion, Rollout, RolloutGroup, Status, Verdict
from tests.fakes import group, problem


@pytest.fixture
def batch() -> RolloutBatch:
    return collate(
        [
            group([1, 0], lengths=[2, 3], prompt=[7, 8], index=0),
            group([0, 1], lengths=[1, 4], prompt=[9], index=1, errors=[0]),
        ],
        max_response_tokens=6,
    )


def test_rows_are_prompt_major_and_padded_on_the_right(batch: RolloutBatch) -> None:
    assert batch.group_size == 2
    assert len(batch) == 4
    assert batch.tokens.tolist() == [
        [7, 8, 10, 10, 0],
        [7, 8, 11, 11, 11],
        [9, 20, 0, 0, 0],
        [9, 21, 21, 21, 21],
    ]
    assert batch.prompt_lengths.tolist() == [2, 2, 1, 1]
    assert batch.response_mask.tolist() == [[1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]]
    assert batch.rewards.tolist() == [1, 0, 0, 1]
    assert batch.valid.tolist() == [True, True, False, True]
    assert batch.policy_version.tolist() == [[0, 0, 0, 0]] * 4
    assert batch.max_response_tokens == 6  # the limit, not the longest that happened to be sampled
    assert batch.baseline_rewards is None


def test_log_probabilities_stand_where_their_tokens_do(batch: RolloutBatch) -> None:
    assert batch.rollout_logprobs[1].tolist() == [-0.5, -1.0, -1.5, 0.0]
    assert (batch.rollout_logprobs[batch.response_mask == 0] == 0).all()


def test_types_are_the_documented_ones(batch: RolloutBatch) -> None:
    assert batch.tokens.dtype == batch.prompt_lengths.dtype == batch.policy_version.dtype == torch.int64
    assert batch.response_mask.dtype == batch.rollout_logprobs.dtype == batch.rewards.dtype == torch.float32
    assert batch.valid.dtype == torch.bool


def test_response_tokens_are_found_behind_their_prompts(batch: RolloutBatch) -> None:
    for row, (start, length) in enumerate(
        zip(batch.prompt_lengths.tolist(), batch.response_mask.sum(1).int().tolist(), strict=True)
    ):
        assert set(batch.tokens[row, start : start + length].tolist()) == {[10, 11, 20, 21][row]}


def test_versions_come_from_the_completions() -> None:
    """The weights of the third were updated twice while it was written."""
    rollouts = tuple(
        Rollout(
            Completion([1], [2] * length, [-1.0] * length, "", "stop", 3, later_versions=later),
            Verdict(0.0, Status.INCORRECT),
        )
        for length, later in ((1, ()), (2, ()), (4, ((1, 4), (3, 6))))
    )
    batch = collate([RolloutGroup(problem(0), rollouts)], 1)
    assert batch.policy_version.tolist() == [[3, 0, 0, 0], [3, 3, 0, 0], [3, 4, 4, 6]]


def test_an_empty_response_is_a_row_without_tokens() -> None:
    batch = collate([group([0, 1], lengths=[0, 2])], 4)
    assert batch.response_mask.tolist() == [[0, 0], [1, 1]]


@pytest.mark.parametrize("groups", [[], [group([1, 0]), group([1, 0, 0])], [group([])]])
def test_groups_that_are_empty_or_unequal_are_refused(groups: list[RolloutGroup]) -> None:
    with pytest.raises(ValueError, match="one size"):
        collate(groups, 4)


def test_every_rollout_of_a_prompt_has_the_score_of_its_greedy_response() -> None:
    batch = collate([group([1, 0, 0], baseline=1.0), group([0, 0, 0], baseline=0.0, index=1)], 4)
    assert batch.baseline_rewards is not None
    assert batch.baseline_rewards.tolist() == [1, 1, 1, 0, 0, 0]
    assert batch.valid.all()
    assert len(batch) == 6
    assert (batch.tokens != 99).all()  # the greedy response itself is nowhere in the batch
    assert batch.response_mask.shape == (6, 3)  # nor does its length widen it


def test_a_prompt_whose_greedy_response_was_not_verified_is_left_out_whole() -> None:
    groups = [
        group([1, 0], baseline=0.0, baseline_error=True),
        group([1, 0], baseline=1.0, errors=[0], index=1),
    ]
    assert collate(groups, 4).valid.tolist() == [False, False, False, True]


def test_a_response_ends_after_its_last_token_whatever_holes_it_has() -> None:
    mask = torch.tensor([[1.0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1], [1, 1, 0, 0]])
    assert response_lengths(mask).tolist() == [3, 0, 4, 2]


def train_batch(batch: RolloutBatch, old: bool) -> TrainBatch:
    return TrainBatch(
        tokens=batch.tokens,
        prompt_lengths=batch.prompt_lengths,
        response_mask=batch.response_mask,
        rollout_logprobs=batch.rollout_logprobs,
        old_logprobs=batch.rollout_logprobs + 1 if old else None,
        advantages=batch.response_mask * 2,
        loss_weights=batch.response_mask / 10,
        ref_logprobs=batch.rollout_logprobs + 2 if old else None,
        values=batch.response_mask * 3 if old else None,
        returns=batch.response_mask * 4 if old else None,
        value_weights=batch.response_mask * 5 if old else None,
    )


@pytest.mark.parametrize("old", [True, False])
def test_rows_are_trimmed_to_their_own_longest(batch: RolloutBatch, old: bool) -> None:
    rows = train_batch(batch, old).rows([2, 0])
    assert len(rows) == 2
    assert rows.tokens.tolist() == [[9, 20, 0, 0], [7, 8, 10, 10]]
    assert rows.prompt_lengths.tolist() == [1, 2]
    assert rows.response_mask.tolist() == [[1, 0], [1, 1]]
    assert rows.advantages.tolist() == [[2, 0], [2, 2]]
    assert rows.loss_weights.shape == rows.rollout_logprobs.shape == (2, 2)
    optional = (rows.old_logprobs, rows.ref_logprobs, rows.values, rows.returns, rows.value_weights)
    found = [None if tensor is None else tensor.tolist() for tensor in optional]
    if not old:
        assert found == [None] * 5
        return
    assert found[0] == [[0.5, 1.0], [0.5, 0.0]]
    assert found[1] == [[1.5, 2.0], [1.5, 1.0]]
    assert found[2:] == [[[weight, 0], [weight, weight]] for weight in (3, 4, 5)]


def test_rows_with_holes_keep_everything_up_to_their_last_token(batch: RolloutBatch) -> None:
    batch.response_mask[3] = torch.tensor([1.0, 0, 0, 1])
    rows = train_batch(batch, old=False).rows([3])
    assert rows.tokens.tolist() == [[9, 21, 21, 21, 21]]
    assert rows.response_mask.tolist() == [[1, 0, 0, 1]]


def test_a_batch_to_look_at_teaches_nothing(batch: RolloutBatch) -> None:
    looked_at = TrainBatch.of_tokens(batch.tokens, batch.prompt_lengths, batch.response_mask)
    assert looked_at.lengths.tolist() == [4, 5, 2, 5]
    assert (looked_at.loss_weights == 0).all()
    assert looked_at.old_logprobs is None


def test_moving_a_batch_keeps_every_tensor_and_every_absence(batch: RolloutBatch) -> None:
    for old in (True, False):
        whole = train_batch(batch, old)
        moved = whole.to(torch.device("meta"))
        for name in TrainBatch.__dataclass_fields__:
            before, after = getattr(whole, name), getattr(moved, name)
            assert (after is None) == (before is None)
            if after is not None:
                assert after.is_meta
                assert after.shape == before.shape


def test_all_rows_are_the_batch_itself(batch: RolloutBatch) -> None:
    whole = train_batch(batch, old=False)
    same = whole.rows(torch.arange(4))
    assert torch.equal(same.tokens, whole.tokens)
    assert torch.equal(same.loss_weights, whole.loss_weights)


def test_only_a_cut_off_response_that_is_not_right_is_truncated() -> None:
    rollouts = tuple(
        Rollout(Completion([1], [2], [-1.0], "", reason, 0), Verdict(float(status is Status.CORRECT), status))
        for reason in ("stop", "length")
        for status in (Status.CORRECT, Status.INCORRECT, Status.UNPARSED)
    )
    assert collate([RolloutGroup(problem(0), rollouts)], 1).truncated.tolist() == [
        *(False, False, False),
        *(False, True, True),
    ]
