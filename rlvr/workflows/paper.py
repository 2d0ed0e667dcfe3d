"""Papers' claims, each with the study that decides it, as a YAML file has them.

What is there of the studies, and what is to be run: ``paper_plan.py``. What they say about the claims: ``paper_claims.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import yaml

from rlvr.errors import ConfigError, did_you_mean
from rlvr.eval.claims import Condition

OURS = Path(__file__).parent.parent / "recipes" / "paper"


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a study, after `rlvr study` or in its place."""

    run: str
    """Its words, after ``rlvr``; ``{folder}`` stands for the study's folder, ``{root}`` for the one that all studies lie in,
    ``{package}`` for that of rlvr itself. A command with ``{seed}`` is run once for each training seed that is asked for, and
    ``{-seed}`` ends the name of what is trained from it (``-seed0``; nothing where none is asked for). In other commands
    an entry between commas that has ``{-seed}`` stands once for each seed."""
    makes: str
    """A file in the study's folder, or in that of a study it goes on from (``../tiny-seeds/…``), that is there once it is done; then it
    is not run again."""

    @property
    def takes_seeds(self) -> bool:
        """Whether it trains, or is about what was trained, and names no training seeds of its own."""
        words = self.run.split()
        return "{-seed}" in self.run or (words[0] == "study" and not names_seeds(words))


def names_seeds(words: Iterable[str]) -> bool:
    """Whether words of a command set ``seeds``."""
    return any(word.strip("'").startswith("seeds=") for word in words)


@dataclass(frozen=True, slots=True)
class StudyOf:
    """A study that decides claims."""

    name: str
    """Of its folder."""
    about: str
    minutes: int
    """Wall time on two idle cores, roughly."""
    after: tuple[str, ...] = ()
    """Studies whose models this one goes on from, so that they are run first."""
    recipe: str = ""
    """Of ``rlvr study``; empty where the commands alone make it."""
    overrides: tuple[str, ...] = ()
    commands: tuple[Command, ...] = ()
    """What is to be run besides, in this order."""
    measured_in: str = "."
    """Where in its folder the evaluations lie."""
    sweep_of: str = ""
    """The study whose models are measured here at another temperature. Conditions then speak of its base, of these models as
    it measured them, and of these evaluations, by their own names."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Studies that have to be finished before."""
        return (*self.after, *([self.sweep_of] if self.sweep_of else []))

    @property
    def takes_seeds(self) -> bool:
        """Whether it trains, and names no training seeds of its own."""
        return (bool(self.recipe) and not names_seeds(self.overrides)) or any(
            each.takes_seeds for each in self.commands
        )


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence that is true or not, and the condition on a study's pass@k that decides it."""

    name: str
    text: str
    paper: str
    """Where the paper makes it, with its numbers."""
    study: str
    benchmark: str
    condition: str
    """As :class:`rlvr.eval.claims.Condition` reads it."""
    figure: str = ""
    """Of the study's report, drawn beside the claim; its file's name without an ending, as for the report's first benchmark."""


