"""The two pools of workers, vLLM engines and DeepSpeed ranks, and the machines that they run on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rlvr.config.checks import require, require_one_of, require_positive, require_share

DTYPES = ("auto", "float32", "bfloat16")
DEVICES = ("auto", "cpu", "cuda")
WEIGHT_TRANSFERS = ("auto", "host", "nccl", "ipc")
CACHES_AT_UPDATE = ("recompute", "keep")


@dataclass
class RolloutConfig:
    """The rollout pool: vLLM workers."""

    num_workers: int = 1
    """vLLM engines; prompts are spread over them."""
    tensor_parallel_size: int = 1
    """GPUs of one engine."""
    threads_per_worker: int = 1
    """CPU threads of one engine (CPU only)."""
    device: str = "auto"
    """``cpu``, ``cuda``, or ``auto``: cuda where there is one."""
    dtype: str = "auto"
    """``float32``, ``bfloat16``, or ``auto``: bfloat16 on cuda, float32 on cpu."""
    max_prompt_tokens: int = 256
    """Longest prompt; a longer one is an error before anything starts."""
    max_response_tokens: int = 256
    """A response is cut off at this length (and then counts as wrong)."""
    max_num_seqs: int = 256
    """Sequences that one engine decodes together."""
    kv_cache_gib: float = 1.0
    """KV cache of one engine in GiB (CPU only)."""
    gpu_memory_utilization: float = 0.85
    """Share of the GPU's memory that vLLM may take (cuda only)."""
    enforce_eager: bool = True
    """Skip graph capture; turn off on cuda for long responses."""
    weight_transfer: str = "auto"
    """vLLM weight-transfer backend: ``host`` (through Ray's object store), ``nccl`` (between GPUs),
    ``ipc`` (on the same GPU); ``auto`` takes ipc or nccl by ``cluster.colocate``, and host on cpu."""
    cache_at_update: str = "recompute"
    """What becomes of the KV cache of responses that are being written when weights come (``train.max_staleness`` of 2 or
    more). ``recompute``: the new weights read the tokens so far, and each token's log-probability is that of one model.
    ``keep``: the response goes on with what the old weights have computed, which saves that time, and its further tokens
    come from a mixture that no model is."""
    engine_args: dict[str, Any] = field(default_factory=dict)
    """Further start-up options of vLLM by its own names, such as ``+rollout.engine_args.max_num_batched_tokens=16384``; checked
    against the installed vLLM before anything starts. What rlvr sets itself is refused."""
    probe_tolerance: float | None = None
    """Largest mean difference in nats, over the probe tokens, between the log-probabilities of engine and learner
    after a weight update; null takes ten times that of the first update, and at least 1e-3 in float32 and 0.1
    in bfloat16. The weights themselves are compared bit by bit, and no setting changes that."""

    def __post_init__(self) -> None:
        """Check words and sizes."""
        require_positive(
            self,
            "rollout",
            "num_workers",
            "tensor_parallel_size",
            "threads_per_worker",
            "max_prompt_tokens",
            "max_response_tokens",
            "max_num_seqs",
            "kv_cache_gib",
            "gpu_memory_utilization",
        )
        require_share(self.gpu_memory_utilization, "rollout.gpu_memory_utilization")
        if self.probe_tolerance is not None:
            require_positive(self, "rollout", "probe_tolerance")
        require_one_of(self.device, DEVICES, "rollout.device")
        require_one_of(self.dtype, DTYPES, "rollout.dtype")
        require_one_of(self.weight_transfer, WEIGHT_TRANSFERS, "rollout.weight_transfer")
        require_one_of(self.cache_at_update, CACHES_AT_UPDATE, "rollout.cache_at_update")


