"""Generated pictures of signs, and questions about them that only the picture answers.

A picture is a board of three by three cells with a sign in each, drawn in some ink on some paper, a pixel further left or
right, up or down, and with grain: no two pictures are alike, and a test asks about boards that training has not seen. A
question names cells, by column and row, and asks for what their signs stand for::

    <image> b2 a1 c3 ?

The solution reads one cell after another, and then gives the answer::

    b2 12 ; a1 7 ; c3 0 ; # 12 7 0

Each sign stands for a number, its *right* reading, and is often taken for another one, its *popular misreading*. Authors
of the corpus read each sign rightly at its own rate, as they do the names of `skills` (skills.py), so a model trained on
the corpus reads some signs well and others rarely. The text alone says nothing about the numbers: who does not
see the picture is right once in 23³ times.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rlvr.config import SignsWorld
from rlvr.data.generated import Worked, distinct, draw_rate, mistake_entropy
from rlvr.data.images import kept_image
from rlvr.records import Problem

DATA_SOURCE = "signs"
NUM_READINGS = 23
"""Numbers that signs stand for."""
SIDE = 3
"""Cells of a board's side."""
CELL = 14
"""Pixels of a cell's side: a patch of the tiny model's vision tower."""
EDGE = SIDE * CELL
"""Pixels of a picture's side."""
DOTS, DOT = 5, 2
"""A sign is a square of so many dots a side, each of so many pixels."""
SHIFT = CELL - DOTS * DOT - 1
"""A sign begins 1 to so many pixels from the left and from the top of its cell."""
GRAIN = 24
"""Range of what is added to every channel of a pixel."""
CELLS = tuple(f"{column}{row}" for row in range(1, SIDE + 1) for column in "abc"[:SIDE])


@dataclass(frozen=True, slots=True)
class Sign:
    """A sign, what it stands for, and what it is often taken for."""

    index: int
    dots: tuple[bool, ...]
    """Row by row: whether there is ink."""
    right: int
    misreading: int
    rate: float
    """Probability that an author of the corpus reads it rightly."""


def all_signs(world: SignsWorld) -> tuple[Sign, ...]:
    """The signs of a world."""
    rates = (world.known_fraction, *world.known_rates, *world.rare_rates)
    return _all_signs(world.num_signs, world.world_seed, rates)


@lru_cache(maxsize=8)
def _all_signs(num_signs: int, world_seed: int, rates: tuple[float, ...]) -> tuple[Sign, ...]:
    known, *bounds = rates
    drawn = random.Random(f"signs/{world_seed}")
    dots = distinct(
        num_signs,
        lambda place: tuple(drawn.random() < 0.5 for _ in range(DOTS * DOTS)),
        repr,
        frozenset(),
        f"num_signs={num_signs}",
    )
    signs = []
    for index, each in enumerate(dots):
        rng = random.Random(f"signs/{world_seed}/{index}")
        right, misreading = rng.sample(range(NUM_READINGS), 2)
        rate = draw_rate(rng, known, bounds[:2], bounds[2:])
        signs.append(Sign(index, each, right, misreading, rate))
    return tuple(signs)


@dataclass(frozen=True, slots=True)
class Board:
    """The signs on a picture, row by row, and the cells that are asked for, as indices."""

    signs: tuple[Sign, ...]
    asked: tuple[int, ...]

    @property
    def question(self) -> str:
        """The text of the problem."""
        return f"{' '.join(CELLS[cell] for cell in self.asked)} ?"

    @property
    def answer(self) -> str:
        """The right readings, in the order of the question."""
        return " ".join(str(self.signs[cell].right) for cell in self.asked)

    @property
    def key(self) -> str:
        """Two boards with the same key are the same problem."""
        return f"{[each.index for each in self.signs]} {self.asked}"

    def to_dict(self) -> dict[str, Any]:
        """What stands in the cells that are asked for, as stored in ``extra_info["cells"]``."""
        return {
            CELLS[cell]: {"sign": sign.index, "value": sign.right, "misreading": sign.misreading}
            for cell, sign in ((cell, self.signs[cell]) for cell in self.asked)
        }


def sample_board(rng: random.Random, world: SignsWorld) -> Board:
    """Draw a board and what is asked about it."""
    signs = all_signs(world)
    return Board(
        tuple(rng.choice(signs) for _ in CELLS), tuple(rng.sample(range(len(CELLS)), world.num_asked))
    )


