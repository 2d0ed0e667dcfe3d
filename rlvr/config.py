"""The configuration schema: every value, its default and its meaning, in one place.

Plain dataclasses, checked when they are built; Hydra is only one way of filling them.
Sizes are in tokens, problems or rollouts as each docstring says; times in seconds.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rlvr.algorithms.algorithm import Algorithm
from rlvr.algorithms.settings import AlgorithmConfig
from rlvr.errors import ConfigError, did_you_mean
from rlvr.rewards.config import RewardsConfig

NAME = re.compile(r"[\w+-][\w.+-]*")
VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
MISSING_PATH = ""
TRACKER_MODES = ("off", "offline", "online")
DTYPES = ("auto", "float32", "bfloat16")
DEVICES = ("auto", "cpu", "cuda")
FORMATS = (".jsonl", ".parquet")
"""Of data files."""
WEIGHT_TRANSFERS = ("auto", "host", "nccl", "ipc")
# Limits of the generated family, as rlvr/data/chains.py has them; data stands on config, not under it.
MIN_MODULUS = 23
MAX_OPERATIONS = 25
FAMILIES = ("chains", "programs")
"""Generated problem families (rlvr/data/families.py)."""
PLANNED = ("num_samples", "temperature", "top_p", "max_tokens")


def require(condition: bool, what: str, where: str, fix: str) -> None:
    """Raise a ConfigError naming the key unless ``condition`` holds."""
    if not condition:
        raise ConfigError(what, where=where, fix=fix)


def require_one_of(value: str, known: tuple[str, ...], where: str) -> None:
    """Raise a ConfigError unless ``value`` is one of the known words."""
    require(value in known, f"{value!r} is not a choice here", where, f"one of: {', '.join(known)}")


def require_positive(config: Any, section: str, *names: str) -> None:
    """Raise a ConfigError for the first named field that is not above zero."""
    for name in names:
        value = getattr(config, name)
        require(value > 0, f"{name} is {value}", f"{section}.{name}".lstrip("."), "a number above 0")


def require_share(value: float, where: str) -> None:
    """Raise a ConfigError unless ``value`` is at least 0 and at most 1."""
    require(0 <= value <= 1, f"{value} is no share", where, "a number from 0 to 1")


@dataclass
class RunConfig:
    """Where a run lives."""

    dir: str = "runs/run"
    """Folder of everything that the run writes. A multirun adds a folder per job."""
    resume: str = "auto"
    """``auto``: go on with what is in the folder. ``never``: start anew; what is there is kept beside it,
    under a name that ends in ``.old1``, ``.old2``, …"""

    def __post_init__(self) -> None:
        """Check the word."""
        require_one_of(self.resume, ("auto", "never"), "run.resume")


@dataclass
class ChainsConfig:
    """The generated problem family ``chains`` (see rlvr/data/chains.py)."""

    operations: list[int] = field(default_factory=lambda: [4, 5, 6, 7, 8])
    """Difficulties, in operations; every one equally often."""
    num_train: int = 8192
    """Problems in the train split."""
    num_test: int = 100
    """Problems in the test split."""
    seed: int = 2026
    """Seed of both splits. Apart from the run's seed, so that runs share their problems."""
    modulus: int = 23
    """Prime modulus of the arithmetic, at least 23."""

    def __post_init__(self) -> None:
        """Check the sizes; the generator checks the rest."""
        require_positive(self, "data.chains", "num_train", "num_test")


@dataclass
class ProgramsConfig:
    """The generated problem family ``programs`` (see rlvr/data/programs.py)."""

    operations: list[int] = field(default_factory=lambda: [3, 4, 5, 6])
    """Difficulties, in steps of the function; every one equally often."""
    num_train: int = 2048
    """Problems in the train split."""
    num_test: int = 60
    """Problems in the test split."""
    seed: int = 2026
    """Seed of both splits. Apart from the run's seed, so that runs share their problems."""

    def __post_init__(self) -> None:
        """Check the sizes; the generator checks the rest."""
        require_positive(self, "data.programs", "num_train", "num_test")


