"""``rlvr evaluate``: measure pass@k of one model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlvr.cli import hydra_app
from rlvr.cli.experiment import MODEL_FOLDER, Benchmark, run_evaluations
from rlvr.cli.regrade import change_lines, load_for_regrading, regrade
from rlvr.config import EvaluateConfig
from rlvr.data.loaders import benchmark_problems
from rlvr.eval.report import BenchmarkResults, StudyResults, write_report
from rlvr.eval.tables import table_lines
from rlvr.provenance import provenance

EXAMPLES = """\
rlvr evaluate: sample n responses to every problem, verify them, report unbiased pass@k.

Examples:
  rlvr evaluate model=runs/tiny/grpo/model benchmark=chains num_samples=256
  rlvr evaluate model=runs/tiny/grpo num_samples=16 data.chains.num_test=20 run.dir=runs/quick-look
  rlvr evaluate model=Qwen/Qwen2.5-7B benchmark=file benchmark.path=test.jsonl
  rlvr evaluate regrade=runs/evaluate/tiny rewards.math.units=required     new verdicts, nothing sampled

Writes report.html, summary.json and samples/ into run.dir, runs/evaluate/MODEL by default.
Samples are appended as they come; the same command goes on after an interruption.
"""


def run(arguments: list[str]) -> None:
    """Run the command."""
    hydra_app.run("evaluate", EvaluateConfig, app, arguments, folder="evaluate", examples=EXAMPLES)


def app(config: EvaluateConfig, resolved: dict[str, Any]) -> None:
    """One evaluation: its table on stdout, its report in the run's folder."""
    if config.regrade is not None:
        regraded(config, resolved)
        return
    inner = Path(config.model) / MODEL_FOLDER
    model = str(inner) if inner.exists() else config.model  # a training run's folder names its model
    name = config.name or default_name(config.model)
    benchmark = Benchmark(config.benchmark.name, benchmark_problems(config.benchmark, config.data))
    folder = Path(config.run.dir)
    [evaluation] = run_evaluations(
        model=model,
        name=name,
        benchmarks={folder / "samples": benchmark},
        settings=config.evaluation,
        rollout=config.rollout,
        cluster=config.cluster,
        seed=config.seed,
        rewards=config.rewards,
    )
    results = StudyResults(
        [BenchmarkResults([evaluation], benchmark.problems)],
        provenance=provenance(resolved),
        title=f"pass@k of {name}",
    )
    report = write_report(folder, results, seed=config.seed)
    print("\n".join(table_lines(report.comparisons)))
    print(f"\nreport: {report.path}")


def regraded(config: EvaluateConfig, resolved: dict[str, Any]) -> None:
    """A stored evaluation with new verdicts: what changed, its table, its report beside its rows."""
    problems = load_for_regrading(config)
    evaluation, changes = regrade(config, problems)
    results = StudyResults(
        [BenchmarkResults([evaluation], problems)],
        provenance=provenance(resolved),
        title=f"pass@k of {evaluation.name}, regraded",
    )
    report = write_report(evaluation.folder, results, seed=config.seed)
    print("\n".join([*change_lines(changes), "", *table_lines(report.comparisons)]))
    print(f"\nreport: {report.path}")


def default_name(model: str) -> str:
    """A model's short name: its folder's, or its run's for a folder called ``model``."""
    path = Path(model)
    return path.parent.name if path.name == MODEL_FOLDER and path.parent.name else path.name
