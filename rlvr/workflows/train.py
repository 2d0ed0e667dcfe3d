"""Train one model by one algorithm, unless the folder of its run holds it already."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from rlvr.ahead import train_ahead
from rlvr.checkpoint import Checkpoints, identity_of
from rlvr.cluster import training_pools
from rlvr.config import ExperimentConfig
from rlvr.data.model_folder import model_hash
from rlvr.driver import Stage, Training, train
from rlvr.errors import ConfigError
from rlvr.eval.reuse import searched
from rlvr.guards import Guards
from rlvr.in_flight import train_in_flight
from rlvr.provenance import plain_data, provenance
from rlvr.run_folder import (
    CHECKPOINTS_FOLDER,
    CONFIG_FILE,
    METRICS_FILE,
    MODEL_FOLDER,
    TRAINED_FILE,
    MetricRow,
    read_metrics,
    read_provenance,
    trained_steps,
    write_provenance,
)
from rlvr.seeds import derive_seed
from rlvr.tracking.progress import TrainingProgress, say
from rlvr.tracking.trackers import ProcessTracker, make_trackers
from rlvr.workflows.forecast import work_ahead
from rlvr.workflows.inputs import checked_inputs, refuse_other_inputs, training_inputs
from rlvr.workflows.ownership import (
    MAY_CHANGE,
    TRAINING,
    Owner,
    refuse_other_kind,
    refuse_other_runs,
    refuse_other_settings,
    take_folders,
)
from rlvr.workflows.preflight import check_training

OF_MEASURING = ("benchmarks", "evaluation.")
"""Keys that a run may have otherwise and be the same run: what is done with its model."""
TAKEN_FROM = "taken_from"
"""In ``trained.json``: the folder of the run that this one is a copy of."""
MAX_ENGINE_SEED = 1 << 20
LOOPS = {0: train, 1: train_ahead}
"""By ``train.max_staleness``; with any more, sampling is in flight."""


def train_model(config: ExperimentConfig, resolved: dict[str, Any] | None = None) -> Path:
    """What `rlvr train` does: check, claim ``config.run.dir``, train, and keep the model there.

    A run that was interrupted, or that has done fewer steps than the config asks for, is gone on with.

    Args:
        config: of one run; ``algorithms``, ``variants`` and ``seeds`` are empty.
        resolved: the config as plain data without secrets; made of it by default.

    Returns:
        The folder of the trained model, as Hugging Face lays it out.

    Raises:
        RlvrError: something is wrong with config, data, model or hardware, which is said before anything starts; or a
            worker, a weight update, the verifier or a checkpoint failed.
    """
    resolved = plain_data(config) if resolved is None else resolved
    refuse_several(config)
    take_folders(refuse_other_run(config, resolved, checked_inputs(config)))
    return run_training(config, resolved)


def refuse_several(config: ExperimentConfig) -> None:
    """Raise a ConfigError for what makes several runs of one config."""
    for key in ("algorithms", "variants", "seeds"):
        if getattr(config, key):
            raise ConfigError(
                "`rlvr train` trains one algorithm, once",
                where=key,
                fix="algorithm=NAME, seed=N and overrides here, or `rlvr study` for several from one start",
            )


def refuse_other_run(
    config: ExperimentConfig, resolved: dict[str, Any], inputs: dict[str, Any]
) -> list[Owner]:
    """Refuse a folder that holds another run, or anything else; return what is to be taken.

    Args:
        config: of the run.
        resolved: the same as plain data.
        inputs: what the run is made of besides; see :func:`training_inputs`.

    Raises:
        ConfigError: it does; or the run there was made of other problems or other code.
    """
    folder = Path(config.run.dir)
    refuse_other_kind(folder, resolved, TRAINING)
    owners = [(folder, resolved)]
    refuse_other_runs(owners)
    refuse_other_inputs(config, inputs)
    return owners


def _is_made(config: ExperimentConfig, resolved: dict[str, Any]) -> bool:
    """Whether the trained model is in the run's folder, or was taken into it from another study; says so."""
    folder = Path(config.run.dir)
    if (trained := trained_steps(folder)) is not None and trained >= config.train.num_steps:
        _report(f"{folder / MODEL_FOLDER} is already there, nothing to do")
        return True
    if other := take_over(config, resolved):
        _report(f"{folder} is the same run as {other}, and taken from there")
        return True
    return False


def take_over(config: ExperimentConfig, resolved: dict[str, Any]) -> Path | None:
    """Copy a finished run of the same settings, start model, problems and code into ``config.run.dir``, but for its checkpoints.

    Returns:
        Where it was found below ``run.reuse_from``; None where it was not, or the run's folder holds steps of its own.

    Raises:
        ConfigError: there is no such folder.
    """
    folder = Path(config.run.dir)
    if config.run.reuse_from is None or (folder / METRICS_FILE).exists():
        return None
    inputs = checked_inputs(config)
    for record in sorted(searched(config.run.reuse_from).rglob(TRAINED_FILE)):
        other = record.parent
        if trained_steps(other) == config.train.num_steps and _is_same(other, config, resolved, inputs):
            for path in other.iterdir():
                if path.is_dir() and path.name != CHECKPOINTS_FOLDER:
                    shutil.copytree(path, folder / path.name, dirs_exist_ok=True)
                elif path.is_file() and path.name not in (CONFIG_FILE, TRAINED_FILE):
                    shutil.copy2(path, folder)
            write_provenance(folder, {**read_provenance(other), TAKEN_FROM: str(other)})
            return other
    return None


