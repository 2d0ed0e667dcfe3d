"""The client of OpenAI-compatible servers against one that answers as it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from rlvr.config import ApiConfig
from rlvr.errors import ConfigError, WorkerError
from rlvr.protocols import SampleRequest, SamplingSettings
from rlvr.records import Completion
from rlvr.rollout import api_engine as api_engine_module
from rlvr.rollout.api_engine import api_engine, check_served, completion
from tests.served import Answer, Server, chat, serving, text

SETTINGS = SamplingSettings(0.6, 16, 0.95)
ASKED = ({"role": "user", "content": "a = 3 ; a ?"},)


def requests(count: int, num_samples: int = 1, words: Any = ASKED) -> list[SampleRequest]:
    return [SampleRequest(key, (), num_samples, words=words) for key in range(count)]


def sampled(
    server: Server, asked: list[SampleRequest], settings: SamplingSettings = SETTINGS, **api: Any
) -> dict[int, list[Completion]]:
    with api_engine("small", ApiConfig(base_url=server.url, **api), seed=1) as engine:
        found = list(engine.generate(asked, settings))
    assert len({key for key, _ in found}) == len(found)
    return dict(found)


def test_every_sample_is_a_request_of_its_own() -> None:
    with serving(lambda body: chat("# 3", tokens=5)) as server:
        found = sampled(server, requests(3, 4))
    assert {key: len(completions) for key, completions in found.items()} == {0: 4, 1: 4, 2: 4}
    assert len(server.asked) == 12
    path, body = server.asked[0]
    assert path == "/v1/chat/completions"
    assert body == {
        "model": "small",
        "messages": list(ASKED),
        "temperature": 0.6,
        "top_p": 0.95,
        "max_tokens": 16,
    }
    assert found[0][0] == Completion((), (), None, "# 3", "stop", 0, tokens_counted=5)
    assert found[0][0].num_tokens == 5


def test_plain_text_is_sent_as_it_stands() -> None:
    with serving(lambda body: text(" 3", finish_reason="length")) as server:
        [completion] = sampled(server, requests(1, words="a = 3 ; a ?"))[0]
    assert server.asked[0][0] == "/v1/completions"
    assert server.asked[0][1]["prompt"] == "a = 3 ; a ?"
    assert (completion.text, completion.finish_reason) == (" 3", "length")


def test_greedy_is_temperature_zero() -> None:
    with serving(lambda body: chat()) as server:
        sampled(server, [SampleRequest(0, (), 1, greedy=True, words=ASKED)])
    assert server.asked[0][1]["temperature"] == 0


def test_the_likeliest_tokens_are_asked_for_only_where_they_are_wanted() -> None:
    with serving(lambda body: chat()) as server:
        sampled(server, requests(1, 1), SamplingSettings(0.6, 16, 0.95, top_k=20))
    assert server.asked[0][1]["top_k"] == 20


def test_seeds_are_sent_under_the_servers_name_and_differ() -> None:
    with serving(lambda body: chat()) as server:
        sampled(server, requests(2, 8), seed_field="random_seed")
    seeds = [body["random_seed"] for _, body in server.asked]
    assert len(set(seeds)) == 16
    assert all(0 <= seed < 2**31 for seed in seeds)


def asked_by_number(count: int) -> list[SampleRequest]:
    """Requests whose prompt is their key."""
    return [SampleRequest(key, (), 1, words=str(key)) for key in range(count)]


def test_as_many_are_under_way_as_allowed_and_results_arrive_as_they_finish() -> None:
    """The first three are answered once all three are there, and the very first only when all others have been."""
    three, others_done = threading.Barrier(3, timeout=30), threading.Event()
    lock, now, most, answered = threading.Lock(), 0, 0, 0

    def respond(body: dict[str, Any]) -> Answer:
        nonlocal now, most, answered
        number = int(body["prompt"])
        with lock:
            now += 1
            most = max(most, now)
        if number < 3:
            three.wait()
        if number == 0:
            assert others_done.wait(30)
        with lock:
            now -= 1
            answered += 1
            if answered == 19:
                others_done.set()
        return text(body["prompt"])

    order: list[int] = []
    with serving(respond) as server:
        run(server, 20, lambda key, completion: order.append(key) if completion.text == str(key) else None)
    assert 0 in order[-3:]  # those that were under way with it may be a moment later
    assert sorted(order) == list(range(20))
    assert most == 3


def run(server: Server, count: int, use: Callable[[int, Completion], object]) -> None:
    """Numbered requests, three at a time, each result handed on as it arrives."""
    with api_engine("small", ApiConfig(base_url=server.url, max_concurrent=3), seed=1) as engine:
        for key, [completion] in engine.generate(asked_by_number(count), SETTINGS):
            use(key, completion)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"content": "so 3"}, "so 3"),
        ({"content": "so 3", "reasoning_content": "a is 3"}, "<think>a is 3</think>so 3"),
        ({"content": "so 3", "reasoning": "a is 3"}, "<think>a is 3</think>so 3"),
        (
            {"content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "a "}, {"type": "text", "text": "is 3"}]},
                {"type": "text", "text": "so 3"},
            ]},
            "<think>a is 3</think>so 3",
        ),
        ({"content": None, "reasoning": "a is"}, "<think>a is"),  # cut off while thinking
        ({"content": None}, ""),
    ],
)  # fmt: skip
def test_reasoning_that_is_given_apart_is_kept_before_the_answer(message: dict[str, Any], words: str) -> None:
    with serving(lambda body: chat(**message)) as server:
        [completion] = sampled(server, requests(1))[0]
    assert completion.text == words


def test_what_passes_is_tried_again() -> None:
    answers: list[Answer] = [(429, {"error": {"message": "slow down"}}), (503, "busy"), chat("# 3")]
    with serving(lambda body: answers.pop(0)) as server:
        [completion] = sampled(server, requests(1), max_retries=2)[0]
    assert completion.text == "# 3"
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("answer", "what", "fix"),
    [
        ((500, {"error": {"message": "out of memory"}}), "HTTP 500: out of memory after 2 attempts", "log"),
        ((429, {"message": "quota"}), "HTTP 429: ", "api.max_concurrent"),
        ((400, {"error": {"message": "context of 256"}}), "HTTP 400: context of 256", "as the server says"),
        ((404, {"detail": "Not Found"}), "HTTP 404", "prompt=boxed"),
        ((200, "<html>"), "cannot be read: no JSON: '<html>'", "OpenAI-compatible"),
        ((200, {"choices": []}), "cannot be read", "OpenAI-compatible"),
        ((200, {"choices": [{"text": "3", "finish_reason": "stop"}]}), "usage", "OpenAI-compatible"),
        ((200, {"choices": [{"message": {}, "finish_reason": "stop"}], "usage": {"completion_tokens": 1}}), "content",
         "OpenAI-compatible"),
        (chat(finish_reason="error"), "cannot be read", "OpenAI-compatible"),
    ],
)  # fmt: skip
def test_what_fails_for_good_is_said_with_its_cause(answer: Answer, what: str, fix: str) -> None:
    with serving(lambda body: answer) as server, pytest.raises(WorkerError) as caught:
        sampled(server, requests(1), max_retries=1)
    assert what in caught.value.what
    assert fix in str(caught.value.fix)
    assert "the same command goes on" in str(caught.value.fix)
    assert caught.value.where == f"small at 127.0.0.1:{server.port}"


def test_the_first_failure_is_raised_after_what_was_under_way_has_been_yielded() -> None:
    """Of three at a time one fails at once; the two beside it are slower, and nothing new is begun."""
    failed = threading.Event()

    def respond(body: dict[str, Any]) -> Answer:
        if body["prompt"] == "1":
            failed.set()
            return 400, {"error": {"message": "the cause"}}
        assert failed.wait(30)
        return text("3")

    found: list[int] = []
    with serving(respond) as server, pytest.raises(WorkerError, match="the cause"):
        run(server, 9, lambda key, _: found.append(key))
    # Those beside the failure, and whatever had begun before its answer arrived.
    assert {0, 2} <= set(found)
    assert len(server.asked) == len(found) + 1 < 9


def test_a_server_that_is_too_slow() -> None:
    release = threading.Event()

    def respond(body: dict[str, Any]) -> Answer:
        release.wait(30)
        return chat()

    with serving(respond) as server:
        with pytest.raises(WorkerError, match=r"no answer within 0\.2 s"):
            sampled(server, requests(1), timeout=0.2, max_retries=0)
        release.set()


def test_giving_up_in_the_middle_ends_what_is_under_way() -> None:
    """As an interruption does: the block is left, at once, while requests are open."""
    release = threading.Event()

    def respond(body: dict[str, Any]) -> Answer:
        if body["prompt"] != "0":
            release.wait(30)
        return text("3")

    def interrupt(key: int, completion: Completion) -> None:
        assert key == 0
        raise KeyboardInterrupt

    with serving(respond) as server:
        with pytest.raises(KeyboardInterrupt):
            run(server, 9, interrupt)
        assert not release.is_set()
        assert len(server.asked) < 9
        release.set()


def check(server: Server, *models: str, **api: Any) -> None:
    check_served(models, ApiConfig(base_url=server.url, **api))


def test_a_server_that_has_the_models() -> None:
    with serving(lambda body: chat()) as server:
        check(server, "small", "small-rl")
        server.models = (200, [{"id": "small"}])  # as some list them
        check(server, "small")
    assert server.asked == []


@pytest.mark.parametrize(
    ("models", "what", "fix"),
    [
        ((200, {"data": [{"id": "small"}]}), "no model 'smal'", "did you mean 'small'?"),
        ((200, {"data": [{"id": "other"}]}), "no model 'smal'", "known: other"),
        ((200, "<html>"), "no list of models", "/v1"),
        ((200, {"data": 3}), "no list of models", "/v1"),
        ((404, "nothing here"), "HTTP 404: 'nothing here'", "/v1"),
    ],
)
def test_what_is_wrong_is_known_before_anything_is_sampled(models: Answer, what: str, fix: str) -> None:
    with serving(lambda body: chat(), models=models) as server, pytest.raises(ConfigError) as caught:
        check(server, "smal")
    assert what in caught.value.what
    assert fix in str(caught.value.fix)


def test_a_server_that_does_not_list_its_models_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_engine_module, "CHECK_SECONDS", 0.2)
    release = threading.Event()

    with serving(lambda body: chat()) as server:
        answer = server.answer

        def late(*words: Any) -> Any:
            release.wait(30)
            return answer(*words)

        monkeypatch.setattr(server, "answer", late)
        with pytest.raises(ConfigError, match=r"no answer within 0\.2 s"):
            check(server, "small", max_retries=0)
        release.set()


def test_a_server_that_is_not_there() -> None:
    with serving(lambda body: chat()) as server:
        pass
    with pytest.raises(ConfigError, match="cannot be reached") as caught:
        check(server, "small", max_retries=0)
    assert "api.base_url" in str(caught.value.fix)


def test_the_key_comes_from_the_environment_and_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "s3cret")
    with serving(lambda body: chat(), key="s3cret") as server:
        check(server, "small", key_variable="SOME_KEY")
        with pytest.raises(ConfigError, match="HTTP 401") as caught:
            check(server, "small")
        assert "api.key_variable=NAME" in str(caught.value.fix)
        monkeypatch.setenv("SOME_KEY", "wr0ng")
        with pytest.raises(ConfigError, match=r"invalid key: Bearer \*\*\*"):
            check(server, "small", key_variable="SOME_KEY")
        monkeypatch.delenv("SOME_KEY")
        with pytest.raises(ConfigError, match="SOME_KEY is not set"):
            check(server, "small", key_variable="SOME_KEY")


def test_another_vendors_key_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "theirs")
    with serving(lambda body: chat(), key="none") as server:
        check(server, "small")


@pytest.mark.parametrize(
    "api",
    [
        {"base_url": "localhost:8000"},
        {"base_url": "https://user:s3cret@host/v1"},
        {"key_variable": "sk-s3cret"},
        {"max_concurrent": 0},
        {"timeout": 0},
        {"max_retries": -1},
    ],
)
def test_settings_are_checked_and_a_key_among_them_is_not_repeated(api: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        ApiConfig(**api)
    assert "s3cret" not in str(caught.value)


def test_half_a_character_is_no_text_that_a_file_could_hold() -> None:
    answer: dict[str, Any] = {
        "choices": [{"text": "4 \ud83d", "finish_reason": "stop"}],
        "usage": {"completion_tokens": 2},
    }
    found = completion(json.dumps(answer))
    assert found.text == "4 \ufffd"
    answer["choices"] = [{"text": "\ud83d\ude00", "finish_reason": "stop"}]
    assert completion(json.dumps(answer)).text == "\U0001f600"
