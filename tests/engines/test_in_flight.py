"""Weights that come while responses are being written: each token is that of the version which it is said to be of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from rlvr.algorithms.grpo import GRPOConfig
from rlvr.cluster import LearnerPool, RolloutPool
from rlvr.data.prompts import PromptRenderer
from rlvr.protocols import Probe, SampleRequest, SamplingSettings
from rlvr.records import Completion, Problem
from tests.tiny import random_batch, tiny_pools

SETTINGS = SamplingSettings(1.0, 100, logprobs=True, seed=11)
NUM_PROMPTS, GROUP_SIZE = 48, 8
"""More responses than are sampled at once, so that an update finds some at work and some waiting."""
ROUNDING = 1e-3
"""Nats by which an engine and transformers may differ in float32 (the proof of the weights allows as much)."""


@pytest.fixture(scope="module", params=["recompute", "keep"])
def pools(request: pytest.FixtureRequest) -> Iterator[tuple[str, RolloutPool, LearnerPool]]:
    with tiny_pools(
        GRPOConfig(group_size=GROUP_SIZE).build(),
        num_workers=2,
        num_learners=1,
        zero_stage=2,
        learning_rate=3e-4,
        max_num_seqs=64,
        cache_at_update=request.param,
    ) as (engine, learner):
        yield request.param, engine, learner


def sample(
    engine: RolloutPool, learner: LearnerPool, prompts: list[list[int]], updates: int, folder: Path
) -> dict[int, list[Completion]]:
    """Responses to all prompts; the weights are updated so often meanwhile, and those of each version saved."""
    probes = [Probe(prompt, 1) for prompt in prompts[:4]]
    first = engine.version + 1
    learner.publish(first, probes)
    learner.save(folder / str(first))
    engine.submit([SampleRequest(key, each, GROUP_SIZE) for key, each in enumerate(prompts)], SETTINGS)
    found: dict[int, list[Completion]] = {}
    for version in range(first + 1, first + 1 + updates):
        wanted = len(found) + len(prompts) // (updates + 2)
        while len(found) < wanted:
            found.update(engine.poll())
        learner.update([random_batch()])
        learner.publish(version, probes)
        learner.save(folder / str(version))
    while engine.num_open:
        found.update(engine.poll())
    found.update(engine.poll())
    return found


def farthest(completion: Completion, models: dict[int, torch.nn.Module], shift: int = 0) -> float:
    """Largest difference of a response's log-probabilities to those of the models that are said to have written it."""
    prompt = list(completion.prompt_tokens)
    tokens = torch.tensor([[*prompt, *completion.response_tokens]])
    with torch.no_grad():
        logprobs = {
            version: torch.log_softmax(model(tokens).logits[0].float(), -1)
            for version, model in models.items()
        }
    assert completion.logprobs is not None
    return max(
        abs(float(logprobs[version + shift][len(prompt) + place - 1, token]) - logprob)
        for place, (token, logprob, version) in enumerate(
            zip(completion.response_tokens, completion.logprobs, completion.token_versions, strict=True)
        )
        if version + shift in models
    )


def test_every_token_is_of_the_version_that_it_is_said_to_be_of(
    pools: tuple[str, RolloutPool, LearnerPool],
    problems: list[Problem],
    renderer: PromptRenderer,
    tmp_path: Path,
) -> None:
    cache, engine, learner = pools
    prompts = [renderer.render(problems[index]) for index in range(NUM_PROMPTS)]
    found = sample(engine, learner, prompts, 2, tmp_path)
    assert sorted(found) == list(range(NUM_PROMPTS))
    completions = [each for group in found.values() for each in group]
    assert len(completions) == NUM_PROMPTS * GROUP_SIZE
    first = min(each.policy_version for each in completions)
    written = {version for each in completions for version in each.token_versions}
    assert written == {first, first + 1, first + 2}
    crossing = [each for each in completions if each.later_versions]
    assert crossing
    assert all(0 < start < len(each.response_tokens) for each in crossing for start, _ in each.later_versions)

    models = {
        version: AutoModelForCausalLM.from_pretrained(tmp_path / str(version), dtype=torch.float32).eval()
        for version in sorted(written)
    }
    # A response that one version has written is that version's, whatever becomes of the cache.
    whole = [each for each in completions if not each.later_versions][:: NUM_PROMPTS * GROUP_SIZE // 40]
    assert max(farthest(each, models) for each in whole) < ROUNDING
    crossing = crossing[:: max(1, len(crossing) // 40)]
    far = max(farthest(each, models) for each in crossing)
    assert max(farthest(each, models, shift=1) for each in crossing) > 10 * ROUNDING
    if cache == "recompute":
        assert far < ROUNDING
    else:  # tokens after an update come from a mixture of both
        assert far > ROUNDING


def test_an_update_that_changes_nothing_changes_no_response(
    pools: tuple[str, RolloutPool, LearnerPool],
    problems: list[Problem],
    renderer: PromptRenderer,
    tmp_path: Path,
) -> None:
    """Seeds outlive it: what is recomputed goes on with the random numbers that it would have had."""
    _, engine, learner = pools
    prompts = [renderer.render(problems[index]) for index in range(NUM_PROMPTS)]
    undisturbed = sample(engine, learner, prompts, 0, tmp_path / "undisturbed")
    learner.update = lambda minibatches, *, value_only=False: {}
    try:
        disturbed = sample(engine, learner, prompts, 3, tmp_path / "disturbed")
    finally:
        del learner.update
    assert any(each.later_versions for group in disturbed.values() for each in group)
    for key, group in undisturbed.items():
        for one, other in zip(group, disturbed[key], strict=True):
            assert one.response_tokens == other.response_tokens
            assert one.logprobs == pytest.approx(other.logprobs, abs=ROUNDING)
