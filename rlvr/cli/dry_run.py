"""``--dry-run``: what a command would do, on which hardware, and whether it fits. Nothing is started."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from rlvr.cli.origins import DEFAULT, origin_of, origins
from rlvr.config import (
    BenchmarkConfig,
    DataConfig,
    EvaluateConfig,
    EvaluationConfig,
    ExperimentConfig,
    RolloutConfig,
    SamplingPlan,
)
from rlvr.data.benchmarks import (
    BENCHMARKS,
    benchmark_problems,
    entry_of,
    training_problems,
    training_template,
)
from rlvr.data.prompts import WordsRenderer, load_renderer, longest_prompt
from rlvr.data.templates import PromptTemplate, template
from rlvr.errors import ConfigError
from rlvr.planning.memory import GIB, Parts
from rlvr.planning.model_shape import model_shape
from rlvr.planning.plan import Machine, Plan, Worker, host_bytes, make_plan
from rlvr.planning.trainable import check_trainable
from rlvr.records import Problem
from rlvr.rewards.code import ABILITIES
from rlvr.rewards.registry import verifier_for

Config = ExperimentConfig | EvaluateConfig
ANSWERS = {
    "arithmetic": "# {}",
    "answer_tag": "<think> … </think> <answer> \\boxed{{{}}} </answer>",
    "answer_line": "Answer: {}",
    "hashes": "#### {}",
    "last_number": "The answer is {}.",
}
"""A response that states the right answer, by ability or by where the prompt asks for it."""
BOXED_ANSWER = "The answer is $\\boxed{{{}}}$."
SHOWN_CHARACTERS = 1200


def show_training(
    config: ExperimentConfig, resolved: dict[str, Any], runs: Mapping[str, ExperimentConfig] | None = None
) -> None:
    """The dry run of ``train`` and ``study``: plans of the training runs, and of a study's evaluations.

    Raises:
        ConfigError: a plan cannot fit; every reason with what to change.
    """
    plans, lines = [], []
    for name, run in (runs or {config.algorithm.name: config}).items():
        plan, work = training_plan(run)
        plans.append((f"training {name}", plan))
        lines += [f"training {name}: {work[0]}", *work[1:]]
    if config.benchmarks:
        sized, measured = evaluation_size(config, config.model)
        plans.append(("evaluation", make_plan(plans[0][1].shape, sized, None, config.cluster, None)))
        lines += measured
    _show(config, resolved, plans, lines)


def training_plan(config: ExperimentConfig) -> tuple[Plan, list[str]]:
    """One training run: its plan, and its work in words."""
    algorithm = config.build_algorithm()
    check_trainable(config.model, config.learner)
    plan = make_plan(model_shape(config.model), config.rollout, config.learner, config.cluster, algorithm)
    prompts, sampling = config.train.prompts_per_step, algorithm.sampling
    rollouts = prompts * algorithm.group_size
    sampled = int((rollouts + prompts * sampling.greedy_baseline) * sampling.max_sampling_factor)
    updates = config.train.num_epochs * rollouts // (config.train.minibatch_size or rollouts)
    return plan, [
        f"{config.train.num_steps} steps of {prompts} prompts × "
        f"{algorithm.group_size} = {rollouts:,} rollouts, {updates} optimizer step(s) each",
        f"  at most {rollouts * plan.row_tokens:,} tokens a step ({plan.row_tokens:,} a rollout)",
        *([f"  at most {sampled:,} responses sampled for them"] if sampled > rollouts else []),
        f"  weight update: {plan.update_bytes / GIB:.2f} GiB to each of {plan.rollout.num_workers} "
        f"engine(s), by {plan.transfer}",
    ]


def show_evaluation(config: EvaluateConfig, resolved: dict[str, Any]) -> None:
    """The dry run of ``evaluate``: a plan for each model.

    Raises:
        ConfigError: a plan cannot fit; every reason with what to change.
    """
    models = config.models or [config.model]
    named = models.items() if isinstance(models, dict) else [(str(model), model) for model in models]
    if config.api.base_url is not None:
        _show_requests(config, resolved, [str(model) for _, model in named])
        return
    plans: list[tuple[str, Plan]] = []
    lines: list[str] = []
    for name, model in named:
        sized, lines = evaluation_size(config, str(model))
        plan = make_plan(model_shape(str(model)), sized, None, config.cluster, None)
        plans.append((f"evaluation of {name}", plan))
    _show(config, resolved, plans, lines)


def _show_requests(config: EvaluateConfig, resolved: dict[str, Any], models: Sequence[str]) -> None:
    """The dry run of models behind a server, which is not asked: what would be sent."""
    api = config.api
    print("dry run: nothing is sent\n\nconfig")
    print("\n".join(config_lines(resolved, origins())))
    key = "no key"
    if api.key_variable is not None:
        key = f"key from {api.key_variable}" + ("" if os.environ.get(api.key_variable) else " (not set here)")
    print(f"\nserver: {api.base_url}, at most {api.max_concurrent} requests at a time, {key}")
    print("no engine is started here, so there is no memory to plan\n\nwork")
    requests = tokens = 0
    for name, benchmark in config.benchmarks.items():
        plan = _sampling(benchmark, config.evaluation)
        WordsRenderer(_template(benchmark, config.prompt))
        count = _limited(_num_problems(benchmark, config.data), config.evaluation) or 0
        requests += len(models) * count * plan.num_samples
        tokens += len(models) * count * plan.num_samples * plan.max_tokens
        print(f"  {_work_line(config, name)}{'' if count else '; problems not counted below'}")
    print(
        f"  {' and '.join(models)}: {requests:,} requests, each for one sample; at most {tokens:,} response tokens"
    )
    print("\nprompt and verdict\n" + "\n".join(f"  {line}" for line in sample_lines(config)))


def evaluation_size(config: Config, model: str) -> tuple[RolloutConfig, list[str]]:
    """The rollout pool as long as prompts and responses of the benchmarks, and a line for each of them."""
    longest = max(_sampling(each, config.evaluation).max_tokens for each in config.benchmarks.values())
    prompts = _longest_prompt(config, model)
    sized = replace(config.rollout, max_prompt_tokens=prompts, max_response_tokens=longest)
    return sized, [_work_line(config, name) for name in config.benchmarks]


def _work_line(config: Config, name: str) -> str:
    """What is sampled on one benchmark."""
    benchmark = config.benchmarks[name]
    plan, count = _sampling(benchmark, config.evaluation), _limited(_published(benchmark), config.evaluation)
    problems = f"{count:,} problems × " if count else ""
    return (
        f"{name}: {problems}{plan.num_samples:,} samples at temperature {plan.temperature}, top-p {plan.top_p}, "
        f"{'' if plan.top_k == -1 else f'top-k {plan.top_k}, '}at most {plan.max_tokens:,} tokens each; prompt {_template(benchmark, config.prompt).name}"
    )


def _published(benchmark: BenchmarkConfig) -> int | None:
    """Problems that a benchmark should have, without looking."""
    entry = entry_of(benchmark)
    return benchmark.num_problems or (entry.num_problems if entry else None)


def _limited(count: int | None, evaluation: EvaluationConfig) -> int | None:
    return min(count, evaluation.limit) if count and evaluation.limit else count


def _num_problems(benchmark: BenchmarkConfig, data: DataConfig) -> int:
    """Problems of a benchmark that is here; as published of one that is not, or 0."""
    if _is_here(benchmark, data):
        return len(benchmark_problems(benchmark, data))
    return _published(benchmark) or 0


def _longest_prompt(config: Config, model: str) -> int:
    """In tokens where benchmarks and tokenizer are here, else what the config allows."""
    lengths = []
    for benchmark in config.benchmarks.values():
        if not (Path(model).exists() and _is_here(benchmark, config.data)):
            return config.rollout.max_prompt_tokens
        renderer = load_renderer(model, _template(benchmark, config.prompt))
        lengths.append(longest_prompt(renderer, benchmark_problems(benchmark, config.data)))
    return max(lengths)


def _sampling(benchmark: BenchmarkConfig, evaluation: EvaluationConfig) -> SamplingPlan:
    entry = entry_of(benchmark)
    return evaluation.plan(entry.plan if entry else SamplingPlan(), benchmark)


def _template(benchmark: BenchmarkConfig, prompt: str | None) -> PromptTemplate:
    entry = entry_of(benchmark)
    return template(prompt or (entry.prompt if entry else "chat"))


def _show(
    config: Config, resolved: dict[str, Any], plans: Sequence[tuple[str, Plan]], lines: Sequence[str]
) -> None:
    print("dry run: nothing is started\n\nconfig")
    print("\n".join(config_lines(resolved, origins())))
    print("\n" + machine_line(plans[0][1].machine))
    last: Plan | None = None
    for title, plan in plans:
        print(f"\n{title}")
        if last is None or (plan.shape, plan.workers) != (last.shape, last.workers):
            print("\n".join([f"  {model_line(plan)}", *placement_lines(plan.workers)]))
        print("\n".join(memory_lines(plan, config)))
        last = plan
    print("\nwork\n" + "\n".join(f"  {line}" for line in lines))
    print("\nprompt and verdict\n" + "\n".join(f"  {line}" for line in sample_lines(config)))
    problems = [f"{title}: {problem}" for title, plan in plans for problem in plan.problems]
    if problems:
        raise ConfigError(
            "the plan does not fit:\n" + "\n".join(f"    {problem}" for problem in problems),
            where="memory and placement above",
            fix="as each line says; figures are estimates (docs/cluster.md says how good)",
        )
    print("\nthe plan fits")


def config_lines(resolved: dict[str, Any], found: dict[str, str]) -> list[str]:
    """Every value with its origin."""
    rows = [(key, repr(value), origin_of(key, found)) for key, value in _flat(resolved)]
    wide = max(len(key) for key, _, _ in rows)
    return [
        f"  {key.ljust(wide)}  {value}" + ("" if origin == DEFAULT else f"   ← {origin}")
        for key, value, origin in rows
    ]


def _flat(data: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in data.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def machine_line(machine: Machine) -> str:
    """The hardware in a line."""
    gpus = "no GPU"
    if machine.gpus_per_node:
        gpus = f"{machine.gpus_per_node} GPU(s) of {machine.gpu_memory / GIB:.0f} GiB"
    what = "described by the config" if machine.described else "this machine"
    return (
        f"hardware ({what}): {machine.num_nodes} node(s) with {gpus}, {machine.cpus_per_node} CPUs, "
        f"{machine.host_memory / GIB:.0f} GiB"
    )


def model_line(plan: Plan) -> str:
    """The model in a line."""
    shape = plan.shape
    positions = "any number of" if shape.max_positions is None else f"{shape.max_positions:,}"
    return (
        f"model: {shape.name}, {shape.num_parameters / 1e6:,.1f} M parameters, {shape.layers} layers, "
        f"vocabulary {shape.vocabulary:,}, {positions} positions ({shape.source})"
    )


def placement_lines(workers: Sequence[Worker]) -> list[str]:
    """A line per worker, by node."""
    lines = []
    for node, members in groupby(sorted(workers, key=lambda each: each.node), key=lambda each: each.node):
        lines.append("  no place" if node < 0 else f"  node {node}")
        for worker in members:
            where = f"GPU {','.join(map(str, worker.gpus))}" if worker.gpus else "CPU"
            lines.append(f"    {worker.pool} {worker.index}: {'-' if node < 0 else where}")
    return lines


def memory_lines(plan: Plan, config: Config) -> list[str]:
    """GiB per device and host, by what holds them."""
    lines = [_parts_line(f"engine ({plan.rollout.device}, {plan.rollout.dtype})", plan.engine)]
    lines.append(
        f"    KV cache: {plan.kv_tokens:,} tokens, {plan.sequences_at_once:,.1f} sequences of full length at once "
        f"(of {plan.rollout.max_num_seqs})"
    )
    if plan.learner is not None:
        title = f"learner ({plan.learner.device}, {plan.learner.dtype}, ZeRO {plan.learner.zero_stage})"
        lines.append(_parts_line(title, plan.learner_device))
    used = sorted({worker.node for worker in plan.workers if worker.node >= 0})
    for node in used:
        held = host_bytes(plan, node, config.cluster) / GIB
        lines.append(f"  host memory of node {node}: {held:.1f} of {plan.machine.host_memory / GIB:.0f} GiB")
    return lines


def _parts_line(title: str, parts: Parts) -> str:
    inner = ", ".join(f"{name} {held / GIB:.2f}" for name, held in parts.items())
    return f"  {title}: {sum(parts.values()) / GIB:.2f} GiB = {inner}"


def sample_lines(config: Config) -> list[str]:
    """One rendered prompt and the verdicts on a right response and on none; what is not here is named.

    Raises:
        RlvrError: a local file or folder is malformed.
    """
    if isinstance(config, ExperimentConfig):
        name = config.data.path or "generated"
        words = training_template(config.data, config.prompt)
        is_here = name not in BENCHMARKS or config.data.folder is not None
        problems = training_problems(config.data) if is_here else []
    else:
        name, benchmark = next(iter(config.benchmarks.items()))
        words = _template(benchmark, config.prompt)
        problems = benchmark_problems(benchmark, config.data) if _is_here(benchmark, config.data) else []
    if not problems:
        return [f"{name} is on the hub, which a dry run does not ask: data.folder=FOLDER shows a problem"]
    problem, model = problems[0], _first_model(config)
    images = [f"image: {each.width} × {each.height}, {each.path}" for each in problem.images]
    served = isinstance(config, EvaluateConfig) and config.api.base_url is not None
    prompt = _sent(problem, words) if served else _rendered(problem, model, words)
    lines = [f"{len(problems):,} problems; {problem.id}, prompt template {words.name}"]
    lines += [*images, *prompt[:SHOWN_CHARACTERS].splitlines()]
    right = ANSWERS.get(problem.ability) or ANSWERS.get(words.extraction, BOXED_ANSWER)
    responses = [] if problem.ability in ABILITIES else [right.format(problem.ground_truth)]
    verifier = verifier_for([problem], config.rewards.asked_for(words.extraction))
    try:
        for response in [*responses, "I do not know."]:
            verdict = verifier.verify(problem, response, "stop")
            lines.append(f"{response!r} → {verdict.status}, score {verdict.score:g}")
    finally:
        getattr(verifier, "close", lambda: None)()
    return lines


def _is_here(benchmark: BenchmarkConfig, data: DataConfig) -> bool:
    entry = entry_of(benchmark)
    generated = entry is not None and entry.generate is not None
    return generated or benchmark.path is not None or data.folder is not None


def _first_model(config: Config) -> str:
    if isinstance(config, ExperimentConfig) or not config.models:
        return config.model
    return str(next(iter(config.models.values() if isinstance(config.models, dict) else config.models)))


def _rendered(problem: Problem, model: str, words: PromptTemplate) -> str:
    """The prompt in tokens where the tokenizer is here, else in words."""
    if Path(model).exists():
        renderer = load_renderer(model, words)
        return f"{renderer.num_tokens(problem)} tokens: {renderer.text(problem)}"
    messages = words.messages(problem) if words.is_chat else []
    text = "\n".join(message["content"] for message in messages) or words.plain(problem)
    return f"(in words: {model} is no local folder, so its tokenizer is not loaded)\n{text}"


def _sent(problem: Problem, words: PromptTemplate) -> str:
    """The prompt as a server is given it."""
    sent = WordsRenderer(words).words(problem)
    if isinstance(sent, str):
        return f"to /completions:\n{sent}"
    messages = "\n".join(f"{message['role']}: {_words(message['content'])}" for message in sent)
    return f"to /chat/completions, where the server applies the model's chat template:\n{messages}"


def _words(content: Any) -> str:
    """A message's content for the eye, with the place of every image."""
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text", "[image]")) for part in content)
