"""Pre-training and mid-training, whole: what is written, what is realised, and where the second one starts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlvr.config import GraphsWorld, MixtureComponent, PretrainConfig, PretrainStage
from rlvr.data.model_folder import model_hash
from rlvr.errors import ConfigError
from rlvr.pretrain import learning_rate_factor
from rlvr.workflows.pretrain import pretrain_base


def config_of(output: Path) -> PretrainConfig:
    """Twelve steps of a model smaller than the tiny ones."""
    easy, rare = (
        MixtureComponent(0.9, [2, 3]),
        MixtureComponent(0.1, [2], ["school"]),
    )
    return PretrainConfig(
        output=str(output), family="graphs", hidden_size=64, num_layers=1, num_heads=2, intermediate_size=64,
        batch_tokens=2_000, stages=[PretrainStage(num_tokens=24_000, mixture=[easy, rare], shares_in="examples")],
    )  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "model"
    assert pretrain_base(config_of(folder)) == folder
    return folder


def test_what_was_realised_is_kept(base: Path) -> None:
    record = json.loads((base / "pretraining.json").read_text())
    [stage] = record["stages"]
    assert [part["name"] for part in stage] == ["op 2,3, zoo", "op 2, school"]
    examples = sum(part["examples"] for part in stage)
    assert stage[1]["share_of_examples"] == pytest.approx(0.1, abs=30 / examples)
    assert stage[1]["share_of_tokens"] < stage[1]["share_of_examples"]
    assert 18_000 < sum(part["tokens"] for part in stage) <= 24_000
    assert record["start_model_sha256"] is None
    assert record["model_sha256"] == model_hash(str(base))


def test_mid_training_goes_on_from_the_model(base: Path, tmp_path: Path) -> None:
    """With a rate of nearly nothing it stays where it was; with a real one it learns the new mixture."""
    gold = PretrainStage(num_tokens=40_000, mixture=[MixtureComponent(1.0, [4], num_problems=40)])
    config = replace(config_of(tmp_path / "still"), init=str(base), stages=[gold], learning_rate=1e-9)
    pretrain_base(config)
    pretrain_base(replace(config, output=str(tmp_path / "moved"), learning_rate=3e-3))

    before, still, moved = (
        AutoModelForCausalLM.from_pretrained(folder).state_dict()
        for folder in (base, tmp_path / "still", tmp_path / "moved")
    )
    assert all(torch.allclose(before[name], still[name], atol=1e-6) for name in before)
    assert not torch.allclose(before["lm_head.weight"], moved["lm_head.weight"], atol=1e-3)
    record = json.loads((tmp_path / "moved" / "pretraining.json").read_text())
    assert record["start_model_sha256"] == model_hash(str(base))
    assert record["stages"][0][0]["name"] == "op 4, zoo, gold of 40 problems"
    assert (
        AutoTokenizer.from_pretrained(tmp_path / "moved").get_vocab()
        == AutoTokenizer.from_pretrained(base).get_vocab()
    )


def test_what_cannot_go_on_is_refused_before_training(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="would be overwritten"):
        pretrain_base(replace(config_of(base), init=str(base)))
    other = replace(config_of(tmp_path / "other"), init=str(base), graphs=GraphsWorld(modulus=23))
    with pytest.raises(ConfigError, match="lacks 12 words of the family graphs"):
        pretrain_base(other)


@pytest.mark.parametrize("schedule", ["wsd", "cosine"])
def test_a_schedule_rises_and_falls_to_its_end(schedule: str) -> None:
    config = PretrainConfig(schedule=schedule, learning_rate=2e-4, end_learning_rate=3e-5, warmup_share=0.1)
    factor = learning_rate_factor(config, 100)
    assert [factor(step) for step in (0, 5, 10)] == pytest.approx([0, 0.5, 1])
    assert factor(100) == pytest.approx(0.15)
    assert factor(50) == pytest.approx(1.0 if schedule == "wsd" else 0.15 + 0.85 * 0.586824, abs=1e-5)
