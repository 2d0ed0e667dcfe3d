"""Evaluations of several models on several benchmarks: refused, gone on with, sampled, read back."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from rlvr.data.benchmarks import Benchmark
from rlvr.data.loaders import problems_hash
from rlvr.data.prompts import PromptRenderer
from rlvr.eval.evaluate import EvaluationProgress, evaluate
from rlvr.eval.loading import load_results
from rlvr.eval.results import StudyResults
from rlvr.eval.reuse import take_over_evaluation
from rlvr.eval.store import EvaluationSpec, SampleStore, refuse_other_spec
from rlvr.files import write_text
from rlvr.protocols import Renderer, RolloutEngine, Verifier
from rlvr.rewards.config import RewardsConfig
from rlvr.rewards.registry import chance_level, verifier_pool
from rlvr.run_folder import PROMPT_FILE, SPEC_FILE, add_evaluation_seconds, evaluation_folder, read_json
from rlvr.tracking.progress import StageProgress, say
from rlvr.workflows.forecast import evaluation_forecast
from rlvr.workflows.sources import Engines, Source


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
            if (path := evaluation_folder(folder, benchmark.name, name) / SPEC_FILE).exists()
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
    reuse_from: str | None = None,
) -> StudyResults:
    """Measure models on benchmarks, one model after another, keep each pair in ``BENCHMARK/MODEL``, and read them back.

    Goes on where an earlier call stopped, and starts nothing when all is done.

    Args:
        models: folders, or names at a server, by their names in tables.
        benchmarks: the problems and how they are sampled.
        folder: ``run.dir``.
        source: what samples.
        seed: of the sampling.
        rewards: how answers are judged.
        reuse_from: a folder of other studies, whose evaluations are taken over where they are the same.

    Returns:
        What is in the folder of these models, in their order.
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
                home = evaluation_folder(folder, benchmark.name, name)
                if other := take_over_evaluation(home, spec, reuse_from):
                    say(f"evaluate {name} on {benchmark.name}: the same as {other}, and taken from there")
                tasks.append(EvaluationTask(home, benchmark, spec, renderer, verifier))
            _run_missing(tasks, model, name, engines, source.num_engines, seed)
    return load_results(
        [folder],
        [each.name for each in benchmarks],
        models=list(models),
        out_of_domain=[each.name for each in benchmarks if each.out_of_domain],
    )


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
    num_engines: int | None,
    seed: int,
) -> None:
    """Sample what is missing of all tasks of a model, and ask for no engine if nothing is."""
    stored = [task.num_stored() for task in tasks]
    wanted, done = sum(task.num_samples for task in tasks), sum(stored)
    if done == wanted:
        return
    pairs = list(zip(tasks, stored, strict=True))
    missing = {task.folder: (task.spec, task.num_samples - count) for task, count in pairs}
    notes = [
        f"{done:,} already there" if done else "",
        "" if num_engines is None else f"on {num_engines} engine{'s' * (num_engines > 1)}",
        evaluation_forecast(missing, num_engines),
    ]
    say(", ".join([f"evaluate {name}: {wanted - done:,} samples to draw", *(note for note in notes if note)]))
    # A resumed session must not draw the samples of the first one again.
    engine = engines.of(model, seed * 1_000_003 + done)
    for task, count in pairs:
        if count < task.num_samples:
            _sample(engine, task, count, num_engines)


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


def _sample(engine: RolloutEngine, task: EvaluationTask, num_done: int, num_engines: int | None) -> None:
    """Draw what is missing of one evaluation, with a line or a bar of progress."""
    started = time.monotonic()
    if isinstance(task.renderer, PromptRenderer):
        write_text(task.folder / PROMPT_FILE, task.renderer.text(task.benchmark.problems[0]))

    def show(now: EvaluationProgress) -> None:
        rate = now.num_tokens / (time.monotonic() - started)
        correct, cut_off = now.num_correct / now.num_done, now.num_cut_off / now.num_done
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
    add_evaluation_seconds(task.folder, time.monotonic() - started, num_engines)
