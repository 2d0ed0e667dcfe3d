"""Metrics of one driver step, over its micro-batches and over all ranks."""

from __future__ import annotations

import math
from collections import defaultdict

import torch
import torch.distributed as dist
from torch import Tensor


class StepMeans:
    """Metrics of one driver step, summed up on each rank and reduced over the ranks once."""

    def __init__(self, device: torch.device) -> None:
        """Nothing yet."""
        self._device = device
        self._token_sums: dict[str, Tensor] = {}
        self._losses: dict[str, Tensor] = {}
        self._largest: dict[str, Tensor] = {}
        self._num_tokens = torch.zeros((), dtype=torch.float64, device=device)
        self._norms: dict[str, list[float]] = defaultdict(list)

    def add_step(self, model: str, norm: float) -> None:
        """An optimizer step and its gradient norm, the same on every rank; infinity: it was dropped."""
        self._norms[model].append(norm)

    def add_tokens(self, values: dict[str, Tensor], counted: Tensor) -> None:
        """Per-token values (b, T) of a micro-batch, and which tokens count."""
        for name, value in values.items():
            total = (value.detach() * counted).sum(dtype=torch.float64)
            self._token_sums[name] = self._token_sums.get(name, 0) + total
        self._num_tokens += counted.sum()

    def add_loss(self, name: str, part: Tensor) -> None:
        """A micro-batch's part of the objective."""
        self._losses[name] = self._losses.get(name, 0) + part.detach().double()

    def add_max(self, name: str, values: Tensor, counted: Tensor) -> None:
        """The largest value over the tokens that count."""
        largest = (values * counted).max().double()
        self._largest[name] = torch.maximum(self._largest.get(name, largest), largest)

    def reduced(self, num_updates: int) -> dict[str, float]:
        """Every metric over all ranks; the names are the same on each, in the same order."""
        sums = torch.stack([*self._token_sums.values(), *self._losses.values(), self._num_tokens])
        dist.all_reduce(sums)
        *values, num_tokens = sums.tolist()
        metrics = dict(zip([*self._token_sums, *self._losses], values, strict=True))
        for name in self._token_sums:
            metrics[name] /= max(1.0, num_tokens)
        for name in self._losses:
            metrics[name] /= num_updates
        if self._largest:
            largest = torch.stack(list(self._largest.values()))
            dist.all_reduce(largest, op=dist.ReduceOp.MAX)
            metrics |= dict(zip(self._largest, largest.tolist(), strict=True))
        for model, norms in self._norms.items():
            taken = [norm for norm in norms if math.isfinite(norm)]
            metrics[f"{model}/grad_norm"] = sum(taken) / max(1, len(taken))
            metrics[f"{model}/dropped_updates"] = float(len(norms) - len(taken))
        return metrics
