"""The paper's rows (arXiv 2504.13837) against their recipes, value by value, and every one dry-runs."""

from __future__ import annotations

import re
from typing import Any

import pytest

from rlvr.cli import study
from rlvr.cli.hydra_app import RECIPES
from rlvr.config import EvaluateConfig, ExperimentConfig
from rlvr.data.benchmarks import BENCHMARKS, entry_of
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
    return {path.stem for path in (RECIPES / command / "recipe").glob("*.yaml")}


def test_every_recipe_of_the_paper_is_in_the_table() -> None:
    assert {name for name in recipes("experiment") if not name.startswith("tiny")} == set(TRAINING)
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
        left_open = [] if words else OPEN.get(recipe, [])  # scale=… has models of its own
        result = rlvr(command, f"recipe={recipe}", *left_open, *words)
        assert result.code == 0, result.err
        return found[0]

    return compose


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
    unmarked = re.compile(r"^\s*(run|data|benchmarks|train|rollout|learner|api|evaluation|algorithm|models|variants|dir|"
                          r"checkpoints|micro_batch_tokens|defaults)\b|^algorithms: \[\]$")  # fmt: skip
    for path in [*(RECIPES / "evaluate" / "recipe").glob("*.yaml"),
                 *(RECIPES / "experiment" / "recipe" / f"{name}.yaml" for name in TRAINING)]:  # fmt: skip
        text = path.read_text()
        assert "2504.13837" in text, path
        for line in text.splitlines():
            if not line.strip() or line.lstrip().startswith(("#", "- ")) or unmarked.match(line):
                continue
            commented = "[P]" in line or "[-]" in line
            assert commented or (path.stem in ("oat_zero", "distillation") and "max_tokens" in line), (
                path,
                line,
            )


@pytest.mark.parametrize(
    ("recipe", "scale"),
    [*((recipe, "tiny") for recipe in (*TRAINING, *EVALUATIONS)),
     ("deep_analysis_kl", "tiny_code"), ("code_r1", "tiny_code"), ("deepcoder", "tiny_code")],
)  # fmt: skip
def test_every_recipe_comes_down_to_two_cores_by_one_override(composed, recipe: str, scale: str) -> None:
    command = "study" if recipe in TRAINING else "evaluate"
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
