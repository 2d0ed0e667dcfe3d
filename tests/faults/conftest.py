"""Faults injected into real engines: Ray, vLLM and DeepSpeed at the tiny scale."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rlvr.config import ChainsConfig
from rlvr.data.chains import make_splits
from rlvr.data.prompts import PromptRenderer, load_renderer
from rlvr.records import Problem
from tests.commands import end_all
from tests.engines.conftest import TINY


@pytest.fixture(autouse=True)
def end_what_was_started(tmp_path: Path) -> Iterator[None]:
    """A failed test must not leave a run behind that slows down the others."""
    yield
    end_all(tmp_path)


@pytest.fixture(scope="session")
def problems() -> list[Problem]:
    """A few problems of the train split."""
    config = ChainsConfig()
    return make_splits(64, 8, config.operations, config.seed)[0]


@pytest.fixture(scope="session")
def renderer() -> PromptRenderer:
    """Prompts of the tiny model."""
    return load_renderer(str(TINY))
