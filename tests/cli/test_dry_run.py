"""--dry-run: origins, plan, sample and refusals; tests/cli/conftest.py fails any that starts Ray."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rlvr import checkpoint
from rlvr.cli.hydra_app import RECIPES
from rlvr.data.loaders import to_row
from rlvr.planning import memory
from tests.broken import pickled, poison, without_end, without_head
from tests.cli.pools import SMALL, Pools
from tests.fabricate import evaluation
from tests.fakes import problems

CLUSTERS = {
    command: sorted(path.stem for path in (RECIPES / command / "cluster").glob("*.yaml"))
    for command in ("experiment", "evaluate")
}


def value_line(out: str, key: str) -> str:
    [line] = re.findall(rf"(?m)^  {re.escape(key)} .*$", out)
    return line


def test_train_shows_everything_and_writes_nothing(rlvr, cwd: Path) -> None:
    result = rlvr(
        "train", "recipe=tiny_steps", "algorithm=dapo", "learner.zero_stage=3", "train.num_steps=20", "--dry-run",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "← command line" in value_line(result.out, "learner.zero_stage")
    assert "← recipes/experiment/recipe/tiny.yaml:" in value_line(result.out, "train.prompts_per_step")
    assert "← recipes/experiment/recipe/tiny_steps.yaml:" in value_line(result.out, "run.dir")
    assert "←" not in value_line(result.out, "algorithm.clip_high")
    file = RECIPES / "experiment" / "recipe" / "tiny.yaml"
    number = int(value_line(result.out, "train.prompts_per_step").rpartition(":")[2])
    assert "prompts_per_step: 32" in file.read_text().splitlines()[number - 1]
    assert "32 prompts × 8 = 256 rollouts" in result.out
    assert "weight update" in result.out
    assert "→ correct, score 1" in result.out
    assert "→ unparsed, score 0" in result.out
    assert "<|assistant|>" in result.out
    assert "evaluation of" not in result.out  # the recipe's benchmarks are a study's
    assert "samples at temperature" not in result.out
    assert result.out.rstrip().endswith("the plan fits")
    assert list(cwd.iterdir()) == []


@pytest.mark.parametrize("name", [name for name in CLUSTERS["experiment"] if name != "laptop"])
def test_clusters_hold_their_models(rlvr, name: str) -> None:
    model = {"gpu_1": "Qwen/Qwen2.5-1.5B", "nodes_4x8": "Qwen/Qwen2.5-14B", "nodes_8x8": "Qwen/Qwen2.5-32B"}
    result = rlvr(
        "train", "recipe=tiny", f"cluster={name}", f"model={model.get(name, 'Qwen/Qwen2.5-7B')}",
        "rollout.max_prompt_tokens=1024", "rollout.max_response_tokens=8192",
        "learner.micro_batch_tokens=16384", "--dry-run",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "described by the config" in result.out
    # A hub model is not fetched: the prompt is shown in words, and that is said.
    assert "its tokenizer is not loaded" in result.out


@pytest.mark.parametrize("name", CLUSTERS["evaluate"])
def test_evaluations_are_planned(rlvr, name: str) -> None:
    model = ["model=Qwen/Qwen2.5-32B"] if "tp4" in name else ["model=Qwen/Qwen2.5-7B"]
    if name == "laptop":
        model = ["model=" + str(RECIPES.parent / "models" / "tiny")]
    result = rlvr("evaluate", *model, "benchmark=chains", f"cluster={name}", "num_samples=64", "--dry-run")
    assert result.code == 0, result.err
    assert "chains: 100 problems × 64 samples at temperature 1.0" in result.out


def test_a_quick_look_is_planned_as_one(rlvr) -> None:
    words = ("benchmark=gsm8k", "limit=20", "evaluation.top_k=5")
    result = rlvr("evaluate", "model=Qwen/Qwen2.5-7B", "cluster=node_8gpu", *words, "--dry-run")
    assert result.code == 0, result.err
    assert "gsm8k: 20 problems × " in result.out
    assert "top-k 5, at most" in result.out


def test_a_study_is_planned_with_the_learners_gpus_for_its_measurements(rlvr) -> None:
    words = (
        "study", "recipe=tiny", "model=Qwen/Qwen2.5-7B", "cluster=node_8gpu", "rollout.max_prompt_tokens=1024",
        "rollout.max_response_tokens=8192", "learner.micro_batch_tokens=16384", "--dry-run",
    )  # fmt: skip
    result = rlvr(*words)
    assert result.code == 0, result.err
    training, measuring = result.out.split("\nevaluation of ")
    assert re.findall(r"rollout (\d): GPU (\d)", training) == [(str(each), str(each)) for each in range(4)]
    assert re.findall(r"rollout (\d): GPU (\d)", measuring) == [(str(each), str(each)) for each in range(8)]
    too_many = rlvr(*words, "evaluation.num_workers=9")
    assert too_many.code == 2
    assert "1 of 9 workers find no GPU" in too_many.err
    assert "fewer rollout.num_workers or evaluation.num_workers, a larger cluster=…" in too_many.err


def test_what_does_not_fit_is_refused_with_a_way_out(rlvr) -> None:
    result = rlvr(
        "train", "recipe=tiny", "cluster=gpu_1", "model=Qwen/Qwen2.5-32B",
        "rollout.max_prompt_tokens=1024", "--dry-run",
    )  # fmt: skip
    assert result.code == 2
    assert "the plan does not fit" in result.err
    assert "rollout.tensor_parallel_size" in result.err
    assert "learner" in result.err


def test_a_run_without_the_hardware_points_at_the_dry_run(rlvr) -> None:
    result = rlvr("train", "recipe=tiny", "cluster=node_8gpu")
    assert result.code == 2
    assert "--dry-run" in result.err


def test_commands_without_a_dry_run_say_so(rlvr) -> None:
    result = rlvr("distill", "--dry-run")
    assert result.code == 2
    assert "has no dry run" in result.err


def test_pretraining_says_size_steps_and_shares(rlvr, cwd: Path) -> None:
    result = rlvr("pretrain", "recipe=interplay", "--dry-run")
    assert result.code == 0, result.err
    assert "model: 101.6 M parameters" in result.out
    assert "10,000,000,000 tokens (98 a parameter)" in result.out
    assert "op 8,9,10, zoo+school+festival: 50.000% of tokens asked for" in result.out
    assert not (cwd / "runs").exists()
    result = rlvr("pretrain", "recipe=interplay", "max_position_embeddings=128", "--dry-run")
    assert result.code == 2
    assert "128 positions" in result.err


@pytest.mark.parametrize(
    ("args", "what"),
    [
        ("max_model_len=10", "a key of its own"),
        ("logprobs_mode=raw_logprobs", "is fixed"),
        ("block_sise=16", "did you mean 'block_size'"),
        ("enable_chunked_prefill=true", "on a CPU"),
    ],
)
def test_engine_options_are_checked(rlvr, args: str, what: str) -> None:
    evaluation = ["evaluate", f"model={RECIPES.parent / 'models' / 'tiny'}", "benchmark=chains"]
    for words in (["train", "recipe=tiny"], ["train", "recipe=tiny", "--dry-run"], evaluation):
        result = rlvr(*words, "rollout.device=cpu", f"+rollout.engine_args.{args}")
        assert result.code == 2
        assert what in result.err
        assert f"where: rollout.engine_args.{args.partition('=')[0]}" in result.err


@pytest.mark.parametrize(("cluster", "value"), [("gpu_1", "true"), ("laptop", "false")])
def test_prompts_may_be_cut_on_a_gpu_and_left_whole_on_a_cpu(rlvr, cluster: str, value: str) -> None:
    option = f"+rollout.engine_args.enable_chunked_prefill={value}"
    result = rlvr("train", "recipe=tiny", f"cluster={cluster}", option, "--dry-run")
    assert result.code == 0, result.err


@pytest.mark.parametrize("spoil", [without_head, poison(float("nan")), pickled, without_end])
@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_a_model_that_would_sample_noise_is_refused(
    rlvr, model_folder: Path, tmp_path: Path, command: str, spoil: Callable[[Path], None]
) -> None:
    copy = shutil.copytree(model_folder, tmp_path / "copy")
    spoil(copy)
    settings = ["recipe=tiny"] if command == "train" else ["benchmark=chains"]
    result = rlvr(command, "--dry-run", *settings, f"model={copy}")
    assert result.code != 0
    assert str(copy) in result.err


REFUSED = {
    "a prompt that is too long": (
        ["train", "rollout.max_prompt_tokens=10"],
        "rollout.max_prompt_tokens is 10",
    ),
    "no positions for a response": (
        ["train", "rollout.max_response_tokens=177"], "256 positions",
    ),
    "no positions in an evaluation": (["evaluate", "evaluation.max_tokens=250"], "256 positions"),
    "a small KV cache": (["evaluate", "rollout.kv_cache_gib=0.0001"], "the KV cache holds"),
    "several runs of train": (["train", "seeds=[0,1]"], "trains one algorithm, once"),
    "a ground truth that cannot be judged": (["train", "data.path={file}"], "no verifier for ability"),
    "an evaluation without one in domain": (
        ["study", "+benchmarks.chains={{out_of_domain: true}}"], "no in-domain benchmark",
    ),
    "no such model": (["evaluate", "model=no/where/at/all"], "does not exist"),
    "a study in place of a model": (["evaluate", "model={study}"], "no model, but 1 lies in it"),
    "another run's folder": (["train", "run.dir={study}/grpo"], "holds a run with other settings"),
    "two models of one name": (["evaluate", "models=[{model},{model}]"], "two models would be called"),
    "another cut of the model": (["train", "learner.lora_rank=4", "learner.zero_stage=3"], "whole weights on each"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_to_start_is_refused_by_the_dry_run_in_the_same_words(
    rlvr, model_folder: Path, tmp_path: Path, case: str
) -> None:
    words, found = REFUSED[case]
    study, file = tmp_path / "study", tmp_path / "rows.jsonl"
    shutil.copytree(model_folder, study / "grpo" / "model")
    for folder in (study, study / "grpo"):
        (folder / "config.json").write_text(json.dumps({"run": {}, "seed": 7}))
    (study / "grpo" / "metrics.jsonl").write_text('{"step": 1}\n')
    file.write_text(json.dumps(to_row(replace(problems(1)[0], ability="maths"))) + "\n")
    words = [word.format(file=file, study=study, model=model_folder) for word in words]
    model = [] if any(word.startswith(("model=", "models=")) for word in words) else [f"model={model_folder}"]
    command, *rest = words
    rest += ["benchmark=chains"] if command == "evaluate" else []
    said = [rlvr(command, *model, *FEW, *rest, *flag) for flag in ((), ("--dry-run",))]
    assert [each.code for each in said] == [2, 2], said[1].out[-500:]
    assert found in said[0].err
    if case == "a small KV cache":  # whose dry run shows the plan, by the model's name
        assert found in said[1].err
    else:
        assert (said[1].out, said[1].err) == ("", said[0].err)


FEW = (
    *("data.chains.num_train=8", "data.chains.num_test=4"),
    *("rollout.max_prompt_tokens=80", "rollout.max_response_tokens=64"),
)


def test_estimates_refuse_a_run_as_they_refuse_its_dry_run_unless_they_are_not_to(
    rlvr, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "CPU_PROCESS", 1e15)
    words = ("train", f"model={model_folder}", *FEW)
    for flag in ((), ("--dry-run",)):
        result = rlvr(*words, *flag)
        assert result.code == 2
        assert "GiB of host memory" in result.err
        assert "cluster.check_memory=false" in result.err
    assert rlvr(*words, "cluster.check_memory=false", "--dry-run").code == 0


@pytest.mark.parametrize("path", ["math500", "owner/set"])
def test_what_is_on_the_hub_is_named_as_unchecked(rlvr, path: str) -> None:
    result = rlvr(
        "train", "cluster=node_8gpu", "model=Qwen/Qwen2.5-7B", f"data.path={path}", "--dry-run",
        "rollout.max_response_tokens=1024", "learner.micro_batch_tokens=2048",
    )  # fmt: skip
    assert result.code == 0, result.err
    unchecked = result.out[result.out.index("not checked") :]
    assert "weights and tokenizer of Qwen/Qwen2.5-7B" in unchecked
    assert f"the problems of {path}" in unchecked


def test_results_made_otherwise_are_refused_before_they_would_be_gone_on_with(
    rlvr, evaluate, pools: Pools, tmp_path: Path
) -> None:
    other = shutil.copytree(pools.model, tmp_path / "other")
    assert evaluate(other).code == 0
    started = pools.started
    words = (
        f"models=[{pools.model},{other}]",
        f"run.dir={tmp_path}/measured",
        *SMALL,
        "evaluation.max_tokens=64",
    )
    for flag in ((), ("--dry-run",)):
        result = rlvr("evaluate", *words, "benchmark=chains", *flag)
        assert result.code == 2
        assert "'max_tokens': 128" in result.err
    assert pools.started == started  # not even for the model of which nothing is there


def work(out: str) -> str:
    return out[out.index("\nwork\n") : out.index("\nprompt and verdict\n")]


def test_disk_samples_and_tokens_are_counted(rlvr, model_folder: Path) -> None:
    benchmarks = (
        "+benchmarks.chains={}",
        "+benchmarks.longer={family: chains, operations: [5], num_problems: 6}",
    )
    result = rlvr(
        "study", f"model={model_folder}", *FEW, *benchmarks, "evaluation.num_samples=8", "evaluation.max_tokens=64",
        "train.num_steps=30", "train.checkpoint_every=10", "train.keep_checkpoints=2", "train.keep_model_every=10",
        "evaluation.checkpoints=true", "--dry-run",
    )  # fmt: skip
    assert result.code == 0, result.err
    # The base, the final model, and those after 10 and 20 steps; 4 and 6 problems.
    assert "4 models: 320 samples; at most 20,480 response tokens" in work(result.out)
    assert "3 checkpoint(s) of" in work(result.out)
    assert "and 3 model(s) of" in work(result.out)
    assert "tokens/s" not in work(result.out)


def test_a_run_in_flight_says_what_a_checkpoint_has_besides(rlvr, model_folder: Path) -> None:
    words = ("train", "recipe=tiny", f"model={model_folder}", "rollout.max_response_tokens=100", "--dry-run")
    plain = rlvr(*words).out
    assert "sampling beside learning" not in plain
    for words_more, found in (
        (
            ("train.max_staleness=1", "algorithm.importance_cap=2"),
            "one batch ahead, so tokens are at most 1 step old",
        ),
        (
            ("train.max_staleness=4", "train.correct_staleness=false", "train.prompts_per_step=1000"),
            # 4 batches × 1,000 prompts × 8 responses × 100 tokens × 34 bytes
            "in flight, up to 4 batches ahead, so tokens are at most 4 steps old; a checkpoint has up to 0.10 GiB",
        ),
    ):
        assert found in rlvr(*words, *words_more).out


def test_the_time_is_told_from_a_speed_or_a_past_run(rlvr, study_folder: Path, model_folder: Path) -> None:
    words = ("train", f"model={model_folder}", *FEW, "train.num_steps=10", "algorithm.group_size=8")
    stated = work(rlvr(*words, "--dry-run=1000").out)
    # 10 steps × 256 responses × 64 tokens
    assert "at most 2 min 44 s at 1,000 tokens/s" in stated
    past = work(rlvr(*words, f"--dry-run={study_folder}").out)
    # 10 steps × 256 responses × 20 tokens
    assert "about 8 min 32 s at 100 tokens/s, with responses of 20 tokens" in past
    measured = work(
        rlvr(
            "evaluate",
            f"model={model_folder}",
            *FEW,
            "benchmark=chains",
            "num_samples=10",
            f"--dry-run={study_folder}",
        ).out
    )
    # 4 problems × 10 samples × 5 tokens, on as many engines
    assert "about 4.0 s at 50 tokens/s, with responses of 5 tokens" in measured
    four = work(
        rlvr(
            "evaluate", f"model={model_folder}", *FEW, "benchmark=chains", "num_samples=10",
            "evaluation.num_workers=4", f"--dry-run={study_folder}",
        ).out
    )  # fmt: skip
    assert "about 1.0 s at 200 tokens/s, with responses of 5 tokens" in four


@pytest.fixture
def study_folder(tmp_path: Path) -> Path:
    """A past study: steps of 2 s with 10 responses of 20 tokens, and an evaluation of 96 samples of 5 tokens in 9.6 s."""
    folder = tmp_path / "past"
    store = folder / "evaluation" / "toy" / "base"
    evaluation(store, "base", [1] * 12)
    (store / "wall_seconds.json").write_text('{"seconds": 9.6, "engines": 1}')
    (folder / "grpo").mkdir()
    row = {"time/step": 2.0, "throughput/tokens_per_second": 100.0, "throughput/rollouts_per_second": 5.0}
    (folder / "grpo" / "metrics.jsonl").write_text(
        "".join(json.dumps({"step": s, **row}) + "\n" for s in (1, 2))
    )
    return folder


@pytest.mark.parametrize(
    ("word", "found"), [("fast", "neither a number"), ("-3", "neither"), (".", "no training step")]
)
def test_a_speed_that_is_none_is_refused(rlvr, model_folder: Path, word: str, found: str) -> None:
    result = rlvr("train", f"model={model_folder}", *FEW, f"--dry-run={word}")
    assert result.code == 2
    assert found in result.err
    assert "where: --dry-run=…" in result.err


def test_a_run_without_room_for_a_checkpoint_is_refused_as_its_dry_run_is(
    rlvr, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "SPARE_BYTES", 1 << 60)
    words = ("train", f"model={model_folder}", *FEW)
    said = [rlvr(*words, *flag) for flag in ((), ("--dry-run",))]
    assert [each.code for each in said] == [7, 7]
    assert "a checkpoint needs" in said[0].err
    assert said[0].err == said[1].err
