"""A study: train from one base, measure the base and the trained models, write the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlvr.algorithms.registry import ALGORITHMS
from rlvr.config import ExperimentConfig
from rlvr.errors import ConfigError, did_you_mean
from rlvr.eval.names import checkpoint_of, seed_name, seed_of
from rlvr.eval.report import BenchmarkResults, Report, write_report
from rlvr.files import slug
from rlvr.planning.evaluation_pool import evaluation_pool
from rlvr.provenance import plain_data, provenance
from rlvr.run_folder import BASE, EVALUATIONS_FOLDER, read_provenance
from rlvr.tracking.progress import say
from rlvr.tracking.results import ResultTracker
from rlvr.workflows.inputs import checked_inputs, refuse_other_inputs
from rlvr.workflows.longer import check_measured, keep_measured
from rlvr.workflows.measuring import run_evaluations
from rlvr.workflows.ownership import STUDY, Owner, refuse_other_kind, refuse_other_runs, take_folders
from rlvr.workflows.preflight import load_benchmarks
from rlvr.workflows.sources import OwnEngines
from rlvr.workflows.tracked import in_group, log_report
from rlvr.workflows.train import kept_models, run_training

Run = tuple[ExperimentConfig, dict[str, Any]]
"""A training run: its config, and the same as plain data."""
Compose = Callable[[list[str], dict[str, Any]], Run]
"""Makes a study's config that of one run, by overrides, ``key=value`` each, and by new values of dotted keys."""


def run_study(
    config: ExperimentConfig,
    runs: Mapping[str, Run] | None = None,
    resolved: dict[str, Any] | None = None,
) -> Report:
    """What `rlvr study` does: train, measure base and trained models, and write the report in ``config.run.dir``.

    What an earlier call has done is not done again.

    Args:
        config: of the study.
        runs: its training runs by name; by default those that ``algorithms`` and ``seeds`` name.
        resolved: the config as plain data without secrets; made of it by default.

    Returns:
        The report: where it lies, and a comparison for each benchmark.

    Raises:
        RlvrError: something is wrong with config, data, model or hardware, which is said before anything starts; or
            training or an evaluation failed.
    """
    resolved = plain_data(config) if resolved is None else resolved
    runs = training_runs(config, from_python(config)) if runs is None else runs
    folder = Path(config.run.dir)
    inputs = {name: checked_inputs(run_config) for name, (run_config, _) in runs.items()}
    benchmarks = load_benchmarks(
        config.benchmarks, config.data, config.evaluation, config.prompt, config.rewards
    )
    source = study_engines(config)
    source.check([config.model], benchmarks)
    take_folders(refuse_other_study(folder, resolved, runs, inputs))

    models = {BASE: config.model}
    for name, (run_config, run_resolved) in runs.items():
        keep_measured(folder, name, run_config)
        models[name] = str(run_training(run_config, run_resolved))
        if config.evaluation.checkpoints:
            models |= kept_models(run_config, name)
    results = run_evaluations(
        models=models,
        benchmarks=benchmarks,
        folder=folder,
        source=source,
        seed=config.seed,
        rewards=config.rewards,
        reuse_from=config.run.reuse_from,
    )
    say("report: intervals by bootstrap, figures, HTML")
    own = study_provenance(resolved, folder, list(runs), results.benchmarks)
    report = write_report(folder, results.with_provenance(own), seed=config.seed)
    with ResultTracker(folder, in_group(config.tracking, folder), resolved) as tracker:
        log_report(tracker, report)
    return report


def study_engines(config: ExperimentConfig, *, ask_hub: bool = True) -> OwnEngines:
    """What the models of a study are measured with, once both pools of the training are gone."""
    pool = evaluation_pool(config.rollout, config.learner, config.cluster, config.evaluation.num_workers)
    return OwnEngines(pool, config.cluster, ask_hub)


def refuse_other_study(
    folder: Path,
    resolved: dict[str, Any],
    runs: Mapping[str, Run],
    inputs: Mapping[str, dict[str, Any]],
) -> list[Owner]:
    """Refuse a folder that holds another study, or anything else; return what is to be taken.

    Args:
        folder: of the study.
        resolved: its config as plain data.
        runs: its training runs by name.
        inputs: what each of them is made of besides its config.

    Raises:
        ConfigError: it does; or a run there was made of other problems or other code; or a study that is to be made
            longer is half measured.
    """
    if resolved["run"]["resume"] != "never":
        check_measured(folder, {name: run_config for name, (run_config, _) in runs.items()})
    refuse_other_kind(folder, resolved, STUDY)
    owners = [(folder, resolved), *((Path(each.run.dir), plain) for each, plain in runs.values())]
    refuse_other_runs(owners)
    for name, (run_config, _) in runs.items():
        refuse_other_inputs(run_config, inputs[name])
    return owners


