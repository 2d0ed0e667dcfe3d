"""A study that is made longer: what it has measured of the shorter runs stays, as their checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from rlvr.checkpoint import Checkpoints
from rlvr.config import ExperimentConfig
from rlvr.errors import ConfigError
from rlvr.eval.samples import read_samples
from rlvr.eval.store import read_spec
from rlvr.files import write_json
from rlvr.run_folder import EVALUATIONS_FOLDER, MODEL_FOLDER, SAMPLES_FILE, SPEC_FILE, trained_steps
from rlvr.tracking.progress import say
from rlvr.workflows.ownership import LENGTH


def check_measured(run_dir: Path, runs: Mapping[str, ExperimentConfig]) -> None:
    """Refuse to make a study longer in which the shorter runs are half measured: their models would be gone.

    Args:
        run_dir: of the study.
        runs: its training runs by name.

    Raises:
        ConfigError: samples are missing, or the name that an evaluation would get is taken.
    """
    for name, config in runs.items():
        for store, target, steps in _outgrown(run_dir, name, config):
            spec = read_spec(store)
            stored, wanted = (
                sum(1 for _ in read_samples(store / SAMPLES_FILE)),
                spec.num_problems * spec.num_samples,
            )
            if stored != wanted:
                raise ConfigError(
                    f"the run {name} is to go on, and of its model after {steps} steps {stored:,} of {wanted:,} "
                    "samples are there",
                    where=str(store),
                    fix=f"{LENGTH}={steps} draws the others first; or delete this folder",
                )
            if target.exists():
                raise ConfigError(
                    f"{name} is measured after {steps} steps twice",
                    where=f"{store} and {target}",
                    fix="delete one of the folders",
                )


def keep_measured(run_dir: Path, name: str, config: ExperimentConfig) -> None:
    """Before a finished run goes on: name what was measured of it ``<run>-step<N>``, as of any checkpoint."""
    for store, target, steps in _outgrown(run_dir, name, config):
        model = Checkpoints(Path(config.run.dir)).folder_of(steps) / MODEL_FOLDER
        spec = replace(read_spec(store), model_name=target.name)
        kept = config.train.keep_model_every
        if kept and steps % kept == 0:
            spec = replace(spec, model_path=str(model))
        write_json(store / SPEC_FILE, asdict(spec))
        store.replace(target)
        say(f"{name} goes on: its evaluation after {steps} steps is now {target}")


def _outgrown(run_dir: Path, name: str, config: ExperimentConfig) -> Iterator[tuple[Path, Path, int]]:
    """Evaluations of a finished run that is to go on: folder, its name as a checkpoint's, and steps."""
    steps = trained_steps(Path(config.run.dir))
    if steps is None or steps >= config.train.num_steps:
        return
    for spec in sorted(run_dir.glob(f"{EVALUATIONS_FOLDER}/*/{name}/{SPEC_FILE}")):
        yield spec.parent, spec.parent.with_name(f"{name}-step{steps}"), steps
