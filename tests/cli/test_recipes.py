"""Every recipe composes, and changes what it says and nothing else."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from omegaconf import OmegaConf
from PIL import Image
from transformers import AutoTokenizer

from rlvr.algorithms.grpo import GRPOConfig
from rlvr.budgets import rl_tokens
from rlvr.cli.hydra_app import MODELS, RECIPES, register
from rlvr.config import ExperimentConfig, MixtureComponent, PretrainConfig, PretrainStage
from rlvr.data import graphs, programs, signs, skills
from rlvr.data.benchmarks import BENCHMARKS, load_benchmark
from rlvr.data.mixture import render
from rlvr.data.tiny_tokenizer import build_tokenizer
from rlvr.data.tiny_vision import build_processor
from tests.cli.test_paper_recipes import SYSTEMS
from tests.tiny import TINY


def leaves(data: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield from leaves(value, f"{prefix}{key}.")
    else:
        yield prefix[:-1], data


def computed(value: Any) -> Any:
    """A value with those of its words that a resolver of ours or OmegaConf's works out."""
    if isinstance(value, dict):
        return {key: computed(each) for key, each in value.items()}
    if isinstance(value, list):
        return [computed(each) for each in value]
    if isinstance(value, str) and any(word in value for word in ("${oc.create", "${rlvr_rl", "${rlvr_mid")):
        register(ExperimentConfig)
        made = OmegaConf.create({"it": value}).it
        return OmegaConf.to_container(made) if OmegaConf.is_config(made) else made
    return value


def recipe(path: str) -> dict[str, Any]:
    """Leaves of a recipe file and of those that it builds on, its interpolations resolved."""
    data = yaml.safe_load((RECIPES / path).read_text())
    found: dict[str, Any] = {}
    for base in data.pop("defaults", []):
        if isinstance(base, str) and base != "_self_":
            found |= recipe(str(Path(path).with_name(f"{base}.yaml")))
    for key, value in leaves(data):
        value = computed(value)
        if isinstance(value, dict):  # it takes the place of a whole mapping
            found = {name: other for name, other in found.items() if not name.startswith(f"{key}.")}
        found |= leaves(value, f"{key}.")
    shipped = {f"${{rlvr_model:{path.name}}}": str(path) for path in MODELS.iterdir() if path.is_dir()}
    return {
        key: shipped.get(value, value) if isinstance(value, str) else value for key, value in found.items()
    }


def without_benchmarks(data: dict[str, Any]) -> dict[str, Any]:
    """They are completed by their defaults when they are checked."""
    return {key: value for key, value in data.items() if not key.startswith("benchmarks.")}


EXPERIMENT = asdict(ExperimentConfig(GRPOConfig(), model="m"))
CASES = [
    *((command, f"recipe={path.stem}", f"experiment/recipe/{path.name}", EXPERIMENT)
      for command in ("train", "study")
      for path in sorted((RECIPES / "experiment" / "recipe").glob("tiny*.yaml"))),
    *(("pretrain", f"recipe={path.stem}", f"pretrain/recipe/{path.name}", asdict(PretrainConfig()))
      for path in sorted((RECIPES / "pretrain" / "recipe").glob("*.yaml"))),
]  # fmt: skip


def test_all_recipes_are_here() -> None:
    primary = {
        RECIPES / command / "config.yaml" for command in ("experiment", "evaluate", "pretrain", "distill")
    }
    groups = {
        path
        for command in ("experiment", "evaluate")
        for group in ("cluster", "scale")
        for path in (RECIPES / command / group).iterdir()
    }
    # Those of the paper have a table of their own: test_paper_recipes.py.
    papers = set((RECIPES / "experiment" / "recipe").glob("deep_analysis*.yaml"))
    # Those of the second paper at its size: test_the_worlds_of_the_second_paper_fit_together.
    papers |= set((RECIPES / "experiment" / "recipe").glob("interplay*.yaml"))
    papers |= set((RECIPES / "evaluate" / "recipe").iterdir())
    papers |= {RECIPES / "experiment" / "recipe" / f"{name}.yaml" for name in SYSTEMS}
    papers |= set((RECIPES / "paper").iterdir())  # claims: test_paper.py
    assert set(RECIPES.rglob("*.yaml")) - papers == primary | groups | {
        RECIPES / path for _, _, path, _ in CASES
    }