@dataclass
class DataConfig:
    """Where problems come from: a file, a registered benchmark, or a generated family."""

    path: str | None = None
    """What is trained on: a JSONL or parquet file, or a folder saved by ``datasets``, in verl's columns; or the
    name of a registered benchmark, such as ``omni_math_train``. Null generates ``family``."""
    family: str = "chains"
    """``chains`` (arithmetic) or ``programs`` (functions, judged by running them)."""
    folder: str | None = None
    """Folder with local copies of registered benchmarks, ``NAME.jsonl``, ``NAME.parquet`` or ``NAME/``; null
    fetches them from the Hugging Face hub."""
    split_seed: int = 2026
    """Seed of the split of Omni-MATH-Rule into train and test; the study does not publish its own."""
    chains: ChainsConfig = field(default_factory=ChainsConfig)
    programs: ProgramsConfig = field(default_factory=ProgramsConfig)

    def __post_init__(self) -> None:
        """Check the family."""
        require_one_of(self.family, FAMILIES, "data.family")


@dataclass
class TrainConfig:
    """Length and batch of the training loop."""

    num_steps: int = 100
    """Driver iterations: sample, verify, update, publish."""
    prompts_per_step: int = 32
    """Prompts in one step; each is sampled ``algorithm.group_size`` times."""
    minibatch_size: int | None = None
    """Rollouts in one optimizer step; null takes the whole step (strictly on-policy)."""
    num_epochs: int = 1
    """Times that a step's rollouts are gone through (PPO's K; the study: 1)."""
    temperature: float = 1.0
    """Sampling temperature; log-probabilities are computed at it on both sides."""
    top_p: float = 1.0
    """Only 1: a truncated distribution is not the one whose log-probabilities the learner computes."""
    top_k: int = -1
    """Only -1 (off), for the same reason."""
    min_p: float = 0.0
    """Only 0 (off), for the same reason."""
    max_error_share: float = 0.05
    """Stop when the verifier itself fails on more than this share of a step's rollouts."""
    seed_requests: bool = True
    """Give every response a random seed of its own, derived from the run's seed, the step and its prompt, so
    that an interrupted run draws the responses that it would have drawn. false leaves it to the engine, which
    on CUDA may sample faster."""
    checkpoint_every: int = 20
    """Steps between checkpoints, from which an interrupted run goes on; 0 writes one only when a signal
    stops the run."""
    keep_checkpoints: int = 2
    """Checkpoints kept to go on from; older ones are deleted."""
    keep_model_every: int = 0
    """Steps whose model is kept for good, in ``checkpoints/step-N/model``; 0 keeps the last one only."""

    def __post_init__(self) -> None:
        """Check the sizes."""
        require_positive(self, "train", "num_steps", "prompts_per_step", "num_epochs", "temperature")
        for name, off in (("top_p", 1.0), ("top_k", -1), ("min_p", 0.0)):
            require(
                getattr(self, name) == off,
                f"training with {name}={getattr(self, name)} would make the ratio π/π_old wrong: the engine "
                "would draw from a truncated distribution, the learner computes the whole one",
                f"train.{name}",
                f"{name}={off}; shape the distribution by train.temperature, which both sides apply",
            )
        require_share(self.max_error_share, "train.max_error_share")
        require_positive(self, "train", "keep_checkpoints")
        for name in ("checkpoint_every", "keep_model_every"):
            require(getattr(self, name) >= 0, f"{name} is negative", f"train.{name}", "0 or more")


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
    engine_args: dict[str, Any] = field(default_factory=dict)
    """Further start-up options of vLLM by its own names, such as ``+rollout.engine_args.max_num_batched_tokens=16384``; checked
    against the installed vLLM before anything starts. What rlvr sets itself is refused."""
    probe_tolerance: float | None = None
    """Largest difference in nats, on any probe token, between engine and learner after a weight
    update; null takes 5e-4 in float32 and 0.1 in bfloat16."""

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


@dataclass
class LearnerConfig:
    """The learner pool: DeepSpeed ranks."""

    num_learners: int = 1
    """Data-parallel ranks; the objective does not depend on their number."""
    threads_per_learner: int = 2
    """CPU threads of one rank (CPU only)."""
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
    adam_beta2: float = 0.999
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
    offload_optimizer: bool = False
    """Keep optimizer state in the host's memory (ZeRO stage 1 or more): slower steps, smaller GPUs."""
    offload_parameters: bool = False
    """Keep the weights in the host's memory as well (ZeRO stage 3 only)."""

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
class GuardsConfig:
    """When a training run is warned about or stopped, because something has gone wrong."""

    max_bad_steps: int = 3
    """Stop after so many steps in a row with a gradient that held NaN or infinity. Such a gradient is left out,
    and its batch is kept in ``bad-batches/``."""
    max_ratio_mean: float = 10.0
    """Stop when the mean of π/π_old over a step's tokens is above this; it is near 1 as long as all is well."""
    window: int = 10
    """Steps before a step that it is compared with, for the two jumps below."""
    reward_jump: float = 0.3
    """Warn when the mean reward differs from that of the steps before by more than this."""
    error_jump: float = 0.02
    """Warn when the share of responses that the verifier failed on differs by more than this;
    ``train.max_error_share`` stops."""
    on_jump: str = "warn"
    """``warn``, or ``stop`` the run before the step is trained on."""

    def __post_init__(self) -> None:
        """Check words and sizes."""
        require_positive(
            self, "guards", "max_bad_steps", "max_ratio_mean", "window", "reward_jump", "error_jump"
        )
        require_one_of(self.on_jump, ("warn", "stop"), "guards.on_jump")


