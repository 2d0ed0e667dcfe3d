"""Memory of one learner rank and of one engine, from the model's sizes and the settings.

What is counted, with P parameters of b bytes on N ranks (ZeRO: arXiv 1910.02054):

- weights P·b, gradients P·b, optimizer 12 P in bfloat16 or float32 (DeepSpeed keeps a float32
  master copy and AdamW's two moments; 8 P in float32 at stage 0, which keeps no copy); stage 1
  divides the optimizer by N, stage 2 also the gradients, stage 3 also the weights;
- the optimizer step of one model, when nothing else is at work: its gradients laid end to end, and a float32
  copy of that, P·b + 4 P in bfloat16 (22 bytes a parameter in all on one rank), 4 P in float32, divided like the
  optimizer;
- DeepSpeed's buckets: 5e8 elements to reduce (stages 1 to 3), 1e9 gathered parameters (stage 3);
- activations of one micro-batch: everything that a layer keeps for its backward pass, or with
  gradient checkpointing each layer's input and one layer in full; likewise of a vision tower that is trained;
- log-probabilities: chunks of logits (rlvr/learner/token_scores.py), and the float32 gradient of the head.
"""

from __future__ import annotations

from rlvr.algorithms.algorithm import Algorithm
from rlvr.config import LearnerConfig, RolloutConfig
from rlvr.learner.token_scores import CHUNK_BYTES
from rlvr.planning.model_shape import ModelShape, TowerShape

GIB = 2**30
BYTES = {"float32": 4, "bfloat16": 2}
REDUCE_BUCKET, LIVE_PARAMETERS = 5e8, 1e9
"""DeepSpeed's defaults, elements."""
LOGIT_CHUNKS = 4
"""Chunk-sized tensors that scoring holds at its peak."""
CUDA_CONTEXT = 1.5 * GIB
"""CUDA, NCCL and the allocator's fragments; assumed, to be replaced by what your machine shows."""
ENGINE_WORKSPACE = 3.0 * GIB
"""Activations and captured graphs of a vLLM engine; assumed. vLLM measures it itself when it starts."""
CPU_PROCESS = 1.1 * GIB
"""A CPU worker before any weights: Python, torch, vLLM or DeepSpeed (about what an idle one takes)."""

TOWER_ACTIVATIONS = "activations of the vision tower"
AT_WORK = ("activations", TOWER_ACTIVATIONS, "log-probabilities", "ZeRO buckets")
"""What is gone when the optimizer steps."""

Parts = dict[str, float]
"""Bytes by what they hold."""


def learner_device_memory(
    shape: ModelShape, settings: LearnerConfig, algorithm: Algorithm, row_tokens: int, *, images: bool = False
) -> Parts:
    """Bytes on the device of one rank at the peak of an update.

    Args:
        shape: of the policy; a critic has the same.
        settings: device and dtype resolved.
        algorithm: says whether there are a critic and a reference.
        row_tokens: the longest prompt and response together, tokens.
        images: whether prompts have some.
    """
    ranks, size, count = settings.num_learners, BYTES[settings.dtype], shape.num_parameters
    stage = settings.zero_stage
    weights = 0.0 if settings.offload_parameters else count * size / (ranks if stage == 3 else 1)
    models = 1 + (algorithm.critic is not None)
    trained_each = trained_parameters(shape, settings, algorithm)
    trained = sum(trained_each)
    parts: Parts = {
        "weights": models * weights,
        "gradients": gradient_bytes(trained, settings),
        "optimizer": 0.0 if settings.offload_optimizer else optimizer_bytes(trained, settings),
    }
    if algorithm.needs_reference:
        parts["reference model"] = weights
    if stage:
        parts["ZeRO buckets"] = min(count, REDUCE_BUCKET) * size
    if stage == 3:
        parts["gathered weights"] = min(count, LIVE_PARAMETERS) * size
    tokens = max(settings.micro_batch_tokens, row_tokens)
    parts["activations"] = activation_bytes(shape, settings, tokens, row_tokens)
    if images and shape.tower is not None and not settings.freeze_vision_tower:
        parts[TOWER_ACTIVATIONS] = tower_bytes(shape.tower, settings, tokens)
    chunk = min(CHUNK_BYTES, 4 * tokens * shape.vocabulary)
    head_gradient = 0 if settings.lora_rank else 4 * shape.vocabulary * shape.hidden
    parts["log-probabilities"] = LOGIT_CHUNKS * chunk + head_gradient
    if not settings.offload_optimizer:
        at_work = sum(parts.get(name, 0.0) for name in AT_WORK)
        parts["optimizer step"] = max(0.0, step_bytes(max(trained_each), settings) - at_work)
    parts["runtime"] = CUDA_CONTEXT if settings.device == "cuda" else CPU_PROCESS
    return {name: held for name, held in parts.items() if held}


def trained_parameters(shape: ModelShape, settings: LearnerConfig, algorithm: Algorithm) -> list[float]:
    """Parameters that have gradients: of the policy, or of its adapters, and of a critic, which has none."""
    attention, rank = shape.heads * shape.head_dim, settings.lora_rank
    # A and B of the projections to queries and from attention, to keys and values, and of the MLP's three.
    widths = 2 * (shape.hidden + attention) + 2 * shape.hidden + shape.kv_width
    adapters = shape.layers * rank * (widths + 3 * (shape.hidden + shape.intermediate))
    policy = adapters if rank else shape.num_parameters
    return [policy] if algorithm.critic is None else [policy, shape.num_parameters]