@dataclass(frozen=True, slots=True)
class Paper:
    """Claims, and the studies that decide them."""

    name: str
    """Of its file, without the ending."""
    title: str
    source: str
    studies: dict[str, StudyOf]
    claims: dict[str, Claim]
    limits: tuple[str, ...]
    """What the claims' decisions do not show."""
    num_claims: int
    """That the paper makes, whichever of them are asked for: the family that decisions are corrected for."""
    tried: tuple[str, ...] = ()
    """What was tried on the way to these studies, what came of it, and what was dropped: a sentence or two each."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read and check a file of claims.

        Raises:
            ConfigError: a key is unknown or missing, a study that is named is not there, or a condition is none.
        """
        try:
            found = yaml.safe_load(path.read_text(encoding="utf-8"))
            studies = {
                name: _typed(StudyOf, name, words, f"studies.{name}")
                for name, words in found["studies"].items()
            }
            claims = {
                name: _typed(Claim, name, words, f"claims.{name}") for name, words in found["claims"].items()
            }
            limits, tried = tuple(found["limits"]), tuple(found.get("tried") or ())
            paper = cls(
                path.stem, found["title"], found["source"], studies, claims, limits, len(claims), tried
            )
        except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"no claims can be read: {type(error).__name__}: {error}",
                where=str(path),
                fix="title, source, studies, claims and limits, as in recipes/paper",
            ) from error
        paper._check()
        return paper

    def _check(self) -> None:
        above: list[str] = []
        for study in self.studies.values():
            for needed in study.needs:
                if needed not in above:
                    raise ConfigError(
                        f"it needs a study {needed!r}, and there is none above it",
                        where=f"studies.{study.name}",
                        fix=did_you_mean(needed, above),
                    )
            above.append(study.name)
        for claim in self.claims.values():
            Condition.parse(claim.condition, f"claims.{claim.name}.condition")
            if claim.study not in self.studies:
                raise ConfigError(
                    f"there is no study {claim.study!r}",
                    where=f"claims.{claim.name}.study",
                    fix=did_you_mean(claim.study, self.studies),
                )

    def only(self, names: Sequence[str]) -> Paper:
        """The claims of these names and those of these studies, with the studies that they need; all where no name is given."""
        claims = {
            name: claim
            for name, claim in self.claims.items()
            if not names or name in names or claim.study in names
        }
        needed = {claim.study for claim in claims.values()} | {name for name in names if name in self.studies}
        for study in reversed(self.studies.values()):  # what a study needs stands above it
            needed |= set(study.needs) if study.name in needed else set()
        studies = {name: study for name, study in self.studies.items() if name in needed}
        return replace(self, studies=studies, claims=claims)


def load_papers(names: Iterable[str]) -> list[Paper]:
    """Several files of claims, whose studies share one folder.

    Args:
        names: of ours, such as ``2504.13837``, or paths.

    Raises:
        ConfigError: a file holds no claims, two are called alike, or they mean different studies by one name.
    """
    papers = [Paper.load(claims_file(name)) for name in names]
    for i, paper in enumerate(papers):
        for other in papers[:i]:
            if paper.name == other.name:
                raise ConfigError(f"{paper.name} is there twice", where="claims", fix="leave one of them out")
            for name in paper.studies.keys() & other.studies.keys():
                if paper.studies[name] != other.studies[name]:
                    raise ConfigError(
                        f"{other.name} and {paper.name} have different studies {name!r}, which would share a folder",
                        where="claims",
                        fix="another name for one of them; or a command and a folder=… for each file",
                    )
    return papers


def claims_file(name: str) -> Path:
    """A file of claims: one of ours by its paper's number, or a path."""
    ours = OURS / f"{name}.yaml"
    return ours if ours.is_file() else Path(name)


def only(papers: Sequence[Paper], names: Sequence[str]) -> list[Paper]:
    """The claims of these names and those of these studies, in the papers that have some; all where no name is given.

    Raises:
        ConfigError: there is no claim and no study of a name, or two papers have a claim of it.
    """
    for name in names:
        places = [paper.name for paper in papers if name in paper.claims]
        if not places and not any(name in paper.studies for paper in papers):
            known = [known for paper in papers for known in (*paper.claims, *paper.studies)]
            raise ConfigError(
                f"there is no claim and no study {name!r}", where="only", fix=did_you_mean(name, known)
            )
        if len(places) > 1:
            raise ConfigError(
                f"{name!r} is a claim of {' and of '.join(places)}",
                where="only",
                fix=f"claims={places[0]} with it, or the other one",
            )
    chosen = [paper.only(names) for paper in papers]
    return [paper for paper in chosen if paper.studies]


def studies_of(papers: Iterable[Paper]) -> dict[str, StudyOf]:
    """Every study once, in an order in which each comes after what it needs."""
    return {name: study for paper in papers for name, study in paper.studies.items()}


def _typed(kind: Any, name: str, words: dict[str, Any], where: str) -> Any:
    known = [spec.name for spec in fields(kind)][1:]
    for key in words:
        if key not in known:
            raise ConfigError(
                f"there is no key {key!r}", where=f"{where}.{key}", fix=did_you_mean(key, known)
            )
    for key in ("overrides", "after"):
        if key in words:
            words = {**words, key: tuple(words[key])}
    if "commands" in words:
        words = {**words, "commands": tuple(Command(**each) for each in words["commands"])}
    return kind(name=name, **words)
