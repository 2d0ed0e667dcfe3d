"""What a learner goes on from, and what it refuses, with real DeepSpeed on one rank and on two."""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from rlvr.algorithms.ppo import PPOConfig
from rlvr.batch import TrainBatch
from rlvr.checkpoint import LEARNER_FOLDER, Checkpoints, Progress
from rlvr.config import LearnerConfig
from rlvr.driver import write_checkpoint
from rlvr.errors import WeightUpdateError
from rlvr.learner.deepspeed_learner import DeepSpeedLearner, LearnerOptions
from rlvr.planning.memory import checkpoint_bytes
from rlvr.planning.model_shape import model_shape
from tests.learner.conftest import free_port

pytestmark = pytest.mark.engines

ALGORITHM = PPOConfig(group_size=2).build()
"""With a critic, which has weights, an optimizer and a schedule of its own."""


def learner(
    model: Path,
    zero_stage: int,
    dtype: str = "float32",
    *,
    rank: int = 0,
    num_ranks: int = 1,
    port: int = 0,
    **settings: Any,
) -> DeepSpeedLearner:
    options = LearnerOptions(
        model=str(model),
        device="cpu",
        dtype=dtype,
        rank=rank,
        num_ranks=num_ranks,
        master_address="127.0.0.1",
        master_port=port or free_port(),  # used by the first learner of a process only
        seed=rank,
        temperature=1.0,
        timeout=60.0,
        settings=LearnerConfig(
            num_learners=num_ranks,
            zero_stage=zero_stage,
            learning_rate=1e-3,
            warmup_steps=3,
            threads_per_learner=1,
            **settings,
        ),
    )
    return DeepSpeedLearner(options, ALGORITHM)


def minibatch(step: int) -> TrainBatch:
    """Four rollouts with advantages and returns."""
    generator = torch.Generator().manual_seed(step)
    return TrainBatch(
        tokens=torch.randint(5, 40, (4, 12), generator=generator),
        prompt_lengths=torch.full((4,), 4),
        response_mask=torch.ones(4, 8),
        rollout_logprobs=torch.full((4, 8), -2.0),
        old_logprobs=None,
        advantages=torch.randn(4, 8, generator=generator),
        loss_weights=torch.full((4, 8), 1 / 32),
        values=torch.zeros(4, 8),
        returns=torch.randn(4, 8, generator=generator),
        value_weights=torch.full((4, 8), 1 / 32),
    )


def weights(found: DeepSpeedLearner) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in found.weights()}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def go_on(model: Path, folder: Path, zero_stage: int, dtype: str, **rank: int) -> None:
    """Two updates, a save, three more; and the same three by another learner that goes on from the save."""
    whole = learner(model, zero_stage, dtype, **rank)
    for step in range(1, 3):
        whole.update([minibatch(step)], value_only=False)
    whole.save(folder / "model")
    whole.save_state(folder / "learner")
    kept, drawn = weights(whole), torch.rand(3)
    expected = [whole.update([minibatch(step)], value_only=False) for step in range(3, 6)]

    torch.manual_seed(99)
    resumed = learner(model, zero_stage, dtype, **rank)
    assert not same(weights(resumed), kept)
    resumed.load_state(folder / "learner")
    assert same(weights(resumed), kept)
    assert torch.equal(torch.rand(3), drawn)
    # Losses, gradient norms of policy and critic, and the learning rate, which is still warming up.
    assert [resumed.update([minibatch(step)], value_only=False) for step in range(3, 6)] == expected
    assert same(weights(resumed), weights(whole))
    # The Hugging Face folder beside it holds the same policy.
    file = load_file(folder / "model" / "model.safetensors")
    assert all(torch.equal(file[name], kept[name]) for name in file)


@pytest.mark.parametrize(
    ("zero_stage", "dtype"), [(0, "float32"), (1, "float32"), (2, "bfloat16"), (3, "float32")]
)
def test_going_on_is_as_if_it_had_never_stopped(
    start_model: Path, tmp_path: Path, zero_stage: int, dtype: str
) -> None:
    go_on(start_model, tmp_path, zero_stage, dtype)
    # As large as the dry run says, but for what pickles and tensors of few numbers have around them.
    files = [*(tmp_path / "model").glob("*.safetensors"), *(tmp_path / "learner").rglob("*.pt")]
    settings = LearnerConfig(device="cpu", dtype=dtype, zero_stage=zero_stage)
    expected = checkpoint_bytes(model_shape(str(start_model)), settings, ALGORITHM)
    assert sum(file.stat().st_size for file in files) == pytest.approx(expected, rel=0.25)


def go_on_as_rank(rank: int, port: int, model: Path, folder: Path) -> None:
    for zero_stage in (1, 3):
        go_on(model, folder / str(zero_stage), zero_stage, "float32", rank=rank, num_ranks=2, port=port)


def test_two_ranks_go_on_each_from_its_own_part(start_model: Path, tmp_path: Path) -> None:
    torch.multiprocessing.spawn(go_on_as_rank, (free_port(), start_model, tmp_path), nprocs=2)
    parts = sorted(path.name for path in (tmp_path / "3" / "learner").glob("random-*"))
    assert parts == ["random-rank0.pt", "random-rank1.pt"]


