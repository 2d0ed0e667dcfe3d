"""Where each value of a composed config comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from rlvr.cli.overrides import key_of

DEFAULT, COMMAND_LINE = "default", "command line"


def origins() -> dict[str, str]:
    """Origins of the running job's values by dotted key: ``FILE:LINE``, or ``command line``.

    A key that is not there has the default of its dataclass. Files are named from recipes/ on.
    """
    task = list(HydraConfig.get().overrides.task)
    loader: Any = GlobalHydra.instance().config_loader()
    found: dict[str, str] = {}
    for default in loader.compute_defaults_list("config", task, RunMode.RUN).defaults:
        path = default.config_path
        loaded = None if path is None or path.startswith("hydra/") else loader.repository.load_config(path)
        if loaded is None or not loaded.path.startswith("file://"):
            continue  # a dataclass: its values are defaults
        file = Path(loaded.path.removeprefix("file://")) / f"{path}.yaml"
        lines = _lines(file)
        for key in _leaves(OmegaConf.to_container(loaded.config)):
            if not key.startswith(("hydra.", "defaults")):
                _replace(found, key, f"{_short(file)}:{lines.get(key, 1)}")
    groups = set(HydraConfig.get().runtime.choices)
    for override in task:
        key = key_of(override)
        if key in groups:
            continue  # it chose a file, whose values name the file
        _replace(found, key, COMMAND_LINE)
    return found


def _replace(found: dict[str, str], key: str, origin: str) -> None:
    """A value takes the place of what was below its key, too."""
    for below in [known for known in found if known.startswith(f"{key}.")]:
        del found[below]
    found[key] = origin


def origin_of(key: str, found: dict[str, str]) -> str:
    """The origin of one value; what stands in a dictionary or list may be named as a whole."""
    while key:
        if key in found:
            return found[key]
        key = key.rpartition(".")[0]
    return DEFAULT


def _short(file: Path) -> str:
    parts = file.parts
    return str(Path(*parts[parts.index("recipes") :])) if "recipes" in parts else str(file)


def _leaves(data: Any, prefix: str = "") -> list[str]:
    if not isinstance(data, dict) or (not data and prefix):
        return [prefix[:-1]]
    return [leaf for name, value in data.items() for leaf in _leaves(value, f"{prefix}{name}.")]


def _lines(file: Path) -> dict[str, int]:
    """Line of every key of a YAML file, from 1."""
    found: dict[str, int] = {}

    def walk(node: yaml.Node, prefix: str) -> None:
        if isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                found[prefix + name.value] = name.start_mark.line + 1
                walk(value, f"{prefix}{name.value}.")

    root = yaml.compose(file.read_text(encoding="utf-8"))
    if root is not None:
        walk(root, "")
    return found
