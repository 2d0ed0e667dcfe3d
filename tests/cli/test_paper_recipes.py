"""The paper's rows (arXiv 2504.13837) against their recipes, value by value, and every one dry-runs."""

from __future__ import annotations

import re
from typing import Any

import pytest

from rlvr.cli import study
from rlvr.cli.hydra_app import RECIPES
from rlvr.config import EvaluateConfig, ExperimentConfig
from rlvr.data.benchmarks import BENCHMARKS, entry_of, training_problems
from rlvr.data.templates import TEMPLATES

SIX = ["ppo", "grpo", "reinforce_pp", "rloo", "remax", "dapo"]
MATH = ["gsm8k", "math500", "minerva_math", "olympiadbench", "aime24", "amc23"]
CODE = ["livecodebench", "humanevalplus", "mbppplus"]

# recipe: start model, runs, steps, rollouts per prompt of each, KL coefficient of each
TRAINING: dict[str, tuple[str, list[str], int, list[int], list[float]]] = {
    "deep_analysis": ("Qwen/Qwen2.5-7B", SIX, 150, [8] * 6, [0.0] * 6),
    "deep_analysis_instruct": ("Qwen/Qwen2.5-7B-Instruct", SIX, 150, [8] * 6, [0.0] * 6),
    "deep_analysis_r1_distill": ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", SIX, 150, [8] * 6, [0.0] * 6),
    "deep_analysis_steps": ("Qwen/Qwen2.5-7B", ["grpo"], 450, [8], [0.0]),
    "deep_analysis_kl": ("Qwen/Qwen2.5-7B", ["kl_0", "kl_0.001"], 450, [8, 8], [0.0, 0.001]),
    "deep_analysis_rollouts": ("Qwen/Qwen2.5-7B", ["n_8", "n_32"], 220, [8, 32], [0.0, 0.0]),
}
# The systems of the study, trained: recipe → values of their own papers, scripts and cards, by key.
ZOO: dict[str, Any] = {
    "algorithm.name": "grpo", "algorithm.group_size": 8, "algorithm.kl.placement": "loss", "algorithm.kl.estimator": "k3",
    "algorithm.clip_low": 0.2, "algorithm.clip_high": 0.2, "algorithm.entropy_coef": 0.001, "train.prompts_per_step": 1024,
    "train.minibatch_size": 256 * 8, "train.num_steps": 100, "train.temperature": 1.0, "rollout.max_prompt_tokens": 1024,
    "rollout.max_response_tokens": 8192, "learner.learning_rate": 5e-7, "learner.weight_decay": 0.01, "benchmarks": MATH,
}  # fmt: skip
QWEN = {"data.path": "simplerl_zoo_hard", "prompt": "qwen_boxed"}
DEEPCODER: dict[str, Any] = {
    "algorithm.name": "grpo", "algorithm.group_size": 8, "algorithm.kl.coef": 0.0, "algorithm.clip_low": 0.2,
    "algorithm.clip_high": 0.28, "algorithm.entropy_coef": 0.0, "algorithm.mask_truncated": True, "algorithm.divide_by_std": True,
    "algorithm.reduction": "token_mean", "train.temperature": 0.6, "rollout.max_prompt_tokens": 2048, "data.max_tests": 15,
    "data.choose_tests": "longest", "data.path": "deepcoder_preview", "learner.learning_rate": 1e-6,
    "train.reward.right": 1.0, "train.reward.wrong": 0.0, "benchmarks": ["livecodebench"], "evaluation.max_tokens": 32768,
}  # fmt: skip
SYSTEMS: dict[str, dict[str, Any]] = {
    "simplerl_zoo_7b": {**ZOO, **QWEN, "model": "Qwen/Qwen2.5-7B", "algorithm.kl.coef": 1e-4},
    "simplerl_zoo_14b": {**ZOO, **QWEN, "model": "Qwen/Qwen2.5-14B", "algorithm.kl.coef": 1e-4},
    "simplerl_zoo_32b": {**ZOO, **QWEN, "model": "Qwen/Qwen2.5-32B", "algorithm.kl.coef": 1e-3},
    "simplerl_zoo_llama": {
        **ZOO, "model": "meta-llama/Llama-3.1-8B", "algorithm.kl.coef": 1e-4, "data.path": "simplerl_zoo_easy",
        "prompt": "abel",
    },
    "oat_zero": {
        "model": "Qwen/Qwen2.5-Math-7B", "algorithm.name": "dr_grpo", "algorithm.divide_by_std": False,
        "algorithm.reduction": "constant_length", "algorithm.group_size": 8, "algorithm.kl.coef": 0.0,
        "algorithm.clip_low": 0.2, "algorithm.clip_high": 0.2, "train.prompts_per_step": 128, "train.minibatch_size": 128,
        "train.num_epochs": 1, "train.num_steps": 20 * 66, "train.temperature": 1.0, "rollout.max_prompt_tokens": 1024,
        "rollout.max_response_tokens": 3000, "learner.learning_rate": 1e-6, "learner.weight_decay": 0.0,
        "learner.adam_beta1": 0.9, "learner.adam_beta2": 0.95, "data.path": "math_levels_3_to_5", "prompt": "qwen_math",
        "benchmarks": MATH, "algorithm.importance_cap": None,
    },
    "dapo_32b": {
        "model": "Qwen/Qwen2.5-32B", "algorithm.name": "dapo_verl", "algorithm.group_size": 16, "algorithm.kl.coef": 0.0,
        "algorithm.clip_low": 0.2, "algorithm.clip_high": 0.28, "algorithm.dual_clip": 10.0, "algorithm.entropy_coef": 0.0,
        "algorithm.dynamic_sampling": True, "algorithm.max_sampling_factor": 10 * 1536 / 512,
        "algorithm.reduction": "token_mean", "algorithm.overlong_share": 4096 / 20480, "algorithm.overlong_weight": 1.0,
        "train.prompts_per_step": 512, "train.minibatch_size": 512, "train.temperature": 1.0, "train.reward.right": 1.0,
        "train.reward.wrong": -1.0, "rollout.max_prompt_tokens": 2048, "rollout.max_response_tokens": 20480,
        "learner.learning_rate": 1e-6, "learner.warmup_steps": 20 * 16, "learner.weight_decay": 0.1,
        "learner.max_grad_norm": 1.0, "data.path": "dapo_17k", "prompt": "dapo", "benchmarks": ["aime24"],
    },
    "code_r1": {
        "model": "Qwen/Qwen2.5-7B-Instruct-1M", "algorithm.name": "grpo", "algorithm.group_size": 16, "algorithm.kl.coef": 1e-3,
        "algorithm.kl.placement": "loss", "algorithm.kl.estimator": "k3", "algorithm.clip_low": 0.2, "algorithm.clip_high": 0.2,
        "algorithm.entropy_coef": 0.001, "train.prompts_per_step": 16, "train.minibatch_size": None, "train.num_steps": 832,
        "train.temperature": 1.0, "train.reward.right": 1.1, "train.reward.wrong": 0.1, "train.reward.malformed": -1.1,
        "rollout.max_prompt_tokens": 2048, "rollout.max_response_tokens": 4096, "learner.learning_rate": 5e-7,
        "data.path": "code_r1_12k", "prompt": None, "benchmarks": CODE,
    },
    "easyr1": {
        "model": "Qwen/Qwen2.5-VL-7B-Instruct", "algorithm.name": "grpo", "algorithm.group_size": 5, "algorithm.kl.coef": 1e-2,
        "algorithm.kl.placement": "loss", "algorithm.kl.estimator": "k3", "algorithm.clip_low": 0.2, "algorithm.clip_high": 0.3,
        "algorithm.dual_clip": 3.0, "algorithm.entropy_coef": 0.0, "train.prompts_per_step": 512, "train.minibatch_size": 128 * 5,
        "train.num_steps": 15 * 4, "train.temperature": 1.0, "train.reward.right": 0.9, "train.reward.well_formed": 0.1,
        "rollout.max_prompt_tokens": 2048, "rollout.max_response_tokens": 2048, "learner.learning_rate": 1e-6,
        "learner.warmup_steps": 0, "learner.weight_decay": 0.01, "data.path": "geometry3k", "prompt": "easyr1",
        "benchmarks": ["mathvista", "mathvision"],
    },
    "deepcoder": {
        **DEEPCODER, "model": "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B", "train.prompts_per_step": 32,
        "train.minibatch_size": 16 * 8, "rollout.max_response_tokens": 16384,
    },
}  # fmt: skip
# What they change on the way: recipe → by the first step of a stage, what is then else.
STAGES: dict[str, dict[int, dict[str, Any]]] = {
    "deepcoder": {
        181: {
            **DEEPCODER, "train.prompts_per_step": 128, "train.minibatch_size": 64 * 8, "rollout.max_response_tokens": 32768,
        },
    },
}  # fmt: skip
# recipe: models by name, benchmarks, prompt (None: each benchmark's own), longest response
EVALUATIONS: dict[str, tuple[dict[str, str], list[str], str | None, int]] = {
    "simplerl_zoo_7b": (
        {"base": "Qwen/Qwen2.5-7B", "rl": "hkust-nlp/Qwen-2.5-7B-SimpleRL-Zoo"}, MATH, "qwen_boxed", 16384),
    "simplerl_zoo_14b": (
        {"base": "Qwen/Qwen2.5-14B", "rl": "hkust-nlp/Qwen-2.5-14B-SimpleRL-Zoo"}, MATH, "qwen_boxed", 16384),
    "simplerl_zoo_32b": (
        {"base": "Qwen/Qwen2.5-32B", "rl": "hkust-nlp/Qwen-2.5-32B-SimpleRL-Zoo"}, MATH, "qwen_boxed", 16384),
    "simplerl_zoo_llama": (
        {"base": "meta-llama/Llama-3.1-8B", "rl": "hkust-nlp/Llama-3.1-8B-SimpleRL-Zoo"},
        MATH, "abel", 16384),
    "oat_zero": (
        {"base": "Qwen/Qwen2.5-Math-7B", "rl": "sail/Qwen2.5-Math-7B-Oat-Zero"}, MATH, "qwen_math", 3072),
    "dapo_32b": ({"base": "Qwen/Qwen2.5-32B", "rl": "BytedTsinghua-SIA/DAPO-Qwen-32B"}, ["aime24"], "dapo", 16384),
    "code_r1": (
        {"base": "Qwen/Qwen2.5-7B-Instruct-1M", "rl": "ganler/CodeR1-Zero-Qwen2.5-7B-12k-832"}, CODE, None, 16384),
    "deepcoder": (
        {"base": "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B", "rl": "agentica-org/DeepCoder-14B-Preview"},
        ["livecodebench"], None, 32768),
    "distillation": (
        {"base": "Qwen/Qwen2.5-Math-7B", "rl": "sail/Qwen2.5-Math-7B-Oat-Zero",
         "instruct": "Qwen/Qwen2.5-Math-7B-Instruct", "distilled": "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"},
        ["minerva_math"], "plain", 3072),
}  # fmt: skip
EVALUATIONS["magistral"] = (
    {"base": "mistral-medium-2505", "rl": "magistral-medium-2506"}, ["aime24", "aime25"], "boxed", 40960,
)  # fmt: skip
EVALUATIONS["easyr1"] = (
    {"base": "Qwen/Qwen2.5-VL-7B-Instruct", "rl": "my/checkpoint"}, ["mathvista", "mathvision"], "easyr1", 16384,
)  # fmt: skip
OPEN = {"easyr1": ["models.rl=my/checkpoint"]}
"""What a recipe leaves to its user."""
NUM_SAMPLES = dict.fromkeys([*MATH, *CODE, "mathvista", "mathvision"], 128) | {
    "aime24": 1024,
    "aime25": 1024,
    "amc23": 1024,
}


