"""Mixtures of pre-training: what is realised equals what was asked for, in tokens or in examples."""

from __future__ import annotations

from itertools import islice

import pytest
import torch

from rlvr.config import DataConfig, GraphsConfig, MixtureComponent, PretrainConfig, PretrainStage
from rlvr.data import graphs
from rlvr.data.benchmarks import training_problems
from rlvr.data.families import FAMILIES
from rlvr.data.mixture import IGNORED, realised, stage_batches
from rlvr.data.tiny_tokenizer import build_tokenizer
from rlvr.errors import ConfigError

BATCH = 2_000


def run(stage: PretrainStage, num_steps: int) -> list[list[int]]:
    """Counts of a stage, as its steps have seen them."""
    config = PretrainConfig(family="graphs", stages=[stage], batch_tokens=BATCH)
    tokenizer = build_tokenizer(graphs.words(config.graphs))
    counts = torch.zeros(len(stage.components), 2, dtype=torch.int64)
    steps = 0
    for batch in stage_batches(config, stage, tokenizer, None, "0/0/0", num_steps):
        steps += 1
        assert batch.input_ids.numel() <= BATCH
        assert (batch.labels != IGNORED).any(1).all()
        counts += batch.counts
    assert steps == num_steps
    found: list[list[int]] = counts.tolist()
    return found


@pytest.mark.parametrize("shares_in", ["tokens", "examples"])
@pytest.mark.parametrize("num_steps", [1, 40, 151])
def test_shares_are_realised_as_they_are_asked_for(shares_in: str, num_steps: int) -> None:
    mixture = [
        MixtureComponent(share=0.2, operations=[2, 3]),
        MixtureComponent(share=0.3, operations=[4]),
        MixtureComponent(share=0.499, operations=[5, 7]),
        MixtureComponent(share=0.001, operations=[2], contexts=["school"]),
    ]
    stage = PretrainStage(num_tokens=1, mixture=mixture, shares_in=shares_in)

    found = realised(stage, run(stage, num_steps))

    # What is drawn is within one document of its share, and all but a part of the last step is trained on.
    tokens = sum(part.tokens for part in found)
    examples = sum(part.examples for part in found)
    slack = (BATCH / 2 + 150) / tokens
    for part, asked in zip(found, mixture, strict=True):
        got = part.share_of_tokens if shares_in == "tokens" else part.share_of_examples
        assert got == pytest.approx(asked.share, abs=min(1.0, slack)), part
        assert part.share == pytest.approx(asked.share)
        assert part.share_of_tokens == pytest.approx(part.tokens / tokens)
        assert part.share_of_examples == pytest.approx(part.examples / examples)
    assert tokens > (0.5 if num_steps == 1 else 0.75) * BATCH * num_steps


def test_a_rare_component_comes_as_often_as_it_should() -> None:
    mixture = [
        MixtureComponent(share=0.99, operations=[4]),
        MixtureComponent(share=0.01, operations=[2], contexts=["school"]),
    ]
    stage = PretrainStage(num_tokens=1, mixture=mixture, shares_in="examples")
    (_, _), (rare, rare_tokens) = counts = run(stage, 150)
    examples = sum(count for count, _ in counts)
    assert abs(rare - 0.01 * examples) <= 1
    # Problems of two operations are short, so their share of the tokens is smaller.
    assert rare_tokens / sum(tokens for _, tokens in counts) < 0.007


def test_a_component_without_a_share_is_left_out() -> None:
    mixture = [MixtureComponent(share=1.0, operations=[3]), MixtureComponent(share=0.0, contexts=["school"])]
    stage = PretrainStage(num_tokens=1, mixture=mixture)
    assert [part.name for part in realised(stage, run(stage, 3))] == ["op 3, zoo"]


def test_gold_solutions_are_those_of_the_problems_that_rl_trains_on() -> None:
    data = DataConfig(family="graphs", graphs=GraphsConfig(operations=[6, 7], num_train=40))
    asked = {each.prompt[0]["content"] for each in training_problems(data)}
    part = MixtureComponent(operations=[6, 7], num_problems=40)
    documents = list(islice(FAMILIES["graphs"].corpus(PretrainConfig(family="graphs"), part, "s"), 80))
    first, second = ([each.problem for each in part] for part in (documents[:40], documents[40:]))
    assert set(first) == set(second) == asked
    assert first != second


def test_a_stage_without_a_mixture_is_one_component() -> None:
    [part] = PretrainStage(noise=0.2, operations=[3]).components
    assert (part.noise, part.operations, part.share) == (0.2, [3], 1.0)


def test_impossible_mixtures_are_refused() -> None:
    with pytest.raises(ConfigError, match="no component of the mixture has a share"):
        PretrainStage(mixture=[MixtureComponent(share=0.0)])
    with pytest.raises(ConfigError, match="does not give the solutions"):
        PretrainConfig(family="skills", stages=[PretrainStage(mixture=[MixtureComponent(num_problems=5)])])
    with pytest.raises(ConfigError, match="shares_in"):
        PretrainStage(shares_in="percent")
