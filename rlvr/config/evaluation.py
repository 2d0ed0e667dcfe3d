"""How a model is measured: what is drawn from it, and a server that may stand in for our engines."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from rlvr.config.benchmarks import PLANNED, BenchmarkConfig
from rlvr.config.checks import require, require_positive

VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


@dataclass(frozen=True)
class SamplingPlan:
    """What is drawn for each problem of a benchmark. Defaults are the study's (2504.13837 §2)."""

    num_samples: int = 128
    """Samples per problem, n."""
    temperature: float = 0.6
    """0 is greedy."""
    top_p: float = 0.95
    """Draw from the likeliest tokens that together have this probability; 1 draws from all."""
    top_k: int = -1
    """Draw from the so many likeliest tokens; -1 from all."""
    max_tokens: int = 16_384
    """Longest response."""
    chunk_size: int = 32
    """Samples of one problem in one request."""

    def sampling(self) -> dict[str, Any]:
        """What the record of an evaluation says of it beside n; ``top_k`` only where it is on."""
        shape = {"temperature": self.temperature, "top_p": self.top_p, "max_tokens": self.max_tokens}
        return shape if self.top_k == -1 else shape | {"top_k": self.top_k}


@dataclass
class EvaluationConfig:
    """How a model is measured; what is null is taken from each benchmark (`rlvr data show` lists them)."""

    num_samples: int | None = None
    """Samples per problem, n; pass@k is reported for the powers of two up to n."""
    limit: int | None = None
    """Problems of each benchmark, the first ones, for a quick look; null takes all."""
    temperature: float | None = None
    """0 is greedy: every sample of a problem is the same, so there can be only one."""
    top_p: float | None = None
    """Draw from the likeliest tokens that together have this probability; 1 draws from all."""
    top_k: int | None = None
    """Draw from the so many likeliest tokens; -1 from all."""
    max_tokens: int | None = None
    """Longest response; a longer one is cut off and wrong."""
    chunk_size: int = 32
    """Samples of one problem in one request: the unit of sharding and of resuming. With ``api.base_url`` 1."""
    num_workers: int | None = None
    """vLLM engines that sample, each as large as ``rollout`` says. Null: ``rollout.num_workers``, and in ``rlvr study``,
    whose learners are gone by then, as many as there is room for on the GPUs of both pools (on CPU: for their threads, on
    the cores that there are)."""
    checkpoints: bool = False
    """``rlvr study`` only: also measure the models that ``train.keep_model_every`` keeps."""

    def __post_init__(self) -> None:
        """Check the ranges; what a benchmark adds to them is checked once it is known."""
        self.plan(SamplingPlan(num_samples=1))
        if self.limit is not None:
            require_positive(self, "evaluation", "limit")
        if self.num_workers is not None:
            require_positive(self, "evaluation", "num_workers")

    def plan(self, default: SamplingPlan, benchmark: BenchmarkConfig | None = None) -> SamplingPlan:
        """What is drawn on a benchmark: what it states itself, or else what is stated here, or else the default.

        Args:
            default: the registered benchmark's.
            benchmark: its settings; None has none of its own.

        Raises:
            ConfigError: a value is out of its range, or many samples would all be the same.
        """
        benchmark = benchmark or BenchmarkConfig()
        here, there = ({name: getattr(of, name) for name in PLANNED} for of in (self, benchmark))
        stated = {name: value for of in (here, there) for name, value in of.items() if value is not None}
        plan = replace(default, chunk_size=self.chunk_size, **stated)

        def key(name: str) -> str:
            return f"{'evaluation' if there[name] is None else f'benchmarks.{benchmark.name}'}.{name}"

        for name in ("num_samples", "max_tokens"):
            require(getattr(plan, name) > 0, f"{name} is {getattr(plan, name)}", key(name), "more than 0")
        require_positive(plan, "evaluation", "chunk_size")
        require(plan.temperature >= 0, "negative temperature", key("temperature"), "0 (greedy) or more")
        require(0 < plan.top_p <= 1, f"top_p is {plan.top_p}", key("top_p"), "above 0, at most 1")
        require(
            plan.top_k == -1 or plan.top_k > 0, f"top_k is {plan.top_k}", key("top_k"), "1 or more; -1 is off"
        )
        on = f" on {benchmark.name}" if benchmark.name else ""
        require(
            plan.temperature > 0 or plan.num_samples == 1,
            f"at temperature 0 the {plan.num_samples} samples of a problem{on} would all be the same",
            key("num_samples"),
            f"{key('num_samples')}=1 for the greedy response; {key('temperature')}=0.6 or another one for pass@k",
        )
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
