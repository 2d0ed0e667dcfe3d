"""What a rank of a vLLM engine holds of the learner's tensors, read from the model that it computes with.

vLLM lays a checkpoint's tensors out anew: projections are fused, rows or columns dealt to the ranks, key and value
heads repeated where there are more ranks than heads, the vocabulary padded. On CUDA the parameters are read as they
lie in memory. On a CPU linear layers keep their weight only in a form that is packed for their kernel; it is read by
putting unit vectors through that very kernel, which is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from vllm.model_executor.layers.linear import (
    ColumnParallelLinear,
    MergedColumnParallelLinear,
    QKVParallelLinear,
    RowParallelLinear,
)
from vllm.model_executor.layers.vocab_parallel_embedding import VocabParallelEmbedding

from rlvr.rollout.checksums import Piece, checksum
from rlvr.rollout.weight_transfer import register

UNIT_VECTORS = 256
"""Of so many at a time a packed weight's columns are read."""

# vLLM makes this module's class a base of its workers, in whatever processes they are, and so imports it there.
register()


class WorkerExtension:
    """Methods that every worker of an engine gets, by vLLM's ``worker_extension_cls``."""

    model_runner: Any

    def held_weights(self, names: Sequence[str]) -> dict[str, list[Piece]]:
        """Pieces of each of the learner's tensors on this rank; none of those that are not found here."""
        return held_weights(self.model_runner.get_model(), names, self.model_runner.model_config.dtype)


@dataclass(frozen=True, slots=True)
class Section:
    """Rows of a parameter that come from one tensor of the checkpoint, which may be fused there as well."""

    start: int
    size: int
    row: int
    """The first one's place in that tensor."""
    whole: int
    """Rows of that tensor."""


def held_weights(model: nn.Module, names: Sequence[str], dtype: torch.dtype) -> dict[str, list[Piece]]:
    """See :meth:`WorkerExtension.held_weights`; ``dtype`` is what the engine computes in."""
    modules = dict(model.named_modules())
    # An output head that is tied to the embedding has the same parameter, and on a CPU a packed copy of its own.
    packed: dict[int, list[nn.Module]] = {}
    for module in modules.values():
        if hasattr(module, "cpu_linear"):
            packed.setdefault(id(module._parameters.get("weight")), []).append(module)
    # Tensors that are fused here are parts of one parameter, which is read once.
    parts: dict[str, list[tuple[str, int | None]]] = {}
    for name in names:
        path, part = locate(model, name)
        parts.setdefault(path, []).append((name, part))
    found: dict[str, list[Piece]] = {}
    for path, fused in parts.items():
        owner, _, parameter = path.rpartition(".")
        weight = modules[owner]._parameters.get(parameter) if owner in modules else None
        if weight is None:
            continue
        copies = [[(0, weight)]] if weight.numel() else []
        copies += [list(read_back(each)) for each in packed.get(id(weight), ())]
        for name, part in fused:
            found[name] = pieces(modules[owner], parameter, part, copies, dtype)
    return found


def locate(model: nn.Module, name: str) -> tuple[str, int | None]:
    """Name of the parameter that a checkpoint's tensor is loaded into, and which part of it, if it is fused."""
    mapper = getattr(model, "hf_to_vllm_mapper", None)
    if mapper is not None:
        name = mapper.get_rename_mapper().map_name(name) or name
    for fused, parts in getattr(model, "packed_modules_mapping", {}).items():
        for index, part in enumerate(parts):
            if len(parts) > 1 and f".{part}." in name:
                return name.replace(f".{part}.", f".{fused}."), index
    return name, None


def pieces(
    module: nn.Module,
    parameter: str,
    part: int | None,
    copies: Sequence[Sequence[tuple[int, Tensor]]],
    dtype: torch.dtype,
) -> list[Piece]:
    """Checksums of what a rank holds of one tensor.

    Args:
        module: the layer that computes with it.
        parameter: its name there.
        part: which of the tensors that are fused in the parameter it is.
        copies: the parameter, and what each packed copy of it was made of, as (first column, columns) at a time.
        dtype: what the engine computes in.
    """
    column = 0
    if isinstance(module, RowParallelLinear) and parameter == "weight":
        column = module.tp_rank * module.input_size_per_partition
    found = []
    for copy, blocks in enumerate(copies):
        for offset, block in blocks:
            before = 0
            for index, section in enumerate(sections(module, len(block))):
                rows = block[section.start : section.start + section.size]
                if part is None or part == index:
                    row, at = section.row + before, column + offset
                    found.append(Piece(copy, (row, at), checksum(rows, dtype, row, at)))
                before += section.whole if part is None else 0
    return found


def sections(module: Any, num_rows: int) -> list[Section]:
    """How the rows of a rank's parameter divide into those of the checkpoint's tensors."""
    if isinstance(module, QKVParallelLinear):
        rank, pair = module.tp_rank, module.tp_rank // module.num_kv_head_replicas
        sizes = [
            (module.num_heads, module.head_size, rank, module.total_num_heads),
            (module.num_kv_heads, module.head_size, pair, module.total_num_kv_heads),
            (module.num_kv_heads, module.v_head_size, pair, module.total_num_kv_heads),
        ]
        layout = [(heads * size, shard, total * size) for heads, size, shard, total in sizes]
    elif isinstance(module, MergedColumnParallelLinear):
        layout = [(size // module.tp_size, module.tp_rank, size) for size in module.output_sizes]
    elif isinstance(module, ColumnParallelLinear):
        layout = [(num_rows, module.tp_rank, num_rows * module.tp_size)]
    elif isinstance(module, VocabParallelEmbedding):
        indices = module.shard_indices  # what lies behind these rows is padding
        return [Section(0, indices.num_org_elements, indices.org_vocab_start_index, module.org_vocab_size)]
    else:
        layout = [(num_rows, 0, num_rows)]
    found, start = [], 0
    for size, shard, whole in layout:
        found.append(Section(start, size, shard * size, whole))
        start += size
    return found


def read_back(module: Any) -> Iterator[tuple[int, Tensor]]:
    """The weight that a CPU linear layer computes with, as (first column, columns) at a time.

    A product with unit vectors has one term that is not zero, so that nothing is rounded.
    """
    if module.weight.numel():
        columns = module.weight.shape[1]
    else:
        columns = getattr(module, "input_size_per_partition", module.input_size)
    for start in range(0, columns, UNIT_VECTORS):
        units = torch.eye(min(UNIT_VECTORS, columns - start), columns, dtype=module.weight.dtype)
        yield start, module.cpu_linear(units.roll(start, 1), module.weight, None).t()