def _is_same(other: Path, config: ExperimentConfig, resolved: dict[str, Any], inputs: dict[str, Any]) -> bool:
    """Whether the finished run in a folder was made of these settings, this start model, these problems and this code."""
    if not (other / CONFIG_FILE).exists():
        return False
    try:
        refuse_other_settings(other, resolved, (*MAY_CHANGE, *OF_MEASURING))
        refuse_other_inputs(replace(config, run=replace(config.run, dir=str(other))), inputs)
    except ConfigError:
        return False
    return True


def run_training(config: ExperimentConfig, resolved: dict[str, Any]) -> Path:
    """Train unless the run's folder already holds the trained model; return the model's folder.

    A finished run of fewer steps is gone on with.
    """
    folder = Path(config.run.dir)
    model = folder / MODEL_FOLDER
    if _is_made(config, resolved):
        return model
    prepared = check_training(config)
    problems, renderer, verifier = prepared.problems, prepared.renderer, prepared.verifier
    assert renderer is not None, "the hub was asked"
    algorithm = config.build_algorithm()
    inputs = training_inputs(config, prepared)
    checkpoints = _checkpoints(config, identity_of(resolved, inputs))
    resume = checkpoints.newest()
    last_step = 0 if resume is None else resume.step
    _report(work_ahead(config, resolved, algorithm.group_size, len(problems), last_step))
    (folder / TRAINED_FILE).unlink(missing_ok=True)  # of fewer steps: the run is no longer complete
    started = time.monotonic()
    progress = TrainingProgress(f"train {config.algorithm.name}", config.train.num_steps, last_step)
    tracker = make_trackers(folder, config.tracking, resolved, progress, last_step=last_step)
    try:
        with (
            verifier,
            training_pools(
                config.model,
                config.for_longest(),
                config.learner,
                config.cluster,
                algorithm,
                config.train.temperature,
                _engine_seed(config.seed, last_step),
                max_images=max(len(problem.images) for problem in problems),
                in_flight=config.train.max_staleness > 1,
            ) as (engine, learner),
        ):
            _report(f"engines ready after {time.monotonic() - started:.0f} s")
            progress.begin()
            training = Training(
                config=config.train,
                stages=prepared.stages,
                algorithm=algorithm,
                engine=engine,
                learner=learner,
                verifier=verifier,
                renderer=renderer,
                seed=config.seed,
                tracker=ProcessTracker(tracker, engine.process_metrics, config.tracking.process_every),
                num_logged_samples=config.tracking.num_logged_samples,
                guards=Guards(config.guards, folder, _report),
            )
            loop = LOOPS.get(config.train.max_staleness, partial(train_in_flight, engine=engine))
            end = loop(training, output=model, checkpoints=checkpoints, resume=resume)
    finally:
        tracker.close()
    stages = [stage_record(stage) for stage in prepared.stages]
    hashes = {"model_sha256": model_hash(str(model)), "start_model_sha256": model_hash(config.model)}
    made_of = {**provenance(resolved), **inputs, "stages": stages, **hashes}
    write_provenance(folder, {**made_of, "wall_seconds": round(end.seconds, 1)})
    if (warning := nothing_learned(read_metrics(folder), verifier.expects)) is not None:
        _report(f"WARNING: {warning}")
    return model


def stage_record(stage: Stage) -> dict[str, Any]:
    """What a run's record says of a stage."""
    return {
        "from_step": stage.first_step,
        "problems": len(stage.problems),
        "prompts_per_step": stage.prompts_per_step,
        "minibatch_size": stage.minibatch_size,
        "max_response_tokens": stage.max_response_tokens,
    }


def nothing_learned(rows: Sequence[MetricRow], expects: str) -> str | None:
    """Why a run whose every reward was 0 has learned nothing from them; None of any other.

    Args:
        rows: of all its steps.
        expects: the verifier's words for where an answer must stand.
    """
    if any(row["reward/mean"] != 0 or row["reward/uniform_group_share"] != 1 for row in rows) or not rows:
        return None
    unread, cut_off = (
        sum(row[name] for row in rows) / len(rows) for name in ("verify/unparsed", "response/truncated_share")
    )
    if unread < 0.5:
        cause = (
            f"{1 - unread:.0%} of the responses hold a wrong answer: the problems are too hard for this model"
        )
    elif cut_off >= unread / 2:
        cause = f"{cut_off:.0%} of the responses were cut off (rollout.max_response_tokens)"
    else:
        cause = f"{unread:.0%} of the responses hold no answer that the verifier can read, which looks {expects} (prompt=NAME)"
    return f"nothing was learned: not one response of {len(rows):,} steps was right. {cause}"


def _report(line: str) -> None:
    say(f"train: {line}")


def _checkpoints(config: ExperimentConfig, identity: dict[str, Any]) -> Checkpoints:
    """Those of the run's folder."""
    return Checkpoints(
        Path(config.run.dir),
        keep=config.train.keep_checkpoints,
        keep_model_every=config.train.keep_model_every,
        identity=identity,
        report=_report,
    )


def _engine_seed(seed: int, last_step: int) -> int:
    """Of the engines: where responses have no seeds of their own, a resumed run must not draw its first ones again."""
    return derive_seed(seed, last_step) % MAX_ENGINE_SEED if last_step else seed


def kept_models(config: ExperimentConfig, name: str) -> dict[str, str]:
    """Intermediate models of a run by the names that tables give them, in the order of their steps."""
    every = config.train.keep_model_every
    return {
        f"{name}-step{checkpoint.step}": str(checkpoint.model)
        for checkpoint in Checkpoints(Path(config.run.dir)).all()
        if every and checkpoint.step % every == 0 and checkpoint.step < config.train.num_steps
    }
