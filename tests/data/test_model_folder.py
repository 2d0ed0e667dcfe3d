"""What a model folder must hold before an engine is started on it, and what tells models apart."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rlvr.data.model_folder import check_model_folder, differ_in_weights_alone, model_hash
from rlvr.data.prompts import load_renderer
from rlvr.errors import ModelError
from tests.architectures import DENSE, EXPERTS, tiny_model
from tests.broken import (
    merge,
    not_in_its_shard,
    pickled,
    poison,
    truncated,
    with_half_an_embedding,
    without_a_layers_part,
    without_end,
    without_head,
)


@pytest.fixture
def copy(model_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(model_folder, tmp_path / "copy")


FAULTS = [
    (without_head, r"tensors are not in the weight files: lm_head.weight"),
    (without_a_layers_part, r"not in the weight files: model.layers.1.mlp.up_proj.weight"),
    (with_half_an_embedding, r"other shapes than config.json says: model.embed_tokens.weight"),
    (poison(float("nan")), "up_proj.weight holds NaN"),
    (poison(float("-inf")), "up_proj.weight holds NaN or infinity"),
    (pickled, "no weights as safetensors .pytorch_model.bin"),
    (truncated, "is no safetensors"),
    (not_in_its_shard, r"other.weight is not in model.safetensors"),
    (without_end, "no token that ends a text"),
]


@pytest.mark.parametrize(("spoil", "what"), FAULTS)
def test_a_folder_that_would_sample_noise_is_refused(
    copy: Path, spoil: Callable[[Path], None], what: str
) -> None:
    load_renderer(str(copy))
    spoil(copy)
    with pytest.raises(ModelError, match=what) as caught:
        load_renderer(str(copy))
    assert caught.value.fix
    assert str(copy) in str(caught.value.where)


@pytest.mark.parametrize("name", [*DENSE, *EXPERTS])
def test_a_whole_folder_of_any_architecture_passes(copy: Path, name: str) -> None:
    for file in ("model.safetensors", "generation_config.json"):
        (copy / file).unlink()
    tiny_model(name).save_pretrained(copy)
    check_model_folder(str(copy))


def test_weights_that_are_tied_have_no_head_of_their_own(copy: Path) -> None:
    without_head(copy)
    merge(copy / "config.json", tie_word_embeddings=True)
    check_model_folder(str(copy))


def test_what_ends_a_text_is_part_of_the_models_identity(copy: Path) -> None:
    before = model_hash(str(copy))
    merge(copy / "generation_config.json", eos_token_id=[1, 5])
    assert model_hash(str(copy)) != before


def test_what_an_engine_may_take_over_differs_in_its_weights_alone(model_folder: Path, copy: Path) -> None:
    poison(1.5)(copy)
    merge(
        copy / "tokenizer_config.json", is_local=True
    )  # as transformers notes it when it saves a tokenizer again
    assert differ_in_weights_alone(str(model_folder), str(copy))
    for file, change in (
        ("generation_config.json", {"eos_token_id": [1, 5]}),
        ("config.json", {"rope_theta": 7.0}),
        ("tokenizer_config.json", {"eos_token": "#"}),
    ):
        other = shutil.copytree(copy, copy.parent / file)
        (other / file).exists() or (other / file).write_text("{}")
        merge(other / file, **change)
        assert not differ_in_weights_alone(str(model_folder), str(other)), file
    assert not differ_in_weights_alone("Qwen/Qwen2.5-7B", "Qwen/Qwen2.5-7B")


def models(folder: Path, *names: str, model_folder: Path) -> None:
    for age, name in enumerate(names):
        copied = shutil.copytree(model_folder, folder / name)
        os.utime(copied, (1_000_000 - age, 1_000_000 - age))


def test_a_study_or_a_run_is_no_model_but_names_those_in_it(model_folder: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    models(study, "ppo/model", "grpo/model", "grpo/checkpoints/step-2/model", model_folder=model_folder)
    for folder in (study, study / "grpo"):
        (folder / "config.json").write_text('{"run": {}}')
    with pytest.raises(ModelError, match="no model, but 3 lie in it") as error:
        check_model_folder(str(study))
    first, second = (study / name / "model" for name in ("ppo", "grpo"))
    assert str(error.value.fix).startswith(f"{first}, or {second}, or ")
    with pytest.raises(ModelError, match="2 lie in it"):
        check_model_folder(str(study / "grpo"))


def test_an_interrupted_run_names_its_checkpoint_or_says_that_there_is_none(
    model_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text('{"run": {}}')
    with pytest.raises(ModelError, match="a run that has saved no model yet"):
        check_model_folder(str(tmp_path))
    models(tmp_path, "checkpoints/step-20/model", model_folder=model_folder)
    with pytest.raises(ModelError, match="1 lies in it") as error:
        check_model_folder(str(tmp_path))
    assert f"{tmp_path}/checkpoints/step-20/model" in str(error.value.fix)


def test_a_base_that_a_recipe_makes_is_named_with_it() -> None:
    with pytest.raises(ModelError) as caught:
        check_model_folder("runs/pretrain-tiny-visual/")
    assert caught.value.fix == "`rlvr pretrain recipe=tiny_visual` makes it, in some minutes"
    with pytest.raises(ModelError) as caught:
        check_model_folder("runs/no-such-base")
    assert caught.value.fix == "check model=…"
