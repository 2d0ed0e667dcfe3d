"""Guards: what they notice, what they say, when they stop."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rlvr.batch import TrainBatch
from rlvr.config import GuardsConfig
from rlvr.errors import TrainingError
from rlvr.guards import MAX_BAD_BATCHES, Guards


def guards(run: Path, **config) -> tuple[Guards, list[str]]:
    said: list[str] = []
    return Guards(GuardsConfig(**config), run, said.append), said


def rollouts(reward: float = 0.5, errors: float = 0.0) -> dict[str, float]:
    return {"reward/mean": reward, "verify/error": errors}


def update(dropped: float = 0.0, ratio: float = 1.0) -> dict[str, float]:
    return {"policy/dropped_updates": dropped, "policy/ratio_mean": ratio}


def batch(value: float) -> TrainBatch:
    mask = torch.ones(2, 3)
    return TrainBatch(
        torch.zeros(2, 5, dtype=torch.int64), torch.tensor([2, 2]), mask, mask, None, mask * value, mask
    )


def test_a_batch_that_cannot_be_learned_from_is_kept_to_be_looked_at(tmp_path: Path) -> None:
    watching, said = guards(tmp_path)
    watching.check_update(7, update(dropped=1), [batch(1.0), batch(math.nan)])
    found = load_file(tmp_path / "bad-batches" / "step-000007.safetensors")
    assert found["1/advantages"].isnan().all()
    assert found["0/tokens"].shape == (2, 5)
    assert "0/old_logprobs" not in found
    assert "step-000007.safetensors" in said[0]


def test_bad_steps_stop_the_run_only_in_a_row(tmp_path: Path) -> None:
    watching, _ = guards(tmp_path, max_bad_steps=2)
    for step in (1, 3, 5):
        watching.check_update(step, update(dropped=1), [batch(0)])
        watching.check_update(step + 1, update(), [batch(0)])
    watching.check_update(8, update(dropped=1), [batch(0)])
    again, _ = guards(tmp_path, max_bad_steps=2)
    again.restore(watching.watched)  # a checkpoint lies between
    with pytest.raises(TrainingError, match="for 2 steps in a row"):
        again.check_update(9, update(dropped=2), [batch(0)])


def test_bad_batches_do_not_fill_the_disk(tmp_path: Path) -> None:
    watching, _ = guards(tmp_path, max_bad_steps=100)
    for step in range(MAX_BAD_BATCHES + 3):
        watching.check_update(step, update(dropped=1), [batch(0)])
    assert len(list((tmp_path / "bad-batches").iterdir())) == MAX_BAD_BATCHES


@pytest.mark.parametrize("ratio", [11.0, math.inf, math.nan])
def test_a_ratio_that_explodes_stops_the_run(tmp_path: Path, ratio: float) -> None:
    watching, _ = guards(tmp_path)
    watching.check_update(1, update(ratio=9.9), [batch(0)])
    with pytest.raises(TrainingError, match="importance ratio of step 2"):
        watching.check_update(2, update(ratio=ratio), [batch(0)])


def test_a_step_that_trains_the_critic_alone_has_no_ratio(tmp_path: Path) -> None:
    guards(tmp_path)[0].check_update(1, {"critic/dropped_updates": 0.0}, [batch(0)])


@pytest.mark.parametrize(
    ("metrics", "name"),
    [(rollouts(0.9), "reward/mean"), (rollouts(0.1), "reward/mean"), (rollouts(0.5, 0.04), "error")],
)
def test_a_jump_is_told_and_stops_only_on_demand(
    tmp_path: Path, metrics: dict[str, float], name: str
) -> None:
    for on_jump in ("warn", "stop"):
        watching, said = guards(tmp_path, window=4, on_jump=on_jump)
        for step in range(1, 5):
            watching.check_rollouts(step, rollouts())
        assert said == []
        if on_jump == "stop":
            with pytest.raises(TrainingError, match="at step 5, the 4 steps before it had"):
                watching.check_rollouts(5, metrics)
        else:
            watching.check_rollouts(5, metrics)
            assert name in said[0]


def test_a_start_and_a_steady_rise_are_no_jumps(tmp_path: Path) -> None:
    watching, said = guards(tmp_path, on_jump="stop")
    watching.check_rollouts(1, rollouts(0.0))
    watching.check_rollouts(2, rollouts(0.9))
    for step in range(3, 60):
        watching.check_rollouts(step, rollouts(0.3 + step / 100))
    assert said == []
