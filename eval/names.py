"""What a model's name says: a run of several seeds, or a checkpoint of a run."""

from __future__ import annotations

import re

CHECKPOINT = re.compile(r"(?P<run>.+)-step(?P<step>\d+)")
RUN_OF_SEED = re.compile(r"(?P<family>.+)-seed(?P<seed>\d+)(?P<home> \(.+\))?")


def seed_name(family: str, seed: int) -> str:
    """Name of the run of ``family`` that was trained from this seed."""
    return f"{family}-seed{seed}"


def seed_of(name: str) -> tuple[str, int] | None:
    """Family and training seed of a run that is one of several; None for any other name."""
    match = RUN_OF_SEED.fullmatch(name)
    return (match["family"] + (match["home"] or ""), int(match["seed"])) if match else None


def family_of(name: str) -> str:
    """What runs from several seeds have in common; the name itself for any other."""
    found = seed_of(name)
    return found[0] if found else name


def checkpoint_of(name: str) -> tuple[str, int] | None:
    """Run and step of a model that is a saved checkpoint, ``<run>-step<N>``; None for any other."""
    match = CHECKPOINT.fullmatch(name)
    return (match["run"], int(match["step"])) if match else None