@pytest.mark.parametrize(
    ("command", "cluster"),
    [
        ("train" if folder == "experiment" else folder, path)
        for folder in ("experiment", "evaluate")
        for path in sorted((RECIPES / folder / "cluster").glob("*.yaml"))
    ],
    ids=lambda value: value.stem if isinstance(value, Path) else value,
)
def test_a_cluster_changes_what_it_says_and_nothing_else(composed, command: str, cluster: Path) -> None:
    words = ["recipe=tiny"] if command == "train" else ["model=m"]
    [(_, before)] = composed(command, *words, "cluster=laptop")
    [(_, after)] = composed(command, *words, f"cluster={cluster.stem}")
    changed = recipe(str(cluster.relative_to(RECIPES)))
    assert dict(leaves(after)) == dict(leaves(before)) | changed


@pytest.mark.parametrize(
    ("command", "word", "path", "defaults"), CASES, ids=[f"{c} {w}" for c, w, _, _ in CASES]
)
def test_a_recipe_changes_what_it_says_and_nothing_else(composed, command, word, path, defaults) -> None:
    model = [] if command == "pretrain" else ["model=m"]
    # A model given on the command line wins over the recipe's.
    [(checked, resolved)] = composed(command, word, *model)
    laptop = {} if command == "pretrain" else recipe("experiment/cluster/laptop.yaml")
    expected = dict(leaves(defaults)) | laptop | recipe(path) | ({"model": "m"} if model else {})
    if "stages" in expected:  # a stage has the defaults of what it does not say
        expected["stages"] = [
            asdict(
                PretrainStage(
                    **{**stage, "mixture": [MixtureComponent(**part) for part in stage.get("mixture", [])]}
                )
            )
            for stage in expected["stages"]
        ]
    assert dict(leaves(resolved)) == expected
    assert without_benchmarks(dict(leaves(asdict(checked)))) == without_benchmarks(expected)


@pytest.mark.parametrize("command", ["train", "study"])
def test_the_tiny_recipe_starts_from_the_shipped_model(composed, command: str) -> None:
    [(checked, _)] = composed(command, "recipe=tiny")
    assert isinstance(checked, ExperimentConfig)
    assert isinstance(checked.algorithm, GRPOConfig)
    assert checked.model == str(MODELS / "tiny")
    assert checked.run.dir == "runs/tiny"


def test_tiny_problems_fit_the_tiny_model(composed) -> None:
    [(study, _)] = composed("study", "recipe=tiny_algorithms")
    [(pretraining, _)] = composed("pretrain", "recipe=tiny")
    known = {number for stage in pretraining.stages for number in stage.operations}
    assert set(study.data.skills.operations) < known
    assert max(study.data.skills.operations) < max(known)
    # What is longer is longer than any problem of training, and no longer than what pre-training has seen: at 7
    # operations the base solves nothing.
    assert study.benchmarks["skills_long"].out_of_domain
    longer = load_benchmark(study.benchmarks["skills_long"], study.data, study.evaluation, None).problems
    numbers = {problem.extra_info["num_operations"] for problem in longer}
    assert max(study.data.skills.operations) < min(numbers) <= max(numbers) <= max(known)
    assert study.benchmarks["skills_mixed"].out_of_domain
    # Fewer of the same skills would do as well; others would not.
    world = asdict(pretraining.skills)
    assert {name: getattr(study.data.skills, name) for name in world} == world
    assert study.data.skills.modulus == pretraining.modulus
    tokenizer = AutoTokenizer.from_pretrained(str(TINY))
    assert tokenizer.get_vocab() == build_tokenizer(skills.words(pretraining.skills)).get_vocab()
    hardest = (
        (
            max(study.data.skills.operations),
            study.rollout.max_prompt_tokens,
            study.rollout.max_response_tokens,
        ),
        (max(numbers), None, study.evaluation.max_tokens),
    )
    for (operations, prompt_limit, limit), seed in product(hardest, range(20)):
        graph = skills.sample_graph(random.Random(seed), operations, study.data.skills)
        # The tiny tokenizer makes a token of every word; the role tokens and the end are extra.
        prompt = tokenizer(f" {skills.problem_text(graph, random.Random(0))}")["input_ids"]
        assert len(prompt) + 2 <= (prompt_limit or len(prompt) + 2)
        assert len(prompt) + 2 + limit <= pretraining.max_position_embeddings
        assert len(tokenizer(f" {skills.solution_text(graph)[0]}")["input_ids"]) + 1 <= limit
    longest = study.rollout.max_prompt_tokens + max(
        study.rollout.max_response_tokens, study.evaluation.max_tokens
    )
    assert longest <= pretraining.max_position_embeddings
    # The model is measured as it was sampled from, under the sampling that it was trained under.
    assert study.evaluation.temperature == study.train.temperature


