"""A server that speaks OpenAI's protocol as a rollout engine: ``vllm serve``, or a vendor's.

Nothing of the model is here but its name. Every sample is a request of its own, so that what it cost, what is sent
again and what is missing after an interruption are known sample by sample. Chat messages go to
``/chat/completions``, where the server applies the model's own chat template, plain text to ``/completions``.

Temperature, top-p and the longest response are sent, greedy requests as temperature 0. Whatever else shapes the
distribution, such as a model folder's generation config, is the server's (``vllm serve --generation-config vllm``
leaves it out).
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import openai

from rlvr.config import ApiConfig
from rlvr.errors import ConfigError, RlvrError, WorkerError, did_you_mean
from rlvr.protocols import SampleRequest, SamplingSettings
from rlvr.records import Completion
from rlvr.seeds import derive_seed

NO_KEY = "none"
"""Sent where there is no key, since the client wants one."""
CUT_OFF = ("length", "model_length")
"""Words of servers for a response that was too long."""
MAX_SEED = 2**31
CHECK_SECONDS = 30.0
"""Longest wait for the list of models."""
SHOWN_CHARACTERS = 300
KEPT = "the samples so far are kept, and the same command goes on"


class ApiEngine:
    """A :class:`~rlvr.protocols.RolloutEngine` whose model stands behind a server."""

    version = 0

    def __init__(
        self, model: str, api: ApiConfig, client: openai.AsyncOpenAI, runner: asyncio.Runner, seed: int
    ) -> None:
        """Use :func:`api_engine`, which also ends what is opened here."""
        self._model, self._api, self._seed = model, api, seed
        self._client, self._runner = client, runner
        self._num_sent = 0

    def process_metrics(self) -> dict[str, float]:
        """Nothing: the processes are the server's."""
        return {}

    def generate(
        self, requests: Sequence[SampleRequest], settings: SamplingSettings
    ) -> Iterator[tuple[int, list[Completion]]]:
        """Keep ``api.max_concurrent`` samples under way; yield requests as all samples of one are there.

        ``settings`` may ask neither for log-probabilities nor for stop tokens or seeds.

        Raises:
            WorkerError: a sample has failed for good. Those that were under way then are yielded before.
        """
        waiting = ((request, index) for request in requests for index in range(request.num_samples))
        under_way: dict[asyncio.Task[Completion], tuple[SampleRequest, int]] = {}
        found: dict[int, dict[int, Completion]] = {request.key: {} for request in requests}
        failure: RlvrError | None = None
        try:
            while True:
                while failure is None and len(under_way) < self._api.max_concurrent:
                    following = next(waiting, None)
                    if following is None:
                        break
                    task = self._runner.get_loop().create_task(self._sample(following[0], settings))
                    under_way[task] = following
                if not under_way:
                    break
                ended, _ = self._runner.run(asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED))
                for task in ended:
                    request, index = under_way.pop(task)
                    error = task.exception()
                    if isinstance(error, RlvrError):
                        failure = failure or error
                        continue
                    samples = found[request.key]
                    samples[index] = task.result()
                    if len(samples) == request.num_samples:
                        yield request.key, [samples[i] for i in range(request.num_samples)]
                        del found[request.key]
        finally:
            for task in under_way:
                task.cancel()
        if failure is not None:
            raise failure

    async def _sample(self, request: SampleRequest, settings: SamplingSettings) -> Completion:
        is_text = isinstance(request.words, str)
        body: dict[str, Any] = {
            "model": self._model,
            **({"prompt": request.words} if is_text else {"messages": list(request.words)}),
            "temperature": 0.0 if request.greedy else settings.temperature,
            "top_p": settings.top_p,
            "max_tokens": settings.max_tokens,
        }
        if settings.top_k != -1:  # not OpenAI's, so strict servers refuse it
            body["top_k"] = settings.top_k
        if self._api.seed_field is not None:
            self._num_sent += 1
            body[self._api.seed_field] = derive_seed(self._seed, self._num_sent) % MAX_SEED
        path = "/completions" if is_text else "/chat/completions"
        try:
            answer = await self._client.post(path, body=body, cast_to=openai.HttpxBinaryResponseContent)
            return completion(answer.text)
        except openai.APIError as error:
            what, fix = explain(error, self._api)
            raise WorkerError(what, where=self._where, fix=f"{fix}; {KEPT}") from error
        except MalformedError as error:
            raise WorkerError(
                f"the server's answer cannot be read: {error}",
                where=self._where,
                fix=f"is {self._api.base_url} an OpenAI-compatible server?; {KEPT}",
            ) from error

    @property
    def _where(self) -> str:
        return f"{self._model} at {self._api.host}"


class MalformedError(ValueError):
    """An answer that does not have the protocol's form."""


@contextmanager
def api_engine(model: str, api: ApiConfig, seed: int) -> Iterator[ApiEngine]:
    """An engine for one model of the server; requests still under way at the end are given up."""
    with connected(api) as (client, runner):
        yield ApiEngine(model, api, client, runner, seed)


@contextmanager
def connected(api: ApiConfig) -> Iterator[tuple[openai.AsyncOpenAI, asyncio.Runner]]:
    """A client of the server, and the event loop that it runs in.

    Raises:
        ConfigError: the variable that should hold the key is not set.
    """
    with asyncio.Runner() as runner:
        client = openai.AsyncOpenAI(
            base_url=api.base_url, api_key=key_of(api), timeout=api.timeout, max_retries=api.max_retries
        )
        try:
            yield client, runner
        finally:
            runner.run(client.close())


