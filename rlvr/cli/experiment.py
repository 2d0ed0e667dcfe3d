"""What train, evaluate and study share: preparing, training and measuring one model."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rlvr.cluster import check_plan, rollout_pool, training_pools
from rlvr.config import (
    BenchmarkConfig,
    ClusterConfig,
    DataConfig,
    EvaluationConfig,
    ExperimentConfig,
    RolloutConfig,
)
from rlvr.data.loaders import benchmark_problems, problems_hash, training_problems
from rlvr.data.prompts import ChatRenderer, check_context, check_prompt_lengths, load_renderer, model_hash
from rlvr.driver import train
from rlvr.errors import ConfigError
from rlvr.eval.evaluate import EvaluationProgress, evaluate
from rlvr.eval.store import Evaluation, EvaluationSpec, SampleStore, load_evaluation, write_json
from rlvr.protocols import RolloutEngine, Verifier
from rlvr.provenance import provenance
from rlvr.records import Problem
from rlvr.rewards.config import RewardsConfig
from rlvr.rewards.pool import VerifierPool
from rlvr.rewards.registry import chance_level, verifier_pool
from rlvr.tracking.progress import StageProgress, TrainingProgress, say
from rlvr.tracking.trackers import make_trackers

CONFIG_FILE, TRAINED_FILE, MODEL_FOLDER = "config.json", "trained.json", "model"


def claim_run(folder: Path, resolved: dict[str, Any]) -> None:
    """Write the resolved config into the run's folder, or check that it is the one there.

    Raises:
        ConfigError: the folder belongs to a run with other settings; the differences are named.
    """
    path = folder / CONFIG_FILE
    if path.exists():
        differences = list(_differences(json.loads(path.read_text()), resolved))
        if differences:
            raise ConfigError(
                f"{folder} holds a run with other settings:\n"
                + "\n".join(f"    {line}" for line in differences[:12]),
                where="run.dir",
                fix=f"run.dir=ANOTHER_FOLDER, or delete {folder}",
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, resolved)


def _differences(stored: Any, wanted: Any, key: str = "") -> list[str]:
    if isinstance(stored, dict) and isinstance(wanted, dict):
        lines = []
        for name in sorted({*stored, *wanted}):
            lines += _differences(stored.get(name), wanted.get(name), f"{key}.{name}" if key else name)
        return lines
    return [] if stored == wanted else [f"{key}: {stored!r} there, {wanted!r} now"]


def check_training(config: ExperimentConfig) -> tuple[list[Problem], ChatRenderer, VerifierPool]:
    """Load and check everything that training needs, before any engine starts.

    Raises:
        RlvrError: the first thing that is wrong.
    """
    check_plan(config.rollout, config.learner, config.cluster)
    renderer = load_renderer(config.model)
    problems = training_problems(config.data)
    check_prompt_lengths(renderer, problems, config.rollout.max_prompt_tokens)
    check_context(config.model, config.rollout.max_prompt_tokens + config.rollout.max_response_tokens)
    return problems, renderer, verifier_pool(problems, config.rewards)


def run_training(config: ExperimentConfig, resolved: dict[str, Any]) -> Path:
    """Train unless the run's folder already holds the trained model; return the model's folder."""
    name = config.algorithm.name
    folder = Path(config.run.dir)
    model = folder / MODEL_FOLDER
    if (folder / TRAINED_FILE).exists():
        say(f"train: {model} is already there, nothing to do")
        return model
    problems, renderer, verifier = check_training(config)
    algorithm = config.build_algorithm()
    say(
        f"train: {name}, {config.train.num_steps} steps of {config.train.prompts_per_step} prompts × "
        f"{algorithm.group_size}, {len(problems)} problems; starting Ray, vLLM and DeepSpeed"
    )
    started = time.monotonic()
    tracker = make_trackers(
        folder, config.tracking, resolved, TrainingProgress(f"train {name}", config.train.num_steps)
    )
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
                config.seed,
            ) as (engine, learner),
        ):
            say(f"train: engines ready after {time.monotonic() - started:.0f} s")
            train(
                config=config.train,
                algorithm=algorithm,
                engine=engine,
                learner=learner,
                verifier=verifier,
                renderer=renderer,
                problems=problems,
                max_response_tokens=config.rollout.max_response_tokens,
                seed=config.seed,
                tracker=tracker,
                num_logged_samples=config.tracking.num_logged_samples,
                output=model,
            )
    finally:
        tracker.close()
    # Written last: a run that has this file is complete.
    write_json(
        folder / TRAINED_FILE,
        {
            **provenance(resolved),
            "wall_seconds": round(time.monotonic() - started, 1),
            "model_sha256": model_hash(str(model)),
            "start_model_sha256": model_hash(config.model),
        },
    )
    return model


def saved_checkpoints(folder: Path, name: str) -> dict[str, str]:
    """Intermediate models of a run by the names that tables give them, in the order of their steps."""
    found = {
        int(match.group(1)): path
        for path in folder.glob(f"{MODEL_FOLDER}-step*")
        if (match := re.fullmatch(rf"{MODEL_FOLDER}-step(\d+)", path.name))
    }
    return {f"{name}-step{step}": str(found[step]) for step in sorted(found)}


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark with its problems loaded."""

    name: str
    problems: list[Problem]
    out_of_domain: bool = False


