"""What a study or run has still to do: the stages that a report cannot show yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlvr.config import as_benchmarks
from rlvr.eval.discovery import Store, evaluation_command, run_command
from rlvr.eval.names import seed_name
from rlvr.eval.results import Stage
from rlvr.eval.samples import read_samples
from rlvr.eval.store import is_counted
from rlvr.run_folder import (
    BASE,
    CONFIG_FILE,
    EVALUATIONS_FOLDER,
    METRICS_FILE,
    SAMPLES_FILE,
    TRAINED_FILE,
    is_study,
    read_config,
    read_json,
    read_metrics,
    read_provenance,
)


def runs_under(folders: Sequence[Path]) -> list[Path]:
    """Folders of training runs that have begun a step, in the order of their paths."""
    found = [path.parent for folder in folders for path in sorted(folder.rglob(METRICS_FILE))]
    return list({run.resolve(): run for run in found}.values())


def waiting_runs(folders: Sequence[Path], stores: Sequence[Store]) -> list[Path]:
    """Those training runs whose final model no evaluation is of, since it is still in training or not measured."""
    measured = {store.spec.model_sha256 for store in stores}
    return [run for run in runs_under(folders) if read_provenance(run).get("model_sha256") not in measured]


def study_of(run: Path) -> Path | None:
    """The study's folder that a training run is a part of; None where it stands alone."""
    run_dir = run.parent
    return run_dir if is_study(run_dir) else None


def planned_runs(run_dir: Path) -> list[str]:
    """Names of the training runs of a study's folder; empty for any other folder."""
    if not is_study(run_dir):
        return []
    config = read_config(run_dir)
    algorithm = config.get("algorithm") or {}
    names = list(config.get("variants") or config.get("algorithms") or [algorithm.get("name", "")])
    seeded = [seed_name(name, seed) for name in names for seed in config.get("seeds") or []]
    return [name for name in seeded or names if name and (run_dir / name / CONFIG_FILE).exists()]


def unfinished(folders: Sequence[Path], stores: Sequence[Store]) -> list[Stage]:
    """Every stage under the folders that is still to come, in the order in which a study does them.

    Args:
        folders: studies, runs, evaluations, or folders that hold such.
        stores: the evaluations under them, whole or not.
    """
    run_dirs = {path.parent.resolve(): path.parent for f in folders for path in sorted(f.rglob(CONFIG_FILE))}
    studies = {run_dir: names for run_dir in run_dirs.values() if (names := planned_runs(run_dir))}
    alone = [run for run in runs_under(folders) if study_of(run) is None or study_of(run) not in studies]
    runs = [*alone, *(run_dir / name for run_dir, names in studies.items() for name in names)]
    return [
        *(stage for run in runs if (stage := _training(run)) is not None),
        *(stage for run_dir, names in studies.items() for stage in _not_measured(run_dir, names)),
        *(stage for run in alone if (stage := _never_measured(run, stores)) is not None),
        *(stage for store in stores if (stage := _measuring(store)) is not None),
    ]


def is_whole(store: Store) -> bool:
    """Whether an evaluation holds all its samples."""
    return _measuring(store) is None


def _training(run: Path) -> Stage | None:
    if (run / TRAINED_FILE).exists():
        return None
    rows, config = read_metrics(run), run / CONFIG_FILE
    train: Mapping[str, Any] = read_json(config).get("train") or {} if config.exists() else {}
    done, total = int(rows[-1]["step"]) if rows else 0, train.get("num_steps")
    return Stage(f"training {run.name}", done, total, "steps", run, run_command(run))


def _not_measured(run_dir: Path, names: Sequence[str]) -> Iterator[Stage]:
    """Planned evaluations of a study that have not begun, those on one benchmark together."""
    config = read_config(run_dir)
    for benchmark in as_benchmarks(config.get("benchmarks") or {}):
        place = run_dir / EVALUATIONS_FOLDER / benchmark
        missing = [model for model in (BASE, *names) if not (place / model / SAMPLES_FILE).exists()]
        if missing:
            title = f"measuring {', '.join(missing)} on {benchmark}"
            yield Stage(title, 0, None, "samples", place, run_command(run_dir))


def _never_measured(run: Path, stores: Sequence[Store]) -> Stage | None:
    """A model of `rlvr train` that no evaluation is of; none where there is no evaluation at all to go with."""
    if not stores or not (run / TRAINED_FILE).exists() or not waiting_runs([run], stores):
        return None
    return Stage(f"measuring {run.name}", 0, None, "samples", run, f"`rlvr evaluate model={run}`")


def _measuring(store: Store) -> Stage | None:
    """An evaluation that has begun; None once it is whole."""
    spec, total = store.spec, store.spec.num_problems * store.spec.num_samples
    if is_counted(store.folder):
        return None
    done = sum(1 for _ in read_samples(store.folder / SAMPLES_FILE))
    if done >= total:
        return None
    title = f"measuring {store.name} on {spec.benchmark}"
    return Stage(title, done, total, "samples", store.folder, evaluation_command(store))
