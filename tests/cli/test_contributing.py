"""The example of CONTRIBUTING.md, taken from its text: one file and one recipe make an algorithm."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from rlvr.algorithms import registry
from rlvr.algorithms.algorithm import Scored
from tests.cli.pools import SMALL, Pools

CONTRIBUTING = Path(__file__).resolve().parents[2] / "CONTRIBUTING.md"


def write_example(folder: Path) -> tuple[Path, Path]:
    """Write the files that the section shows; returns the plugin and the folder of recipes."""
    section = CONTRIBUTING.read_text().partition("## Add an algorithm")[2].partition("\n## ")[0]
    files = dict(re.findall(r"^`([\w/]+\.(?:py|yaml))`:\n\n```\w+\n(.*?)^```", section, re.S | re.M))
    assert set(files) == {"opo.py", "my_recipes/recipe/opo.yaml"}
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "opo.py", folder / "my_recipes"


@pytest.fixture(autouse=True)
def forget_plugins() -> Iterator[None]:
    known = dict(registry.ALGORITHMS)
    yield
    registry.ALGORITHMS.clear()
    registry.ALGORITHMS.update(known)
    registry.PLUGINS.clear()


def test_its_equations_by_hand(tmp_path: Path) -> None:
    plugin, _ = write_example(tmp_path)
    registry.load_plugin(str(plugin))
    algorithm = registry.ALGORITHMS["opo"].build()
    mask = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    scored = Scored(
        group_size=2,
        mask=mask,
        valid=torch.tensor([True, True]),
        rewards=torch.tensor([1.0, 0.0]),
        baseline_rewards=None,
        kl_penalty=None,
        values=None,
    )
    # b = (3·1 + 1·0) / 4
    expected = torch.tensor([[0.25, 0.25, 0.25], [-0.75, 0.0, 0.0]])
    torch.testing.assert_close(algorithm.advantage(scored).advantages, expected)


def test_it_trains_by_its_recipe(rlvr, model_folder: Path, monkeypatch, tmp_path: Path) -> None:
    plugin, recipes = write_example(tmp_path)
    pools = Pools(model_folder, monkeypatch)
    result = rlvr(
        "train", "--plugin", str(plugin), "--config-dir", str(recipes), "recipe=opo",
        f"model={pools.model}", f"run.dir={tmp_path}/run", *SMALL, "data.family=chains", "train.num_steps=2", "train.prompts_per_step=2",
    )  # fmt: skip
    assert result.code == 0, result.err
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["algorithm"]["name"] == "opo"
    assert config["algorithm"]["group_size"] == 16
    [(file, digest)] = json.loads((tmp_path / "run" / "trained.json").read_text())["plugins"].items()
    assert file == str(plugin)
    assert len(digest) == 64


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, ["no such Python file", "plugin.py"]),
        ("import nothing_of_that_name", ["the file fails", "nothing_of_that_name"]),
        (
            "from rlvr.algorithms.registry import register\nfrom rlvr.algorithms.grpo import GRPOConfig\n"
            "register(GRPOConfig())",
            ["cannot be called 'grpo'"],
        ),
    ],
)
def test_a_bad_plugin_is_refused(rlvr, tmp_path: Path, text: str | None, words: list[str]) -> None:
    plugin = tmp_path / "plugin.py"
    if text is not None:
        plugin.write_text(text)
    result = rlvr("train", "--plugin", str(plugin), "recipe=tiny")
    assert result.code == 2
    for word in words:
        assert word in result.err
