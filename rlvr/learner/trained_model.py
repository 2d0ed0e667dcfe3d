"""One model with its DeepSpeed engine, optimizer and learning rate. The only file that imports deepspeed."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from rlvr.config import LearnerConfig
from rlvr.errors import CheckpointError, WeightUpdateError

NUM_UPDATES = "num_updates"
SHARED_MEMORY_OP = "deepspeed_shm_comm"
GATHER_BYTES = 1 << 28
"""ZeRO-3 shards are gathered in groups of about this size: few collectives, bounded memory."""


def join_process_group(
    device: str, rank: int, num_ranks: int, address: str, port: int, threads: int, timeout: float
) -> None:
    """Make this process rank ``rank`` of the learner pool; ``timeout`` is in seconds, per collective."""
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK="0",
        WORLD_SIZE=str(num_ranks),
        MASTER_ADDR=address,
        MASTER_PORT=str(port),
    )
    if device == "cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"
        torch.set_num_threads(threads)
    import deepspeed

    # DeepSpeed would compile a C++ all-reduce on first use: half a minute, a compiler needed,
    # and a process killed meanwhile leaves a lock on which every later one waits for ever.
    deepspeed.ops.__compatible_ops__[SHARED_MEMORY_OP] = False
    deepspeed.init_distributed(
        dist_backend="gloo" if device == "cpu" else "nccl",
        timeout=timedelta(seconds=timeout),
        verbose=False,
        init_method="env://",
    )


class TrainedModel:
    """A module that DeepSpeed trains; all methods are called on every rank in the same order."""

    def __init__(self, module: nn.Module, settings: LearnerConfig, dtype: str, learning_rate: float) -> None:
        """Build optimizer and engine around a module of which every rank holds the whole.

        Args:
            module: what is called and trained.
            settings: optimizer and ZeRO settings.
            dtype: ``float32`` or ``bfloat16``.
            learning_rate: its peak, reached after ``settings.warmup_steps``.
        """
        import deepspeed

        optimizer = torch.optim.AdamW(
            [parameter for parameter in module.parameters() if parameter.requires_grad],
            lr=learning_rate,
            betas=(settings.adam_beta1, settings.adam_beta2),
            weight_decay=settings.weight_decay,
            fused=True,  # a kernel over all parameters, which makes no temporary copies of them
        )
        self._settings = settings
        self._learning_rate = learning_rate
        self._num_ranks = dist.get_world_size()
        self._num_updates = 0
        self.module = module
        self.engine, self.optimizer, _, _ = deepspeed.initialize(
            model=module, optimizer=optimizer, config=deepspeed_config(settings, dtype)
        )
        self._plain_norm = 0.0
        if settings.zero_stage == 0 and dtype == "float32":
            # Here DeepSpeed clips with a plain torch call and forgets the norm.
            self.engine.clip_fp32_gradients = self._clip_and_keep_norm

    def ready(self, *, train: bool) -> Any:
        """The engine, to be called like its module, in training or in evaluation mode."""
        self.engine.train(train)
        return self.engine

    @property
    def learning_rate(self) -> float:
        """Of the last step."""
        rate: float = self.optimizer.param_groups[0]["lr"]
        return rate

    def backward(self, loss: Tensor) -> None:
        """Accumulate the gradient of this rank's part of the objective, a sum over all ranks' parts."""
        # DeepSpeed averages gradients over ranks.
        self.engine.backward(loss * self._num_ranks, scale_wrt_gas=False)

    def step(self) -> float:
        """One optimizer step with what was accumulated.

        A gradient that holds NaN or infinity is dropped: weights and optimizer stay as they are, on all ranks.

        Returns:
            The gradient norm before clipping; infinity if the step was dropped.
        """
        share = min(1.0, (self._num_updates + 1) / (self._settings.warmup_steps + 1))
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate * share
        self.engine.step()
        norm = float(self.engine.get_global_grad_norm() or self._plain_norm)
        if not (math.isfinite(norm) and self.engine.was_step_applied()):
            return math.inf
        self._num_updates += 1
        return norm

    def _clip_and_keep_norm(self) -> None:
        """Clip the reduced gradients as DeepSpeed would, and drop those that are not finite as ZeRO does."""
        norm = torch.nn.utils.clip_grad_norm_(self.module.parameters(), self._settings.max_grad_norm)
        self._plain_norm = norm.item()
        if not math.isfinite(self._plain_norm):
            self.module.zero_grad(set_to_none=True)  # the optimizer passes over what has no gradient

    def save_state(self, folder: Path, name: str) -> None:
        """Write weights, optimizer and the number of steps to ``folder/name``; called on every rank."""
        self.engine.save_checkpoint(
            str(folder), tag=name, client_state={NUM_UPDATES: self._num_updates}, save_latest=False
        )

    def load_state(self, folder: Path, name: str) -> None:
        """Go on from what :meth:`save_state` wrote; called on every rank, before the first step.

        The files are pickled: they are to come from a run of one's own.

        Raises:
            CheckpointError: there is no such state in the folder.
        """
        found, client_state = self.engine.load_checkpoint(str(folder), tag=name)
        if found is None:
            raise CheckpointError(f"DeepSpeed finds no state of {name} here", where=str(folder))
        self._num_updates = client_state[NUM_UPDATES]


class FrozenModel:
    """A module that is never trained; under ZeRO 3 its weights are sharded like those of the others."""

    def __init__(self, module: nn.Module, settings: LearnerConfig, dtype: str, device: torch.device) -> None:
        """Take over a module of which every rank holds the whole."""
        module.eval().requires_grad_(False)
        self._call: Any = module.to(device)
        if settings.zero_stage == 3:
            import deepspeed

            self._call, *_ = deepspeed.initialize(model=module, config=deepspeed_config(settings, dtype))

    def __call__(self, *args: Any) -> Any:
        """Forward."""
        return self._call(*args)


def full_tensors(parameters: Iterator[tuple[str, Tensor]], sharded: bool) -> Iterator[tuple[str, Tensor]]:
    """Whole parameters by name; gathering shards is collective.

    Raises:
        WeightUpdateError: a parameter holds NaN or infinity, and must reach neither an engine nor a file.
    """
    group: list[tuple[str, Tensor]] = []
    size = 0
    for name, parameter in parameters:
        group.append((name, parameter))
        size += getattr(parameter, "ds_numel", parameter.numel()) * parameter.element_size()
        if size >= GATHER_BYTES:
            yield from _gathered(group, sharded)
            group, size = [], 0
    yield from _gathered(group, sharded)


def _gathered(group: list[tuple[str, Tensor]], sharded: bool) -> Iterator[tuple[str, Tensor]]:
    import deepspeed

    gather: Any = (
        deepspeed.zero.GatheredParameters([parameter for _, parameter in group]) if sharded else nullcontext()
    )
    with gather:
        for name, parameter in group:
            tensor = parameter.data.detach().clone() if sharded else parameter.data.detach()
            # To know this is to wait for the tensor, which others read on CUDA streams of their own.
            if not torch.isfinite(tensor).all():
                raise WeightUpdateError(
                    "a parameter holds NaN or infinity, and is neither sent to the engines nor saved",
                    where=name,
                    fix="the last checkpoint is sound; a smaller learner.learning_rate, or learner.dtype=float32",
                )
            yield name, tensor


def deepspeed_config(settings: LearnerConfig, dtype: str) -> dict[str, Any]:
    """DeepSpeed's own configuration.

    Micro-batches are ours: with managed_gradient_accumulation off, backward() accumulates
    and step() reduces, whatever their number.
    """
    zero: dict[str, Any] = {"stage": settings.zero_stage}
    if settings.offload_optimizer:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": settings.device != "cpu"}
    if settings.offload_parameters:
        zero["offload_param"] = {"device": "cpu", "pin_memory": settings.device != "cpu"}
    accumulated = {"grad_accum_dtype": "fp32"} if settings.accumulate_in_float32 else {}
    return {
        "data_types": accumulated,
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,
        "gradient_clipping": settings.max_grad_norm,
        "zero_allow_untested_optimizer": True,
        # torch's AdamW steps on the host as well; DeepSpeed's own would be compiled on first use.
        "zero_force_ds_cpu_optimizer": False,
        "zero_optimization": zero,
        "bf16": {"enabled": dtype == "bfloat16"},
    }