def load_benchmarks(configs: Mapping[str, BenchmarkConfig], data: DataConfig) -> list[Benchmark]:
    """Load every benchmark, the in-domain ones first.

    Raises:
        ConfigError: there is none, or none that is in-domain.
    """
    if not any(not config.out_of_domain for config in configs.values()):
        raise ConfigError(
            "there is no in-domain benchmark to measure on",
            where="benchmarks",
            fix="for example '+benchmarks.chains={family: chains}', or {path: FILE.jsonl}",
        )
    loaded = [
        Benchmark(config.name, benchmark_problems(config, data), config.out_of_domain)
        for config in configs.values()
    ]
    return sorted(loaded, key=lambda benchmark: benchmark.out_of_domain)


def run_evaluations(
    *,
    model: str,
    name: str,
    benchmarks: Mapping[Path, Benchmark],
    settings: EvaluationConfig,
    rollout: RolloutConfig,
    cluster: ClusterConfig,
    seed: int,
    rewards: RewardsConfig,
) -> list[Evaluation]:
    """Measure one model on benchmarks, each in its folder, with one start of the engines.

    Goes on where an earlier call stopped, and starts nothing when all is done.
    """
    check_plan(rollout, None, cluster)
    renderer = load_renderer(model)
    check_context(model, rollout.max_prompt_tokens + settings.max_tokens)
    with ExitStack() as stack:
        verifiers = {
            folder: stack.enter_context(verifier_pool(benchmark.problems, rewards))
            for folder, benchmark in benchmarks.items()
        }
        return _run_evaluations(
            model, name, benchmarks, settings, rollout, cluster, seed, renderer, verifiers
        )


def _run_evaluations(
    model: str,
    name: str,
    benchmarks: Mapping[Path, Benchmark],
    settings: EvaluationConfig,
    rollout: RolloutConfig,
    cluster: ClusterConfig,
    seed: int,
    renderer: ChatRenderer,
    verifiers: Mapping[Path, Verifier],
) -> list[Evaluation]:
    specs, missing = {}, {}
    for folder, benchmark in benchmarks.items():
        check_prompt_lengths(renderer, benchmark.problems, rollout.max_prompt_tokens)
        specs[folder] = _spec(model, name, benchmark, settings, renderer, seed, verifiers[folder].identity)
        store = SampleStore(folder, specs[folder])
        missing[folder] = specs[folder].num_problems * settings.num_samples - len(store.done)
        store.close()
    if any(missing.values()):
        wanted = sum(spec.num_problems * spec.num_samples for spec in specs.values())
        done = wanted - sum(missing.values())
        say(
            f"evaluate {name}: {sum(missing.values()):,} samples to draw"
            + (f", {done:,} already there" if done else "")
            + "; starting vLLM"
        )
        # The engine must hold a prompt and a whole response of this evaluation.
        sized = replace(rollout, max_response_tokens=settings.max_tokens)
        # A resumed session must not draw the samples of the first one again.
        engine_seed = seed * 1_000_003 + done
        with rollout_pool(model, sized, cluster, engine_seed) as engine:
            for folder, benchmark in benchmarks.items():
                if missing[folder]:
                    _sample(engine, renderer, verifiers[folder], benchmark, settings, specs[folder], folder)
    return [
        load_evaluation(folder, [problem.id for problem in benchmark.problems])
        for folder, benchmark in benchmarks.items()
    ]


def _spec(
    model: str,
    name: str,
    benchmark: Benchmark,
    settings: EvaluationConfig,
    renderer: ChatRenderer,
    seed: int,
    verifier: str,
) -> EvaluationSpec:
    return EvaluationSpec(
        model_name=name,
        model_path=model,
        model_sha256=model_hash(model),
        benchmark=benchmark.name,
        problems_sha256=problems_hash(benchmark.problems),
        num_problems=len(benchmark.problems),
        num_samples=settings.num_samples,
        prompt_template=renderer.identity,
        sampling={
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "max_tokens": settings.max_tokens,
        },
        verifier=verifier,
        seed=seed,
        chance_level=chance_level(benchmark.problems),
    )


def _sample(
    engine: RolloutEngine,
    renderer: ChatRenderer,
    verifier: Verifier,
    benchmark: Benchmark,
    settings: EvaluationConfig,
    spec: EvaluationSpec,
    folder: Path,
) -> None:
    """Draw what is missing of one evaluation, with a line or a bar of progress."""
    total = spec.num_problems * spec.num_samples
    title = f"evaluate {spec.model_name} on {benchmark.name}"
    started = time.monotonic()

    def show(now: EvaluationProgress) -> None:
        rate = now.num_tokens / (time.monotonic() - started)
        correct = now.num_correct / max(1, now.num_sampled)
        progress.update(now.num_done, f"correct {correct:.3f}  {rate:,.0f} tok/s")

    store = SampleStore(folder, spec)
    num_done = len(store.done)
    store.close()
    with StageProgress(title, total, num_done) as progress:
        evaluate(
            engine=engine,
            renderer=renderer,
            verifier=verifier,
            problems=benchmark.problems,
            settings=settings,
            spec=spec,
            folder=folder,
            on_progress=show,
        )
    _add_seconds(folder, time.monotonic() - started)


def _add_seconds(folder: Path, seconds: float) -> None:
    """Wall time over all sessions of an evaluation."""
    path = folder / "wall_seconds.json"
    write_json(path, round(evaluation_seconds(folder) + seconds, 1))


def evaluation_seconds(folder: Path) -> float:
    """Wall time that an evaluation has taken, over all its sessions."""
    path = folder / "wall_seconds.json"
    return float(json.loads(path.read_text())) if path.exists() else 0.0


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Rows of a run's metrics.jsonl."""
    path = folder / "metrics.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