@dataclass
class LearnerConfig:
    """The learner pool: DeepSpeed ranks."""

    num_learners: int = 1
    """Data-parallel ranks; the objective does not depend on their number."""
    threads_per_learner: int = 2
    """CPU threads of one rank: on CPU, and on cuda with an offloaded optimizer, which steps there."""
    device: str = "auto"
    """``cpu``, ``cuda``, or ``auto``: cuda where there is one."""
    dtype: str = "auto"
    """``float32``, ``bfloat16``, or ``auto``: bfloat16 on cuda, float32 on cpu."""
    zero_stage: int = 2
    """DeepSpeed ZeRO stage, 0 to 3."""
    learning_rate: float = 1e-6
    """AdamW, constant after the warm-up (2504.13837 §4.3: 1e-6)."""
    warmup_steps: int = 0
    """Optimizer steps of linear warm-up (not stated by the study)."""
    adam_beta1: float = 0.9
    """AdamW's decay of the mean of the gradients."""
    adam_beta2: float = 0.999
    """AdamW's decay of the mean of their squares."""
    weight_decay: float = 0.0
    """AdamW weight decay (not stated by the study)."""
    max_grad_norm: float = 1.0
    """Gradient norm is clipped to this."""
    micro_batch_tokens: int = 16_384
    """Padded tokens of one forward pass on one rank; sets memory, never the objective."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass to save memory."""
    lora_rank: int = 0
    """Rank of LoRA adapters on all linear layers but the output head (arXiv 2106.09685; needs peft and ZeRO
    stage 0 to 2); 0 trains the weights themselves. Engines and saved models get the merged weights."""
    lora_alpha: float = 32.0
    """Scale of the adapters: their part counts ``lora_alpha / lora_rank`` times."""
    freeze_vision_tower: bool = False
    """Of a model that reads images, train the language model and the layers between the two alone. What counts as the
    tower is the model's own ``vision_config``; with LoRA it gets no adapters."""
    accumulate_in_float32: bool = False
    """Add the gradients of micro-batches up in float32 where the model is bfloat16 (ZeRO stage 2 or 3): two more bytes a
    parameter, and what is small beside the sum so far is not lost."""
    offload_optimizer: bool = False
    """Keep optimizer state in the host's memory (ZeRO stage 1 or more): slower steps, smaller GPUs."""
    offload_parameters: bool = False
    """Keep the weights in the host's memory as well (ZeRO stage 3 only)."""

    @property
    def cpu_threads(self) -> int | None:
        """Threads with which a rank computes on the CPU; None where a GPU does everything. Of a resolved config."""
        return self.threads_per_learner if self.device == "cpu" or self.offload_optimizer else None

    def __post_init__(self) -> None:
        """Check words and sizes."""
        require_positive(
            self, "learner", "num_learners", "threads_per_learner", "max_grad_norm", "micro_batch_tokens"
        )
        require_one_of(self.device, DEVICES, "learner.device")
        require_one_of(self.dtype, DTYPES, "learner.dtype")
        require(
            self.zero_stage in range(4), f"ZeRO stage {self.zero_stage}", "learner.zero_stage", "0, 1, 2 or 3"
        )
        require(self.lora_rank >= 0, "lora_rank is negative", "learner.lora_rank", "0 (off), or such as 32")
        require(
            self.lora_rank == 0 or self.zero_stage <= 2,
            "adapters are merged for every update, which needs whole weights on each rank",
            "learner.lora_rank",
            "learner.zero_stage=2, or lora_rank=0",
        )
        require_positive(self, "learner", "lora_alpha")
        require(
            not self.accumulate_in_float32 or self.zero_stage >= 2,
            "gradients can be added up in float32 from ZeRO stage 2 on",
            "learner.accumulate_in_float32",
            "learner.zero_stage=2, or accumulate_in_float32=false",
        )
        require(
            not self.offload_optimizer or self.zero_stage >= 1,
            "optimizer state can be offloaded from ZeRO stage 1 on",
            "learner.offload_optimizer",
            "learner.zero_stage=2, or offload_optimizer=false",
        )
        require(
            not self.offload_parameters or (self.zero_stage == 3 and self.offload_optimizer),
            "weights can be offloaded at ZeRO stage 3, together with the optimizer",
            "learner.offload_parameters",
            "learner.zero_stage=3 learner.offload_optimizer=true, or offload_parameters=false",
        )
        require(
            self.learning_rate >= 0, "the learning rate is negative", "learner.learning_rate", "0 or more"
        )
        require(self.warmup_steps >= 0, "warmup_steps is negative", "learner.warmup_steps", "0 or more")


@dataclass
class ClusterConfig:
    """Where Ray runs."""

    address: str | None = None
    """Address of a running Ray cluster (``auto`` inside a Ray job); null starts one on this machine."""
    colocate: bool = False
    """Put each learner on the GPU of one rollout worker (as many of each, and
    rollout.gpu_memory_utilization small enough for both); false gives each pool its own GPUs."""
    sleep: bool = False
    """Colocated on cuda only: while the learner works, the engines move their weights to the host's memory
    and give up their KV cache (vLLM's sleep mode)."""
    num_nodes: int | None = None
    """Machines; this and the four below describe hardware that may not be here, and
    null stands for this machine."""
    gpus_per_node: int | None = None
    """GPUs of each machine."""
    gpu_memory_gib: float | None = None
    """Memory of each GPU."""
    cpus_per_node: int | None = None
    """Cores of each machine."""
    host_memory_gib: float | None = None
    """Memory of each machine."""
    check_memory: bool = True
    """Refuse a run whose estimated memory is more than there is. The estimates are made before anything starts, and
    err: false leaves it to the machine."""
    max_restarts: int = 10
    """Rollout workers that are replaced in one run, dead or frozen; 0 ends the run at the first."""
    heartbeat_timeout: float = 120.0
    """Seconds after which a worker that does not answer counts as frozen; it answers whatever it computes."""
    start_timeout: float = 1800.0
    """Seconds for loading models and engines, from a network file system too."""
    call_timeout: float = 7200.0
    """Seconds for any call of a worker, such as all optimizer steps of a training step, for a rollout worker
    between two finished responses, and for the learners' collective operations."""
    max_memory_share: float = 0.95
    """Stop, with a message, when more than this share of a machine's memory is in use."""

    def __post_init__(self) -> None:
        """Check the limits, the placement and the description."""
        require_positive(self, "cluster", "heartbeat_timeout", "start_timeout", "call_timeout")
        require(self.max_restarts >= 0, "max_restarts is negative", "cluster.max_restarts", "0 or more")
        require_share(self.max_memory_share, "cluster.max_memory_share")
        require(
            not self.sleep or self.colocate,
            "engines sleep only where they share their GPU with a learner",
            "cluster.sleep",
            "cluster.colocate=true, or cluster.sleep=false",
        )
        described = [self.num_nodes, self.gpus_per_node, self.gpu_memory_gib, self.cpus_per_node]
        described.append(self.host_memory_gib)
        require(
            all(value is None for value in described) or all(value is not None for value in described),
            "only a part of the hardware is described",
            "cluster.num_nodes, gpus_per_node, gpu_memory_gib, cpus_per_node, host_memory_gib",
            "all five, or none for this machine",
        )
        for name in ("num_nodes", "gpu_memory_gib", "cpus_per_node", "host_memory_gib"):
            if getattr(self, name) is not None:
                require_positive(self, "cluster", name)
