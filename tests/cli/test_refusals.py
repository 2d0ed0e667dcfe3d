"""Mistakes of users: exit code 2, what, where and the fix; nothing started, nothing written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.errors import ConfigCompositionException

from rlvr.cli.hydra_app import RECIPES, explain
from rlvr.config import ExperimentConfig
from tests.architectures import write_tiny
from tests.cli.refusing import FIT, refused

DATA = "data.chains.num_train=8"


TINY = ("train", "recipe=tiny")
GREEDY = [
    "at temperature 0 the 4 samples of a problem",
    "evaluation.num_samples=1",
    "evaluation.temperature=0.6",
]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (
            (*TINY, "learner.learning_rat=1"),
            ["unknown key 'learner.learning_rat'", "'learner.learning_rate'?"],
        ),
        ((*TINY, "algorithm.group_sze=4"), ["unknown key 'algorithm.group_sze'", "'algorithm.group_size'?"]),
        ((*TINY, "sed=4"), ["unknown key 'sed'", "'seed'?"]),
        ((*TINY, "+learner.lr=1"), ["unknown key 'learner.lr'"]),
        ((*TINY, "lr=1e-4"), ["unknown key 'lr'", "'learner.learning_rate'?"]),
        ((*TINY, "actor_rollout_ref.actor.optim.lr=1e-4"), ["'learner.learning_rate'?"]),
        ((*TINY, "actor_rollout_ref.rollout.n=4"), ["'algorithm.group_size'?"]),
        ((*TINY, "n=4"), ["'algorithm.group_size'?"]),
        ((*TINY, "evaluation.n=4"), ["'evaluation.num_samples'?"]),
        ((*TINY, "batch_size=4"), ["'train.prompts_per_step'?"]),
        ((*TINY, "max_new_tokens=4"), ["'rollout.max_response_tokens'?"]),
        ((*TINY, "learning_rate=1e-4"), ["'learner.learning_rate'?"]),
        ((*TINY, "temperature=0.5"), ["'evaluation.temperature' or 'train.temperature'?"]),
        ((*TINY, "k=4"), ["'evaluation.num_samples'?"]),
        ((*TINY, "limit=4"), ["'evaluation.limit'?"]),
        (
            (*TINY, "--num-steps", "4"),
            ["unknown flag '--num-steps'", "key=value; did you mean 'train.num_steps'?"],
        ),
        (("evaluate", "model=m", "--limit", "4"), ["unknown flag '--limit'", "key=value: limit=…"]),
        (("evaluate", "model=m", "n=4"), ["unknown key 'n'", "'evaluation.num_samples'?"]),
        (("evaluate", "model=m", "k=4"), ["'evaluation.num_samples'?"]),
        (("evaluate", "model=m", "evaluation.k=4"), ["'evaluation.num_samples'?"]),
        ((*TINY, "evaluation.k=4"), ["'evaluation.num_samples'?"]),
        (
            ("evaluate", "model=m", "benchmark=chains", "temperature=0"),
            ["the 128 samples of a problem on chains"],
        ),
        (("evaluate", "model=m", "max_new_tokens=4"), ["'evaluation.max_tokens'?"]),
        (("evaluate", "pretrained=m", "tasks=gsm8k"), ["unknown key 'pretrained'", "'model'?"]),
        (("evaluate", "model=m", "benchmark=chains", "num_samples=4", "evaluation.temperature=0"), GREEDY),
        (
            (
                "evaluate",
                "model=m",
                "benchmark=chains",
                "evaluation.num_samples=4",
                "evaluation.temperature=0",
            ),
            GREEDY,
        ),
        (
            ("evaluate", "model=m", "benchmark=chains", "evaluation.temperature=0"),
            ["the 128 samples of a problem on chains would all be the same", "evaluation.num_samples=1"],
        ),
        (
            ("evaluate", "model=m", "num_samples=1", "benchmarks={chains: {temperature: 0, num_samples: 8}}"),
            ["the 8 samples", "where: benchmarks.chains.num_samples", "benchmarks.chains.num_samples=1"],
        ),
        (("evaluate", "model=m", "benchmark=chains", "limit=0"), ["where: evaluation.limit"]),
        (
            ("evaluate", "model=m", "benchmark=chains", "evaluation.top_k=0"),
            ["top_k is 0", "where: evaluation.top_k", "-1 is off"],
        ),
        ((*TINY, "+foo=1"), ["unknown key 'foo'"]),
        ((*TINY, "++foo=1"), ["unknown key 'foo'"]),
        ((*TINY, "--hepl"), ["--hepl"]),
        (("train", "recipe=tinny"), ["no recipe 'tinny'", "'tiny'?"]),
        (("study", "recipe=tinny"), ["no recipe 'tinny'", "'tiny'?"]),
        (("pretrain", "recipe=tinny"), ["no recipe 'tinny'", "'tiny'?"]),
        (
            ("evaluate", "model=m", "recipe=tiny"),
            ["no recipe 'tiny'", "recipe=tiny is one of `rlvr study`, `rlvr train` and `rlvr pretrain`"],
        ),
        (
            ("train", "recipe=magistral"),
            ["no recipe 'magistral'", "recipe=magistral is one of `rlvr evaluate`"],
        ),
        (("train", "algorithm=grpoo"), ["no algorithm 'grpoo'", "'grpo'?"]),
        (("evaluate", "model=m", "benchmark=chain"), ["no benchmark 'chain'", "'chains'?", "./chain.jsonl"]),
        (("evaluate", "model=m", "num_sample=4"), ["unknown key 'num_sample'", "num_samples'?"]),
        (("pretrain", "hidden=4"), ["unknown key 'hidden'", "'hidden_size'?"]),
        (("doctor", "--jsno"), ["unknown flag '--jsno'", "'--json'?"]),
        (
            (*TINY, "train.num_steps=many"),
            ["where: train.num_steps", "'many'", "of the type int; --help=train.num_steps"],
        ),
        ((*TINY, "algorithm.clip_low=a"), ["where: algorithm.clip_low", "of the type float"]),
        ((*TINY, "train.num_steps=0"), ["where: train.num_steps"]),
        ((*TINY, "train.num_steps=null"), ["train.num_steps"]),
        ((*TINY, "train=4"), ["where: train"]),
        ((*TINY, "algorithm.group_size=1"), ["where: algorithm.group_size"]),
        (
            (*TINY, "algorithm=rloo", "algorithm.group_size=1"),
            ["RLOO compares", "where: algorithm.group_size"],
        ),
        ((*TINY, "algorithm=ppo", "algorithm.critic.warmup=3"), ["'algorithm.critic.warmup_steps'?"]),
        ((*TINY, "algorithm.kl.estimator=k4"), ["'k4'", "where: algorithm.kl.estimator"]),
        ((*TINY, "algorithm.reduction=token"), ["'token'", "'token_mean'?"]),
        ((*TINY, "train.top_p=0.9"), ["truncated distribution", "where: train.top_p"]),
        ((*TINY, "algorithms=[grpo,ppo]"), ["trains one algorithm", "`rlvr study`"]),
        (("study", "recipe=tiny", "variants={a: 3}"), ["3 is no list of overrides", "where: variants.a"]),
        (("study", "recipe=tiny", "algorithms=[grpo,poo]"), ["no algorithm 'poo'", "'ppo'?"]),
        (("study", "recipe=tiny", "algorithms=[grpo,grpo]"), ["two models", "'grpo'"]),
        (
            ("study", "recipe=tiny", "algorithms=[grpo,rloo]", "algorithm.std_epsilon=1e-4"),
            ["no such setting (with algorithm=rloo)", "where: algorithm.std_epsilon"],
        ),
        (
            ("study", "recipe=tiny", "benchmarks.skills.famly=chains"),
            ["no key 'benchmarks.skills.famly' yet", "+bench"],
        ),
        (("study", "recipe=tiny", "+benchmarks.skills.famly=chains"), ["'famly'", "'family'?"]),
        (("study", "recipe=tiny", "+benchmarks.skills.out_of_domain=true"), ["no in-domain benchmark"]),
        (("study", "recipe=tiny", "+variants.base=['seed=1']"), ["no run can be called 'base'"]),
        (("study", "recipe=tiny", "+variants.a=['sed=1']"), ["unknown key 'sed'", "'seed'?"]),
        (("study", "recipe=tiny_kl", "algorithms=[grpo]"), ["both algorithms and variants"]),
        ((*TINY, "--plugin"), ["--plugin needs a file"]),
        (
            (*TINY, "train.max_staleness=1"),
            ["where: algorithm.importance_cap", "nothing in this algorithm corrects", "importance_cap=2"],
        ),
        (
            (
                *TINY,
                "train.max_staleness=1",
                "algorithm.importance_cap=2",
                "cluster.colocate=true",
                "--dry-run",
            ),
            ["where: train.max_staleness, cluster.colocate", "train.max_staleness=0"],
        ),
        (
            (*TINY, "train.max_staleness=4"),
            ["where: algorithm.importance_cap", "by 4 steps at most", "train.max_staleness=0"],
        ),
        (
            (
                *TINY,
                "train.max_staleness=2",
                "algorithm.importance_cap=2",
                "stages=[{from_step:2,train:{prompts_per_step:4}}]",
            ),
            ["where: train.max_staleness, stages", "train.max_staleness=1"],
        ),
        ((*TINY, "train.max_staleness=-1"), ["where: train.max_staleness"]),
        ((*TINY, "rollout.cache_at_update=forget"), ["where: rollout.cache_at_update", "recompute"]),
        ((*TINY, "train.minibatch_size=12"), ["where: train.minibatch_size", "a multiple of 8"]),
        ((*TINY, "just-words"), ["just-words"]),
        ((*TINY, "seed=1,2"), ["seed"]),
        (("train",), ["where: model", "recipe=tiny"]),
        (("evaluate",), ["where: model"]),
        (("evaluate", "model=nowhere", "benchmark=chains"), ["does not exist", "where: nowhere"]),
        (
            ("evaluate", "model=m"),
            ["nothing is named that could be measured", "where: benchmark", "benchmark=math500"],
        ),
        (("evaluate", "model=m", "benchmark=chains", "num_samples=0"), ["where: evaluation.num_samples"]),
        (("pretrain", "report_every=0"), ["where: report_every"]),
    ],
)
def test_a_mistake_on_the_command_line(rlvr, cwd: Path, words: tuple[str, ...], found: list[str]) -> None:
    refused(rlvr(*words), f"rlvr {words[0]}: ", *found)
    assert list(cwd.iterdir()) == []


@pytest.mark.parametrize(
    ("lost", "found"), [("tokenizer.json", "no tokenizer"), ("config.json", "no config.json")]
)
@pytest.mark.parametrize("command", ["train", "study", "evaluate"])
def test_an_incomplete_model_folder(
    rlvr, cwd: Path, model: Path, command: str, lost: str, found: str
) -> None:
    (model / lost).unlink()
    named = ["benchmark=chains"] if command == "evaluate" else []
    refused(rlvr(command, f"model={model}", DATA, *named), found, f"where: {model}")
    assert list(cwd.iterdir()) == []


@pytest.mark.parametrize("flags", [(), ("--dry-run",)])
def test_models_that_cannot_be_trained(
    rlvr, cwd: Path, model: Path, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    """The same words, whether the run would start or only be planned."""
    words = ("train", *FIT, *flags)
    write_tiny("mixtral", model)
    experts = f"where: {model}: model.layers.0.mlp.experts"
    refused(rlvr(*words, f"model={model}"), "MixtralForCausalLM mixes experts", experts)
    other = shutil.copytree(model, tmp_path / "gpt2")
    write_tiny("gpt2", other)
    adapted = rlvr(*words, f"model={other}", "learner.lora_rank=4")
    refused(adapted, "no linear layers", "where: learner.lora_rank")
    frozen = rlvr(*words, f"model={other}", "learner.freeze_vision_tower=true")
    refused(frozen, "GPT2LMHeadModel has no vision tower", "where: learner.freeze_vision_tower")
    assert list(cwd.iterdir()) == []


def test_a_value_that_the_recipe_leaves_open(rlvr, cwd: Path) -> None:
    refused(rlvr("evaluate", "recipe=easyr1"), "leaves this value to you", "where: models.rl")
    assert list(cwd.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["benchmarks={mine: {family: chian}}"], ["'chian'", "where: benchmarks.mine.family", "'chains'?"]),
        (["benchmark=no/where.jsonl"], ["does not exist", "where: no/where.jsonl"]),
        (["benchmark=math500", "data.folder=nowhere"], ["does not hold math500", "math500.jsonl"]),
        (["benchmarks=[a/x.jsonl,b/x.jsonl]"], ["two benchmarks are called 'x'"]),
        (["benchmarks=math500"], ["no list of benchmarks"]),
        (["benchmarks=[chains]", "benchmark=chains"], ["one benchmark and several"]),
        (["benchmarks={mine: {famly: chains}}"], ["'famly'", "'family'?"]),
        (["models=[a,b]"], ["one model and several"]),
        (["benchmark=chains", "prompt=think"], ["no prompt template 'think'", "'think_answer'?"]),
        (["benchmark=chains", "prompt=qwen_boxed"], ["'<|im_start|>'", "prompt=plain"]),
    ],
)
def test_benchmarks_models_and_prompts_that_are_not_there(
    rlvr, cwd: Path, model: Path, words: list[str], found: list[str]
) -> None:
    refused(rlvr("evaluate", f"model={model}", *words), *found)
    assert list(cwd.iterdir()) == []


@pytest.mark.parametrize("command", ["train", "study", "evaluate"])
def test_more_gpus_than_there_are(rlvr, cwd: Path, model: Path, command: str) -> None:
    named = ["benchmark=chains"] if command == "evaluate" else []
    words = (f"model={model}", DATA, *FIT, "rollout.device=cuda", "rollout.num_workers=1000")
    result = rlvr(command, *words, *named)
    refused(result, "GPUs", "rollout.num_workers", "this machine has")
    assert list(cwd.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (("train", "rollout.max_response_tokens=177"), "rollout.max_response_tokens=176"),
        (("train", "rollout.max_prompt_tokens=256"), "of at most 256 together"),
        (("evaluate", "evaluation.max_tokens=250", "benchmark=chains"), "evaluation.max_tokens="),
    ],
    ids=["train", "prompts", "evaluate"],
)
def test_responses_that_the_model_has_no_positions_for(
    rlvr, model: Path, words: tuple[str, ...], fix: str
) -> None:
    command, *rest = words
    refused(rlvr(command, f"model={model}", DATA, *FIT, *rest), "tokens", "256 positions", fix)


@pytest.mark.parametrize(
    ("word", "fix"),
    [
        ("variants={a: [train.num_steps=4]}", '["train.num_steps=4"]'),
        ("seeds=[1,2", "close brackets"),
        ("run.dir=a(b", "'run.dir=\"…\"'"),
    ],
)
def test_a_word_that_the_grammar_does_not_know_is_shown(rlvr, word: str, fix: str) -> None:
    refused(rlvr("study", "recipe=tiny", word), f"{word!r} cannot be read", "command line", fix)


def test_an_unknown_key_in_a_recipe_is_named() -> None:
    error = ConfigCompositionException(
        "In 'recipe/mine': ConfigKeyError raised while composing config:\n"
        "Key 'num_step' not in 'TrainConfig'\n    full_key: train.num_step\n    object_type=TrainConfig"
    )
    explained = explain(error, ExperimentConfig, RECIPES / "experiment")
    assert "num_step" in explained.what
    assert explained.where == "recipe/mine.yaml"
    assert explained.fix == "did you mean 'train.num_steps'?"


def test_an_unknown_key_in_a_recipe_of_ones_own(rlvr, tmp_path: Path) -> None:
    path = tmp_path / "recipe" / "mine.yaml"
    path.parent.mkdir()
    path.write_text("# @package _global_\ntrain:\n  num_step: 3\n")
    words = ("--config-dir", str(tmp_path), "recipe=mine", "model=m")
    refused(rlvr("train", *words), "unknown key 'num_step'", "where: recipe/mine.yaml", "'train.num_steps'?")


def test_heads_that_a_cpu_engine_does_not_compute_are_refused_before_it_starts(
    rlvr, model_folder: Path, tmp_path: Path
) -> None:
    """vLLM would say so itself after a minute; the dry run says it as well."""
    from transformers import AutoTokenizer, Qwen2ForCausalLM

    from rlvr.config import PretrainConfig
    from rlvr.pretrain import model_config

    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    narrow = tmp_path / "narrow"
    Qwen2ForCausalLM(model_config(PretrainConfig(num_heads=8), tokenizer)).save_pretrained(narrow)
    tokenizer.save_pretrained(narrow)
    words = ["heads are 16 numbers wide", "32, 64, 80"]
    for command in (("evaluate", "benchmark=chains"), ("train", DATA)):
        for dry in ((), ("--dry-run",)):
            result = rlvr(*command, f"model={narrow}", *FIT, *dry)
            assert result.code == 2, result.err
            assert all(word in result.err for word in words)


def test_a_model_of_the_hub_without_a_network_is_asked_for_once(tmp_path: Path) -> None:
    """As a process of its own: the client of the hub reads its settings once."""
    hub = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-m", "rlvr.cli.main", "evaluate", "model=nobody/nothing", "benchmark=chains"],
        env=os.environ | hub,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "the model cannot be fetched from the hub" in result.stderr
    assert "where: nobody/nothing" in result.stderr
    assert "fix:   model=FOLDER" in result.stderr
    assert "Retrying" not in result.stderr


def test_a_model_that_is_not_in_the_cache_has_a_fix_when_offline(rlvr) -> None:
    refused(
        rlvr("evaluate", "model=nobody/nothing", "benchmark=chains"),
        "fix:   model=FOLDER",
        "HF_HUB_OFFLINE=1",
    )


def test_a_base_that_no_engine_here_could_sample_is_refused_before_it_is_trained(
    rlvr, monkeypatch, cwd: Path
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    refused(
        rlvr("pretrain", "num_heads=8", "output=new"),
        "heads of 16 numbers",
        "where: num_heads",
        "num_heads=4",
    )
    assert list(cwd.iterdir()) == []
