"""Evaluations under folders of any depth, such as all jobs of a multirun, and the commands that finish them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rlvr.config import as_benchmarks
from rlvr.errors import ConfigError
from rlvr.eval.store import EvaluationSpec, read_spec
from rlvr.run_folder import (
    CONFIG_FILE,
    METRICS_FILE,
    SPEC_FILE,
    TRAINED_FILE,
    read_config,
    read_json,
    run_dir_of,
)


@dataclass(frozen=True, slots=True)
class Store:
    """One evaluation on disk, under the name that it has in the report."""

    folder: Path
    run_dir: Path
    """Of the study, or of the evaluate command, that it belongs to."""
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
        found.append(Store(path.parent, run_dir_of(path.parent), spec, spec.model_name))
    return found


def nothing_in(folder: Path) -> ConfigError:
    """The error for a folder without evaluations."""
    return ConfigError(
        "no evaluation that is finished was found here",
        where=str(folder),
        fix=f"`rlvr evaluate model={folder}` makes one of a trained model, `rlvr study` of base and trained ones",
    )


def run_command(folder: Path) -> str:
    """How to go on with the study or training run that a folder belongs to: its own command where a run recorded it."""
    places = [folder, *([folder.parent] if (folder.parent / CONFIG_FILE).exists() else [])]
    for place in places:
        for path in (place / TRAINED_FILE, *sorted(place.glob(f"*/{TRAINED_FILE}"))):
            if path.exists() and (command := read_json(path).get("command")):
                return f"run this again, it goes on: {command}"
    kind = "train" if (places[-1] / METRICS_FILE).exists() else "study"
    return f"run the `rlvr {kind}` command of {places[-1]} again, it goes on (settings: {places[-1] / CONFIG_FILE})"


def evaluation_command(store: Store) -> str:
    """How to go on with one evaluation, and all others of its folder: a command for fewer would not have its report."""
    if (store.run_dir / CONFIG_FILE).exists():
        return run_command(store.run_dir)
    spec = store.spec
    if spec.is_served:
        return "run the same `rlvr evaluate … api.base_url=…` again, it goes on"
    specs = [each.spec for each in stores_in(store.run_dir)]
    models = {each.model_name: each.model_path for each in specs}
    benchmarks = list(dict.fromkeys(each.benchmark for each in specs))
    measured = f"model={spec.model_path}"
    if len(models) > 1:
        measured = f"'models={{{', '.join(f'{name}: {path}' for name, path in models.items())}}}'"
    on = f"benchmark={spec.benchmark}" if len(benchmarks) == 1 else f"'benchmarks=[{','.join(benchmarks)}]'"
    return (
        f"run this again, it goes on: rlvr evaluate {measured} {on} num_samples={spec.num_samples} "
        f"run.dir={store.run_dir}"
    )


def study_benchmarks(run_dirs: Iterable[Path]) -> dict[str, bool]:
    """The benchmarks of the first study by its config, each with whether it is out of domain; empty without a study."""
    for run_dir in dict.fromkeys(run_dirs):
        if found := as_benchmarks(read_config(run_dir).get("benchmarks") or {}):
            return {name: each.out_of_domain for name, each in found.items()}
    return {}