OWN_NUM_SAMPLES = {("simplerl_zoo_llama", "olympiadbench"): 1024}
"""Of one row alone."""


def recipes(command: str) -> set[str]:
    """Those of this paper; the names of the second one's, arXiv 2512.07783, say so."""
    return {
        path.stem for path in (RECIPES / command / "recipe").glob("*.yaml") if "interplay" not in path.stem
    }


def test_every_recipe_of_the_paper_is_in_the_table() -> None:
    assert {name for name in recipes("experiment") if not name.startswith("tiny")} == {*TRAINING, *SYSTEMS}
    assert recipes("evaluate") == set(EVALUATIONS)


@pytest.fixture
def composed(monkeypatch, rlvr):
    """The checked config of a recipe, and for studies its runs."""

    def compose(command: str, recipe: str, *words: str) -> Any:
        found: list[Any] = []

        def app(config: Any, resolved: dict[str, Any]) -> None:
            runs = study.composed_runs(config) if isinstance(config, ExperimentConfig) else {}
            found.append((config, {name: run for name, (run, _) in runs.items()}))

        module = __import__(f"rlvr.cli.{command}", fromlist=["app"])
        monkeypatch.setattr(module, "app", app)
        # A study trains the model that an evaluation leaves open, and scale=… has models of its own.
        left_open = OPEN.get(recipe, []) if command == "evaluate" and not words else []
        result = rlvr(command, f"recipe={recipe}", *left_open, *words)
        assert result.code == 0, result.err
        return found[0]

    return compose


