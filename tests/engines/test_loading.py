"""Engines go on with another model's weights, as an evaluation of several models has them do."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import ray
from safetensors.torch import load_file, save_file

from rlvr.cluster import RolloutPool, rollout_pool
from rlvr.config import ClusterConfig, RolloutConfig
from rlvr.data.prompts import PromptRenderer
from rlvr.errors import WeightUpdateError
from rlvr.protocols import SampleRequest, SamplingSettings
from rlvr.records import Problem
from tests.tiny import TINY

ROLLOUT = RolloutConfig(num_workers=2, max_prompt_tokens=128, max_response_tokens=32)
SAMPLED = SamplingSettings(1.0, 32, logprobs=True, seed=7)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with all of its weights changed a little."""
    folder = shutil.copytree(TINY, tmp_path_factory.mktemp("models") / "other")
    file = folder / "model.safetensors"
    save_file({name: tensor * 1.25 for name, tensor in load_file(file).items()}, file, {"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def pool(its_own: dict[int, list[object]]) -> Iterator[RolloutPool]:
    with rollout_pool(str(TINY), ROLLOUT, ClusterConfig(), 0) as pool:
        yield pool


@pytest.fixture(scope="module")
def requests(problems: list[Problem], renderer: PromptRenderer) -> list[SampleRequest]:
    return [SampleRequest(key, renderer.render(problem), 4) for key, problem in enumerate(problems[:8])]


def sampled(pool: RolloutPool, requests: Sequence[SampleRequest]) -> dict[int, list[object]]:
    """Tokens and log-probabilities of every response."""
    return {
        key: [(list(each.response_tokens), each.logprobs) for each in completions]
        for key, completions in pool.generate(requests, SAMPLED)
    }


@pytest.fixture(scope="module")
def its_own(other: Path, requests: list[SampleRequest]) -> dict[int, list[object]]:
    """What engines sample that started with the other model."""
    with rollout_pool(str(other), replace(ROLLOUT, num_workers=1), ClusterConfig(), 1) as pool:
        return sampled(pool, requests)


def test_engines_that_read_another_model_sample_as_its_own_do(
    its_own: dict[int, list[object]], pool: RolloutPool, other: Path, requests: list[SampleRequest]
) -> None:
    base = sampled(pool, requests)
    pool.load(str(other))
    assert sampled(pool, requests) == its_own != base
    # A worker that is lost later is replaced by one that has the weights of the others.
    process = ray.get(pool.workers[1].actor.__ray_call__.remote(lambda actor: os.getpid()))
    os.kill(process, signal.SIGKILL)
    assert sampled(pool, requests) == its_own
    pool.load(str(TINY))
    assert sampled(pool, requests) == base


def test_weights_that_were_not_read_are_noticed(
    pool: RolloutPool, other: Path, requests: list[SampleRequest]
) -> None:
    def sabotage(actor: object) -> None:
        llm = actor._engine._llm  # type: ignore[attr-defined]
        plain = llm.collective_rpc

        def collective_rpc(method: str, *args: object, **kwargs: object) -> object:
            return None if method == "reload_weights" else plain(method, *args, **kwargs)

        llm.collective_rpc = collective_rpc

    ray.get(pool.workers[1].actor.__ray_call__.remote(sabotage))
    with pytest.raises(WeightUpdateError, match="tensors differ"):
        pool.load(str(other))
    with pytest.raises(WeightUpdateError, match="not proved"):
        sampled(pool, requests)
