"""How the models of a report were trained, from the configs of their runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlvr.eval.report.html import Markup, element, join, table
from rlvr.eval.report.labels import label, plain

SETTINGS = {
    "algorithm": "algorithm.name",
    "learning rate": "learner.learning_rate",
    "steps": "train.num_steps",
    "prompts per step": "train.prompts_per_step",
    "responses per prompt": "algorithm.group_size",
    "rollouts per optimizer step": "train.minibatch_size",
    "KL coefficient": "algorithm.kl.coef",
    "temperature": "train.temperature",
    "seed": "seed",
}
"""What is shown, and the key of a run's ``config.json`` that it is."""
UNSET = {"rollouts per optimizer step": "all"}
"""What null means."""


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The main settings of a run by config key, those that its algorithm has."""
    found = {key: value_at(config, key) for key in SETTINGS.values()}
    return {key: value for key, value in found.items() if value is not MISSING}


MISSING = object()


def value_at(config: Mapping[str, Any], key: str) -> Any:
    """The value at a dotted key; MISSING where there is none."""
    value: Any = config
    for name in key.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return MISSING
        value = value[name]
    return value


def settings_table(configs: Mapping[str, Mapping[str, Any]]) -> Markup:
    """One row per run; nothing without configs."""
    found = {run: settings_of(config) for run, config in configs.items()}
    shown = [name for name, key in SETTINGS.items() if any(key in each for each in found.values())]
    if not shown:
        return join([])
    rows = [[label(run), *(cell(each, name) for name in shown)] for run, each in found.items()]
    return element("div", element("h3", "Settings"), table(["", *shown], rows), css="settings")


def cell(settings: Mapping[str, Any], name: str) -> str:
    """One setting in words."""
    value = settings.get(SETTINGS[name], MISSING)
    return "–" if value is MISSING else plain(UNSET.get(name, "–") if value is None else value)