def test_there_are_as_many_problems_as_the_tiny_recipes_ask_for(composed) -> None:
    found: dict[str, int] = {}
    for path in sorted((RECIPES / "experiment" / "recipe").glob("tiny*.yaml")):
        _, runs = composed("study", path.stem)
        for data in [run.data for run in runs.values()]:
            if data.family != "signs" and repr(data) not in found:  # pictures take minutes
                found[repr(data)] = len(training_problems(data))
    assert len(found) > 6
    assert min(found.values()) >= 2048


@pytest.mark.parametrize("recipe", TRAINING)
def test_training_is_as_the_paper_states(composed, recipe: str) -> None:
    model, names, steps, group_sizes, kl = TRAINING[recipe]
    config, runs = composed("study", recipe)
    assert config.model == model
    assert list(runs) == names
    assert [run.build_algorithm().group_size for run in runs.values()] == group_sizes
    assert [run.algorithm.kl.coef for run in runs.values()] == kl
    for run in runs.values():
        assert run.data.path == "omni_math_train"
        assert run.prompt == "think_answer"
        assert run.train.num_steps == steps
        assert (run.train.prompts_per_step, run.train.minibatch_size, run.train.num_epochs) == (256, None, 1)
        assert run.train.temperature == 1.0
        assert run.rollout.max_response_tokens == 8192
        assert (run.learner.learning_rate, run.learner.warmup_steps) == (1e-6, 0)
    if names == SIX:
        assert runs["dapo"].algorithm.clip_low == 0.2
        assert runs["dapo"].algorithm.clip_high == 0.28
    assert list(config.benchmarks) == ["omni_math_train", "omni_math_test", "math500"]
    assert [each.out_of_domain for each in config.benchmarks.values()] == [False, False, True]
    for benchmark in config.benchmarks.values():
        entry = entry_of(benchmark)
        assert entry is not None
        plan = config.evaluation.plan(entry.plan)
        assert (plan.num_samples, plan.temperature, plan.top_p, plan.max_tokens) == (256, 0.6, 0.95, 16384)
    saved = config.train.keep_model_every
    if recipe == "deep_analysis_steps":
        assert (saved, config.evaluation.checkpoints) == (150, True)


