"""What is checked before anything starts, by a command and by its dry run alike.

A dry run makes the same checks in the same order, with two differences: its hardware may be described instead of being
this machine, and it asks the hub for nothing. What it passes therefore starts, as far as it could look, and what it
refuses does not.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rlvr.checkpoint import Checkpoints
from rlvr.cluster import check_plan
from rlvr.config import BenchmarkConfig, ClusterConfig, DataConfig, EvaluationConfig, ExperimentConfig
from rlvr.data.benchmarks import (
    BENCHMARKS,
    Benchmark,
    entry_of,
    load_benchmark,
    training_is_here,
    training_problems,
    training_template,
)
from rlvr.data.loaders import with_validation
from rlvr.data.model_folder import check_model_folder
from rlvr.data.prompts import PromptRenderer, check_context, check_prompt_lengths, load_renderer
from rlvr.data.templates import PromptTemplate
from rlvr.driver import Stage
from rlvr.errors import ConfigError, DataError
from rlvr.planning.model_shape import model_shape
from rlvr.planning.plan import Plan, make_plan
from rlvr.planning.trainable import check_trainable
from rlvr.records import Problem
from rlvr.rewards.config import RewardsConfig
from rlvr.rewards.pool import VerifierPool
from rlvr.rewards.registry import compared_as_text, faults, verifier_pool
from rlvr.run_folder import TRAINED_FILE
from rlvr.tracking.progress import say


@dataclass(frozen=True, slots=True)
class Prepared:
    """A training run that has passed its checks, but for those against the hardware."""

    plan: Plan
    """For the longest response of any stage."""
    template: PromptTemplate
    stages: list[Stage]
    """What changes within the run; their problems are empty where they are on the hub and it was not asked."""
    renderer: PromptRenderer | None
    """None where the model is on the hub and it was not asked."""
    verifier: VerifierPool
    """To be closed."""

    @property
    def problems(self) -> list[Problem]:
        """Those of all stages, each set once."""
        return problems_of(self.stages)


def check_training(config: ExperimentConfig) -> Prepared:
    """Load and check everything that training needs, before any engine starts.

    Raises:
        RlvrError: the first thing that is wrong.
    """
    check_plan(config.rollout, config.learner, config.cluster)
    prepared = prepare_training(config)
    try:
        refuse_misfits([(f"training {config.algorithm.name}", prepared.plan)], config.cluster)
        refuse_full_disk(config, prepared.plan)
    except BaseException:
        prepared.verifier.close()
        raise
    return prepared


def prepare_training(config: ExperimentConfig, *, ask_hub: bool = True) -> Prepared:
    """Load and check model, problems and rewards of a training run, and lay it out on its hardware.

    Args:
        config: of one run.
        ask_hub: False leaves out what would have to be fetched: the tokenizer and weights of a model, or problems.

    Raises:
        RlvrError: the first thing that is wrong; a plan that does not fit is none, it says so itself.
    """
    config.train.reward.load()
    template, rollout = _one_template(config), config.for_longest()
    renderer = load_renderer(config.model, template) if ask_hub or is_local(config.model) else None
    rewards = config.rewards.asked_for(template.extraction)
    stages = _training_stages(config, rewards, ask_hub)
    problems = problems_of(stages)
    if problems:
        config.train.reward.try_out(problems[0])
    check_trainable(config.model, config.learner)
    if renderer is not None:
        if problems:
            check_prompt_lengths(renderer, problems, rollout.max_prompt_tokens)
        check_context(config.model, rollout.max_prompt_tokens, rollout.max_response_tokens)
    plan = make_plan(
        model_shape(config.model),
        rollout,
        config.learner,
        config.cluster,
        config.build_algorithm(),
        images=any(problem.images for problem in problems) or _asks_about_images(config.data),
    )
    try:
        verifier = verifier_pool(problems, rewards)
    except DataError as error:
        raise with_validation(error, config.data.path or "", config.data.columns) from error
    return Prepared(plan, template, stages, renderer, verifier)


def _asks_about_images(data: DataConfig) -> bool:
    """Whether a registered set does, which may be on the hub."""
    entry = BENCHMARKS.get(data.path or "")
    return entry is not None and entry.has_images


def _one_template(config: ExperimentConfig) -> PromptTemplate:
    """The prompt template of all stages.

    Raises:
        ConfigError: their data have different ones of their own.
    """
    found = {step: training_template(each.data, config.prompt) for step, each in config.in_stages().items()}
    for step, template in found.items():
        if template != found[1]:
            raise ConfigError(
                f"the data from step {step} on come with another prompt template, {template.name}, than those before, "
                f"{found[1].name}",
                where="stages, data.path",
                fix=f"prompt={found[1].name}, or another, for the whole run",
            )
    return found[1]


def _training_stages(config: ExperimentConfig, rewards: RewardsConfig, ask_hub: bool) -> list[Stage]:
    """What the config says of each stage, with problems that are loaded once where the data do not change."""
    stages: list[Stage] = []
    data: DataConfig | None = None
    for step, each in config.in_stages().items():
        if each.data != data:
            data, problems = each.data, _training_problems(each.data, rewards, ask_hub)
        stages.append(Stage.of(each.train, problems, each.rollout.max_response_tokens, step))
    refuse_mixture([problem for stage in stages for problem in stage.problems])
    return stages


def _training_problems(data: DataConfig, rewards: RewardsConfig, ask_hub: bool) -> list[Problem]:
    """The problems that are trained on; none where they are on the hub and it is not asked.

    Raises:
        DataError: no such file, or a malformed one.
    """
    if not ask_hub and not training_is_here(data):
        return []
    problems = training_problems(data)
    if data.path in BENCHMARKS:
        problems, notes = readable(problems, rewards)
        say_notes(str(data.path), notes)
    return problems


def problems_of(stages: Sequence[Stage]) -> list[Problem]:
    """The problems of all stages, each set once."""
    sets = {id(stage.problems): stage.problems for stage in stages}
    return [problem for problems in sets.values() for problem in problems]


def is_local(model: str) -> bool:
    """Whether a model is a folder, or meant to be one, and no name on the hub that a dry run does not ask for.

    Raises:
        ModelError: it is neither a folder nor a name on the hub.
    """
    check_model_folder(model)
    return Path(model).exists()


def refuse_misfits(plans: Sequence[tuple[str, Plan]], cluster: ClusterConfig) -> None:
    """Refuse what cannot run on its hardware, as the plans see it.

    Args:
        plans: with the words that each stands under.
        cluster: says whether estimates of memory may refuse.

    Raises:
        ConfigError: every reason once, with what to change and the plans that it is about.
    """
    found: dict[str, list[str]] = {}
    for title, plan in plans:
        for reason in (*plan.problems, *(plan.misfits if cluster.check_memory else ())):
            found.setdefault(reason, []).append(title)
    if found:
        raise ConfigError(
            "the plan does not fit:\n"
            + "\n".join(f"    {', '.join(titles)}: {reason}" for reason, titles in found.items()),
            where="placement and memory, which --dry-run shows",
            fix="as each line says; memory is estimated (docs/cluster.md says how well), and cluster.check_memory=false "
            "lets no estimate refuse",
        )


def refuse_full_disk(config: ExperimentConfig, plan: Plan) -> None:
    """Refuse a run, unless it has ended, whose folder has no room for a checkpoint.

    Raises:
        CheckpointError: there is less free than one takes.
    """
    folder = Path(config.run.dir)
    if not (folder / TRAINED_FILE).exists():
        Checkpoints(folder).require_space(round(plan.checkpoint_bytes))


def refuse_mixture(problems: Sequence[Problem]) -> None:
    """Refuse problems of which only some have images: ranks that train a vision tower together must all have one to see.

    Raises:
        ConfigError: naming one of each kind.
    """
    with_images = {bool(problem.images): problem.id for problem in problems}
    if len(with_images) > 1:
        raise ConfigError(
            f"some training problems have images ({with_images[True]}) and some have none ({with_images[False]})",
            where="data.path",
            fix="a run for each kind; a blank image for those that have none makes them one kind",
        )


def readable(problems: Sequence[Problem], rewards: RewardsConfig) -> tuple[list[Problem], list[str]]:
    """A published set without the rows whose answer cannot be judged, and notes that name those and others.

    A user's own file is refused for such a row; of a published set that cannot be asked.
    """
    unusable = faults(problems, rewards)
    kept = [problem for problem in problems if problem.id not in unusable]
    notes = []
    if unusable:
        notes.append(
            f"{len(unusable)} of {len(problems):,} left out, whose answer cannot be judged: {_few(unusable)}"
        )
    texts = compared_as_text(kept, rewards)
    if texts:
        notes.append(f"{len(texts)} of {len(problems):,} answers are compared as text only: {_few(texts)}")
    return kept, notes


def _few(names: Collection[str]) -> str:
    return ", ".join(list(names)[:5]) + (", …" if len(names) > 5 else "")


def say_notes(name: str, notes: Sequence[str]) -> None:
    """One line each."""
    for note in notes:
        say(f"{name}: {note}")


def load_benchmarks(
    configs: Mapping[str, BenchmarkConfig],
    data: DataConfig,
    evaluation: EvaluationConfig,
    prompt: str | None,
    rewards: RewardsConfig,
    *,
    ask_hub: bool = True,
) -> list[Benchmark]:
    """Load every benchmark, the in-domain ones first, and say what is unusual about it.

    With ``ask_hub=False`` those on the hub have no problems.

    Raises:
        ConfigError: there is none, or none that is in-domain; an unknown name.
        DataError: a file is not there, or malformed.
    """
    if not any(not config.out_of_domain for config in configs.values()):
        raise ConfigError(
            "there is no in-domain benchmark to measure on",
            where="benchmarks",
            fix="for example '+benchmarks.chains={family: chains}', or {path: FILE.jsonl}",
        )
    loaded = []
    for config in configs.values():
        benchmark = load_benchmark(config, data, evaluation, prompt, ask_hub=ask_hub)
        if entry_of(config) is not None:
            judged = rewards.asked_for(benchmark.template.extraction)
            problems, notes = readable(benchmark.problems, judged)
            benchmark = replace(benchmark, problems=problems, notes=(*benchmark.notes, *notes))
        say_notes(benchmark.name, benchmark.notes)
        loaded.append(benchmark)
    return sorted(loaded, key=lambda benchmark: benchmark.out_of_domain)