@dataclass(frozen=True)
class SamplingPlan:
    """What is drawn for each problem of a benchmark. Defaults are the study's (2504.13837 §2)."""

    num_samples: int = 128
    temperature: float = 0.6
    top_p: float = 0.95
    max_tokens: int = 16_384
    chunk_size: int = 32


@dataclass
class EvaluationConfig:
    """How a model is measured; what is null is taken from each benchmark (`rlvr data show` lists them)."""

    num_samples: int | None = None
    """Samples per problem, n; pass@k is reported for the powers of two up to n."""
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    """Longest response; a longer one is cut off and wrong."""
    chunk_size: int = 32
    """Samples of one problem in one request: the unit of sharding and of resuming. With ``api.base_url`` 1."""
    checkpoints: bool = False
    """``rlvr study`` only: also measure the models that ``train.keep_model_every`` keeps."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        self.plan(SamplingPlan())

    def plan(self, default: SamplingPlan) -> SamplingPlan:
        """What is drawn, where ``default`` is a benchmark's own."""
        stated = {name: value for name in PLANNED if (value := getattr(self, name)) is not None}
        plan = replace(default, chunk_size=self.chunk_size, **stated)
        require_positive(plan, "evaluation", "num_samples", "max_tokens", "chunk_size")
        require(plan.temperature >= 0, "negative temperature", "evaluation.temperature", "0 (greedy) or more")
        require(0 < plan.top_p <= 1, f"top_p is {plan.top_p}", "evaluation.top_p", "above 0, at most 1")
        return plan


@dataclass
class ApiConfig:
    """A server that speaks OpenAI's protocol, in place of engines of our own."""

    base_url: str | None = None
    """Address up to and with ``/v1``, such as http://localhost:8000/v1 (``vllm serve``) or
    https://api.mistral.ai/v1; models are then the names that the server gives them. Null starts engines."""
    key_variable: str | None = None
    """Name of the environment variable that holds the key; the key itself is written nowhere. Null sends none."""
    max_concurrent: int = 16
    """Requests under way at a time, each for one sample."""
    timeout: float = 1200.0
    """Seconds for one response, all of which arrives at its end."""
    max_retries: int = 5
    """Times that a request is sent again after a refused connection, a timeout, or HTTP 408, 409, 429 or 5xx,
    after pauses that grow up to 8 s, or as long as the server asks for."""
    seed_field: str | None = None
    """Name that the server has for a request's seed (vLLM: ``seed``; Mistral: ``random_seed``), each of which
    then gets its own. Null sends none: names differ, and strict servers refuse what they do not know."""

    def __post_init__(self) -> None:
        """Check the address, the name and the limits; a key in their place is refused without repeating it."""
        if self.base_url is not None:
            address = urlsplit(self.base_url)
            require(
                address.scheme in ("http", "https") and bool(address.hostname) and "@" not in address.netloc,
                "the address of the server is none, or holds credentials",
                "api.base_url",
                "such as https://HOST/v1; a key goes into an environment variable: api.key_variable=NAME",
            )
        require(
            self.key_variable is None or VARIABLE.fullmatch(self.key_variable) is not None,
            "this is no name of an environment variable in capitals",
            "api.key_variable",
            "the name of the variable, such as MISTRAL_API_KEY; never the key itself",
        )
        require_positive(self, "api", "max_concurrent", "timeout")
        require(self.max_retries >= 0, "max_retries is negative", "api.max_retries", "0 or more")

    @property
    def host(self) -> str:
        """Host and port of the server."""
        return urlsplit(self.base_url or "").netloc


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
    """Machines, for ``--dry-run``; this and the four below describe hardware that may not be here, and
    null stands for this machine."""
    gpus_per_node: int | None = None
    gpu_memory_gib: float | None = None
    cpus_per_node: int | None = None
    host_memory_gib: float | None = None
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


