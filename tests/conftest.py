"""Shared by all tests: no network, no state left behind, problems and models to render prompts with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from rlvr.data.prompts import PromptRenderer
    from rlvr.records import Problem

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from hypothesis import settings

settings.register_profile("rlvr", deadline=None, max_examples=60, database=None)
settings.load_profile("rlvr")

TESTS = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts engines, and keep it in one process of `make test`: two sets of engines are too many."""
    for item in items:
        if {"engines", "faults"} & set(item.path.relative_to(TESTS).parts):  # wherever the clone lies
            item.add_marker(pytest.mark.engines)
        if item.get_closest_marker("engines"):
            item.add_marker(pytest.mark.xdist_group("engines"))
            item.add_marker(pytest.mark.timeout(900))  # a busy machine starts engines slowly


@pytest.fixture(scope="session")
def problems() -> list[Problem]:
    """A few problems of the train split."""
    from rlvr.config import SkillsConfig
    from rlvr.data.skills import make_splits

    config = SkillsConfig()
    return make_splits(64, 8, config.operations, config.seed, config)[0]


@pytest.fixture(scope="session")
def renderer() -> PromptRenderer:
    """Prompts of the tiny model."""
    from rlvr.data.prompts import load_renderer
    from tests.tiny import TINY

    return load_renderer(str(TINY))


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2 folder with random weights."""
    from transformers import Qwen2ForCausalLM

    from rlvr.config import PretrainConfig
    from rlvr.data.chains import words
    from rlvr.data.tiny_tokenizer import build_tokenizer
    from rlvr.pretrain import model_config

    folder = tmp_path_factory.mktemp("models") / "tiny"
    tokenizer = build_tokenizer(words(23))
    tokenizer.save_pretrained(folder)
    Qwen2ForCausalLM(model_config(PretrainConfig(), tokenizer)).save_pretrained(folder)
    return folder
