"""``rlvr study``: train, measure the base and the trained models, write the report."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr.cli import hydra_app
from rlvr.config import ExperimentConfig
from rlvr.errors import ConfigError

if TYPE_CHECKING:
    from rlvr.workflows.study import Run

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
    from rlvr.cli.dry_run import show_training
    from rlvr.workflows.forecast import pace_of
    from rlvr.workflows.inputs import training_inputs
    from rlvr.workflows.preflight import load_benchmarks, prepare_training
    from rlvr.workflows.study import refuse_other_study, study_engines

    folder, runs = Path(config.run.dir), composed_runs(config)
    prepared = {name: prepare_training(run_config, ask_hub=False) for name, (run_config, _) in runs.items()}
    benchmarks = load_benchmarks(
        config.benchmarks, config.data, config.evaluation, config.prompt, config.rewards, ask_hub=False
    )
    plan = study_engines(config, ask_hub=False).plan(config.model, benchmarks)
    configs = {name: run for name, (run, _) in runs.items()}
    inputs = {name: training_inputs(configs[name], each) for name, each in prepared.items()}
    refuse_other_study(folder, resolved, runs, inputs)
    show_training(configs, prepared, resolved, pace_of(pace), benchmarks, plan)


def app(config: ExperimentConfig, resolved: dict[str, Any]) -> None:
    """One study."""
    from rlvr.eval.tables import table_lines
    from rlvr.workflows.study import run_study

    report = run_study(config, composed_runs(config), resolved)
    print("\n".join(table_lines(report.comparisons)))
    print(f"\nreport: {report.path}")


def composed_runs(config: ExperimentConfig) -> dict[str, Run]:
    """The runs of a study, composed by Hydra from the command line's words and those of each variant.

    Raises:
        ConfigError: as :func:`rlvr.workflows.study.training_runs`; or an override does not fit.
    """
    from rlvr.workflows.study import training_runs

    if config.seeds and "seed" in hydra_app.multirun_keys():
        fix = "seeds=[…] in one study, and no seed=… beside it"
        raise ConfigError("the jobs of -m set a seed, and seeds sets it too", where="seed", fix=fix)
    return training_runs(config, partial(hydra_app.variant, ExperimentConfig))
