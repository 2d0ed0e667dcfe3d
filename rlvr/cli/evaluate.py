"""``rlvr evaluate``: measure pass@k of models on benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlvr.cli import hydra_app
from rlvr.config import EvaluateConfig
from rlvr.errors import ConfigError

EXAMPLES = """\
rlvr evaluate: sample n responses to every problem, verify them, report unbiased pass@k.

Examples:
  rlvr evaluate model=runs/tiny/grpo benchmark=skills num_samples=256 rollout.num_workers=2
  rlvr evaluate model=Qwen/Qwen2.5-7B benchmark=math500 prompt=qwen_boxed
  rlvr evaluate 'models=[Qwen/Qwen2.5-7B,runs/mine]' 'benchmarks=[math500,aime24,amc23]' run.dir=runs/both
  rlvr evaluate model=runs/mine benchmark=test.jsonl num_samples=16      a file of your own
  rlvr evaluate model=runs/mine 'benchmarks={hard: {path: test.jsonl, family: gsm8k, num_problems: 20}}'
  rlvr evaluate regrade=runs/evaluate/tiny rewards.math.units=required   new verdicts, nothing sampled
  rlvr evaluate model=NAME api.base_url=http://localhost:8000/v1 prompt=boxed benchmark=math500   a model behind
      `vllm serve` or a vendor's server; a key comes from the environment: api.key_variable=MISTRAL_API_KEY

`rlvr data show` lists the benchmarks and prompt templates. n, temperature, top-p and the longest response are each
benchmark's own unless num_samples, temperature, top_p, top_k or max_tokens names it; limit=20 measures the first 20
problems of each. data.folder=FOLDER takes the sets from there instead of the hub.
Of several models the one called base, or else the first, is the base that the others are compared with.
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
    from rlvr.cli.dry_run import show_evaluation, show_requests
    from rlvr.workflows.evaluate import prepared, refuse_unlike_prompts
    from rlvr.workflows.forecast import pace_of
    from rlvr.workflows.measuring import refuse_other_specs
    from rlvr.workflows.preflight import is_local
    from rlvr.workflows.sources import Server

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
        refuse_other_specs(here, benchmarks, Path(config.run.dir), source, config.seed, config.rewards)
    show_evaluation(config, resolved, models, benchmarks, plans, pace_of(pace))


def app(config: EvaluateConfig, resolved: dict[str, Any]) -> None:
    """Measure, or judge anew; then the tables on stdout."""
    from rlvr.eval.tables import table_lines
    from rlvr.workflows.evaluate import evaluate_models
    from rlvr.workflows.regrade import change_lines, regrade_models

    if config.regrade is None:
        report = evaluate_models(config, resolved)
    else:
        changes, report = regrade_models(config, resolved)
        print("\n".join([*change_lines(changes), ""]))
    print("\n".join(table_lines(report.comparisons)))
    print(f"\nreport: {report.path}")
