"""How a model is measured: what is drawn from it, and a server that may stand in for our engines."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from rlvr.config.checks import require, require_positive

PLANNED = ("num_samples", "temperature", "top_p", "max_tokens")
VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


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
