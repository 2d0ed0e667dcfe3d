"""``--dry-run``: what a command would do, on which hardware, and whether it fits. Nothing is started.

What is checked is in workflows/preflight.py, which a run goes through as well; here it is shown.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from rlvr.cli.origins import origins
from rlvr.cli.plan_lines import config_lines, machine_line, memory_lines, model_line, placement_lines
from rlvr.config import EvaluateConfig, ExperimentConfig
from rlvr.data.benchmarks import Benchmark, published_size
from rlvr.data.prompts import PromptRenderer, WordsRenderer, load_renderer
from rlvr.data.templates import PromptTemplate
from rlvr.planning.memory import GIB
from rlvr.planning.plan import Plan
from rlvr.records import Problem
from rlvr.rewards.code import ABILITIES
from rlvr.rewards.config import RewardsConfig
from rlvr.rewards.function import NO_ANSWER
from rlvr.rewards.registry import verifier_for
from rlvr.run_folder import BASE
from rlvr.workflows.forecast import Pace, Speed
from rlvr.workflows.preflight import Prepared, is_local, refuse_full_disk, refuse_misfits

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
PENDING_TOKEN_BYTES = 34
"""Of a sampled token in a checkpoint, as JSON: its number, its log-probability to the last digit, and its part of the text."""
FEW_MODELS = 3
"""So many are named in a line."""


def show_training(
    configs: Mapping[str, ExperimentConfig],
    prepared: Mapping[str, Prepared],
    resolved: dict[str, Any],
    pace: Pace,
    benchmarks: Sequence[Benchmark] = (),
    evaluation: Plan | None = None,
) -> None:
    """The dry run of ``train`` and ``study``: plans of the training runs, and of a study's evaluations.

    Args:
        configs: of the training runs by name.
        prepared: the same, checked.
        resolved: the command's config as plain data.
        pace: for how long it takes.
        benchmarks: what a study measures.
        evaluation: its plan.

    Raises:
        ConfigError: a plan cannot fit; every reason with what to change.
    """
    plans = [(f"training {name}", each.plan) for name, each in prepared.items()]
    lines = []
    for name, config in configs.items():
        steps, *rest = training_work(config, prepared[name].plan, pace.training)
        lines += [f"training {name}: {steps}", *rest]
    first_config, first = next(iter(configs.values())), next(iter(prepared.values()))
    if evaluation is not None:
        plans.append((f"evaluation of {first_config.model}", evaluation))
        kept = [
            f"{name}-step"
            for name, each in configs.items()
            for _ in range(num_kept_models(each) if each.evaluation.checkpoints else 0)
        ]
        speed = pace.evaluation and pace.evaluation.on(evaluation.rollout.num_workers)
        lines += evaluation_work(first_config, benchmarks, [BASE, *configs, *kept], speed)
    shown = sample_lines(
        first.problems,
        first.template,
        first.renderer,
        first_config.rewards,
        first_config.data.path or first_config.data.family,
    )
    for each in prepared.values():
        each.verifier.close()
    unchecked = [
        *([f"weights and tokenizer of {first_config.model}"] if first.renderer is None else []),
        *([f"the problems of {first_config.data.path}"] if not first.problems else []),
        *(f"the problems of {each.name}" for each in benchmarks if not each.problems),
    ]
    _show(first_config, resolved, plans, lines, shown, unchecked)


def training_work(config: ExperimentConfig, plan: Plan, speed: Speed | None) -> list[str]:
    """One training run in words: steps, tokens, time and disk; a line for each stage where there are several."""
    num_steps, stages = config.train.num_steps, config.in_stages()
    ends = [*(step - 1 for step in list(stages)[1:]), num_steps]
    lines: list[str] = []
    responses = most = 0
    for (first, stage), end in zip(stages.items(), ends, strict=True):
        count = max(0, min(end, num_steps) - first + 1)
        rollouts, sampled, words = step_work(stage)
        responses += count * rollouts
        most += count * sampled * stage.rollout.max_response_tokens
        if len(stages) > 1:
            shown = (
                f"  steps {first:,} to {first + count - 1:,}: "
                if count
                else f"  from step {first:,}, not reached: "
            )
            lines += [shown + words[0], *(f"  {line}" for line in words[1:])]
        else:
            lines += [f"{num_steps} steps of {words[0]}", *words[1:]]
    return [
        *([f"{num_steps} steps in {len(stages)} stages"] if len(stages) > 1 else []),
        *lines,
        *([f"  {speed.line(responses, most)}"] if speed else []),
        f"  weight update: {plan.update_bytes / GIB:.2f} GiB to each of {plan.rollout.num_workers} "
        f"engine(s), by {plan.transfer}",
        *([f"  {overlap_line(config)}"] if config.train.max_staleness else []),
        f"  disk: {disk_line(config, plan)}",
    ]


def overlap_line(config: ExperimentConfig) -> str:
    """How far sampling goes on beside learning, and what a checkpoint has of it."""
    steps = config.train.max_staleness
    way = "one batch ahead" if steps == 1 else f"in flight, up to {steps} batches ahead"
    return (
        f"sampling beside learning: {way}, so tokens are at most {steps} step{'s' * (steps > 1)} old; a checkpoint has up to "
        f"{pending_bytes(config) / GIB:,.2f} GiB of rollouts that are still to be trained on"
    )


def pending_bytes(config: ExperimentConfig) -> int:
    """Most that a checkpoint holds of rollouts that are still to be trained on."""
    tokens = max(
        step_work(each)[1] * each.rollout.max_response_tokens for each in config.in_stages().values()
    )
    return config.train.max_staleness * tokens * PENDING_TOKEN_BYTES


def step_work(stage: ExperimentConfig) -> tuple[int, int, list[str]]:
    """One step of a stage: rollouts, responses that are sampled for them at most, and both in words."""
    algorithm, train, rollout = stage.build_algorithm(), stage.train, stage.rollout
    prompts, sampling = train.prompts_per_step, algorithm.sampling
    rollouts = prompts * algorithm.group_size
    sampled = int((rollouts + prompts * sampling.greedy_baseline) * sampling.max_sampling_factor)
    updates = train.num_epochs * rollouts // (train.minibatch_size or rollouts)
    row_tokens = rollout.max_prompt_tokens + rollout.max_response_tokens
    return (
        rollouts,
        sampled,
        [
            f"{prompts} prompts × {algorithm.group_size} = {rollouts:,} rollouts, {updates} optimizer step(s) each",
            f"  at most {rollouts * row_tokens:,} tokens a step ({row_tokens:,} a rollout)",
            *([f"  at most {sampled:,} responses sampled for them"] if sampled > rollouts else []),
        ],
    )


def disk_line(config: ExperimentConfig, plan: Plan) -> str:
    """What the run's folder takes at its largest: checkpoints, one of them being written, and models."""
    train, one = config.train, (plan.checkpoint_bytes + pending_bytes(config)) / GIB
    models = 1 + num_kept_models(config)
    due = train.num_steps // train.checkpoint_every if train.checkpoint_every else 0
    held = min(train.keep_checkpoints, due) + 1
    return (
        f"{held * one + models * plan.update_bytes / GIB:,.2f} GiB in {config.run.dir} at most: {held} checkpoint(s) of "
        f"{one:,.2f} GiB, of which one is being written, and {models} model(s) of {plan.update_bytes / GIB:,.2f} GiB"
    )


