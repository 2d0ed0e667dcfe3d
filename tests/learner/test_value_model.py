"""The critic's forward pass."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from transformers import Qwen2Config, Qwen2Model

from rlvr.learner.value_model import ValueModel
from tests.algorithms.batches import VOCABULARY, rollouts

LENGTHS = [3, 1, 6, 4]
HOLES = [(2, 1), (3, 2)]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """The model is so small that threads only wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def backbone(dtype: torch.dtype = torch.float32) -> Qwen2Model:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=32,
        initializer_range=0.5,  # so that a wrong position shows
    )
    return Qwen2Model(config).to(dtype).eval()


@pytest.fixture(scope="module")
def trained() -> ValueModel:
    """A critic whose head has left zero."""
    model = ValueModel(backbone())
    torch.nn.init.normal_(model.head.weight)
    torch.nn.init.constant_(model.head.bias, 0.7)
    return model


@pytest.fixture
def where() -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, prompt lengths and a mask with holes."""
    batch = rollouts([0] * 4, LENGTHS, group_size=4, holes=HOLES)
    return batch.tokens, batch.prompt_lengths, batch.response_mask.float()


def test_an_untrained_critic_predicts_zero_and_can_learn(where) -> None:
    model = ValueModel(backbone())
    values = model(*where)
    assert (values == 0).all()
    values.sum().backward()
    assert model.head.weight.grad is not None
    assert (model.head.weight.grad != 0).any()


def test_values_stand_on_the_tokens_of_the_mask_only(trained: ValueModel, where) -> None:
    values, mask = trained(*where), where[2]
    assert values.shape == mask.shape
    assert values.dtype == torch.float32
    assert (values[mask == 0] == 0).all()
    assert (values[mask > 0] != 0).all()


@torch.no_grad()
def test_a_value_is_read_from_the_state_before_its_token(trained: ValueModel, where) -> None:
    tokens, prompt_lengths, mask = where
    values = trained(*where)
    for row, step in mask.nonzero().tolist():
        before = tokens[row : row + 1, : prompt_lengths[row] + step]
        expected = trained.head(trained.backbone(input_ids=before).last_hidden_state[0, -1])
        torch.testing.assert_close(values[row, step], expected[0], atol=2e-5, rtol=0)


@torch.no_grad()
def test_a_value_sees_every_token_before_its_own_and_none_after(trained: ValueModel, where) -> None:
    tokens, prompt_lengths, mask = where
    row, original = 2, trained(*where)[2]
    for position in range(int(prompt_lengths[row]) + LENGTHS[row]):
        changed = tokens.clone()
        changed[row, position] = (changed[row, position] + 1) % VOCABULARY
        values = trained(changed, prompt_lengths, mask)[row]
        seen = (torch.arange(mask.shape[1]) + prompt_lengths[row] > position) & (mask[row] > 0)
        torch.testing.assert_close(values[~seen], original[~seen], atol=2e-5, rtol=0)
        assert ((values - original)[seen].abs() > 1e-4).all()


@torch.no_grad()
def test_padding_and_neighbours_do_not_matter(trained: ValueModel, where) -> None:
    tokens, prompt_lengths, mask = where
    whole = trained(*where)
    wider_tokens = torch.cat([tokens, torch.full((4, 3), VOCABULARY - 1)], dim=1)
    wider = trained(wider_tokens, prompt_lengths, torch.cat([mask, torch.zeros(4, 3)], dim=1))
    torch.testing.assert_close(wider[:, : mask.shape[1]], whole, atol=2e-5, rtol=0)
    assert (wider[:, mask.shape[1] :] == 0).all()
    for row in range(4):
        alone = trained(*(tensor[row : row + 1] for tensor in where))
        torch.testing.assert_close(alone[0], whole[row], atol=2e-5, rtol=0)


def test_a_value_that_is_not_asked_for_leaves_no_gradient(trained: ValueModel, where) -> None:
    tokens, prompt_lengths, mask = where
    trained.zero_grad()
    trained(tokens, prompt_lengths, torch.zeros_like(mask)).sum().backward()
    assert all(p.grad is None or (p.grad == 0).all() for p in trained.parameters())


def test_the_head_has_the_precision_of_its_model_and_values_are_float32(where) -> None:
    model = ValueModel(backbone(torch.bfloat16))
    assert model.head.weight.dtype == torch.bfloat16
    assert model(*where).dtype == torch.float32
