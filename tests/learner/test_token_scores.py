"""The chunked head against a plain log-softmax over all logits: values, gradients, memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from transformers import Qwen2Config, Qwen2ForCausalLM

from rlvr.errors import ModelError
from rlvr.learner import token_scores
from rlvr.learner.token_scores import ScoringHead, chunk_tokens

TOKENS, HIDDEN, VOCABULARY = 50, 12, 97


def head_of(dtype: torch.dtype) -> ScoringHead:
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=VOCABULARY,
            hidden_size=HIDDEN,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            intermediate_size=8,
            initializer_range=0.7,  # far from uniform
            tie_word_embeddings=False,
        )
    ).to(dtype)
    ScoringHead.replace_in(model)
    head = model.get_output_embeddings()
    assert isinstance(head, ScoringHead)
    return head


def inputs(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(TOKENS, HIDDEN, generator=generator).to(dtype).requires_grad_()
    targets = torch.randint(VOCABULARY, (TOKENS,), generator=generator)
    return hidden, targets, torch.randn(TOKENS, generator=generator)


def gradient(tensor: Tensor) -> Tensor:
    assert tensor.grad is not None
    return tensor.grad


def naive(weight: Tensor, hidden: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    scores = torch.log_softmax(hidden.float() @ weight.float().T / temperature, dim=-1)
    return scores[torch.arange(len(targets)), targets], -(scores.exp() * scores).sum(1)


@pytest.mark.parametrize("tokens_per_chunk", [1, 7, TOKENS, 1000])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_equals_a_plain_log_softmax(monkeypatch, tokens_per_chunk, dtype, tolerance) -> None:
    monkeypatch.setattr(token_scores, "CHUNK_BYTES", 4 * VOCABULARY * tokens_per_chunk)
    head = head_of(dtype)
    hidden, targets, upstream = inputs(dtype)
    found, entropies = head(hidden, targets, 0.7)
    loss_of = lambda scores, entropy: (scores * upstream + 0.3 * entropy * upstream.flip(0)).sum()  # noqa: E731
    loss_of(found, entropies).backward()
    ours = gradient(hidden), gradient(head.weight)

    weight = head.weight.detach().float().requires_grad_()
    plain = hidden.detach().float().requires_grad_()
    expected, expected_entropies = naive(weight, plain, targets, 0.7)
    loss_of(expected, expected_entropies).backward()
    torch.testing.assert_close(found, expected, atol=tolerance * 4, rtol=tolerance)
    torch.testing.assert_close(entropies, expected_entropies, atol=tolerance * 4, rtol=tolerance)
    for mine, theirs in zip(ours, (plain.grad, weight.grad), strict=True):
        torch.testing.assert_close(mine.float(), theirs, atol=tolerance * 4, rtol=tolerance)
    assert {mine.dtype for mine in ours} == {dtype}


@pytest.mark.filterwarnings("ignore:Input #0 requires gradient")
def test_gradient_by_finite_differences(monkeypatch) -> None:
    monkeypatch.setattr(token_scores, "CHUNK_BYTES", 4 * VOCABULARY * 3)
    head = head_of(torch.float32)
    hidden, targets, _ = inputs(torch.float32)
    hidden = hidden[:4].detach().requires_grad_()
    # The scores are float32, hence the wide step and tolerance.
    for output in (0, 1):  # log-probabilities, entropies
        assert torch.autograd.gradcheck(
            lambda states, output=output: head(states, targets[:4], 1.3)[output],
            hidden, eps=1e-2, atol=2e-2, rtol=1e-2,
        )  # fmt: skip


def test_a_word_that_cannot_come_adds_nothing_to_entropy_or_gradient() -> None:
    head = head_of(torch.float32)
    hidden, targets, _ = inputs(torch.float32)
    head.weight.data[5] = 0.0
    head.bias = nn.Parameter(torch.zeros(VOCABULARY))
    head.bias.data[5] = -torch.inf
    targets[targets == 5] = 6
    scores, entropies = head(hidden, targets, 1.0)
    (scores + entropies).sum().backward()
    assert entropies.isfinite().all()
    assert gradient(hidden).isfinite().all()


def test_a_frozen_head_gets_no_gradient() -> None:
    head = head_of(torch.float32)
    head.weight.requires_grad_(False)
    hidden, targets, upstream = inputs(torch.float32)
    (head(hidden, targets, 1.0)[0] * upstream).sum().backward()
    assert head.weight.grad is None
    assert gradient(hidden).abs().sum() > 0


def test_no_tensor_is_larger_than_a_chunk(monkeypatch) -> None:
    """Every tensor that torch makes, in both directions, is watched."""
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
            nonlocal largest
            made = function(*arguments, **(keywords or {}))
            for tensor in made if isinstance(made, tuple) else (made,):
                if isinstance(tensor, Tensor):
                    largest = max(largest, tensor.numel())
            return made

    per_chunk = 20  # more than the hidden size, so that a chunk is what is largest
    monkeypatch.setattr(token_scores, "CHUNK_BYTES", 4 * VOCABULARY * per_chunk)
    head = head_of(torch.float32)
    hidden, targets, upstream = inputs(torch.float32)
    with Watch():
        (head(hidden, targets, 1.0)[0] * upstream).sum().backward()
    assert largest == per_chunk * VOCABULARY < TOKENS * VOCABULARY


def test_plain_logits_names_and_weight_stay() -> None:
    config = Qwen2Config(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
        intermediate_size=8,
    )  # fmt: skip
    model = Qwen2ForCausalLM(config).eval()
    names = [name for name, _ in model.named_parameters()]
    weight, before = model.lm_head.weight, model(torch.arange(5)[None]).logits
    ScoringHead.replace_in(model)
    ScoringHead.replace_in(model)  # twice is once
    assert [name for name, _ in model.named_parameters()] == names
    assert model.lm_head.weight is weight
    torch.testing.assert_close(model(torch.arange(5)[None]).logits, before)


def test_another_kind_of_head_is_refused() -> None:
    class Convolved(nn.Module):
        def get_output_embeddings(self) -> nn.Module:
            return nn.Conv1d(2, 3, 1)

    with pytest.raises(ModelError, match="the output head of Convolved is Conv1d, not a linear layer"):
        ScoringHead.replace_in(Convolved())


def test_chunks_are_sized_by_the_vocabulary() -> None:
    assert chunk_tokens(152_064) == 441
    assert chunk_tokens(10**12) == 1
