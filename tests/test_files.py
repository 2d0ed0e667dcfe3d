"""Files are replaced as a whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlvr.files import write_json


def test_json_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": "ü"})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": "ü"}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