def test_programs_fit_the_model_that_writes_them(composed) -> None:
    [(study, _)] = composed("study", "recipe=tiny_code")
    [(pretraining, _)] = composed("pretrain", "recipe=tiny_code")
    assert study.model == str(MODELS / "tiny_code")
    assert study.data.family == pretraining.family == "programs"
    longer = study.benchmarks["programs_long"]
    assert longer.out_of_domain
    assert min(longer.operations) > max(study.data.programs.operations)
    assert min(longer.operations) > max(max(stage.operations) for stage in pretraining.stages)
    hardest = (
        (max(study.data.programs.operations), study.rollout.max_response_tokens),
        (max(longer.operations), study.evaluation.max_tokens),
    )
    tokenizer = AutoTokenizer.from_pretrained(study.model)
    assert tokenizer.get_vocab() == build_tokenizer(programs.words()).get_vocab()
    for operations, limit in hardest:
        # A step with a condition has the longest text and the longest code.
        steps = [programs.Step("a", "a", "+", "9", ">", 9)] * operations
        prompt = tokenizer(f" {programs.problem_text(steps, random.Random(0))}")["input_ids"]
        assert len(prompt) + 2 <= study.rollout.max_prompt_tokens
        assert len(tokenizer(f" {programs.solution_text(steps)}")["input_ids"]) + 1 <= limit
    longest = study.rollout.max_prompt_tokens + study.evaluation.max_tokens
    assert longest <= pretraining.max_position_embeddings


def test_pictures_fit_the_model_that_reads_them(composed) -> None:
    """The study asks for the model that the pretraining writes, about the signs that it was taught."""
    [(study, _)] = composed("study", "recipe=tiny_visual")
    [(pretraining, _)] = composed("pretrain", "recipe=tiny_visual")
    assert study.model == pretraining.output
    assert study.data.family == pretraining.family == "signs"
    world = asdict(pretraining.signs)
    assert world.items() <= asdict(study.data.signs).items()
    assert study.benchmarks["signs_blank"].out_of_domain
    tokenizer = build_tokenizer(signs.words())
    processor = build_processor(tokenizer, signs.EDGE, signs.CELL)
    document = next(signs.corpus("x", pretraining.signs))
    prompt = processor(
        text=render(tokenizer, document), images=[[Image.fromarray(np.asarray(document.picture))]]
    )
    assert len(prompt["input_ids"][0]) <= study.rollout.max_prompt_tokens
    solution = tokenizer(f" {document.solution}{tokenizer.eos_token}")["input_ids"]
    assert len(solution) <= min(study.rollout.max_response_tokens, study.evaluation.max_tokens)
    assert (
        study.rollout.max_prompt_tokens + study.rollout.max_response_tokens
        <= pretraining.max_position_embeddings
    )


