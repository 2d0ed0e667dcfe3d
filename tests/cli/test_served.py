"""`rlvr evaluate api.base_url=…`: models behind a server, measured, interrupted and refused."""

from __future__ import annotations

import json
import re
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from rlvr.data.chains import generate
from rlvr.eval.samples import read_samples
from rlvr.workflows import evaluate as evaluate_workflow
from tests.cli.pools import without_files
from tests.served import Answer, chat, serving

PROBLEMS = {problem.prompt[0]["content"]: problem for problem in generate(6, [3], 1, "test")}
WORDS = (
    "models={base: small, rl: small-rl}", "benchmark=chains", "data.chains.num_test=6", "data.chains.operations=[3]",
    "data.chains.seed=1", "num_samples=4", "run.dir=out",
)  # fmt: skip


def right(body: dict[str, Any]) -> Answer:
    """The right answer, from the trained model with its reasoning apart."""
    truth = PROBLEMS[body["messages"][0]["content"]].ground_truth
    reasoning = {"reasoning": "step by step"} if body["model"] == "small-rl" else {}
    return chat(f"# {truth}", tokens=9, **reasoning)


@pytest.fixture(autouse=True)
def quick_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate_workflow, "write_report", without_files)


def samples(model: str) -> list[Any]:
    return list(read_samples(Path("out/evaluation/chains") / model / "samples.jsonl.gz"))


def test_two_models_are_measured_through_the_server(rlvr) -> None:
    with serving(right) as server:
        result = rlvr("evaluate", *WORDS, f"api.base_url={server.url}")
        assert result.code == 0, result.err
        assert "1.000" in result.out
        assert len(server.asked) == 2 * 6 * 4
        assert {row.num_tokens for row in samples("base")} == {9}
        assert all(row.text.startswith("<think>step by step</think># ") for row in samples("rl"))
        spec = json.loads(Path("out/evaluation/chains/rl/spec.json").read_text())
        assert spec["model_sha256"] == f"served:127.0.0.1:{server.port}/small-rl"
        assert re.fullmatch(r"chat:\w{12}, chat template of the server", spec["prompt_template"])
    # All is there: the same command needs the server no more.
    result = rlvr("evaluate", *WORDS, f"api.base_url={server.url}")
    assert result.code == 0, result.err


def test_a_failure_keeps_what_was_sampled_and_the_same_command_goes_on(rlvr) -> None:
    limit, numbers = 7, count()

    def until(body: dict[str, Any]) -> Answer:
        return (
            right(body) if next(numbers) < limit else (500, {"error": {"message": "the machine room burns"}})
        )

    with serving(until) as server:
        words = (*WORDS, f"api.base_url={server.url}", "api.max_retries=0", "api.max_concurrent=2")
        result = rlvr("evaluate", *words)
        assert result.code == 3
        last = result.err[result.err.rindex("rlvr evaluate:") :].splitlines()
        assert last[0] == "rlvr evaluate: the server answers HTTP 500: the machine room burns"
        assert len(last) == 3
        stored = samples("base")
        assert len(stored) == 7
        limit = 1000
        del server.asked[:]
        result = rlvr("evaluate", *words)
    assert result.code == 0, result.err
    assert "7 already there" in result.err
    assert len(server.asked) == 2 * 24 - 7
    assert samples("base")[:7] == stored


@pytest.mark.parametrize(
    ("settings", "words", "what"),
    [
        ({"key": "s3cret"}, (), "HTTP 401"),
        ({"models": (200, {"data": [{"id": "smal"}]})}, (), "did you mean 'smal'?"),
        ({}, ("api.base_url=http://127.0.0.1:9/v1", "api.max_retries=0"), "cannot be reached"),
        ({}, ("api.key_variable=NOT_SET_ANYWHERE",), "NOT_SET_ANYWHERE is not set"),
        ({}, ("prompt=qwen_boxed",), "special tokens"),
        ({}, ("api.base_ulr=x",), "did you mean 'api.base_url'?"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_written(
    rlvr, cwd: Path, settings: dict[str, Any], words: tuple[str, ...], what: str
) -> None:
    with serving(right, **settings) as server:
        address = () if any("base_u" in word for word in words) else (f"api.base_url={server.url}",)
        result = rlvr("evaluate", *WORDS, *address, *words)
    assert result.code == 2
    assert what in result.err
    assert list(cwd.iterdir()) == []
    assert server.asked == []


def test_the_key_is_written_nowhere(rlvr, cwd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "s3cret")
    with serving(right, key="s3cret") as server:
        result = rlvr("evaluate", *WORDS, f"api.base_url={server.url}", "api.key_variable=SOME_KEY")
    assert result.code == 0, result.err
    written = [path.read_bytes() for path in cwd.rglob("*") if path.is_file()]
    assert written
    assert not any(b"s3cret" in text for text in [*written, result.out.encode(), result.err.encode()])


def test_a_dry_run_says_what_would_be_sent_and_asks_nobody(rlvr, cwd: Path) -> None:
    with serving(right) as server:
        pass  # nobody is there
    result = rlvr("evaluate", *WORDS, f"api.base_url={server.url}", "prompt=boxed", "--dry-run")
    assert result.code == 0, result.err
    assert "small and small-rl: 48 requests, each for one sample; at most 7,680 response tokens" in result.out
    assert "to /chat/completions, where the server applies the model's chat template:" in result.out
    assert "user: " in result.out
    assert "final answer within" in result.out
    assert "KV cache" not in result.out
    assert list(cwd.iterdir()) == []


def test_models_of_different_servers_or_prompts_are_not_mixed(rlvr) -> None:
    with serving(right) as first, serving(right) as second:
        assert rlvr("evaluate", *WORDS, f"api.base_url={first.url}").code == 0
        result = rlvr("evaluate", *WORDS, f"api.base_url={second.url}")
    assert result.code == 2
    assert "model_sha256 = 'served:" in result.err