def key_of(api: ApiConfig) -> str:
    """The key, from the environment.

    Raises:
        ConfigError: the variable is not set, or empty.
    """
    if api.key_variable is None:
        return NO_KEY
    key = os.environ.get(api.key_variable, "")
    if not key:
        raise ConfigError(
            f"the environment variable {api.key_variable} is not set",
            where="api.key_variable",
            fix=f"export {api.key_variable}=… in the shell that starts the command",
        )
    return key


def check_served(models: Sequence[str], api: ApiConfig) -> None:
    """Ask the server for its models before anything is sampled.

    Raises:
        ConfigError: it cannot be reached, refuses the key, or does not have one of the models.
    """
    # Sooner than a sample would: whoever has started the command still sits before it.
    api = replace(api, timeout=min(CHECK_SECONDS, api.timeout), max_retries=min(1, api.max_retries))
    with connected(api) as (client, runner):
        try:
            answer = runner.run(client.get("/models", cast_to=openai.HttpxBinaryResponseContent))
            known = model_names(answer.text)
        except openai.APIError as error:
            what, fix = explain(error, api)
            raise ConfigError(what, where=f"{api.base_url}/models", fix=fix) from error
        except MalformedError as error:
            raise ConfigError(
                f"this is no list of models: {error}",
                where=f"{api.base_url}/models",
                fix="the address of an OpenAI-compatible server, which on most ends in /v1",
            ) from error
    for model in models:
        if model not in known:
            raise ConfigError(
                f"the server has no model {model!r}", where=api.host, fix=did_you_mean(model, known)
            )


def model_names(text: str) -> list[str]:
    """Names in a server's list of models.

    Raises:
        MalformedError: it is none.
    """
    answer = parsed(text)
    listed = answer.get("data") if isinstance(answer, dict) else answer
    if not isinstance(listed, list) or not all(isinstance(each, dict) and "id" in each for each in listed):
        raise MalformedError(shown(text))
    return [str(each["id"]) for each in listed]


def completion(text: str) -> Completion:
    """The one sample of a server's answer.

    Raises:
        MalformedError: the answer is not of the protocol's form, or does not say how many tokens were sampled.
    """
    answer = parsed(text)
    try:
        [choice] = answer["choices"]
        reason, usage = choice["finish_reason"], answer["usage"]
        words = choice["text"] if "text" in choice else said(choice["message"])
        num_tokens = usage["completion_tokens"]
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedError(f"{type(error).__name__} {error} in {shown(text)}") from error
    if (
        not (isinstance(words, str) and isinstance(num_tokens, int) and isinstance(reason, str))
        or reason == "error"
    ):
        raise MalformedError(shown(text))
    reason = "length" if reason in CUT_OFF else reason
    # Half a character, as a token may end in one, is no text that a file could hold.
    words = words.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return Completion((), (), None, words, reason, policy_version=0, tokens_counted=num_tokens)


def said(message: Mapping[str, Any]) -> str:
    """A message as one text, with what the server gives as reasoning apart before it, in ``<think>`` tags.

    Servers put it into ``reasoning`` or ``reasoning_content``, or make ``content`` a list of parts.

    Raises:
        KeyError, TypeError: the message is of neither form.
    """
    reasoning = message.get("reasoning") or message.get("reasoning_content") or ""
    content = message["content"] or ""
    if isinstance(content, list):
        reasoning += "".join(inner["text"] for part in content for inner in part.get("thinking", ()))
        content = "".join(part["text"] for part in content if part["type"] == "text")
    if not reasoning:
        return str(content)
    # Cut off while it was thinking, a model has not closed the tag.
    return f"<think>{reasoning}</think>{content}" if content else f"<think>{reasoning}"


def parsed(text: str) -> Any:
    """A server's answer.

    Raises:
        MalformedError: it is not JSON.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        raise MalformedError(f"no JSON: {shown(text)}") from error


def shown(text: str) -> str:
    """The beginning of an answer."""
    return repr(text[:SHOWN_CHARACTERS] + ("…" if len(text) > SHOWN_CHARACTERS else ""))


def explain(error: openai.APIError, api: ApiConfig) -> tuple[str, str]:
    """What is wrong and what to do, in words without the key."""
    after = f" after {api.max_retries + 1} attempts" if api.max_retries else ""
    if isinstance(error, openai.APITimeoutError):
        return f"no answer within {api.timeout:g} s{after}", "api.timeout, or a smaller api.max_concurrent"
    if not isinstance(error, openai.APIStatusError):
        cause = error.__cause__ or error
        return f"the server cannot be reached: {cause}", "check api.base_url, and that the server runs"
    said_so = server_message(error).replace(key_of(api), "***")
    what = f"the server answers HTTP {error.status_code}: {said_so}"
    fixes = {
        401: "the key in the variable that api.key_variable names"
        if api.key_variable
        else "api.key_variable=NAME of the environment variable that holds the key",
        403: "what this key may do, at the vendor",
        404: "api.base_url, which on most servers ends in /v1; a server without /completions takes chat prompts only, "
        "such as prompt=boxed",
        429: "a smaller api.max_concurrent, a larger api.max_retries, or the quota at the vendor",
    }
    if error.status_code >= 500:
        return f"{what}{after}", "the server's own log"
    return what, fixes.get(error.status_code, "as the server says; it was sent evaluation.* and the prompt")


def server_message(error: openai.APIStatusError) -> str:
    """The server's own words for an error."""
    body: Any = error.body
    message = body.get("message") if isinstance(body, dict) else None
    return str(message) if message else shown(error.response.text)
