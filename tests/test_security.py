"""What is read, written and opened: no code from data, no secrets in results, no names that leave a folder."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlvr.config import BenchmarkConfig
from rlvr.errors import ConfigError
from rlvr.provenance import redacted

PACKAGE = Path(__file__).resolve().parent.parent / "rlvr"
PICKLE_MODULES = {"pickle", "dill", "joblib", "marshal", "shelve"}
RESTRICTED_UNPICKLER = PACKAGE / "data" / "code_sets.py"
"""Makes text and nothing else; its own test shows that it refuses the rest."""


def sources() -> Iterator[tuple[Path, ast.Module]]:
    for folder, _, files in os.walk(PACKAGE, followlinks=True):
        for file in files:
            if file.endswith(".py"):
                path = Path(folder) / file
                yield path, ast.parse(path.read_text(encoding="utf-8"))


def test_nothing_is_unpickled() -> None:
    users = set()
    for path, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import) and PICKLE_MODULES & {alias.name for alias in node.names}:
                users.add(path)
            if isinstance(node, ast.Attribute) and ast.unparse(node) in ("numpy.load", "np.load"):
                users.add(path)
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                assert "weights_only=True" in ast.unparse(node), path
    assert users == {RESTRICTED_UNPICKLER}


def test_code_from_a_models_folder_is_never_trusted() -> None:
    for path, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == "trust_remote_code":
                assert ast.unparse(node.value) == "False", path


WITHOUT_WEIGHTS = (
    "AutoConfig.",
    "AutoImageProcessor.",
    "AutoProcessor.",
    "AutoTokenizer.",
    "GenerationConfig.",
    "Qwen2Tokenizer.",
)


def test_weights_are_read_from_safetensors_only() -> None:
    loads = [
        ast.unparse(node)
        for _, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith(".from_pretrained")
        and not ast.unparse(node.func).startswith(WITHOUT_WEIGHTS)
    ]
    assert loads
    assert all("use_safetensors=True" in call for call in loads)


def test_secrets_do_not_reach_a_result() -> None:
    config = {
        "model": "Qwen/Qwen2.5-7B",
        "plugin": {"api_key": "sk-1", "auth_token": "t", "password": "p", "num_tokens": 5, "max_token": 7},
        "cluster": {"address": "ray://user:word@head:10001"},
        "paths": ["s3://bucket/data", "https://me:secret@example.org/x"],
        "token": "",
    }
    assert redacted(config) == {
        "model": "Qwen/Qwen2.5-7B",
        "plugin": {"api_key": "***", "auth_token": "***", "password": "***", "num_tokens": 5, "max_token": 7},
        "cluster": {"address": "ray://***@head:10001"},
        "paths": ["s3://bucket/data", "https://***@example.org/x"],
        "token": "",
    }


@pytest.mark.parametrize("name", ["../other", "a/b", "..", ".hidden", "/etc", "a\\b", "a\n"])
def test_a_benchmarks_name_cannot_leave_the_folder(name: str) -> None:
    with pytest.raises(ConfigError, match="no benchmark can be called"):
        BenchmarkConfig(name=name)
