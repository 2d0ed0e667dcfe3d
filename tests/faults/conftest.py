"""Faults injected into real engines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import end_all


@pytest.fixture(autouse=True)
def end_what_was_started(tmp_path: Path) -> Iterator[None]:
    """A failed test must not leave a run behind that slows down the others."""
    yield
    end_all(tmp_path)
