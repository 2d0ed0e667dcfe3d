"""What the tests of W&B share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def wandb_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """W&B keeps its files where the test can look at them."""
    wandb = pytest.importorskip("wandb")
    wandb.teardown()  # it reads its environment once
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_ARTIFACT_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("WANDB_SILENT", "true")
