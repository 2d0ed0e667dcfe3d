"""docs/algorithms.md says what the registry holds."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rlvr.algorithms.registry import OPENRLHF, PAPER, VERL
from rlvr.algorithms.settings import AlgorithmConfig

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "algorithms.md").read_text()


def flat(config: AlgorithmConfig) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in asdict(config).items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        found |= {f"{key}.{name}".rstrip("."): each for name, each in inner}
    return found


def test_every_algorithm_is_in_the_table() -> None:
    named = re.findall(r"^\| `(\w+)` \| \[", DOCUMENT, re.M)
    assert sorted(named) == sorted(config.name for config in PAPER)


def test_the_table_of_presets_says_what_they_change() -> None:
    rows = dict(re.findall(r"^\| `(\w+_(?:verl|openrlhf))` \| (.*) \|$", DOCUMENT, re.M))
    paper = {config.name: config for config in PAPER}
    expected = {}
    for preset in (*VERL, *OPENRLHF):
        before, after = flat(paper[preset.name.rpartition("_")[0]]), flat(preset)
        changed = {f"`{key}={after[key]}`" for key in after if after[key] != before[key] and key != "name"}
        expected[preset.name] = changed
    assert {name: set(cells.split(", ")) for name, cells in rows.items()} == expected
