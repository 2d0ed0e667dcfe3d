"""Sizes of published models, the arithmetic of memory, and what plans are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rlvr.algorithms.grpo import GRPOConfig
from rlvr.algorithms.ppo import PPOConfig
from rlvr.algorithms.settings import KLConfig
from rlvr.config import ClusterConfig, LearnerConfig, RolloutConfig
from rlvr.errors import ModelError
from rlvr.learner.loading import load_model
from rlvr.planning.memory import (
    GIB,
    activation_bytes,
    engine_memory,
    kv_bytes_per_token,
    learner_device_memory,
    learner_host_memory,
    tower_bytes,
)
from rlvr.planning.model_shape import known_architectures, model_shape
from rlvr.planning.plan import Plan, make_plan
from rlvr.rollout.engine_args import CPU_HEAD_SIZES
from tests.architectures import write_tiny
from tests.vision import TEXT

TINY = Path(__file__).resolve().parents[2] / "rlvr" / "models" / "tiny"
NODE = ClusterConfig(num_nodes=1, gpus_per_node=8, gpu_memory_gib=80, cpus_per_node=96, host_memory_gib=1024)
ENGINES = RolloutConfig(
    num_workers=4, device="cuda", max_prompt_tokens=1024, max_response_tokens=8192, enforce_eager=False
)
LEARNERS = LearnerConfig(num_learners=4, device="cuda", zero_stage=3, gradient_checkpointing=True)
GRPO = GRPOConfig().build()


def plan(model: str = "Qwen/Qwen2.5-7B", cluster: ClusterConfig = NODE, **changes: Any) -> Plan:
    rollout = {name: value for name, value in changes.items() if name in RolloutConfig.__dataclass_fields__}
    learner = {name: value for name, value in changes.items() if name in LearnerConfig.__dataclass_fields__}
    algorithm = changes.get("algorithm", GRPO)
    return make_plan(
        model_shape(model), replace(ENGINES, **rollout), replace(LEARNERS, **learner), cluster, algorithm
    )


# As the models' own pages state them, billions of parameters.
@pytest.mark.parametrize(
    ("model", "billions"),
    [
        ("Qwen/Qwen2.5-0.5B", 0.49),
        ("Qwen/Qwen2.5-1.5B", 1.54),
        ("Qwen/Qwen2.5-7B", 7.62),
        ("Qwen/Qwen2.5-14B", 14.77),
        ("Qwen/Qwen2.5-32B", 32.76),
        ("meta-llama/Llama-3.1-8B", 8.03),
        ("mistralai/Mistral-7B-v0.3", 7.25),
        ("Qwen/Qwen2.5-VL-7B-Instruct", 8.29),
    ],
)
def test_published_models_have_their_published_size(model: str, billions: float) -> None:
    assert model_shape(model).num_parameters / 1e9 == pytest.approx(billions, abs=0.006)


def test_every_known_name_has_a_shape() -> None:
    for facts in known_architectures().values():
        assert "like" not in facts
        language = facts.get("text_config", facts)
        assert {"hidden_size", "num_hidden_layers", "vocab_size", "max_position_embeddings"} <= set(language)
    math_model = known_architectures()["sail/Qwen2.5-Math-7B-Oat-Zero"]
    assert math_model["max_position_embeddings"] == 4096
    assert math_model["hidden_size"] == 3584


def test_a_local_folder_is_read(monkeypatch) -> None:
    shape = model_shape(str(TINY))
    import torch
    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32)
    assert shape.num_parameters == sum(parameter.numel() for parameter in loaded.parameters())
    assert shape.source == "its config.json"


def test_an_unknown_model_says_what_to_do(monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="a local folder with its config"):
        model_shape("nobody/such-a-model-does-not-exist")


def test_zero_divides_what_it_says() -> None:
    shape = model_shape("Qwen/Qwen2.5-7B")
    count = shape.num_parameters
    bf16 = replace(LEARNERS, dtype="bfloat16")

    def parts(**changes: Any) -> dict[str, float]:
        return learner_device_memory(shape, replace(bf16, **changes), GRPO, 9216)

    for stage, weights, gradients, optimizer in ((0, 1, 1, 1), (1, 1, 1, 4), (2, 1, 4, 4), (3, 4, 4, 4)):
        found = parts(zero_stage=stage)
        assert found["weights"] == 2 * count / weights
        assert found["gradients"] == 2 * count / gradients
        assert found["optimizer"] == 12 * count / optimizer
    assert parts(zero_stage=2, accumulate_in_float32=True)["gradients"] == count
    assert not {"optimizer", "optimizer step"} & set(parts(offload_optimizer=True))
    offloaded = learner_host_memory(shape, replace(bf16, offload_optimizer=True), GRPO, writes=True)
    assert offloaded["optimizer"] == 3 * count
    assert offloaded["optimizer step"] == 6 / 4 * count
    assert offloaded["weights while saving"] == 2 * count
    assert "weights while saving" not in learner_host_memory(shape, bf16, GRPO, writes=False)
    assert "reference model" not in parts()
    with_kl = GRPOConfig(kl=KLConfig(coef=0.001)).build()
    assert learner_device_memory(shape, bf16, with_kl, 9216)["reference model"] == 2 * count / 4
    with_critic = learner_device_memory(shape, bf16, PPOConfig().build(), 9216)
    assert with_critic["optimizer"] == 2 * parts()["optimizer"]


def test_the_optimizer_step_has_a_peak_of_its_own() -> None:
    """22 bytes a parameter on one rank, where the parts that stay are 16; it comes when activations are gone."""
    shape = model_shape("Qwen/Qwen2.5-7B")
    alone = replace(LEARNERS, dtype="bfloat16", num_learners=1, zero_stage=2, micro_batch_tokens=1)
    found = learner_device_memory(shape, alone, GRPO, 1)
    kept = sum(found[name] for name in ("weights", "gradients", "optimizer"))
    at_work = sum(found[name] for name in ("activations", "log-probabilities", "ZeRO buckets"))
    assert kept == 16 * shape.num_parameters
    assert kept + at_work + found["optimizer step"] == pytest.approx(22 * shape.num_parameters)
    assert "optimizer step" not in learner_device_memory(shape, replace(alone, num_learners=64), GRPO, 32_768)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_attention_that_is_computed_step_by_step_is_counted_by_pairs_of_tokens(
    dtype: str, tmp_path: Path
) -> None:
    """Against what autograd keeps of a Gemma 2, whose logits are capped, in the sizes that only scores have."""
    row = 80
    folder = str(write_tiny("gemma2", tmp_path))
    model = load_model(folder, getattr(torch, dtype))
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.shape[-2:] == (row, row):
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        scores = model(torch.ones(2, row, dtype=torch.long)).logits
    assert scores.requires_grad
    shape, settings = model_shape(folder), LearnerConfig(dtype=dtype, gradient_checkpointing=False)
    counted = [
        activation_bytes(each, settings, 2 * row, row)
        for each in (shape, replace(shape, stepwise_attention=False))
    ]
    assert counted[0] - counted[1] == pytest.approx(sum(kept.values()), rel=0.01)


def test_the_cache_of_a_token() -> None:
    shape, engine = model_shape("Qwen/Qwen2.5-7B"), replace(ENGINES, dtype="bfloat16")
    # 28 layers × (keys and values) × 4 heads × 128 × 2 bytes
    assert kv_bytes_per_token(shape, engine) == 28 * 2 * 4 * 128 * 2
    # 8 GPUs cannot share 4 heads: each holds one.
    assert kv_bytes_per_token(shape, replace(engine, tensor_parallel_size=8)) == 28 * 2 * 128 * 2
    held = engine_memory(shape, engine, 80 * GIB)
    assert sum(held.values()) == pytest.approx(0.85 * 80 * GIB)


def test_a_plan_that_fits() -> None:
    made = plan()
    assert made.problems == made.misfits == []
    assert made.transfer == "nccl"
    places = [(worker.pool, worker.index, worker.node, worker.gpus) for worker in made.workers]
    assert places == [
        *(("rollout", index, 0, (index,)) for index in range(4)),
        *(("learner", index, 0, (index + 4,)) for index in range(4)),
    ]
    assert made.update_bytes == 2 * made.shape.num_parameters


def test_two_nodes_are_filled_in_order() -> None:
    made = plan(cluster=replace(NODE, num_nodes=2), num_workers=4, tensor_parallel_size=2, num_learners=8)
    assert made.problems == made.misfits == []
    assert {(worker.pool, worker.node) for worker in made.workers} == {("rollout", 0), ("learner", 1)}
    assert made.workers[3].gpus == (6, 7)


COLOCATED = replace(NODE, colocate=True)


@pytest.mark.parametrize(
    ("changes", "what", "remedy"),
    [
        ({"num_workers": 9}, "workers find no GPU", "fewer rollout.num_workers"),
        ({"tensor_parallel_size": 16}, "does not fit a node of 8", "tensor_parallel_size=8"),
        ({"tensor_parallel_size": 3, "num_workers": 1}, "28 attention heads", "a divisor of 28"),
        ({"max_response_tokens": 200_000}, "the model has 131,072 positions", "smaller"),
        ({"gpu_memory_utilization": 0.2}, "nothing for the KV cache", "gpu_memory_utilization"),
        ({"gpu_memory_utilization": 0.2175}, "one sequence may take 9,216", "gpu_memory_utilization"),
        ({"zero_stage": 0, "dtype": "bfloat16"}, "a learner needs", "learner.zero_stage=3"),
        ({"gradient_checkpointing": False}, "most of it is activations", "gradient_checkpointing=true"),
        ({"model": "Qwen/Qwen2.5-32B", "tensor_parallel_size": 2, "num_workers": 2}, "a learner needs",
         "learner.offload_optimizer=true"),
        ({"cluster": COLOCATED}, "engine and learner together", "cluster.sleep=true"),
        ({"cluster": replace(NODE, host_memory_gib=16)}, "GiB of host memory", "nodes with more memory"),
    ],
)  # fmt: skip
def test_a_plan_that_cannot_fit_says_what_to_change(changes: dict[str, Any], what: str, remedy: str) -> None:
    made = plan(**changes)
    problems = [*made.problems, *made.misfits]
    assert any(what in problem and remedy in problem for problem in problems), problems


def test_of_a_running_cluster_that_is_not_described_only_the_model_is_judged() -> None:
    elsewhere = ClusterConfig(address="auto")
    assert plan(cluster=elsewhere, num_workers=9, zero_stage=0).problems == []
    assert plan(cluster=elsewhere, num_workers=9, zero_stage=0).misfits == []
    [problem] = plan(cluster=elsewhere, max_response_tokens=200_000).problems
    assert "positions" in problem


def test_heads_that_attention_on_a_cpu_does_not_compute_are_refused_there() -> None:
    narrow = replace(model_shape("Qwen/Qwen2.5-7B"), head_dim=16)
    on_cpu = make_plan(narrow, RolloutConfig(device="cpu"), None, ClusterConfig(), None)
    assert any("16 numbers wide" in problem and "32, 64, 80" in problem for problem in on_cpu.problems)
    on_gpus = make_plan(narrow, ENGINES, None, NODE, None)
    assert not any("wide" in problem for problem in on_gpus.problems)


def test_the_widths_of_heads_are_those_of_the_installed_vllm() -> None:
    attention = pytest.importorskip("vllm.v1.attention.backends.cpu_attn")
    assert tuple(attention.CPUAttentionBackend.get_supported_head_sizes()) == CPU_HEAD_SIZES


def test_sleeping_engines_make_room() -> None:
    eight: dict[str, Any] = {"num_workers": 8, "num_learners": 8, "gpu_memory_utilization": 0.6}
    assert plan(cluster=COLOCATED, **eight).misfits != []
    asleep = plan(cluster=replace(COLOCATED, sleep=True), **eight)
    assert asleep.problems == asleep.misfits == []
    assert asleep.transfer == "ipc"


def test_a_gpuless_machine_still_gets_a_plan() -> None:
    made = make_plan(
        model_shape(str(TINY)),
        RolloutConfig(device="cpu", max_prompt_tokens=96, max_response_tokens=128),
        LearnerConfig(device="cpu"),
        ClusterConfig(),
        GRPO,
    )
    assert made.problems == made.misfits == []
    assert made.transfer == "host"
    assert all(worker.gpus == () and worker.node == 0 for worker in made.workers)


def test_a_vision_tower_keeps_about_what_is_planned(tmp_path: Path) -> None:
    """The bytes that its forward pass leaves for the backward pass, counted."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    config = Qwen2_5_VLConfig(
        vision_config={
            "hidden_size": 128, "intermediate_size": 344, "depth": 8, "num_heads": 4, "out_hidden_size": 32,
            "fullatt_block_indexes": [3, 7],
        },
        text_config={
            "model_type": "qwen2_5_vl_text", **TEXT,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]},
        },
    )  # fmt: skip
    config.save_pretrained(tmp_path)
    shape = model_shape(str(tmp_path)).tower
    assert shape is not None
    assert (shape.layers, shape.hidden, shape.intermediate, shape.patches_per_token) == (8, 128, 344, 4)
    torch.manual_seed(0)
    model = Qwen2_5_VLForConditionalGeneration(config).train()
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model.model.visual(torch.randn(32 * 32, 1176), grid_thw=torch.tensor([[1, 32, 32]]))
    counted = sum(size for place, size in kept.items() if place not in weights)
    assert output is not None
    planned = tower_bytes(shape, LearnerConfig(dtype="float32"), tokens=32 * 32 // 4)
    assert 0.8 < counted / planned < 1.25


def test_a_tower_counts_only_where_it_learns_from_images() -> None:
    named, shape = "activations of the vision tower", model_shape("Qwen/Qwen2.5-VL-7B-Instruct")
    learners = replace(LEARNERS, dtype="bfloat16")
    with_images = learner_device_memory(shape, learners, GRPO, 4096, images=True)
    assert with_images[named] > with_images["activations"] > 0
    assert named not in learner_device_memory(shape, learners, GRPO, 4096)
    frozen = replace(learners, freeze_vision_tower=True)
    assert named not in learner_device_memory(shape, frozen, GRPO, 4096, images=True)