@pytest.mark.parametrize("recipe", SYSTEMS)
def test_systems_are_trained_as_their_sources_state(composed, recipe: str) -> None:
    config, runs = composed("study", recipe)
    [run] = runs.values()
    table = {1: SYSTEMS[recipe], **STAGES.get(recipe, {})}
    assert list(run.in_stages()) == list(table)
    for step, stage in run.in_stages().items():
        for key, wanted in table[step].items():
            found: Any = stage
            for word in key.split("."):
                found = getattr(found, word)
            assert (list(found) if key == "benchmarks" else found) == wanted, key
    models, benchmarks, prompt, longest = EVALUATIONS[recipe]
    assert config.model == models["base"]
    assert (list(config.benchmarks), config.prompt) == (benchmarks, prompt)
    for name in benchmarks:
        plan = config.evaluation.plan(BENCHMARKS[name].plan, config.benchmarks[name])
        assert plan.num_samples == OWN_NUM_SAMPLES.get((recipe, name), NUM_SAMPLES[name])
        assert (plan.temperature, plan.top_p, plan.max_tokens) == (0.6, 0.95, longest)


def test_code_r1s_form_is_think_and_then_answer(composed) -> None:
    config, _ = composed("study", "code_r1")
    form = re.compile(config.train.reward.format, re.DOTALL)
    assert form.fullmatch("<think>\nHm.\n</think>\n<answer>\n```python\nprint(1)\n```\n</answer>\n")
    assert not form.fullmatch("<answer>```python\nprint(1)\n```</answer>")
    assert not form.fullmatch("<think>Hm.</think><answer>1</answer> and more")


