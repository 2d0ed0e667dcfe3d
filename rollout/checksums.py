"""Exact checksums of weights, which can be taken of the parts of a tensor and added up.

The checksum of a matrix W is Σ bits(Wᵢⱼ) aᵢ bⱼ mod 2⁶⁴, with fixed odd numbers aᵢ and bⱼ for every row and column.
Since it is a sum, parts that lie in different tensors, as of a fused projection, or on different ranks add up to that
of the whole, if each is given its place in the whole. Since the factors are odd, any change of a single element
changes it; swapped rows or columns, or a tensor in another one's place, do so but for a chance of about 2⁻⁶³.
Both signs of zero, and numbers too small for the full precision of their type, count as zero: some kernels do not
tell them apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

MODULUS = 1 << 64
CPU_CHUNK, GPU_CHUNK = 1 << 14, 1 << 24
"""Elements that are widened to 64 bits at once: few enough for a core's cache, or for 128 MiB."""
BITS = {2: torch.int16, 4: torch.int32}
ROWS, COLUMNS = 0x1F83D9AB, 0x5BE0CD19
"""Starts of the two sequences of factors; any two different numbers would do."""


@dataclass(frozen=True, slots=True)
class Checksum:
    """Of a tensor, or of the parts of it that are there."""

    numel: int
    """Elements that were summed up."""
    value: int
    """In 0 … 2⁶⁴ − 1."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What one rank of an engine holds of a tensor."""

    copy: int
    """0 is the parameter itself; others are further copies, such as one that is packed for a kernel."""
    place: tuple[int, int]
    """Row and column of the whole tensor at which it begins."""
    checksum: Checksum


def checksum(tensor: Tensor, dtype: torch.dtype, row: int = 0, column: int = 0) -> Checksum:
    """Checksum of a tensor that begins at a place of a larger one.

    Args:
        tensor: any number of dimensions; all but the first are columns.
        dtype: numbers are rounded to it before, float32 or a type of 16 bits.
        row: of its first element in the whole tensor.
        column: likewise.
    """
    matrix = tensor.detach()
    matrix = matrix.flatten(1) if matrix.dim() > 1 else matrix.reshape(-1, 1)
    columns = _factors(column, matrix.shape[1], COLUMNS, matrix.device)
    rows = _factors(row, matrix.shape[0], ROWS, matrix.device)
    total = torch.zeros((), dtype=torch.int64, device=matrix.device)
    chunk = CPU_CHUNK if matrix.device.type == "cpu" else GPU_CHUNK
    size = max(1, chunk // max(1, matrix.shape[1]))
    for part, factors in zip(matrix.split(size), rows.split(size), strict=True):
        total += ((_bits(part, dtype) * columns).sum(1) * factors).sum()
    return Checksum(matrix.numel(), int(total.item()) % MODULUS)


def file_checksums(model: str, dtype: torch.dtype) -> dict[str, Checksum]:
    """Checksums of the tensors in a model folder's files by their names, as an engine of that dtype should hold them."""
    found = {}
    for path in sorted(Path(model).glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a mapping
                found[name] = checksum(file.get_tensor(name), dtype)
    return found


def whole(ranks: Iterable[Iterable[Piece]]) -> list[Checksum | None]:
    """Add up what the ranks of an engine hold of one tensor, each part of it once.

    Args:
        ranks: the pieces of every rank. Parts that several ranks hold must be the same on all.

    Returns:
        A checksum for every copy; None where ranks hold different numbers in the same place.
    """
    found: dict[int, dict[tuple[int, int], set[Checksum]]] = {}
    for pieces in ranks:
        for piece in pieces:
            found.setdefault(piece.copy, {}).setdefault(piece.place, set()).add(piece.checksum)
    copies: list[Checksum | None] = []
    for _, places in sorted(found.items()):
        if any(len(held) > 1 for held in places.values()):
            copies.append(None)
            continue
        parts = [part for held in places.values() for part in held]
        value = sum(part.value for part in parts) % MODULUS
        copies.append(Checksum(sum(part.numel for part in parts), value))
    return copies


def _bits(part: Tensor, dtype: torch.dtype) -> Tensor:
    """Bit patterns as whole numbers of 64 bits."""
    part = part.to(dtype)
    part = part.masked_fill(part.abs() < torch.finfo(dtype).tiny, 0.0)
    return part.view(BITS[dtype.itemsize]).long()


@lru_cache(maxsize=64)  # a model has few different shapes, and they are asked for at every update
def _factors(start: int, count: int, salt: int, device: torch.device) -> Tensor:
    """Odd numbers (count,) of 64 bits for the rows or columns from ``start`` on: splitmix64 of their index."""
    x = torch.arange(start, start + count, dtype=torch.int64, device=device) + (salt << 32)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> shift)) * (factor - MODULUS)
    return (x ^ (x >> 31)) | 1