def num_kept_models(config: ExperimentConfig) -> int:
    """Models that are kept on the way; the last one is none of them."""
    every = config.train.keep_model_every
    return (config.train.num_steps - 1) // every if every else 0


def show_evaluation(
    config: EvaluateConfig,
    resolved: dict[str, Any],
    models: Mapping[str, str],
    benchmarks: Sequence[Benchmark],
    plans: Sequence[tuple[str, Plan]],
    pace: Pace,
) -> None:
    """The dry run of ``evaluate``: a plan for each model.

    Raises:
        ConfigError: a plan cannot fit; every reason with what to change.
    """
    first, model = benchmarks[0], next(iter(models.values()))
    renderer = load_renderer(model, first.template) if is_local(model) else None
    shown = sample_lines(first.problems, first.template, renderer, config.rewards, first.name)
    unchecked = [
        *(f"weights and tokenizer of {each}" for each in models.values() if not is_local(each)),
        *(f"the problems of {each.name}" for each in benchmarks if not each.problems),
    ]
    speed = pace.evaluation and pace.evaluation.on(plans[0][1].rollout.num_workers)
    work = evaluation_work(config, benchmarks, list(models), speed)
    _show(config, resolved, plans, work, shown, unchecked)


def show_requests(
    config: EvaluateConfig,
    resolved: dict[str, Any],
    models: Sequence[str],
    benchmarks: Sequence[Benchmark],
    pace: Pace,
) -> None:
    """The dry run of models behind a server, which is not asked: what would be sent."""
    api = config.api
    print("dry run: nothing is sent\n\nconfig")
    print("\n".join(config_lines(resolved, origins())))
    key = "no key"
    if api.key_variable is not None:
        key = f"key from {api.key_variable}" + ("" if os.environ.get(api.key_variable) else " (not set here)")
    print(f"\nserver: {api.base_url}, at most {api.max_concurrent} requests at a time, {key}")
    print("no engine is started here, so there is no memory to plan\n\nwork")
    work = evaluation_work(config, benchmarks, models, pace.evaluation, "requests, each for one sample")
    print("\n".join(f"  {line}" for line in work))
    first = benchmarks[0]
    shown = sample_lines(
        first.problems, first.template, WordsRenderer(first.template), config.rewards, first.name
    )
    print("\nprompt and verdict\n" + "\n".join(f"  {line}" for line in shown))