@dataclass
class TrackingConfig:
    """Where metrics go, besides metrics.jsonl, which is always written."""

    wandb: str = "off"
    """``off``, ``offline`` or ``online``."""
    wandb_project: str = "rlvr"
    tensorboard: bool = False
    num_logged_samples: int = 4
    """Rollouts written to rollouts.jsonl at every step, to be read."""
    process_every: int = 10
    """Steps between the metrics ``process/…``: memory, open files and threads of every process; 0 is never."""

    def __post_init__(self) -> None:
        """Check the mode and the number."""
        require_one_of(self.wandb, TRACKER_MODES, "tracking.wandb")
        require(
            self.num_logged_samples >= 0,
            "num_logged_samples is negative",
            "tracking.num_logged_samples",
            "0 or more",
        )
        require(self.process_every >= 0, "process_every is negative", "tracking.process_every", "0 or more")


@dataclass
class BenchmarkConfig:
    """What is measured: a registered benchmark, or a file."""

    name: str = ""
    """Name in tables and results."""
    path: str | None = None
    """JSONL or parquet file, or folder saved by ``datasets``: in the columns of the registered benchmark, or
    in verl's. Null takes it from ``data.folder`` or the hub."""
    family: str | None = None
    """The registered benchmark whose columns, generator, prompt and sampling it has; null takes the one of its
    own name."""
    operations: list[int] | None = None
    """Difficulties of generated problems; null takes the family's own."""
    num_problems: int | None = None
    """How many are generated, or taken from the beginning of a set; null takes the family's own, or all."""
    out_of_domain: bool = False
    """Unlike the training problems: reported beside the in-domain benchmark, never mixed with it."""

    def __post_init__(self) -> None:
        """Check number and spelling; names are looked up in the registry (rlvr/data/benchmarks.py)."""
        require(
            not self.name or NAME.fullmatch(self.name) is not None,
            f"no benchmark can be called {self.name!r}, since its name becomes a folder's",
            "benchmark.name",
            "letters, digits, dots and dashes, not beginning with a dot",
        )
        if self.num_problems is not None:
            require_positive(self, f"benchmarks.{self.name}", "num_problems")


def as_benchmarks(value: Any) -> dict[str, BenchmarkConfig]:
    """``benchmarks``: names and files as ``[math500, own.jsonl]``, or settings as ``{own: {path: own.jsonl}}``.

    Raises:
        ConfigError: neither of them, a name twice, or a key that a benchmark does not have.
    """
    if isinstance(value, dict):
        return {name: as_benchmark(name, settings) for name, settings in value.items()}
    require(
        isinstance(value, list) and all(isinstance(word, str) for word in value),
        f"{value!r} is no list of benchmarks",
        "benchmarks",
        "for example benchmarks=[math500,aime24], or [own.jsonl]",
    )
    found: dict[str, BenchmarkConfig] = {}
    for word in value:
        path = Path(word)
        is_file = path.suffix in FORMATS or "/" in word
        name = path.stem if is_file else word
        require(
            name not in found,
            f"two benchmarks are called {name!r}",
            "benchmarks",
            f"{{NAME: {{path: {word}}}}}",
        )
        found[name] = BenchmarkConfig(name, path=word if is_file else None)
    return found


def as_benchmark(name: str, value: Any) -> BenchmarkConfig:
    """One of ``benchmarks``, which a command line gives as a plain dictionary.

    Raises:
        ConfigError: it is none, or has a key that a benchmark does not have.
    """
    if isinstance(value, BenchmarkConfig):
        return value
    value = {} if value is None else value
    key = f"benchmarks.{name}"
    require(isinstance(value, dict), f"{value!r} is no benchmark", key, "for example {family: chains}")
    known = [spec.name for spec in fields(BenchmarkConfig)]
    for word in value:
        require(word in known, f"unknown key {word!r}", f"{key}.{word}", did_you_mean(word, known))
    return BenchmarkConfig(**{"name": name, **value})


