"""Checksums of weights: parts add up to the whole, and nothing that differs is taken for the same."""

from __future__ import annotations

import pytest
import torch

from rlvr.rollout.checksums import MODULUS, Checksum, Piece, checksum, whole

WEIGHT = torch.randn(60, 40, generator=torch.Generator().manual_seed(0))


def test_the_definition() -> None:
    """Two elements whose factors are those of the first row and of the first two columns."""
    one, two = (checksum(torch.tensor([row]), torch.float32).value for row in ([1.0], [2.0]))
    bits = {1.0: 0x3F800000, 2.0: 0x40000000}
    factor = one * pow(bits[1.0] >> 23, -1, MODULUS) % MODULUS  # of the pattern's odd part; 2²³ remains
    assert two == factor * (bits[2.0] >> 23) % MODULUS
    assert checksum(torch.tensor([1.0, 0.0]), torch.float32).value == one


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_parts_add_up_to_the_whole(dtype: torch.dtype) -> None:
    parts = [
        checksum(WEIGHT[row : row + 20, column : column + 10], dtype, row, column)
        for row in range(0, 60, 20)
        for column in range(0, 40, 10)
    ]
    assert checksum(WEIGHT, dtype) == Checksum(2400, sum(part.value for part in parts) % MODULUS)


def test_large_tensors_are_summed_in_chunks() -> None:
    tall = torch.randn(70_000, 3)
    rows = [
        checksum(tall[start : start + 999], torch.float32, start).value for start in range(0, 70_000, 999)
    ]
    assert checksum(tall, torch.float32).value == sum(rows) % MODULUS


def changed(weight: torch.Tensor) -> dict[str, torch.Tensor]:
    element, swapped, columns = weight.clone(), weight.clone(), weight.clone()
    element[17, 3] = torch.nextafter(element[17, 3], torch.tensor(torch.inf))
    swapped[[4, 9]] = weight[[9, 4]]
    columns[:, [0, 1]] = weight[:, [1, 0]]
    lost, strange = weight.clone(), weight.clone()
    lost[5] = 0
    strange[0, 0] = torch.nan
    return {
        "element": element, "swapped": swapped, "columns": columns, "lost": lost, "nan": strange,
        "negated": -weight, "turned": weight.flip(0), "moved": weight.roll(1, 0),
    }  # fmt: skip


@pytest.mark.parametrize("how", changed(WEIGHT))
def test_what_differs_has_another_checksum(how: str) -> None:
    assert checksum(changed(WEIGHT)[how], torch.float32) != checksum(WEIGHT, torch.float32)


def test_one_bit_of_bfloat16_is_seen() -> None:
    weight = WEIGHT.bfloat16()
    other = weight.clone()
    other.view(torch.int16)[59, 39] ^= 1
    assert checksum(other, torch.bfloat16) != checksum(weight, torch.bfloat16)


def test_a_nan_is_no_zero() -> None:
    assert checksum(torch.tensor([torch.nan]), torch.bfloat16) != checksum(torch.zeros(1), torch.bfloat16)


def test_numbers_are_rounded_as_an_engine_rounds_them() -> None:
    assert checksum(WEIGHT, torch.bfloat16) == checksum(WEIGHT.bfloat16(), torch.bfloat16)
    assert checksum(WEIGHT.bfloat16().float(), torch.bfloat16) == checksum(WEIGHT, torch.bfloat16)


def test_zeros_of_both_signs_and_subnormal_numbers_are_the_same() -> None:
    numbers = torch.tensor([0.0, -0.0, 1e-40, -1e-40])
    assert checksum(numbers, torch.float32) == checksum(torch.zeros(4), torch.float32) == Checksum(4, 0)


@pytest.mark.parametrize("shape", [(), (0,), (7,), (0, 3), (2, 3, 4, 5)])
def test_tensors_of_any_shape(shape: tuple[int, ...]) -> None:
    tensor = torch.randn(shape)
    flat = tensor.reshape(shape[0] if shape else 1, -1) if tensor.numel() else tensor.reshape(0, 1)
    assert checksum(tensor, torch.float32) == checksum(flat, torch.float32)
    assert checksum(tensor, torch.float32).numel == tensor.numel()


def held(weight: torch.Tensor, row: int, copy: int = 0) -> Piece:
    return Piece(copy, (row, 0), checksum(weight, torch.float32, row))


def test_ranks_are_added_up_and_replicas_count_once() -> None:
    ranks = [[held(WEIGHT[:30], 0)], [held(WEIGHT[:30], 0)], [held(WEIGHT[30:], 30)]]
    assert whole(ranks) == [checksum(WEIGHT, torch.float32)]
    assert whole([]) == whole([[], []]) == []


def test_replicas_that_differ_are_no_checksum() -> None:
    assert whole([[held(WEIGHT[:30], 0)], [held(WEIGHT[30:], 0)]]) == [None]


def test_copies_are_kept_apart() -> None:
    pieces = [held(WEIGHT, 0), held(WEIGHT[:30], 0, copy=1), held(WEIGHT[30:], 30, copy=1)]
    assert whole([pieces]) == [checksum(WEIGHT, torch.float32)] * 2