def evaluation_work(
    config: Config,
    benchmarks: Sequence[Benchmark],
    models: Sequence[str],
    speed: Speed | None,
    what: str = "samples",
) -> list[str]:
    """What is sampled: a line for each benchmark, and the sum over benchmarks and models."""
    counts = [(size_of(each, config) or 0) * each.plan.num_samples for each in benchmarks]
    samples = len(models) * sum(counts)
    tokens = len(models) * sum(
        count * each.plan.max_tokens for count, each in zip(counts, benchmarks, strict=True)
    )
    lines = [
        work_line(each, config) + ("" if count else "; problems not counted below")
        for count, each in zip(counts, benchmarks, strict=True)
    ]
    named = " and ".join(models) if len(models) <= FEW_MODELS else f"{len(models)} models"
    return [
        *lines,
        f"{named}: {samples:,} {what}; at most {tokens:,} response tokens",
        *([f"  {speed.line(samples, tokens)}"] if speed and samples else []),
    ]


def work_line(benchmark: Benchmark, config: Config) -> str:
    """What is sampled on one benchmark."""
    plan, count = benchmark.plan, size_of(benchmark, config)
    problems = f"{count:,} problems × " if count else ""
    top_k = "" if plan.top_k == -1 else f"top-k {plan.top_k}, "
    return (
        f"{benchmark.name}: {problems}{plan.num_samples:,} samples at temperature {plan.temperature}, "
        f"top-p {plan.top_p}, {top_k}at most {plan.max_tokens:,} tokens each; prompt {benchmark.template.name}"
    )


def size_of(benchmark: Benchmark, config: Config) -> int | None:
    """Problems of a benchmark; as published of one that is not here, or None."""
    return len(benchmark.problems) or published_size(config.benchmarks[benchmark.name], config.evaluation)