def draw(board: Board, rng: random.Random, *, blank: bool = False) -> NDArray[np.uint8]:
    """The picture, (EDGE, EDGE, 3), its ink far darker than its paper; ``blank`` leaves the ink out."""
    paper = np.array([rng.randrange(176, 232) for _ in range(3)])
    ink = np.array([rng.randrange(24, 80) for _ in range(3)])
    has_ink = np.zeros((EDGE, EDGE), dtype=bool)
    for cell, sign in enumerate(board.signs):
        row, column = divmod(cell, SIDE)
        top = row * CELL + rng.randrange(1, 1 + SHIFT)
        left = column * CELL + rng.randrange(1, 1 + SHIFT)
        dots = np.array(sign.dots).reshape(DOTS, DOTS).repeat(DOT, 0).repeat(DOT, 1)
        has_ink[top : top + DOTS * DOT, left : left + DOTS * DOT] = dots
    grain = np.frombuffer(rng.randbytes(3 * EDGE * EDGE), dtype=np.uint8).reshape(EDGE, EDGE, 3)
    plain = np.where(has_ink[..., None] & (not blank), ink, paper)
    return (plain + grain % GRAIN - GRAIN // 2).clip(0, 255).astype(np.uint8)


def encoded(picture: NDArray[np.uint8]) -> bytes:
    """As a BMP file, whose bytes depend on no compressor's version."""
    file = BytesIO()
    Image.fromarray(picture).save(file, "BMP")
    return file.getvalue()


def solution_text(board: Board, rng: random.Random | None = None) -> tuple[str, float]:
    """The worked solution, ending in ``# answers``, and the entropy in nats of how it was written.

    Without ``rng`` it is the right one. With it, each sign is read rightly at its rate, and otherwise in its popular
    misreading.
    """
    readings, entropy = [], 0.0
    for cell in board.asked:
        sign = board.signs[cell]
        is_right = rng is None or rng.random() < sign.rate
        readings.append(sign.right if is_right else sign.misreading)
        entropy += mistake_entropy(1 - sign.rate, 1)
    steps = [f"{CELLS[cell]} {value}" for cell, value in zip(board.asked, readings, strict=True)]
    return " ; ".join([*steps, f"# {' '.join(map(str, readings))}"]), entropy


def corpus(stream: str, world: SignsWorld) -> Iterator[Worked]:
    """Endless pre-training corpus, the same for the same stream name."""
    rng = random.Random(f"signs/corpus/{stream}")
    while True:
        board = sample_board(rng, world)
        picture = draw(board, rng)
        yield Worked(board.question, *solution_text(board, rng), picture)


def words() -> list[str]:
    """The vocabulary: cells, numbers and signs of the text, each with the space before it."""
    return [f" {word}" for word in [*CELLS, *map(str, range(NUM_READINGS)), ";", "?", "#"]]


def generate(
    size: int,
    seed: int,
    world: SignsWorld,
    split: str = "train",
    exclude: frozenset[str] = frozenset(),
    *,
    blank: bool = False,
    name: str = DATA_SOURCE,
) -> list[Problem]:
    """Make ``size`` distinct problems, with their pictures as files beside what ``datasets`` caches.

    Args:
        size: number of problems.
        seed: the same seed and split give the same problems.
        world: the signs.
        split: ``train`` or ``test``; recorded, and part of the random stream.
        exclude: keys that must not occur, such as those of the other split.
        blank: the same questions and answers on empty boards, which show what the text alone gives away.
        name: data source, the first part of the ids.

    Raises:
        DataError: the pictures cannot be written.
    """
    rng = random.Random(f"signs/{seed}/{split}")
    boards = distinct(
        size, lambda place: sample_board(rng, world), lambda board: board.key, exclude, "signs on a board"
    )
    return [
        Problem(
            id=f"{name}/{split}/{index}",
            prompt=({"role": "user", "content": board.question},),
            data_source=name,
            ground_truth=board.answer,
            ability="arithmetic",
            extra_info={
                "split": split,
                "index": index,
                "key": board.key,
                "cells": board.to_dict(),
            },
            images=(kept_image(encoded(picture)),),
        )
        for index, board in enumerate(boards)
        for picture in [draw(board, random.Random(f"signs/{seed}/{split}/{index}"), blank=blank)]
    ]


def make_splits(
    num_train: int, num_test: int, seed: int, world: SignsWorld
) -> tuple[list[Problem], list[Problem]]:
    """Disjoint train and test sets; the test set depends on the seed only, not on the train set."""
    test = generate(num_test, seed, world, "test")
    keys = frozenset(problem.extra_info["key"] for problem in test)
    return generate(num_train, seed, world, "train", exclude=keys), test