def optimizer_bytes(trained: float, settings: LearnerConfig) -> float:
    """Of these parameters on one rank, wherever it is kept."""
    stage = settings.zero_stage
    per_parameter = 8 if stage == 0 and settings.dtype == "float32" else 12
    return per_parameter * trained / (settings.num_learners if stage >= 1 else 1)


def checkpoint_bytes(shape: ModelShape, settings: LearnerConfig, algorithm: Algorithm) -> float:
    """Of a checkpoint on disk: the model to be used, and of each trained model its weights and optimizer."""
    size, models = BYTES[settings.dtype], 1 + (algorithm.critic is not None)
    trained = sum(trained_parameters(shape, settings, algorithm))
    optimizer = optimizer_bytes(trained, settings) * (settings.num_learners if settings.zero_stage else 1)
    return (1 + models) * shape.num_parameters * size + optimizer


def gradient_bytes(trained: float, settings: LearnerConfig) -> float:
    """Gradients of these parameters on one rank, between backward pass and optimizer step."""
    return trained * _accumulated(settings) / (settings.num_learners if settings.zero_stage >= 2 else 1)


def step_bytes(trained: float, settings: LearnerConfig) -> float:
    """What the optimizer step over these parameters makes on one rank, wherever it computes."""
    if settings.zero_stage == 0:
        return 4 * trained
    flat = _accumulated(settings)
    return trained * (flat if flat == 4 else flat + 4) / settings.num_learners


def _accumulated(settings: LearnerConfig) -> int:
    """Bytes of a number in which gradients are added up."""
    return 4 if settings.accumulate_in_float32 else BYTES[settings.dtype]


def activation_bytes(shape: ModelShape, settings: LearnerConfig, tokens: int, row_tokens: int) -> float:
    """What a forward pass over a micro-batch of rows of this length leaves for the backward pass."""
    size = BYTES[settings.dtype]
    attention = shape.heads * shape.head_dim
    per_token = _layer_bytes(size, shape.hidden, attention, shape.kv_width, shape.intermediate)
    if shape.stepwise_attention:
        # Capped scores and their softmax of every head and pair of tokens, in float32 or once in each type.
        per_token += 8 * shape.heads * row_tokens
    if settings.gradient_checkpointing:
        # The backward pass of the one layer at work also holds gradients of about the same size.
        return tokens * (shape.layers * size * shape.hidden + 2 * per_token)
    return tokens * shape.layers * per_token


def _layer_bytes(size: int, hidden: int, attention: int, kv_width: int, intermediate: int) -> int:
    """What one layer keeps of one token, in numbers of so many bytes.

    Inputs of the seven projections, queries, keys and values before and after their rotation, the attention's output, the
    two halves of the MLP and their product; the two norms compute in float32.
    """
    return size * (4 * hidden + 3 * attention + 2 * kv_width + 4 * intermediate) + 4 * (4 * hidden)


def tower_bytes(tower: TowerShape, settings: LearnerConfig, tokens: int) -> float:
    """What a vision tower leaves for the backward pass at most: of a micro-batch whose every token is of an image."""
    size, patches = BYTES[settings.dtype], tokens * tower.patches_per_token
    per_patch = _layer_bytes(size, tower.hidden, tower.hidden, 2 * tower.hidden, tower.intermediate)
    if settings.gradient_checkpointing:
        return patches * (tower.layers * size * tower.hidden + 2 * per_patch)
    return patches * tower.layers * per_patch


def learner_host_memory(
    shape: ModelShape, settings: LearnerConfig, algorithm: Algorithm, *, writes: bool
) -> Parts:
    """Bytes that one rank holds in its host's memory, beside its device.

    Files are read where they lie, straight into the device or, at stage 3, into shards.

    Args:
        shape: of the policy; a critic has the same.
        settings: device and dtype resolved.
        algorithm: says whether there is a critic.
        writes: whether it is the rank that writes models, which gathers them in its host's memory.
    """
    size, models = BYTES[settings.dtype], 1 + (algorithm.critic is not None)
    parts: Parts = {"process": CPU_PROCESS}
    if writes:
        parts["weights while saving"] = shape.num_parameters * size
    if settings.offload_optimizer:
        trained = trained_parameters(shape, settings, algorithm)
        parts["optimizer"] = optimizer_bytes(sum(trained), settings)
        parts["optimizer step"] = step_bytes(max(trained), settings)  # one model after the other
    if settings.offload_parameters:
        parts["weights"] = models * shape.num_parameters * size / settings.num_learners
    return parts


def engine_weights(shape: ModelShape, rollout: RolloutConfig) -> float:
    """Bytes of the weights on one device of an engine."""
    return shape.num_parameters * BYTES[rollout.dtype] / rollout.tensor_parallel_size


def kv_bytes_per_token(shape: ModelShape, rollout: RolloutConfig) -> float:
    """Bytes that one token takes in the KV cache of one device; heads are copied where TP outnumbers them."""
    shards = min(rollout.tensor_parallel_size, shape.kv_heads)
    return shape.layers * shape.kv_width * BYTES[rollout.dtype] / shards


def engine_memory(shape: ModelShape, rollout: RolloutConfig, device_bytes: float) -> Parts:
    """Bytes on one device of an engine: what vLLM is allowed, divided.

    Args:
        shape: of the model.
        rollout: device and dtype resolved.
        device_bytes: memory of the device (cuda).
    """
    weights = engine_weights(shape, rollout)
    if rollout.device == "cpu":
        return {"weights": weights, "KV cache": rollout.kv_cache_gib * GIB, "runtime": CPU_PROCESS}
    allowed = rollout.gpu_memory_utilization * device_bytes
    return {
        "weights": weights,
        "workspace": ENGINE_WORKSPACE,
        "KV cache": allowed - weights - ENGINE_WORKSPACE,
    }
