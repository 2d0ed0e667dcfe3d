"""What the learner says of models of many kinds against transformers' own logits, and what it refuses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from rlvr.config import LearnerConfig
from rlvr.errors import ConfigError, ModelError
from rlvr.learner.forward import Policy
from rlvr.learner.loading import load_model, under_checkpoint_names
from rlvr.learner.logit_transform import LogitTransform, transform_of
from rlvr.learner.value_model import ValueModel
from rlvr.planning.model_shape import model_shape
from rlvr.planning.trainable import check_trainable
from tests.architectures import DENSE, EXPERTS, VOCABULARY, tiny_config, tiny_model, write_tiny
from tests.vision import MAKES

LENGTHS, PROMPT, ROW = [9, 4, 1], 3, 12


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def rows() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    tokens = torch.randint(3, VOCABULARY, (len(LENGTHS), ROW), generator=torch.Generator().manual_seed(1))
    mask = (torch.arange(ROW - PROMPT) < torch.tensor(LENGTHS)[:, None]).float()
    return tokens, torch.full((len(LENGTHS),), PROMPT), mask


@pytest.mark.parametrize("name", DENSE)
def test_log_probabilities_are_those_of_the_model(name: str, tmp_path: Path) -> None:
    """As it learns, in training mode; values, entropies and gradients."""
    folder = write_tiny(name, tmp_path)
    check_trainable(str(folder), LearnerConfig())
    reference = tiny_model(name)
    learned = load_model(str(folder), torch.float32).train()
    tokens, starts, mask = rows()
    found, entropies = Policy(learned)(tokens, starts, mask, 0.8)

    shown = mask.bool()
    scores = (reference(input_ids=tokens).logits[:, PROMPT - 1 : -1] / 0.8).log_softmax(-1)
    expected = scores.gather(2, tokens[:, PROMPT:, None]).squeeze(2)
    torch.testing.assert_close(found[shown], expected[shown], atol=1e-4, rtol=1e-4)
    spread = -(scores.exp() * scores).sum(-1)
    torch.testing.assert_close(entropies[shown], spread[shown], atol=1e-4, rtol=1e-4)
    assert expected[shown].std() > 0.1  # the comparison could have failed

    weights = torch.randn(mask.shape, generator=torch.Generator().manual_seed(2)) * mask
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    ours = dict(learned.named_parameters())
    for parameter, theirs in reference.named_parameters():
        assert theirs.grad is not None
        torch.testing.assert_close(ours[parameter].grad, theirs.grad, atol=2e-4, rtol=2e-3, msg=parameter)


@pytest.mark.parametrize("name", DENSE)
def test_weights_go_out_under_the_names_of_the_files(name: str, tmp_path: Path) -> None:
    folder = write_tiny(name, tmp_path)
    model = load_model(str(folder), torch.float32)
    sent = dict(under_checkpoint_names(model, model.named_parameters()))
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert set(sent) == set(file.keys())
        for each, tensor in sent.items():
            assert torch.equal(tensor, file.get_tensor(each))


@pytest.mark.parametrize("name", DENSE)
def test_the_shape_is_known(name: str, tmp_path: Path) -> None:
    tiny_config(name).save_pretrained(tmp_path)
    shape = model_shape(str(tmp_path))
    assert shape.num_parameters == sum(each.numel() for each in tiny_model(name).parameters())
    assert (shape.layers, shape.hidden, shape.heads, shape.vocabulary) == (2, 128, 4, VOCABULARY)
    assert shape.intermediate in (96, 192, 512)


@pytest.mark.parametrize("name", DENSE)
def test_a_critic_is_made_of_it(name: str, tmp_path: Path) -> None:
    backbone = load_model(str(write_tiny(name, tmp_path)), torch.float32, head=False)
    critic = ValueModel(backbone)
    nn.init.ones_(critic.head.weight)
    tokens, starts, mask = rows()
    values = critic(tokens, starts, mask)
    assert values.shape == mask.shape
    assert (values[mask.bool()] != 0).all()
    values.sum().backward()


@pytest.mark.parametrize("name", EXPERTS)
def test_experts_are_refused(name: str, tmp_path: Path) -> None:
    tiny_config(name).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="mixes experts") as error:
        check_trainable(str(tmp_path), LearnerConfig())
    assert "mlp.experts" in str(error.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("llama", LogitTransform()),
        ("gemma2", LogitTransform(cap=3.0)),
        ("granite", LogitTransform(scale=1 / 7)),
        ("cohere", LogitTransform(scale=0.3)),
    ],
)
def test_transforms_are_found(name: str, expected: LogitTransform) -> None:
    model = tiny_model(name).train()
    head = model.get_output_embeddings()
    found = transform_of(model)
    assert found.scale == pytest.approx(expected.scale, rel=1e-9)
    assert found.cap == pytest.approx(expected.cap)
    assert model.get_output_embeddings() is head
    assert model.training
    assert "forward" not in vars(model.base_model)


class Softened(LlamaForCausalLM):
    """Does to its logits what no model here does."""

    def forward(self, *args, **kwargs):
        found = super().forward(*args, **kwargs)
        found.logits = found.logits.sign() * found.logits.abs().sqrt()
        return found


class Deeper(LlamaForCausalLM):
    """Has a layer behind its head."""

    def __init__(self, config) -> None:
        super().__init__(config)
        self.last = nn.Linear(config.vocab_size, config.vocab_size)

    def forward(self, *args, **kwargs):
        found = super().forward(*args, **kwargs)
        found.logits = self.last(found.logits)
        return found


@pytest.mark.parametrize("kind", [Softened, Deeper])
def test_another_end_is_refused(kind: type) -> None:
    config = LlamaConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
        intermediate_size=8,
    )  # fmt: skip
    with pytest.raises(ModelError, match="the log-probabilities do not cover"):
        Policy(kind(config))


def test_adapters_need_linear_layers(tmp_path: Path) -> None:
    tiny_config("gpt2").save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="no linear layers") as error:
        check_trainable(str(tmp_path), LearnerConfig(lora_rank=4))
    assert error.value.where == "learner.lora_rank"


def test_no_language_model(tmp_path: Path) -> None:
    from transformers import T5Config

    T5Config().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="no language model can be made"):
        check_trainable(str(tmp_path), LearnerConfig())


def test_a_model_without_attention_has_no_plan(tmp_path: Path) -> None:
    from transformers import MambaConfig

    MambaConfig(hidden_size=32, num_hidden_layers=1, vocab_size=20).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="no attention heads"):
        model_shape(str(tmp_path))


def test_the_page_of_models_has_what_is_tested_and_says_what_is_refused() -> None:
    root = Path(__file__).resolve().parents[2]
    trained, refused = (root / "docs" / "models.md").read_text().split("## Refused")
    # Those that read images: test_vision.py.
    assert sorted(re.findall(r"(?m)^\| `(\w+)` \|", trained)) == sorted([*DENSE, *MAKES])
    sources = (
        "rlvr/planning/plan.py",
        "rlvr/planning/trainable.py",
        "rlvr/planning/model_shape.py",
        "rlvr/learner/logit_transform.py",
    )
    # Without quotes, so that words which are broken over two lines of code are found.
    code = re.sub(r'"\s*f?"', "", "".join((root / source).read_text() for source in sources))
    rows = re.findall(r"(?m)^\| .* \| `(.*)` \|$", refused)
    assert len(rows) == 7
    for words in rows:
        assert words in code, words
