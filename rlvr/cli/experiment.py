"""What train, evaluate and study share: preparing, training and measuring one model."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlvr.checkpoint import Checkpoints, identity_of
from rlvr.cli.claim import trained_steps
from rlvr.cli.past import evaluation_forecast, work_ahead
from rlvr.cli.preflight import check_training
from rlvr.cli.sources import Engines, Source
from rlvr.cluster import training_pools
from rlvr.config import ExperimentConfig
from rlvr.data.benchmarks import (
    Benchmark,
)
from rlvr.data.loaders import problems_hash
from rlvr.data.model_folder import model_hash
from rlvr.data.prompts import PromptRenderer
from rlvr.driver import Training, train
from rlvr.eval.evaluate import EvaluationProgress, evaluate
from rlvr.eval.homes import TRAINED_FILE, read_json
from rlvr.eval.store import (
    PROMPT_FILE,
    SPEC_FILE,
    Evaluation,
    EvaluationSpec,
    SampleStore,
    load_evaluation,
    refuse_other_spec,
)
from rlvr.files import write_json, write_text
from rlvr.guards import Guards
from rlvr.protocols import Renderer, RolloutEngine, Verifier
from rlvr.provenance import provenance
from rlvr.records import Problem
from rlvr.rewards.config import RewardsConfig
from rlvr.rewards.registry import chance_level, verifier_pool
from rlvr.seeds import derive_seed
from rlvr.tracking.progress import StageProgress, TrainingProgress, say
from rlvr.tracking.trackers import ProcessTracker, make_trackers

MODEL_FOLDER = "model"
MAX_ENGINE_SEED = 1 << 20


def run_training(config: ExperimentConfig, resolved: dict[str, Any]) -> Path:
    """Train unless the run's folder already holds the trained model; return the model's folder.

    A finished run of fewer steps is gone on with.
    """
    folder = Path(config.run.dir)
    model = folder / MODEL_FOLDER
    if (trained := trained_steps(folder)) is not None and trained >= config.train.num_steps:
        _report(f"{model} is already there, nothing to do")
        return model
    problems, renderer, verifier = check_training(config)
    algorithm = config.build_algorithm()
    checkpoints = _checkpoints(config, resolved, problems)
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
                config.rollout,
                config.learner,
                config.cluster,
                algorithm,
                config.train.temperature,
                _engine_seed(config.seed, last_step),
            ) as (engine, learner),
        ):
            _report(f"engines ready after {time.monotonic() - started:.0f} s")
            progress.begin()
            training = Training(
                config=config.train,
                algorithm=algorithm,
                engine=engine,
                learner=learner,
                verifier=verifier,
                renderer=renderer,
                problems=problems,
                max_response_tokens=config.rollout.max_response_tokens,
                seed=config.seed,
                tracker=ProcessTracker(tracker, engine.process_metrics, config.tracking.process_every),
                num_logged_samples=config.tracking.num_logged_samples,
                guards=Guards(config.guards, folder, _report),
            )
            end = train(training, output=model, checkpoints=checkpoints, resume=resume)
    finally:
        tracker.close()
    # Written last: a run that has this file is complete.
    write_json(
        folder / TRAINED_FILE,
        {
            **provenance(resolved),
            "wall_seconds": round(end.seconds, 1),
            "model_sha256": model_hash(str(model)),
            "start_model_sha256": model_hash(config.model),
        },
    )
    return model


def _report(line: str) -> None:
    say(f"train: {line}")


def _checkpoints(
    config: ExperimentConfig, resolved: dict[str, Any], problems: Sequence[Problem]
) -> Checkpoints:
    """Those of the run's folder, which refuses to go on with another config or other problems."""
    return Checkpoints(
        Path(config.run.dir),
        keep=config.train.keep_checkpoints,
        keep_model_every=config.train.keep_model_every,
        identity=identity_of(resolved, problems_hash(problems)),
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


def refuse_other_specs(
    models: Mapping[str, str],
    benchmarks: Sequence[Benchmark],
    folder: Path,
    source: Source,
    seed: int,
    rewards: RewardsConfig,
) -> None:
    """Refuse evaluations that lie in the folder and were made otherwise, before any of them is gone on with.

    Raises:
        ConfigError: the first difference, by its folder.
    """
    for benchmark in benchmarks:
        stored = {
            name: path
            for name in models
            if (path := evaluation_folder(folder, benchmark, name) / SPEC_FILE).exists()
        }
        if not stored or not benchmark.problems:
            continue
        with verifier_pool(benchmark.problems, rewards.asked_for(benchmark.template.extraction)) as verifier:
            for name, path in stored.items():
                renderer = source.renderer(models[name], benchmark.template)
                spec = _spec(models[name], name, benchmark, source, renderer, seed, verifier.identity)
                refuse_other_spec(read_json(path), asdict(spec), path)


def run_evaluations(
    *,
    models: Mapping[str, str],
    benchmarks: Sequence[Benchmark],
    folder: Path,
    source: Source,
    seed: int,
    rewards: RewardsConfig,
) -> dict[str, list[Evaluation]]:
    """Measure models on benchmarks, one model after another, and keep each pair in ``BENCHMARK/MODEL``.

    Goes on where an earlier call stopped, and starts nothing when all is done.

    Args:
        models: folders, or names at a server, by their names in tables.
        benchmarks: the problems and how they are sampled.
        folder: where the evaluations lie.
        source: what samples.
        seed: of the sampling.
        rewards: how answers are judged.

    Returns:
        For each model by its name the evaluations in the order of the benchmarks.
    """
    with ExitStack() as stack:
        verifiers = [
            stack.enter_context(verifier_pool(each.problems, rewards.asked_for(each.template.extraction)))
            for each in benchmarks
        ]
        engines = stack.enter_context(source.engines(benchmarks))
        for name, model in models.items():
            tasks = []
            for benchmark, verifier in zip(benchmarks, verifiers, strict=True):
                renderer = source.renderer(model, benchmark.template)
                spec = _spec(model, name, benchmark, source, renderer, seed, verifier.identity)
                home = evaluation_folder(folder, benchmark, name)
                tasks.append(EvaluationTask(home, benchmark, spec, renderer, verifier))
            _run_missing(tasks, model, name, engines, seed)
    return {
        name: [
            load_evaluation(evaluation_folder(folder, each, name), [problem.id for problem in each.problems])
            for each in benchmarks
        ]
        for name in models
    }


def evaluation_folder(folder: Path, benchmark: Benchmark, name: str) -> Path:
    """Where the evaluation of the model of that name lies."""
    return folder / benchmark.name / name


@dataclass(frozen=True, slots=True)
class EvaluationTask:
    """One model on one benchmark, ready to be sampled."""

    folder: Path
    benchmark: Benchmark
    spec: EvaluationSpec
    renderer: Renderer
    verifier: Verifier

    @property
    def num_samples(self) -> int:
        """Wanted in all."""
        return self.spec.num_problems * self.spec.num_samples

    def num_stored(self) -> int:
        """There already."""
        store = SampleStore(self.folder, self.spec)
        store.close()
        return len(store.done)


def _run_missing(
    tasks: Sequence[EvaluationTask],
    model: str,
    name: str,
    engines: Engines,
    seed: int,
) -> None:
    """Sample what is missing of all tasks of a model, and ask for no engine if nothing is."""
    stored = [task.num_stored() for task in tasks]
    wanted, done = sum(task.num_samples for task in tasks), sum(stored)
    if done == wanted:
        return
    pairs = list(zip(tasks, stored, strict=True))
    missing = {task.folder: (task.spec, task.num_samples - count) for task, count in pairs}
    notes = [f"{done:,} already there" if done else "", evaluation_forecast(missing)]
    say(", ".join([f"evaluate {name}: {wanted - done:,} samples to draw", *(note for note in notes if note)]))
    # A resumed session must not draw the samples of the first one again.
    engine = engines.of(model, seed * 1_000_003 + done)
    for task, count in pairs:
        if count < task.num_samples:
            _sample(engine, task, count)


def _spec(
    model: str,
    name: str,
    benchmark: Benchmark,
    source: Source,
    renderer: Renderer,
    seed: int,
    verifier: str,
) -> EvaluationSpec:
    plan = benchmark.plan
    return EvaluationSpec(
        model_name=name,
        model_path=model,
        model_sha256=source.identity(model),
        benchmark=benchmark.name,
        problems_sha256=problems_hash(benchmark.problems),
        num_problems=len(benchmark.problems),
        num_samples=plan.num_samples,
        prompt_template=renderer.identity,
        sampling=plan.sampling(),
        verifier=verifier,
        seed=seed,
        chance_level=chance_level(benchmark.problems),
    )


def _sample(engine: RolloutEngine, task: EvaluationTask, num_done: int) -> None:
    """Draw what is missing of one evaluation, with a line or a bar of progress."""
    started = time.monotonic()
    if isinstance(task.renderer, PromptRenderer):
        write_text(task.folder / PROMPT_FILE, task.renderer.text(task.benchmark.problems[0]))

    def show(now: EvaluationProgress) -> None:
        rate = now.num_tokens / (time.monotonic() - started)
        correct = now.num_correct / max(1, now.num_sampled)
        cut_off = now.num_cut_off / max(1, now.num_sampled)
        progress.update(now.num_done, f"correct {correct:.3f}  cut off {cut_off:.0%}  {rate:,.0f} tok/s")

    title = f"evaluate {task.spec.model_name} on {task.benchmark.name}"
    with StageProgress(title, task.num_samples, num_done) as progress:
        evaluate(
            engine=engine,
            renderer=task.renderer,
            verifier=task.verifier,
            problems=task.benchmark.problems,
            plan=task.benchmark.plan,
            spec=task.spec,
            folder=task.folder,
            on_progress=show,
        )
    _add_seconds(task.folder, time.monotonic() - started)


def _add_seconds(folder: Path, seconds: float) -> None:
    """Wall time over all sessions of an evaluation."""
    path = folder / "wall_seconds.json"
    write_json(path, round(evaluation_seconds(folder) + seconds, 1))


def evaluation_seconds(folder: Path) -> float:
    """Wall time that an evaluation has taken, over all its sessions."""
    path = folder / "wall_seconds.json"
    return float(json.loads(path.read_text())) if path.exists() else 0.0
