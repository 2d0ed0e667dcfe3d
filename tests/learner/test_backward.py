"""The backward pass of rows that have no gradient is left out, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rlvr.algorithms.grpo import GRPOConfig
from rlvr.batch import TrainBatch
from rlvr.config import LearnerConfig
from rlvr.learner.deepspeed_learner import DeepSpeedLearner, LearnerOptions
from tests.learner.conftest import free_port

pytestmark = pytest.mark.engines

ROWS, PROMPT, RESPONSE = 12, 3, 5


def batch(num_without_advantage: int) -> TrainBatch:
    """Rows of several lengths; the advantage of every second one is 0 until as many are."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(4, 40, (ROWS, PROMPT + RESPONSE), generator=generator)
    mask = torch.ones(ROWS, RESPONSE)
    mask[::3, RESPONSE - 2 :] = 0
    advantages = torch.randn(ROWS, 1, generator=generator).expand(ROWS, RESPONSE) * mask
    without = [*range(0, ROWS, 2), *range(1, ROWS, 2)][:num_without_advantage]
    advantages[without] = 0.0
    return TrainBatch(
        tokens=tokens,
        prompt_lengths=torch.full((ROWS,), PROMPT),
        response_mask=mask,
        rollout_logprobs=torch.zeros(ROWS, RESPONSE),
        old_logprobs=None,
        advantages=advantages,
        loss_weights=mask / mask.sum(),
    )


def updated(
    model: Path, num_without: int, micro_batch_tokens: int, zero_stage: int, entropy_coef: float = 0.0
) -> tuple[int, int, dict[str, float], torch.Tensor]:
    """Micro-batches, backward passes, metrics and weights of one update."""
    made = DeepSpeedLearner(
        LearnerOptions(
            model=str(model),
            device="cpu",
            dtype="float32",
            rank=0,
            num_ranks=1,
            master_address="127.0.0.1",
            master_port=free_port(),
            seed=0,
            temperature=1.0,
            timeout=60.0,
            settings=LearnerConfig(
                zero_stage=zero_stage,
                learning_rate=1e-3,
                threads_per_learner=1,
                micro_batch_tokens=micro_batch_tokens,
            ),
        ),
        GRPOConfig(group_size=2, entropy_coef=entropy_coef).build(),
    )
    backward, forward = made._policy.backward, made._policy.engine.forward
    calls = {"forward": 0, "backward": 0}

    def count(name: str, inner):
        def call(*args, **kwargs):
            calls[name] += 1
            return inner(*args, **kwargs)

        return call

    made._policy.backward = count("backward", backward)
    made._policy.engine.forward = count("forward", forward)
    metrics = made.update([batch(num_without)], value_only=False)
    weights = torch.cat([tensor.flatten() for _, tensor in made.weights()])
    return calls["forward"], calls["backward"], metrics, weights.clone()


@pytest.mark.parametrize("zero_stage", [0, 2, 3])
@pytest.mark.parametrize("num_without", [0, 8, ROWS])
def test_the_update_is_that_of_one_micro_batch(start_model: Path, zero_stage: int, num_without: int) -> None:
    _, _, metrics, weights = updated(start_model, num_without, 10_000, zero_stage)
    forward, backward, cut, cut_weights = updated(start_model, num_without, 16, zero_stage)
    assert forward == ROWS // 2
    assert backward == max(1, (ROWS - num_without) // 2)
    assert torch.allclose(weights, cut_weights, atol=2e-6)
    for name in ("policy/loss", "policy/grad_norm", "policy/entropy", "mismatch/logprob_abs_mean"):
        assert cut[name] == pytest.approx(metrics[name], rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("zero_stage", [0, 3])
def test_where_entropy_is_rewarded_every_row_has_a_gradient(start_model: Path, zero_stage: int) -> None:
    _, _, metrics, weights = updated(start_model, ROWS, 10_000, zero_stage, entropy_coef=1.0)
    assert metrics["policy/grad_norm"] > 0
    assert metrics["policy/loss"] == pytest.approx(-metrics["policy/entropy"], rel=1e-5)
    forward, backward, _, cut_weights = updated(start_model, ROWS, 16, zero_stage, entropy_coef=1.0)
    assert forward == backward == ROWS // 2
    assert torch.allclose(weights, cut_weights, atol=2e-6)