@pytest.mark.parametrize("size", ["tiny_", ""])
def test_the_worlds_of_the_second_paper_fit_together(composed, size: str) -> None:
    """Base, mid-training, gold solutions, RL and evaluation are about the same graphs, and their texts fit."""
    [(study, _)] = composed("study", f"recipe={size}interplay_mid")
    [(pretraining, _)] = composed("pretrain", f"recipe={size}interplay")
    mid, gold = (
        composed("pretrain", f"recipe={name}")[0][0]
        for name in (f"{size or 'interplay_'}mid", f"{size or 'interplay_'}gold")
    )
    assert study.model == pretraining.output == mid.init == gold.init
    assert study.variants["mid_rl"][1] == f"model={mid.output}"
    for each in (pretraining, mid, gold):
        assert asdict(each.graphs).items() <= asdict(study.data.graphs).items()
    [lesson] = gold.stages[0].components
    asked = study.data.graphs
    assert (lesson.operations, lesson.contexts) == (asked.operations, asked.contexts)
    assert lesson.num_problems <= asked.num_train
    assert lesson.problems_seed == asked.seed

    # Both halves of the budget, by the formula of rlvr/budgets.py.
    step = rl_tokens(
        study.train.prompts_per_step,
        study.algorithm.group_size,
        study.rollout.max_prompt_tokens + study.rollout.max_response_tokens,
        study.algorithm.kl.coef > 0,
    )
    steps = [int(words[0].partition("=")[2]) for words in study.variants.values()]
    assert steps[0] == 2 * steps[1]
    assert mid.stages[0].num_tokens == pytest.approx(step * steps[1], rel=0.02)

    tokenizer = build_tokenizer(graphs.words(asked))
    hardest = max(number for each in study.benchmarks.values() for number in each.operations)
    for document in islice(graphs.corpus("x", [hardest], asked.contexts, 0.0, asked), 20):
        prompt = tokenizer(render(tokenizer, document))["input_ids"]
        solution = tokenizer(f" {document.solution}{tokenizer.eos_token}")["input_ids"]
        assert len(prompt) <= study.rollout.max_prompt_tokens
        assert len(solution) <= min(study.rollout.max_response_tokens, study.evaluation.max_tokens)
    longest = study.rollout.max_prompt_tokens + study.evaluation.max_tokens
    assert longest <= pretraining.max_position_embeddings


@pytest.mark.parametrize(
    ("name", "benchmark", "num_samples"), [("tiny", "skills", 256), ("tiny_code", "programs", 64)]
)
def test_the_evaluate_benchmark_is_the_studys(composed, name: str, benchmark: str, num_samples: int) -> None:
    [(study, _)] = composed("study", f"recipe={name}")
    words = (f"data.family={benchmark}",)
    [(evaluate, _)] = composed(
        "evaluate", "model=m", f"benchmark={benchmark}", f"num_samples={num_samples}", *words
    )
    own = BENCHMARKS[benchmark].plan
    assert evaluate.rewards == study.rewards
    assert evaluate.evaluation.plan(own) == study.evaluation.plan(own)
    assert evaluate.data == study.data


def test_the_command_line_wins(composed) -> None:
    [(checked, resolved)] = composed(
        "train",
        "recipe=tiny",
        "train.num_steps=3",
        "algorithm.clip_high=0.28",
        "data.skills.operations=[2,3]",
    )
    assert checked.train.num_steps == resolved["train"]["num_steps"] == 3
    assert checked.algorithm == GRPOConfig(clip_high=0.28)
    assert checked.data.skills.operations == [2, 3]


@pytest.mark.parametrize("command", ["study", "train"])
def test_benchmarks_on_the_command_line_replace_those_of_the_recipe(composed, command: str) -> None:
    [(named, resolved)] = composed(command, "recipe=tiny", "benchmarks={mine: {path: own.jsonl}}")
    assert list(named.benchmarks) == list(resolved["benchmarks"]) == ["mine"]
    [(listed, _)] = composed(command, "recipe=tiny", "benchmarks=[chains,own.jsonl]")
    assert list(listed.benchmarks) == ["chains", "own"]
    [(more, _)] = composed(command, "recipe=tiny", "+benchmarks.chains={family: chains}")
    assert list(more.benchmarks) == ["skills", "chains"]
    [(plain, _)] = composed(command, "model=m", "benchmarks={mine: {path: own.jsonl}}")
    assert list(plain.benchmarks) == ["mine"]


def test_variants_and_models_on_the_command_line_replace_those_of_the_recipe(composed) -> None:
    [(study, _)] = composed("study", "recipe=tiny_kl", "variants={low: ['algorithm.kl.coef=0.1']}")
    assert study.variants == {"low": ["algorithm.kl.coef=0.1"]}
    assert list(study.benchmarks) == ["skills"]
    [(evaluate, _)] = composed("evaluate", "recipe=easyr1", "models={a: m, b: n}")
    assert evaluate.models == {"a": "m", "b": "n"}


def test_composing_writes_nothing(composed, cwd: Path) -> None:
    composed("train", "recipe=tiny")
    assert list(cwd.iterdir()) == []