def test_easyr1s_form_is_think_and_then_a_box(composed) -> None:
    config, _ = composed("study", "easyr1")
    form = re.compile(config.train.reward.format, re.DOTALL)
    assert form.fullmatch("<think>\nHm.\n</think>\nIt is \\boxed{3}.")
    assert not form.fullmatch("It is \\boxed{3}.")
    assert not form.fullmatch("<think>Hm.</think> It is 3.")


@pytest.mark.parametrize("recipe", SYSTEMS)
def test_training_a_system_fits_its_cluster(rlvr, recipe: str) -> None:
    result = rlvr("study", f"recipe={recipe}", "--dry-run")
    assert result.code == 0, result.err
    assert "the plan fits" in result.out
    assert "evaluation of" in result.out


@pytest.mark.parametrize("recipe", EVALUATIONS)
def test_evaluations_are_as_the_paper_states(composed, recipe: str) -> None:
    models, benchmarks, prompt, longest = EVALUATIONS[recipe]
    config, _ = composed("evaluate", recipe)
    assert isinstance(config, EvaluateConfig)
    assert config.models == models
    assert list(config.benchmarks) == benchmarks
    assert config.prompt == prompt
    for name in benchmarks:
        plan = config.evaluation.plan(BENCHMARKS[name].plan, config.benchmarks[name])
        assert plan.num_samples == OWN_NUM_SAMPLES.get((recipe, name), NUM_SAMPLES[name])
        assert (plan.temperature, plan.top_p, plan.max_tokens) == (0.6, 0.95, longest)


def test_every_tokenizer_knows_the_words_of_its_prompt() -> None:
    """A dry run does not ask the hub for tokenizers, so nothing else would say it before the engines start."""
    for name, (models, benchmarks, prompt, _) in EVALUATIONS.items():
        templates = [TEMPLATES[prompt or BENCHMARKS[benchmark].prompt] for benchmark in benchmarks]
        foreign = [model for model in models.values() if re.search(r"Llama|R1-Distill|DeepCoder", model)]
        if any(template.special for template in templates):
            assert not foreign, f"{name}: these have none of Qwen's chat tokens"
        if 0 < len(foreign) < len(models):
            assert not any(template.is_chat for template in templates), f"{name}: chat templates of two kinds"


@pytest.mark.parametrize("recipe", TRAINING)
def test_training_fits_its_cluster(rlvr, recipe: str) -> None:
    result = rlvr("study", f"recipe={recipe}", "--dry-run")
    assert result.code == 0, result.err
    assert "described by the config" in result.out
    assert "256 prompts ×" in result.out
    assert "the plan fits" in result.out


def test_models_behind_an_api_need_no_hardware(rlvr) -> None:
    result = rlvr("evaluate", "recipe=magistral", "--dry-run")
    assert result.code == 0, result.err
    assert (
        "mistral-medium-2505 and magistral-medium-2506: 122,880 requests, each for one sample" in result.out
    )
    assert "key from MISTRAL_API_KEY" in result.out
    assert "GiB" not in result.out


@pytest.mark.parametrize("recipe", [name for name in EVALUATIONS if name != "magistral"])
def test_evaluations_fit_their_cluster(rlvr, recipe: str) -> None:
    models = EVALUATIONS[recipe][0]
    # A checkpoint of the user's own has the shape of what it was trained from.
    own = [word.replace("my/checkpoint", models["base"]) for word in OPEN.get(recipe, [])]
    result = rlvr("evaluate", f"recipe={recipe}", *own, "--dry-run")
    assert result.code == 0, result.err
    for name in models:
        assert f"evaluation of {name}\n" in result.out
    for model in {models["base"]} if own else set(models.values()):
        assert f"model: {model}," in result.out