def _show(
    config: Config,
    resolved: dict[str, Any],
    plans: Sequence[tuple[str, Plan]],
    lines: Sequence[str],
    shown: Sequence[str],
    unchecked: Sequence[str],
) -> None:
    print("dry run: nothing is started\n\nconfig")
    print("\n".join(config_lines(resolved, origins())))
    print("\n" + machine_line(plans[0][1].machine))
    last: Plan | None = None
    for title, plan in plans:
        print(f"\n{title}")
        if last is None or (plan.shape, plan.workers) != (last.shape, last.workers):
            print("\n".join([f"  {model_line(plan)}", *placement_lines(plan.workers)]))
        print("\n".join(memory_lines(plan, config.cluster)))
        last = plan
    print("\nwork\n" + "\n".join(f"  {line}" for line in lines))
    print("\nprompt and verdict\n" + "\n".join(f"  {line}" for line in shown))
    if unchecked:
        print(
            "\nnot checked, because a dry run does not ask the hub\n"
            + "\n".join(f"  {each}" for each in unchecked)
        )
    refuse_misfits(plans, config.cluster)
    if isinstance(config, ExperimentConfig) and not plans[0][1].machine.described:
        refuse_full_disk(config, plans[0][1])
    print("\nthe plan fits")


def sample_lines(
    problems: Sequence[Problem],
    words: PromptTemplate,
    renderer: PromptRenderer | WordsRenderer | None,
    rewards: RewardsConfig,
    name: str,
) -> list[str]:
    """One rendered prompt and the verdicts on a right response and on none; what is not here is named.

    Args:
        problems: empty where they are on the hub.
        words: the prompt template.
        renderer: None where the tokenizer is on the hub.
        rewards: how responses are judged.
        name: of the problems.
    """
    if not problems:
        return [f"{name} is on the hub, which a dry run does not ask: data.folder=FOLDER shows a problem"]
    problem = problems[0]
    images = [f"image: {each.width} × {each.height}, {each.path}" for each in problem.images]
    prompt = (
        _sent(problem, renderer)
        if isinstance(renderer, WordsRenderer)
        else _rendered(problem, renderer, words)
    )
    lines = [f"{len(problems):,} problems; {problem.id}, prompt template {words.name}"]
    lines += [*images, *prompt[:SHOWN_CHARACTERS].splitlines()]
    right = ANSWERS.get(problem.ability) or ANSWERS.get(words.extraction, BOXED_ANSWER)
    responses = [] if problem.ability in ABILITIES else [right.format(problem.ground_truth)]
    verifier = verifier_for([problem], rewards.asked_for(words.extraction))
    try:
        for response in [*responses, NO_ANSWER]:
            verdict = verifier.verify(problem, response, "stop")
            lines.append(f"{response!r} → {verdict.status}, score {verdict.score:g}")
    finally:
        getattr(verifier, "close", lambda: None)()
    return lines


def _rendered(problem: Problem, renderer: PromptRenderer | None, words: PromptTemplate) -> str:
    """The prompt in tokens where the tokenizer is here, else in words."""
    if renderer is not None:
        return f"{renderer.num_tokens(problem)} tokens: {renderer.text(problem)}"
    messages = words.messages(problem) if words.is_chat else []
    text = "\n".join(message["content"] for message in messages) or words.plain(problem)
    return f"(in words: the model is no local folder, so its tokenizer is not loaded)\n{text}"


def _sent(problem: Problem, renderer: WordsRenderer) -> str:
    """The prompt as a server is given it."""
    sent = renderer.words(problem)
    if isinstance(sent, str):
        return f"to /completions:\n{sent}"
    messages = "\n".join(f"{message['role']}: {_words(message['content'])}" for message in sent)
    return f"to /chat/completions, where the server applies the model's chat template:\n{messages}"


def _words(content: Any) -> str:
    """A message's content for the eye, with the place of every image."""
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text", "[image]")) for part in content)
