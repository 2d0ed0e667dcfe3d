"""The family of pictures: what is asked can be read off the picture, and off nothing else."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rlvr.config import DataConfig, SignsConfig, SignsWorld
from rlvr.data import signs
from rlvr.data.benchmarks import training_problems
from rlvr.data.images import content_of
from rlvr.errors import ConfigError, DataError
from rlvr.records import Problem
from rlvr.rewards.final_answer import FinalAnswerVerifier

WORLD = SignsWorld()


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Problem], list[Problem]]:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    return signs.make_splits(30, 20, 5, WORLD)


def seen(picture: np.ndarray) -> list[tuple[bool, ...]]:
    """The dots of each cell, found anew: by what is darker than the middle, cut where the ink begins."""
    dark = picture.mean(2) < 128
    found = []
    for cell in range(len(signs.CELLS)):
        row, column = divmod(cell, signs.SIDE)
        part = dark[row * signs.CELL :, column * signs.CELL :][: signs.CELL, : signs.CELL]
        span = signs.DOTS * signs.DOT
        tried = [
            part[top : top + span : 2, left : left + span : 2] for top in range(1, 4) for left in range(1, 4)
        ]
        known = {each.dots for each in signs.all_signs(WORLD)}
        # The right cut holds all the ink there is.
        found.append(
            next(
                tuple(each.flatten().tolist())
                for each in tried
                if 4 * each.sum() == part.sum() and tuple(each.flatten().tolist()) in known
            )
        )
    return found


def test_the_picture_says_the_answer(sets: tuple[list[Problem], list[Problem]]) -> None:
    value = {each.dots: each.right for each in signs.all_signs(WORLD)}
    for problem in sets[0]:
        [image] = problem.images
        assert (image.width, image.height, image.media_type) == (signs.EDGE, signs.EDGE, "image/bmp")
        with Image.open(image.path) as opened:
            found = seen(np.asarray(opened))
        asked = problem.prompt[0]["content"].split()[:-1]
        answer = " ".join(str(value[found[signs.CELLS.index(cell)]]) for cell in asked)
        assert answer == problem.ground_truth


def test_solutions_are_judged_right_and_misreadings_wrong(sets: tuple[list[Problem], list[Problem]]) -> None:
    board = signs.sample_board(random.Random(2), WORLD)
    problem = Problem("x", (), "signs", board.answer)
    text, _ = signs.solution_text(board)
    assert FinalAnswerVerifier().verify(problem, text, "stop").score == 1
    other = " ".join(str((int(value) + 1) % signs.NUM_READINGS) for value in board.answer.split())
    misread = text.replace(f"# {board.answer}", f"# {other}")
    assert FinalAnswerVerifier().verify(problem, misread, "stop").score == 0


def test_splits_are_disjoint_and_come_from_the_seed(sets: tuple[list[Problem], list[Problem]]) -> None:
    train, test = sets
    keys = [problem.extra_info["key"] for problem in (*train, *test)]
    assert len(set(keys)) == 50
    assert signs.make_splits(10, 20, 5, WORLD) == (train[:10], test)
    assert signs.generate(20, 6, WORLD, "test") != test
    assert content_of(test[0].images[0]) != content_of(test[1].images[0])
    data = DataConfig(family="signs", signs=SignsConfig(num_train=30, num_test=20, seed=5))
    assert training_problems(data) == train


def test_authors_read_each_sign_at_its_rate() -> None:
    right: Counter[int] = Counter()
    asked: Counter[int] = Counter()
    rng = random.Random(0)
    for _ in range(6000):
        board = signs.sample_board(rng, WORLD)
        written = signs.solution_text(board, rng)[0].partition("# ")[2].split()
        for cell, value in zip(board.asked, written, strict=True):
            sign = board.signs[cell]
            asked[sign.index] += 1
            right[sign.index] += int(value) == sign.right
            assert int(value) in (sign.right, sign.misreading)
    for sign in signs.all_signs(WORLD):
        spread = (sign.rate * (1 - sign.rate) / asked[sign.index]) ** 0.5
        assert abs(right[sign.index] / asked[sign.index] - sign.rate) < 5 * spread + 1e-9


def test_the_text_says_nothing(sets: tuple[list[Problem], list[Problem]]) -> None:
    """The same question has other answers on other pictures, and the best constant answer is right in few cells."""
    answers = Counter(value for problem in sets[0] for value in problem.ground_truth.split())
    assert answers.most_common(1)[0][1] / answers.total() < 0.2
    worked = [next(signs.corpus(str(stream), WORLD)) for stream in range(2)]
    assert worked[0].solution != worked[1].solution
    blank = signs.generate(20, 5, WORLD, "test", blank=True)
    for with_ink, without in zip(sets[1], blank, strict=True):
        assert (without.prompt, without.ground_truth) == (with_ink.prompt, with_ink.ground_truth)
        with Image.open(without.images[0].path) as opened:
            assert np.asarray(opened).min() > 128


def test_a_world_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for settings in (
        {"num_asked": 10},
        {"num_signs": 0},
        {"known_rates": [0.9, 0.1]},
        {"known_fraction": 2.0},
    ):
        with pytest.raises(ConfigError, match=next(iter(settings))):
            SignsWorld(**settings)
    import datasets

    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "file")
    with pytest.raises(DataError, match="cannot be kept as a file"):
        signs.generate(1, 0, WORLD)