def test_values_name_their_source() -> None:
    """Every value of a paper's recipe is marked as the paper's or as ours, but for folders and plumbing."""
    unmarked = re.compile(r"^\s*(run|data|benchmarks|train|stages|rollout|learner|api|evaluation|algorithm|models|variants|dir|"
                          r"checkpoints|micro_batch_tokens|defaults|rewards|reward)\b|^algorithms: \[\]$")  # fmt: skip
    for path in [*(RECIPES / "evaluate" / "recipe" / f"{name}.yaml" for name in EVALUATIONS),
                 *(RECIPES / "experiment" / "recipe" / f"{name}.yaml" for name in (*TRAINING, *SYSTEMS))]:  # fmt: skip
        text = path.read_text()
        assert "2504.13837" in text, path
        for line in text.splitlines():
            if not line.strip() or line.lstrip().startswith(("#", "- ")) or unmarked.match(line):
                continue
            marks = "psrdP-" if path.parent.parent.name == "experiment" and path.stem in SYSTEMS else "P-"
            commented = re.search(rf"\[[{marks}]\]", line)
            assert commented or (path.stem in ("oat_zero", "distillation") and "max_tokens" in line), (
                path,
                line,
            )


@pytest.mark.parametrize(
    ("command", "recipe", "scale"),
    [*(("study", recipe, "tiny") for recipe in (*TRAINING, *SYSTEMS)),
     *(("evaluate", recipe, "tiny") for recipe in EVALUATIONS),
     ("study", "deep_analysis_kl", "tiny_code"), ("study", "code_r1", "tiny_code"), ("study", "deepcoder", "tiny_code"),
     ("evaluate", "code_r1", "tiny_code"), ("evaluate", "deepcoder", "tiny_code")],
)  # fmt: skip
def test_every_recipe_comes_down_to_two_cores_by_one_override(
    composed, command: str, recipe: str, scale: str
) -> None:
    small, runs = composed(command, recipe, f"scale={scale}")
    assert list(small.benchmarks) == (["programs"] if scale == "tiny_code" else ["skills", "skills_long"])
    assert small.rollout.num_workers == 2
    assert (small.cluster.gpus_per_node, small.rollout.device) == (None, "auto")
    assert small.run.dir == f"runs/scale-{scale.replace('_', '-')}/{recipe}"
    assert small.evaluation.num_samples == 8
    if command == "evaluate":
        assert small.api.base_url is None
        assert all(model.endswith(f"/{scale}") for model in small.models.values())
        return
    if recipe in SYSTEMS:
        [run] = runs.values()
        table = SYSTEMS[recipe]
        assert run.algorithm.group_size == table["algorithm.group_size"]
        assert (run.train.num_steps, run.train.temperature) == (2, table["train.temperature"])
        assert (run.data.path, run.data.max_tests, run.train.minibatch_size) == (None, None, None)
        return
    _, names, _, group_sizes, kl = TRAINING[recipe]
    assert list(runs) == names
    assert [run.build_algorithm().group_size for run in runs.values()] == group_sizes
    assert [run.algorithm.kl.coef for run in runs.values()] == kl
    for run in runs.values():
        assert (run.rollout.num_workers, run.learner.num_learners, run.learner.zero_stage) == (2, 2, 3)
        assert (run.train.num_steps, run.train.temperature, run.learner.learning_rate) == (2, 1.0, 1e-6)
    assert (small.evaluation.temperature, small.evaluation.top_p) == (0.6, 0.95)


def test_a_tiny_scale_fits_this_machine_and_says_where_its_values_come_from(rlvr) -> None:
    result = rlvr("evaluate", "recipe=code_r1", "scale=tiny_code", "--dry-run")
    assert result.code == 0, result.err
    assert "this machine" in result.out
    # The file that put other models in the place of the recipe's, not the one that they took it from.
    [line] = [line for line in result.out.splitlines() if line.lstrip().startswith("models.base")]
    assert "← recipes/evaluate/scale/tiny_code.yaml:" in line