def drop(model: Path, zero_stage: int, **rank: int) -> None:
    """A minibatch that holds NaN in one row, which is on one rank, among others that do not."""
    found, other = (learner(model, zero_stage, "float32", **rank) for _ in range(2))
    for each in (found, other):
        each.update([minibatch(1)], value_only=False)
    before = weights(found)
    bad = minibatch(2)
    bad.advantages[1, 3] = math.nan
    metrics = found.update([bad], value_only=False)
    assert metrics["policy/dropped_updates"] == 1
    assert metrics["critic/dropped_updates"] == 0
    assert same(weights(found), before)
    # Nor has the optimizer moved: the next step is the one that it would have been without.
    for each in (found, other):
        each.update([minibatch(3)], value_only=False)
    assert same(weights(found), weights(other))


@pytest.mark.parametrize("zero_stage", [0, 1, 2, 3])
def test_a_gradient_that_is_not_finite_changes_nothing(start_model: Path, zero_stage: int) -> None:
    drop(start_model, zero_stage)


def drop_as_rank(rank: int, port: int, model: Path) -> None:
    for zero_stage in (0, 1, 2, 3):
        drop(model, zero_stage, rank=rank, num_ranks=2, port=port)


def test_a_gradient_that_is_not_finite_on_one_rank_changes_nothing_on_either(start_model: Path) -> None:
    torch.multiprocessing.spawn(drop_as_rank, (free_port(), start_model), nprocs=2)


@pytest.mark.parametrize("zero_stage", [2, 3])
def test_gradients_added_up_in_float32_lose_nothing(start_model: Path, zero_stage: int) -> None:
    """Many micro-batches of the same row, each with its share of the weight, have the gradient of that row."""
    count = 512
    one = minibatch(1).rows([0])
    many = one.rows([0] * count)
    assert many.value_weights is not None
    many = replace(many, loss_weights=many.loss_weights / count, value_weights=many.value_weights / count)
    settings: dict[str, Any] = {"micro_batch_tokens": 12, "max_grad_norm": 1e9}

    def norm(batch: TrainBatch, **changes: bool) -> float:
        made = learner(start_model, zero_stage, "bfloat16", **settings, **changes)
        return made.update([batch], value_only=False)["policy/grad_norm"]

    expected = norm(one)
    assert norm(many, accumulate_in_float32=True) == pytest.approx(expected, rel=0.02)
    assert norm(many) < 0.9 * expected  # bfloat16 loses what is added to a sum some 256 times as large


@pytest.mark.parametrize("zero_stage", [0, 3])
def test_weights_that_are_not_finite_are_not_saved(
    start_model: Path, tmp_path: Path, zero_stage: int
) -> None:
    found = learner(start_model, zero_stage)
    checkpoints = Checkpoints(tmp_path)
    save = partial(write_checkpoint, found)  # type: ignore[arg-type]  # one rank, not the pool that a driver has
    checkpoints.save(Progress(1), save)
    *_, (name, parameter) = found._hf_model.named_parameters()
    getattr(parameter, "ds_tensor", parameter).data.view(-1)[0] = math.nan
    with pytest.raises(WeightUpdateError, match="NaN or infinity") as caught:
        checkpoints.save(Progress(2), save)
    assert caught.value.where == name
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-000001"]


class Snapshots:
    """Copies of a folder as kill -9 would leave it: before every call that changes the disk or waits for it."""

    EVENTS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")

    def __init__(self, folder: Path, copies: Path) -> None:
        self.folder, self.copies = folder, copies
        self.count = 0
        self._active = False
        sys.addaudithook(self._look)

    def _look(self, event: str, args: tuple[Any, ...]) -> None:
        writes = event != "open" or (isinstance(args[1], str) and set(args[1]) & set("wax+"))
        if self._active and event in self.EVENTS and writes:
            self.take()

    def take(self) -> None:
        self._active = False
        self.count += 1
        shutil.copytree(self.folder, self.copies / str(self.count))
        self._active = True

    @contextmanager
    def taken(self) -> Iterator[None]:
        fsync = os.fsync

        def watched(descriptor: int) -> None:
            self.take()
            fsync(descriptor)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", watched)
            self._active = True
            yield
            self._active = False


def test_a_real_save_killed_at_any_point_leaves_a_run_that_goes_on(start_model: Path, tmp_path: Path) -> None:
    """The files of transformers and DeepSpeed, and the deletion of the checkpoint before."""
    found = learner(start_model, 2)
    run = tmp_path / "run"
    checkpoints = Checkpoints(run, keep=1)
    expected = {}
    snapshots = Snapshots(run, tmp_path / "copies")
    for step in (1, 2):
        found.update([minibatch(step)], value_only=False)
        expected[step] = weights(found)
        with snapshots.taken() if step == 2 else nullcontext():
            checkpoints.save(Progress(step), partial(write_checkpoint, found))  # type: ignore[arg-type]
    assert snapshots.count > 40

    chosen: dict[int, Path] = {}
    for number in range(1, snapshots.count + 1):
        newest = Checkpoints(tmp_path / "copies" / str(number)).newest()
        assert newest is not None
        chosen[newest.step] = newest.folder
    assert set(chosen) == {1, 2}
    for step, folder in chosen.items():
        again = learner(start_model, 2)
        again.load_state(folder / LEARNER_FOLDER)
        assert same(weights(again), expected[step])
