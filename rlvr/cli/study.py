"""``rlvr study``: train, measure the base and the trained models, write the report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlvr.algorithms.registry import ALGORITHMS
from rlvr.cli import hydra_app
from rlvr.cli.claim import STUDY, Claim, claim_runs, refuse_other_kind, refuse_other_runs
from rlvr.cli.dry_run import show_training
from rlvr.cli.experiment import (
    evaluation_seconds,
    kept_models,
    run_evaluations,
    run_training,
)
from rlvr.cli.longer import check_measured, keep_measured
from rlvr.cli.overrides import key_of
from rlvr.cli.pace import pace_of
from rlvr.cli.preflight import check_training, load_benchmarks, prepare_training
from rlvr.cli.sources import OwnEngines
from rlvr.cli.tracked import in_group, log_report
from rlvr.config import ExperimentConfig
from rlvr.errors import ConfigError, did_you_mean
from rlvr.eval.homes import TRAINED_FILE, read_metrics
from rlvr.eval.report import BenchmarkResults, StudyResults, write_report
from rlvr.eval.report.results import checkpoint_of
from rlvr.eval.store import Evaluation
from rlvr.eval.tables import table_lines
from rlvr.eval.training_runs import seed_name, seed_of
from rlvr.provenance import provenance
from rlvr.tracking.progress import say
from rlvr.tracking.results import ResultTracker

EXAMPLES = """\
rlvr study: does RL teach the model anything that its base could not already do?

Examples:
  rlvr study recipe=tiny                                 about ten minutes on two cores
  rlvr study recipe=tiny_algorithms                      six algorithms, in and out of domain
  rlvr study recipe=tiny run.dir=runs/quick train.num_steps=20 evaluation.num_samples=64
  rlvr study recipe=tiny run.dir=runs/seeds 'seeds=[0,1,2]'   three runs: intervals that cover training chance
  rlvr study recipe=tiny_kl                              the same for several KL coefficients
  rlvr study recipe=tiny_rollouts                        8 or 32 responses per prompt
  rlvr study recipe=tiny_steps                           checkpoints over training
  rlvr study recipe=deep_analysis scale=tiny             a recipe for a cluster, on two cores: its path, no result
  rlvr study -m recipe=tiny learner.learning_rate=1e-4,4e-4   two studies; then: rlvr report runs/tiny

