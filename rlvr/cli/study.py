"""``rlvr study``: train, measure the base and the trained model, write the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rlvr.algorithms.registry import name_of
from rlvr.cli import hydra_app
from rlvr.cli.experiment import (
    TRAINED_FILE,
    check_training,
    claim_run,
    evaluation_seconds,
    read_metrics,
    run_evaluation,
    run_training,
)
from rlvr.config import ExperimentConfig
from rlvr.data.loaders import benchmark_problems
from rlvr.data.prompts import check_prompt_lengths, load_renderer
from rlvr.eval.compare import compare, table_lines
from rlvr.eval.report.results import StudyResults
from rlvr.eval.report.write import write_report
from rlvr.provenance import provenance
from rlvr.tracking.progress import say

EXAMPLES = """\
rlvr study: does RL teach the model anything that its base could not already do?

Examples:
  rlvr study recipe=tiny                                 about ten minutes on two cores
  rlvr study recipe=tiny seed=1 run.dir=runs/tiny-seed1
  rlvr study recipe=tiny run.dir=runs/quick train.num_steps=20 evaluation.num_samples=64
  rlvr study -m recipe=tiny seed=0,1,2                   three studies, one after another

Stages that are done are not done again: after an interruption, the same command goes on.
Writes report.html, summary.json and figures/ into run.dir.
"""


def run(arguments: list[str]) -> None:
    """Run the command."""
    hydra_app.run("study", ExperimentConfig, app, arguments, folder="experiment", examples=EXAMPLES)


def app(config: ExperimentConfig, resolved: dict[str, Any]) -> None:
    """One study."""
    check_training(config)[2].close()
    problems = benchmark_problems(config.benchmark, config.data)
    check_prompt_lengths(load_renderer(config.model), problems, config.rollout.max_prompt_tokens)
    folder = Path(config.run.dir)
    claim_run(folder, resolved)
    name = name_of(config.algorithm)

    trained = run_training(config, resolved, name)
    evaluations = [
        run_evaluation(
            model=model,
            name=model_name,
            benchmark=config.benchmark.name,
            problems=problems,
            settings=config.evaluation,
            rollout=config.rollout,
            cluster=config.cluster,
            seed=config.seed,
            folder=folder / "evaluation" / model_name,
            rewards=config.rewards,
        )
        for model_name, model in (("base", config.model), (name, str(trained)))
    ]

    say("report: intervals by bootstrap, figures, HTML")
    training = json.loads((folder / TRAINED_FILE).read_text())
    seconds = sum(evaluation_seconds(evaluation.folder) for evaluation in evaluations)
    results = StudyResults(
        evaluations=evaluations,
        problems=problems,
        metrics={name: read_metrics(folder)},
        provenance={
            **provenance(resolved),
            "wall_seconds": {"train": training["wall_seconds"], "evaluate": round(seconds, 1)},
            "models": {evaluation.name: evaluation.spec.model_sha256 for evaluation in evaluations},
            "problems_sha256": evaluations[0].spec.problems_sha256,
        },
    )
    comparison = compare(evaluations, seed=config.seed)
    report = write_report(folder, results, comparison)
    print("\n".join(table_lines(comparison)))
    print(f"\nreport: {report}")