@dataclass
class ExperimentConfig:
    """A training run and, for ``rlvr study``, the evaluation around it."""

    algorithm: AlgorithmConfig
    """One of the algorithm dataclasses (Hydra group ``algorithm``)."""
    algorithms: list[str] = field(default_factory=list)
    """``rlvr study`` only: names of the group ``algorithm``, each trained from the same start, on the same
    problems in the same order; empty studies ``algorithm`` alone."""
    variants: dict[str, list[str]] = field(default_factory=dict)
    """``rlvr study`` only: in place of ``algorithms``, training runs that differ in some overrides, by name,
    such as ``{kl_0: [algorithm.kl.coef=0], kl_0.001: [algorithm.kl.coef=0.001]}``."""
    seed: int = 0
    """Seed of data order, sampling and initialisation."""
    model: str = MISSING_PATH
    """Hugging Face folder or hub name of the start model."""
    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    prompt: str | None = None
    """Prompt template of training and of all benchmarks, by name (rlvr/data/templates.py); null takes the data's
    own: a registered benchmark's, or the messages of a file."""
    benchmarks: Any = None
    """``rlvr study`` only: what is measured: names of registered benchmarks and files, ``[math500,own.jsonl]``,
    or settings by name, each a :class:`BenchmarkConfig`."""
    train: TrainConfig = field(default_factory=TrainConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    rewards: RewardsConfig = field(default_factory=RewardsConfig)
    guards: GuardsConfig = field(default_factory=GuardsConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)

    def __post_init__(self) -> None:
        """Check what involves more than one section."""
        require_model(self.model)
        self.benchmarks = as_benchmarks(self.benchmarks or {})
        group_size = self.build_algorithm().group_size
        rollouts = self.train.prompts_per_step * group_size
        minibatch = self.train.minibatch_size
        if minibatch is not None:
            require(
                minibatch > 0 and minibatch % group_size == 0,
                f"minibatch of {minibatch} rollouts is not divisible by the group size {group_size}",
                "train.minibatch_size",
                f"a multiple of {group_size}: the rollouts of one prompt share a baseline and stay together",
            )
            require(
                rollouts % minibatch == 0,
                f"a step of {self.train.prompts_per_step} prompts × {group_size} = {rollouts} rollouts "
                f"is not divisible into minibatches of {minibatch}",
                "train.minibatch_size",
                f"a divisor of {rollouts}",
            )

    def build_algorithm(self) -> Algorithm:
        """Compose the algorithm from its own config."""
        return self.algorithm.build()


@dataclass
class EvaluateConfig:
    """``rlvr evaluate``: models on benchmarks."""

    model: str = MISSING_PATH
    """Hugging Face folder, training run folder, or hub name. Short for ``models`` with one."""
    models: Any = None
    """Several, measured one after another; the first is the base: ``[base,runs/mine]``, or by the names that they
    get in tables, ``{base: Qwen/Qwen2.5-7B, grpo: runs/mine}``."""
    name: str | None = None
    """The model's name in tables; null takes the folder's name."""
    regrade: str | None = None
    """Folder of a finished evaluation whose responses are judged anew; nothing is sampled."""
    benchmark: str | None = None
    """Name of a registered benchmark, or a file. Short for ``benchmarks`` with one."""
    benchmarks: Any = None
    """What is measured: names and files, ``[math500,own.jsonl]``, or settings by name, each a
    :class:`BenchmarkConfig`. Nothing at all measures ``chains``."""
    prompt: str | None = None
    """Prompt template by name (rlvr/data/templates.py); null takes each benchmark's own."""
    seed: int = 0
    num_samples: int | None = None
    """Short for ``evaluation.num_samples``."""
    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    api: ApiConfig = field(default_factory=ApiConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    rewards: RewardsConfig = field(default_factory=RewardsConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)

    def __post_init__(self) -> None:
        """Give the short forms to their owners, and check what involves more than one of them."""
        if self.regrade is None and not self.models:
            require_model(self.model)
        require(
            not (self.models and (self.model or self.name)),
            "both one model and several are given",
            "models",
            "models={NAME: FOLDER, …} alone",
        )
        require(
            not (self.benchmark and self.benchmarks),
            "both one benchmark and several are given",
            "benchmarks",
            "benchmarks=[…] alone",
        )
        self.benchmarks = as_benchmarks(self.benchmarks or [self.benchmark or "chains"])
        if self.num_samples is not None:
            self.evaluation.num_samples = self.num_samples
            self.evaluation.__post_init__()
            self.num_samples = None


@dataclass
class PretrainStage:
    """One stage of pre-training: optimizer and schedule start anew in each."""

    num_tokens: int = 30_000_000
    """Budget over all processes, padding included."""
    noise: float = 0.1
    """Share of the corpus's steps that are wrong."""
    operations: list[int] = field(default_factory=lambda: [1, 2, 3, 4, 5, 6, 7])
    """Difficulties of the stage's problems, in operations; each equally often."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(0 <= self.noise < 1, f"noise is {self.noise}", "stages.noise", "at least 0, below 1")
        require_positive(self, "stages", "num_tokens")
        require(
            bool(self.operations) and all(1 <= number <= MAX_OPERATIONS for number in self.operations),
            f"operations {list(self.operations)} must be numbers from 1 to {MAX_OPERATIONS}",
            "stages.operations",
            "for example [1,2,3,4,5,6,7]",
        )


@dataclass
class PretrainConfig:
    """``rlvr pretrain``: a tiny Qwen2 from scratch on a generated family."""

    output: str = "runs/pretrain"
    """Folder of the finished model."""
    seed: int = 0
    stages: list[PretrainStage] = field(default_factory=lambda: [PretrainStage()])
    """Gone through in order, each with its own optimizers, schedule and stream of the corpus."""
    family: str = "chains"
    """What the corpus is made of: ``chains`` or ``programs``."""
    modulus: int = 23
    """Of the arithmetic in ``chains``."""
    hidden_size: int = 128
    num_layers: int = 3
    num_heads: int = 4
    intermediate_size: int = 384
    max_position_embeddings: int = 256
    learning_rate: float = 3e-3
    """Peak of each stage, which ends at 0."""
    weight_decay: float = 0.01
    warmup_share: float = 0.03
    max_grad_norm: float = 1.0
    batch_tokens: int = 10_000
    """Tokens of one optimizer step on one process."""
    report_every: int = 100
    """Steps between progress lines."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(
            bool(self.stages), "there is no stage", "stages", "at least one, such as {num_tokens: 1000000}"
        )
        require_one_of(self.family, FAMILIES, "family")
        require_positive(self, "", "batch_tokens", "report_every", "num_heads", "num_layers", "hidden_size")
        require(
            self.hidden_size % self.num_heads == 0,
            f"hidden_size {self.hidden_size} is not divisible by num_heads {self.num_heads}",
            "num_heads",
            f"a divisor of {self.hidden_size}",
        )
        require(
            self.modulus >= MIN_MODULUS
            and all(self.modulus % divisor for divisor in range(2, math.isqrt(self.modulus) + 1)),
            f"modulus {self.modulus} is not a prime ≥ {MIN_MODULUS}",
            "modulus",
            f"a prime such as {MIN_MODULUS}",
        )


@dataclass
class DistillConfig:
    """``rlvr distill``: a student learns a teacher's verified responses."""

    model: str = MISSING_PATH
    """Hugging Face folder or hub name of the student, as it starts."""
    teacher: list[str] = field(default_factory=list)
    """Folders with evaluations of the teacher, on problems that nothing is measured on."""
    prompt: str = "chat"
    """Prompt template, by name (rlvr/data/templates.py), that the student learns to answer: the one that it is
    measured with."""
    output: str = "runs/distill"
    """Folder of the finished student."""
    seed: int = 0
    max_per_problem: int = 8
    """Most different right responses to one problem."""
    max_tokens: int = 16_384
    """Longest prompt and response together; longer examples are left out."""
    num_epochs: int = 3
    learning_rate: float = 1e-5
    """AdamW, linear warm-up, then cosine to 0."""
    weight_decay: float = 0.0
    warmup_share: float = 0.03
    """Share of the steps."""
    max_grad_norm: float = 1.0
    batch_tokens: int = 32_768
    """Padded tokens of one optimizer step on one process; a longer example stands alone."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass to save memory."""
    report_every: int = 10
    """Steps between progress lines."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require_model(self.model)
        require(
            bool(self.teacher),
            "no teacher is given",
            "teacher",
            "teacher=[FOLDER]: an evaluation of it, made by `rlvr evaluate`",
        )
        require_positive(
            self, "", "max_per_problem", "max_tokens", "num_epochs", "learning_rate", "batch_tokens",
            "report_every", "max_grad_norm",
        )  # fmt: skip
        require_share(self.warmup_share, "warmup_share")


def require_model(path: str) -> None:
    """Refuse a start model that is not set."""
    require(path != MISSING_PATH, "no model is given", "model", "model=FOLDER, or a recipe: recipe=tiny")


def run_dir(config: ExperimentConfig) -> Path:
    """The run's folder as a path."""
    return Path(config.run.dir)
