"""What lies in the folders of studies, multiruns and evaluations, and how to finish what is unfinished.

A *home* is the folder of a study, with evaluations in ``evaluation/<benchmark>/<model>/`` and
one subfolder per training run, or that of `rlvr evaluate`, with the evaluations alone. Folders are
searched for homes to any depth, so a multirun brings in all of its jobs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr.config import as_benchmarks
from rlvr.errors import ConfigError, DataError
from rlvr.eval.report.results import MetricRow
from rlvr.eval.store import SPEC_FILE, EvaluationSpec, read_spec

STUDY_FOLDER = "evaluation"
CONFIG_FILE, METRICS_FILE, TRAINED_FILE = "config.json", "metrics.jsonl", "trained.json"
SECONDS_FILE = "wall_seconds.json"


@dataclass(frozen=True, slots=True)
class Store:
    """One evaluation on disk, under the name that it has in the report."""

    folder: Path
    home: Path
    spec: EvaluationSpec
    name: str


def stores_in(folder: Path) -> list[Store]:
    """All evaluations under a folder, in the order of their paths.

    Raises:
        ConfigError: there is no such folder, or nothing in it.
    """
    if not (found := stores_under(folder)):
        raise nothing_in(folder)
    return found


def stores_under(folder: Path) -> list[Store]:
    """All evaluations under a folder, in the order of their paths; there may be none.

    Raises:
        ConfigError: there is no such folder.
    """
    if not folder.is_dir():
        raise ConfigError("there is no such folder", where=str(folder), fix="check the path")
    found = []
    for path in sorted(folder.rglob(SPEC_FILE)):
        spec = read_spec(path.parent)
        found.append(Store(path.parent, home_of(path.parent), spec, spec.model_name))
    return found


def nothing_in(folder: Path) -> ConfigError:
    """The error for a folder without evaluations."""
    return ConfigError(
        "no evaluation was found here",
        where=str(folder),
        fix=f"`rlvr evaluate model={folder}` makes one of a trained model, `rlvr study` of base and trained ones",
    )


def home_of(store: Path) -> Path:
    """The study's or evaluate command's folder that an evaluation belongs to."""
    above = [parent for parent in store.parents if parent.name == STUDY_FOLDER]
    return above[0].parent if above else store


def study_command(folder: Path) -> str:
    """How to go on with the study that a folder belongs to: its own command where a run recorded it."""
    places = [folder, *([folder.parent] if (folder.parent / CONFIG_FILE).exists() else [])]
    for place in places:
        for path in (place / TRAINED_FILE, *sorted(place.glob(f"*/{TRAINED_FILE}"))):
            if path.exists() and (command := read_json(path).get("command")):
                return f"run this again, it goes on: {command}"
    return f"run the `rlvr study` command of {places[-1]} again, it goes on (settings: {places[-1] / CONFIG_FILE})"


def evaluation_command(store: Store) -> str:
    """How to go on with one evaluation, and all others of its home: a command for fewer would not have its report."""
    if (store.home / CONFIG_FILE).exists():
        return study_command(store.home)
    spec = store.spec
    if spec.is_served:
        return "run the same `rlvr evaluate … api.base_url=…` again, it goes on"
    specs = [each.spec for each in stores_in(store.home)]
    models = {each.model_name: each.model_path for each in specs}
    benchmarks = list(dict.fromkeys(each.benchmark for each in specs))
    measured = f"model={spec.model_path}"
    if len(models) > 1:
        measured = f"'models={{{', '.join(f'{name}: {path}' for name, path in models.items())}}}'"
    on = f"benchmark={spec.benchmark}" if len(benchmarks) == 1 else f"'benchmarks=[{','.join(benchmarks)}]'"
    return (
        f"run this again, it goes on: rlvr evaluate {measured} {on} num_samples={spec.num_samples} "
        f"run.dir={store.home}"
    )


def run_folder(home: Path, run: str) -> Path:
    """The folder of a training run: the home's subfolder of its name, or the home itself."""
    return home / run if (home / run).is_dir() else home


def read_metrics(run: Path) -> list[MetricRow]:
    """Rows of a run's ``metrics.jsonl``; a last line that was never finished is left out."""
    path = run / METRICS_FILE
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines if line.strip()]


def read_provenance(run: Path) -> dict[str, Any]:
    """What a finished training run recorded about itself; empty for anything else."""
    path = run / TRAINED_FILE
    return read_json(path) if path.exists() else {}


def read_run_config(run: Path) -> dict[str, Any]:
    """The settings of a training run; empty where they are not there."""
    path = run / CONFIG_FILE
    return read_json(path) if path.exists() else {}


def evaluation_seconds(store: Path) -> float:
    """Wall time that an evaluation took; 0 where it was not recorded."""
    path = store / SECONDS_FILE
    return float(json.loads(path.read_text())) if path.exists() else 0.0


def in_domain_benchmark(homes: Iterable[Path]) -> str | None:
    """The benchmark that the first study trained for, by its config; None without a study."""
    for home in homes:
        if (home / CONFIG_FILE).exists():
            for benchmark in as_benchmarks(read_json(home / CONFIG_FILE).get("benchmarks") or {}).values():
                if not benchmark.out_of_domain:
                    return benchmark.name
    return None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        DataError: it is something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(
            f"malformed JSON: {error}", where=str(path), fix="restore or delete the file"
        ) from error
    if not isinstance(found, dict):
        raise DataError("not a JSON object", where=str(path), fix="restore or delete the file")
    return found