def training_runs(config: ExperimentConfig, compose: Compose) -> dict[str, Run]:
    """The runs of a study by name, each in a folder of its own.

    Raises:
        ConfigError: an unknown algorithm, a name twice, or seeds from two places.
    """
    wanted = wanted_runs(config)
    refuse_seeds_twice(config, wanted)
    fixed: dict[str, Any] = {"algorithms": [], "variants": {}, "seeds": []}
    runs = {}
    for name, overrides in wanted.items():
        seeded = {seed_name(name, seed): {"seed": seed} for seed in config.seeds} or {name: {}}
        for run, own in seeded.items():
            tracking = {"tracking.wandb_group": in_group(config.tracking, Path(config.run.dir)).wandb_group}
            changes = {**fixed, **tracking, "run.dir": str(Path(config.run.dir) / run), **own}
            runs[run] = compose(overrides, changes)
    return runs


def from_python(config: ExperimentConfig) -> Compose:
    """Runs without Hydra: ``algorithm=NAME`` is the only override, and takes that algorithm's defaults."""

    def compose(overrides: list[str], changes: dict[str, Any]) -> Run:
        run = replace(config)
        for override in overrides:
            key, _, name = override.partition("=")
            if key != "algorithm" or config.variants:
                raise ConfigError(
                    "the overrides of variants are words of the command line",
                    where="variants",
                    fix="run_study(config, runs): a config of its own for each run",
                )
            run = replace(run, algorithm=ALGORITHMS[name])
        for dotted, value in changes.items():
            section, _, key = dotted.rpartition(".")
            new = {key: value} if not section else {section: replace(getattr(run, section), **{key: value})}
            run = replace(run, **new)
        return run, plain_data(run)

    return compose


def wanted_runs(config: ExperimentConfig) -> dict[str, list[str]]:
    """Overrides by name of what is to be trained, before the seeds."""
    if config.algorithms and config.variants:
        raise ConfigError(
            "both algorithms and variants are given", where="variants", fix="algorithms=[] or variants={}"
        )
    for name in config.algorithms:
        if name not in ALGORITHMS:
            raise ConfigError(
                f"there is no algorithm {name!r}", where="algorithms", fix=did_you_mean(name, ALGORITHMS)
            )
    wanted = (
        list(config.variants.items())
        or [(name, [f"algorithm={name}"]) for name in config.algorithms]
        or [(config.algorithm.name, [])]
    )
    names = [name for name, _ in wanted]
    for name in names:
        if names.count(name) > 1 or is_taken(name) or name != slug(name):
            raise ConfigError(
                f"two models would be called {name!r}"
                if names.count(name) > 1
                else f"no run can be called {name!r}",
                where="variants" if config.variants else "algorithms",
                fix="a name of its own for each, of letters, digits, dots and dashes, and without -seedN or -stepN "
                "at its end",
            )
    return dict(wanted)


def is_taken(name: str) -> bool:
    """Whether a name means something else to the report: the base, a run of a seed, a checkpoint."""
    return name in (BASE, EVALUATIONS_FOLDER) or bool(seed_of(name) or checkpoint_of(name))


def refuse_seeds_twice(config: ExperimentConfig, wanted: Mapping[str, Sequence[str]]) -> None:
    """Raise a ConfigError if a variant sets the seed that ``seeds`` sets too."""
    if not config.seeds:
        return
    for name, overrides in wanted.items():
        if any(override.partition("=")[0].lstrip("+~") == "seed" for override in overrides):
            raise ConfigError(
                f"the variant {name!r} sets a seed, and seeds sets it too",
                where="variants",
                fix="seeds=[…] in one study, and no seed=… beside it",
            )


def study_provenance(
    resolved: dict[str, Any], folder: Path, runs: Sequence[str], measured: Sequence[BenchmarkResults]
) -> dict[str, Any]:
    """Where the numbers come from, besides what lies in the folder: versions, hashes."""
    return {
        **provenance(resolved),
        "train_seconds": {name: read_provenance(folder / name)["wall_seconds"] for name in runs},
        "models": {each.name: each.spec.model_sha256 for each in measured[0].evaluations},
        "problems_sha256": {each.name: each.evaluations[0].spec.problems_sha256 for each in measured},
    }
