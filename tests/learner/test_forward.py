"""Log-probabilities against a naive computation over all logits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM

from rlvr.batch import RolloutBatch, collate
from rlvr.learner.forward import Policy
from tests.fakes import group

VOCABULARY = 40
LENGTHS = [3, 1, 5, 4]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """The model is so small that threads only wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model() -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=32,
        tie_word_embeddings=False,
        initializer_range=0.5,  # far from uniform, so that a wrong position shows
    )
    return Qwen2ForCausalLM(config).eval()


@pytest.fixture(scope="module")
def batch() -> RolloutBatch:
    """Prompts of 2 and 4 tokens, responses of 1 to 5."""
    groups = [
        group([1, 0], lengths=LENGTHS[:2], prompt=[5, 6], index=0),
        group([1, 0], lengths=LENGTHS[2:], prompt=[7, 8, 9, 5], index=1),
    ]
    batch = collate(groups, max_response_tokens=16)
    generator = torch.Generator().manual_seed(1)
    for row, (start, length) in enumerate(zip(batch.prompt_lengths.tolist(), LENGTHS, strict=True)):
        batch.tokens[row, start : start + length] = torch.randint(VOCABULARY, (length,), generator=generator)
    return batch


def naive(model: Qwen2ForCausalLM, batch: RolloutBatch, temperature: float) -> tuple[Tensor, Tensor]:
    """One row at a time, all logits, shifted by hand."""
    logprobs, entropies = (torch.zeros_like(batch.response_mask) for _ in range(2))
    for row, (start, length) in enumerate(zip(batch.prompt_lengths.tolist(), LENGTHS, strict=True)):
        tokens = batch.tokens[row, : start + length]
        scores = torch.log_softmax(model(input_ids=tokens[None]).logits[0] / temperature, dim=-1)
        for t in range(length):
            logprobs[row, t] = scores[start + t - 1, tokens[start + t]]
            entropies[row, t] = -(scores[start + t - 1].exp() * scores[start + t - 1]).sum()
    return logprobs, entropies


def forward(
    model: Qwen2ForCausalLM, batch: RolloutBatch, temperature: float = 1.0, rows: slice = slice(None)
) -> tuple[Tensor, Tensor]:
    logprobs, entropies = Policy(model)(
        batch.tokens[rows], batch.prompt_lengths[rows], batch.response_mask[rows], temperature
    )
    return logprobs, entropies


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_equals_the_naive_computation(model, batch: RolloutBatch, temperature: float) -> None:
    found, entropies = forward(model, batch, temperature)
    expected, expected_entropies = naive(model, batch, temperature)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)
    torch.testing.assert_close(entropies, expected_entropies, atol=2e-5, rtol=0)
    assert expected[batch.response_mask > 0].std() > 0.1  # the comparison could have failed


def test_temperature_changes_the_distribution(model, batch: RolloutBatch) -> None:
    cold, _ = forward(model, batch, 0.7)
    warm, _ = forward(model, batch, 1.0)
    assert (cold - warm).abs().max() > 0.01


def test_zero_outside_the_mask(model, batch: RolloutBatch) -> None:
    for values in forward(model, batch):
        assert values.dtype == torch.float32
        assert values.shape == batch.response_mask.shape
        assert (values[batch.response_mask == 0] == 0).all()
        assert (values[batch.response_mask > 0] != 0).all()


def test_rows_do_not_depend_on_their_neighbours(model, batch: RolloutBatch) -> None:
    whole, _ = forward(model, batch)
    for row in range(len(batch)):
        alone, _ = forward(model, batch, rows=slice(row, row + 1))
        torch.testing.assert_close(alone[0], whole[row], atol=2e-5, rtol=0)


def test_what_stands_in_the_padding_does_not_matter(model, batch: RolloutBatch) -> None:
    junk = torch.full((len(batch), 3), VOCABULARY - 1)
    tokens = torch.cat([batch.tokens, junk], dim=1)
    ends = batch.prompt_lengths + batch.response_mask.sum(1).long()
    tokens[torch.arange(tokens.shape[1]) >= ends[:, None]] = VOCABULARY - 1
    wider_mask = torch.cat([batch.response_mask, torch.zeros(len(batch), 3)], dim=1)
    found, _ = Policy(model)(tokens, batch.prompt_lengths, wider_mask, 1.0)
    expected, _ = forward(model, batch)
    torch.testing.assert_close(found[:, :5], expected, atol=2e-5, rtol=0)
    assert (found[:, 5:] == 0).all()


def test_the_gradient_is_that_of_the_naive_computation(model, batch: RolloutBatch) -> None:
    weights = torch.randn(batch.response_mask.shape, generator=torch.Generator().manual_seed(2))

    def gradients(logprobs: Tensor, entropies: Tensor) -> list[Tensor]:
        model.zero_grad()
        (logprobs * weights + 0.3 * entropies * weights.flip(0)).sum().backward()
        return [parameter.grad.clone() for parameter in model.parameters()]

    found, expected = gradients(*forward(model, batch)), gradients(*naive(model, batch, 1.0))
    assert all((gradient != 0).any() for gradient in found)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)
