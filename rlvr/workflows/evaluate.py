"""Measure models on benchmarks, and write the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlvr.checkpoint import set_aside
from rlvr.config import EvaluateConfig
from rlvr.data.benchmarks import Benchmark
from rlvr.errors import ConfigError
from rlvr.eval.report import Report, StudyResults, write_report
from rlvr.eval.store import read_counts
from rlvr.files import slug
from rlvr.planning.evaluation_pool import evaluation_pool
from rlvr.provenance import plain_data, provenance
from rlvr.run_folder import BASE, MODEL_FOLDER
from rlvr.tracking.progress import say
from rlvr.tracking.results import ResultTracker
from rlvr.workflows.measuring import evaluation_folder, refuse_other_specs, run_evaluations
from rlvr.workflows.ownership import refuse_not_for_evaluations, refuse_other_evaluations
from rlvr.workflows.preflight import load_benchmarks
from rlvr.workflows.sources import OwnEngines, Server, Source
from rlvr.workflows.tracked import log_report


def evaluate_models(config: EvaluateConfig, resolved: dict[str, Any] | None = None) -> Report:
    """What `rlvr evaluate` does: every model on every benchmark, and the report in ``config.run.dir``.

    Samples that are there already are not drawn again.

    Args:
        config: ``regrade`` is None, see :func:`rlvr.workflows.regrade.regrade_models`.
        resolved: the config as plain data without secrets; made of it by default.

    Returns:
        The report: where it lies, and a comparison for each benchmark.

    Raises:
        RlvrError: something is wrong with config, data, models or hardware, which is said before anything starts; or an
            engine, a server or the verifier failed.
    """
    resolved = plain_data(config) if resolved is None else resolved
    folder = Path(config.run.dir)
    with ResultTracker(folder, config.tracking, resolved) as tracker:
        report = write_report(folder, measured(config, folder, resolved, tracker), seed=config.seed)
        log_report(tracker, report)
    return report


def measured(
    config: EvaluateConfig, folder: Path, resolved: dict[str, Any], tracker: ResultTracker
) -> StudyResults:
    """Every model on every benchmark, one model after another."""
    models, benchmarks, source = prepared(config)
    anew = config.run.resume == "never"
    unfinished = [
        model for name, model in models.items() if anew or not is_finished(folder, name, benchmarks)
    ]
    # What cannot work is said before anything starts; what is finished needs neither hardware nor server.
    source.check(unfinished, benchmarks)
    refuse_unlike_prompts(models, benchmarks, source)
    if anew:
        set_aside(folder)
    else:
        refuse_other_specs(models, benchmarks, folder, source, config.seed, config.rewards)
    tracker.start()
    results = run_evaluations(
        models=models,
        benchmarks=benchmarks,
        folder=folder,
        source=source,
        seed=config.seed,
        rewards=config.rewards,
        reuse_from=config.run.reuse_from,
    )
    return replace(results.with_provenance(provenance(resolved)), title=f"pass@k of {', '.join(models)}")


def prepared(
    config: EvaluateConfig, *, ask_hub: bool = True
) -> tuple[dict[str, str], list[Benchmark], OwnEngines | Server]:
    """What is measured on what, and by what: models by name, benchmarks, and the source of responses.

    Raises:
        RlvrError: names, benchmarks or the folder do not do.
    """
    models = named_models(config)
    if not config.benchmarks:
        raise ConfigError(
            "nothing is named that could be measured",
            where="benchmark",
            fix="benchmark=math500, benchmark=own.jsonl, or several: 'benchmarks=[math500,aime24]'; `rlvr data show` lists them",
        )
    refuse_not_for_evaluations(Path(config.run.dir))
    benchmarks = load_benchmarks(
        config.benchmarks, config.data, config.evaluation, config.prompt, config.rewards, ask_hub=ask_hub
    )
    if config.run.resume != "never":
        refuse_other_evaluations(Path(config.run.dir), models, [each.name for each in benchmarks])
    if config.api.base_url is None:
        pool = evaluation_pool(config.rollout, None, config.cluster, config.evaluation.num_workers)
        return models, benchmarks, OwnEngines(pool, config.cluster, ask_hub)
    # A request there is one sample, which is stored as soon as it is judged: it may have been paid for.
    benchmarks = [replace(each, plan=replace(each.plan, chunk_size=1)) for each in benchmarks]
    return models, benchmarks, Server(config.api)


def refuse_unlike_prompts(models: Mapping[str, str], benchmarks: Sequence[Benchmark], source: Source) -> None:
    """Refuse models that would be asked in different words, which would be found out after days of sampling.

    Raises:
        ConfigError: the chat templates of two models differ, and the prompt goes through them.
    """
    for benchmark in benchmarks:
        asked = {name: source.renderer(model, benchmark.template).identity for name, model in models.items()}
        base = next(iter(asked), "")
        for name in asked:
            if asked[name] != asked[base]:
                raise ConfigError(
                    f"{base!r} and {name!r} could not be compared on {benchmark.name}: their chat templates differ, "
                    f"and prompt={benchmark.template.name} goes through them",
                    where="prompt",
                    fix="a prompt that is plain text, such as prompt=plain; or a copy of one model's folder with the "
                    "other one's chat template",
                )


def is_finished(folder: Path, name: str, benchmarks: Sequence[Benchmark]) -> bool:
    """Whether the evaluations of the model of that name hold all their samples."""
    return all(
        read_counts(evaluation_folder(folder, each.name, name), [problem.id for problem in each.problems])
        is not None
        for each in benchmarks
    )


def named_models(config: EvaluateConfig) -> dict[str, str]:
    """The models' folders, or names at the server, by their names in tables.

    The base is the first: the one called ``base``, or else the one that is named first.

    Raises:
        ConfigError: two have the same name, or a name cannot be that of a folder.
    """
    if isinstance(config.models, dict):
        wanted = [(str(name), str(model)) for name, model in config.models.items()]
    else:
        folders = [str(model) for model in config.models or [config.model]]
        wanted = [(config.name or default_name(model), model) for model in folders]
    names = [name for name, _ in wanted]
    for name in names:
        if names.count(name) > 1 or name != slug(name):
            raise ConfigError(
                f"two models would be called {name!r}"
                if names.count(name) > 1
                else f"no model can be called {name!r}",
                where="models",
                fix="models={NAME: FOLDER, …}: a name of its own for each, of letters, digits, dots and dashes",
            )
    wanted.sort(key=lambda each: each[0] != BASE)
    if names[0] != wanted[0][0]:
        say(f"evaluate: the base is the model called {BASE!r}, though {names[0]!r} is named first")
    if config.api.base_url is not None:
        return dict(wanted)
    return {name: model_folder(model) for name, model in wanted}


def model_folder(model: str) -> str:
    """The model itself, where the folder of its training run is given."""
    inner = Path(model) / MODEL_FOLDER
    return str(inner) if inner.exists() else model


def default_name(model: str) -> str:
    """A model's short name: its folder's, or its run's for a folder called ``model``."""
    path = Path(model)
    return path.parent.name if path.name == MODEL_FOLDER and path.parent.name else path.name