Stages that are done are not done again: after an interruption, the same command goes on.
Writes report.html, summary.json and figures/ into run.dir, a folder per algorithm, and the samples
into evaluation/.
"""
EVALUATION_FOLDER, BASE = "evaluation", "base"

Run = tuple[ExperimentConfig, dict[str, Any]]
"""A training run: its config, and the same as plain data."""


def run(arguments: list[str]) -> None:
    """Run the command."""
    hydra_app.run(
        "study",
        ExperimentConfig,
        app,
        arguments,
        folder="experiment",
        examples=EXAMPLES,
        dry_run=show,
    )


def show(config: ExperimentConfig, resolved: dict[str, Any], pace: str) -> None:
    """The dry run of a study: every training run and the evaluations."""
    folder, runs = Path(config.run.dir), training_runs(config)
    prepared = {name: prepare_training(run_config, ask_hub=False) for name, (run_config, _) in runs.items()}
    benchmarks = load_benchmarks(
        config.benchmarks, config.data, config.evaluation, config.prompt, config.rewards, ask_hub=False
    )
    source = OwnEngines(config.rollout, config.cluster, ask_hub=False)
    plan = source.plan(config.model, benchmarks)
    refuse_other_study(folder, resolved, runs)
    configs = {name: run for name, (run, _) in runs.items()}
    show_training(configs, prepared, resolved, pace_of(pace), benchmarks, plan)


def app(config: ExperimentConfig, resolved: dict[str, Any]) -> None:
    """One study."""
    folder = Path(config.run.dir)
    runs = training_runs(config)
    for run_config, _ in runs.values():
        check_training(run_config)[2].close()
    benchmarks = load_benchmarks(
        config.benchmarks, config.data, config.evaluation, config.prompt, config.rewards
    )
    source = OwnEngines(config.rollout, config.cluster)
    source.check([config.model], benchmarks)
    claim_runs(refuse_other_study(folder, resolved, runs))

    models = {BASE: config.model}
    for name, (run_config, run_resolved) in runs.items():
        keep_measured(folder / EVALUATION_FOLDER, name, run_config)
        models[name] = str(run_training(run_config, run_resolved))
        if config.evaluation.checkpoints:
            models |= kept_models(run_config, name)
    evaluations = run_evaluations(
        models=models,
        benchmarks=benchmarks,
        folder=folder / EVALUATION_FOLDER,
        source=source,
        seed=config.seed,
        rewards=config.rewards,
    )
    say("report: intervals by bootstrap, figures, HTML")
    results = StudyResults(
        benchmarks=[
            BenchmarkResults(
                evaluations=[found[index] for found in evaluations.values()],
                problems=benchmark.problems,
                out_of_domain=benchmark.out_of_domain,
            )
            for index, benchmark in enumerate(benchmarks)
        ],
        metrics={name: read_metrics(folder / name) for name in runs},
        configs={name: run_resolved for name, (_, run_resolved) in runs.items()},
        provenance=study_provenance(resolved, folder, list(runs), evaluations),
    )
    report = write_report(folder, results, seed=config.seed)
    with ResultTracker(folder, in_group(config.tracking, folder), resolved) as tracker:
        log_report(tracker, report)
    print("\n".join(table_lines(report.comparisons)))
    print(f"\nreport: {report.path}")


def refuse_other_study(folder: Path, resolved: dict[str, Any], runs: Mapping[str, Run]) -> list[Claim]:
    """Refuse a folder that holds another study, or anything else; return what is to be claimed.

    Raises:
        ConfigError: it does; or a study that is to be made longer is half measured.
    """
    if resolved["run"]["resume"] != "never":
        check_measured(
            folder / EVALUATION_FOLDER, {name: run_config for name, (run_config, _) in runs.items()}
        )
    refuse_other_kind(folder, resolved, STUDY)
    claims = [(folder, resolved), *((Path(each.run.dir), plain) for each, plain in runs.values())]
    refuse_other_runs(claims)
    return claims


def training_runs(config: ExperimentConfig) -> dict[str, Run]:
    """The runs of a study by name, each in a folder of its own.

    Raises:
        ConfigError: an unknown algorithm, a name twice, an override that does not fit, or seeds from two places.
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
            runs[run] = hydra_app.variant(ExperimentConfig, overrides, changes)
    return runs


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
        if names.count(name) > 1 or is_taken(name) or name != hydra_app.slug(name):
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
    return name in (BASE, EVALUATION_FOLDER) or bool(seed_of(name) or checkpoint_of(name))


def refuse_seeds_twice(config: ExperimentConfig, wanted: Mapping[str, Sequence[str]]) -> None:
    """Raise a ConfigError if a variant or the jobs of a multirun set the seed that ``seeds`` sets too."""
    if not config.seeds:
        return
    fix = "seeds=[…] in one study, and no seed=… beside it"
    for name, overrides in wanted.items():
        if any(key_of(override) == "seed" for override in overrides):
            raise ConfigError(
                f"the variant {name!r} sets a seed, and seeds sets it too", where="variants", fix=fix
            )
    if "seed" in hydra_app.multirun_keys():
        raise ConfigError("the jobs of -m set a seed, and seeds sets it too", where="seed", fix=fix)


def study_provenance(
    resolved: dict[str, Any], folder: Path, runs: list[str], evaluations: dict[str, list[Evaluation]]
) -> dict[str, Any]:
    """Where the numbers come from: versions, hashes, wall times."""
    training = {name: json.loads((folder / name / TRAINED_FILE).read_text())["wall_seconds"] for name in runs}
    measured = [evaluation for found in evaluations.values() for evaluation in found]
    seconds = sum(evaluation_seconds(evaluation.folder) for evaluation in measured)
    return {
        **provenance(resolved),
        "wall_seconds": {"train": round(sum(training.values()), 1), "evaluate": round(seconds, 1)},
        "train_seconds": training,
        "models": {name: found[0].spec.model_sha256 for name, found in evaluations.items()},
        "problems_sha256": {each.spec.benchmark: each.spec.problems_sha256 for each in measured},
    }
