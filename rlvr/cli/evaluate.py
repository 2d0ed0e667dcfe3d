"""``rlvr evaluate``: measure pass@k of models on benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlvr.checkpoint import set_aside
from rlvr.cli import hydra_app
from rlvr.cli.claim import refuse_other_evaluations
from rlvr.cli.dry_run import show_evaluation, show_requests
from rlvr.cli.experiment import MODEL_FOLDER, evaluation_folder, refuse_other_specs, run_evaluations
from rlvr.cli.pace import pace_of
from rlvr.cli.preflight import is_local, load_benchmarks
from rlvr.cli.regrade import change_lines, regrade
from rlvr.cli.sources import OwnEngines, Server, Source
from rlvr.cli.tracked import log_report
from rlvr.config import EvaluateConfig
from rlvr.data.benchmarks import Benchmark
from rlvr.errors import ConfigError
from rlvr.eval.collect import collect
from rlvr.eval.homes import STUDY_FOLDER
from rlvr.eval.report import BenchmarkResults, StudyResults, write_report
from rlvr.eval.store import read_counts
from rlvr.eval.tables import table_lines
from rlvr.provenance import provenance
from rlvr.tracking.results import ResultTracker

EXAMPLES = """\
rlvr evaluate: sample n responses to every problem, verify them, report unbiased pass@k.

Examples:
  rlvr evaluate model=runs/tiny/grpo benchmark=chains num_samples=256 rollout.num_workers=2
  rlvr evaluate model=Qwen/Qwen2.5-7B benchmark=math500 prompt=qwen_boxed
  rlvr evaluate 'models=[Qwen/Qwen2.5-7B,runs/mine]' 'benchmarks=[math500,aime24,amc23]' run.dir=runs/both
  rlvr evaluate model=runs/mine benchmark=test.jsonl num_samples=16      a file of your own
  rlvr evaluate model=runs/mine 'benchmarks={hard: {path: test.jsonl, family: gsm8k, num_problems: 20}}'
  rlvr evaluate regrade=runs/evaluate/tiny rewards.math.units=required   new verdicts, nothing sampled
  rlvr evaluate model=NAME api.base_url=http://localhost:8000/v1 prompt=boxed benchmark=math500   a model behind
      `vllm serve` or a vendor's server; a key comes from the environment: api.key_variable=MISTRAL_API_KEY

`rlvr data show` lists the benchmarks and prompt templates. n, temperature, top-p and the longest response are each
benchmark's own unless evaluation.* names them. data.folder=FOLDER takes the sets from there instead of the hub.
Of several models the first one is the base that the others are compared with.
Writes report.html, summary.json and evaluation/BENCHMARK/MODEL/ into run.dir, runs/evaluate/MODEL by default.
Samples are appended as they come; the same command goes on after an interruption.
"""


def run(arguments: list[str]) -> None:
    """Run the command."""
    hydra_app.run(
        "evaluate",
        EvaluateConfig,
        app,
        arguments,
        folder="evaluate",
        examples=EXAMPLES,
        dry_run=show,
    )


def show(config: EvaluateConfig, resolved: dict[str, Any], pace: str) -> None:
    """The dry run: the checks of an evaluation, and what it would do."""
    if config.regrade is not None:
        raise ConfigError(
            "regrading starts no engine, so there is nothing to plan", where="--dry-run", fix="leave it out"
        )
    models, benchmarks, source = prepared(config, ask_hub=False)
    if isinstance(source, Server):
        source.check([], benchmarks)
        show_requests(config, resolved, list(models.values()), benchmarks, pace_of(pace))
        return
    plans = [(f"evaluation of {name}", source.plan(model, benchmarks)) for name, model in models.items()]
    here = {name: model for name, model in models.items() if is_local(model)}
    refuse_unlike_prompts(here, benchmarks, source)
    if config.run.resume != "never":
        refuse_other_specs(
            here, benchmarks, Path(config.run.dir) / STUDY_FOLDER, source, config.seed, config.rewards
        )
    show_evaluation(config, resolved, models, benchmarks, plans, pace_of(pace))


def app(config: EvaluateConfig, resolved: dict[str, Any]) -> None:
    """Measure, then the tables on stdout and the report in the run's folder."""
    folder = Path(config.run.dir)
    with ResultTracker(folder, config.tracking, resolved) as tracker:
        if config.regrade is not None:
            if config.run.resume == "never":
                set_aside(folder)
            changes = regrade(Path(config.regrade), folder, config.rewards)
            print("\n".join([*change_lines(changes), ""]))
            results = collect([folder]).with_provenance(provenance(resolved))
        else:
            results = measured(config, folder, resolved, tracker)
        report = write_report(folder, results, seed=config.seed)
        log_report(tracker, report)
    print("\n".join(table_lines(report.comparisons)))
    print(f"\nreport: {report.path}")


def measured(
    config: EvaluateConfig, folder: Path, resolved: dict[str, Any], tracker: ResultTracker
) -> StudyResults:
    """Every model on every benchmark, one model after another."""
    models, benchmarks, source = prepared(config)
    evaluations, anew = folder / STUDY_FOLDER, config.run.resume == "never"
    unfinished = [
        model for name, model in models.items() if anew or not is_finished(evaluations, name, benchmarks)
    ]
    # What cannot work is said before anything starts; what is finished needs neither hardware nor server.
    source.check(unfinished, benchmarks)
    refuse_unlike_prompts(models, benchmarks, source)
    if anew:
        set_aside(folder)
    else:
        refuse_other_specs(models, benchmarks, evaluations, source, config.seed, config.rewards)
    tracker.start()
    found = run_evaluations(
        models=models,
        benchmarks=benchmarks,
        folder=evaluations,
        source=source,
        seed=config.seed,
        rewards=config.rewards,
    )
    return StudyResults(
        [
            BenchmarkResults(
                [each_model[index] for each_model in found.values()], each.problems, each.out_of_domain
            )
            for index, each in enumerate(benchmarks)
        ],
        provenance=provenance(resolved),
        title=f"pass@k of {', '.join(models)}",
    )


def prepared(
    config: EvaluateConfig, *, ask_hub: bool = True
) -> tuple[dict[str, str], list[Benchmark], OwnEngines | Server]:
    """What is measured on what, and by what: models by name, benchmarks, and the source of responses.

    Raises:
        RlvrError: names, benchmarks or the folder do not do.
    """
    models = named_models(config)
    benchmarks = load_benchmarks(
        config.benchmarks, config.data, config.evaluation, config.prompt, config.rewards, ask_hub=ask_hub
    )
    if config.run.resume != "never":
        refuse_other_evaluations(Path(config.run.dir), models, [each.name for each in benchmarks])
    if config.api.base_url is None:
        return models, benchmarks, OwnEngines(config.rollout, config.cluster, ask_hub)
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


def is_finished(evaluations: Path, name: str, benchmarks: Sequence[Benchmark]) -> bool:
    """Whether the evaluations of the model of that name hold all their samples."""
    return all(
        read_counts(evaluation_folder(evaluations, each, name), [problem.id for problem in each.problems])
        is not None
        for each in benchmarks
    )


def named_models(config: EvaluateConfig) -> dict[str, str]:
    """The models' folders, or names at the server, by their names in tables; the base first.

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
        if names.count(name) > 1 or name != hydra_app.slug(name):
            raise ConfigError(
                f"two models would be called {name!r}"
                if names.count(name) > 1
                else f"no model can be called {name!r}",
                where="models",
                fix="models={NAME: FOLDER, …}: a name of its own for each, of letters, digits, dots and dashes",
            )
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
