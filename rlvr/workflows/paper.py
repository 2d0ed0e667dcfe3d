"""A paper's claims, each with the study that decides it: read from a YAML file, planned, and decided."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import yaml

from rlvr.errors import ConfigError, did_you_mean
from rlvr.eval.claims import Condition, Decided, decide, effects_of
from rlvr.eval.loading import load_results
from rlvr.eval.results import BenchmarkResults
from rlvr.run_folder import FIGURES_FOLDER

PACKAGE = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a study, after `rlvr study` or in its place."""

    run: str
    """Its words, after ``rlvr``; ``{folder}`` stands for the study's folder, ``{root}`` for the one that all studies lie in,
    ``{package}`` for that of rlvr itself."""
    makes: str
    """A file in the study's folder, or beside it (``../base/config.json``, for what several studies share), that is there
    once it is done; then it is not run again."""


@dataclass(frozen=True, slots=True)
class StudyOf:
    """A study that decides claims."""

    name: str
    """Of its folder."""
    about: str
    minutes: int
    """Wall time on two idle cores, roughly."""
    recipe: str = ""
    """Of ``rlvr study``; empty where the commands alone make it."""
    overrides: tuple[str, ...] = ()
    commands: tuple[Command, ...] = ()
    """What is to be run besides, in this order."""
    measured_in: str = "."
    """Where in its folder the evaluations lie."""


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
    """Of the study's report, drawn beside the claim; its file's name without an ending."""


@dataclass(frozen=True, slots=True)
class Paper:
    """Claims, and the studies that decide them."""

    title: str
    source: str
    studies: dict[str, StudyOf]
    claims: dict[str, Claim]
    limits: tuple[str, ...]
    """What the claims' decisions do not show."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read and check a file of claims.

        Raises:
            ConfigError: a key is unknown or missing, a claim's study is not there, or its condition is none.
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
            paper = cls(found["title"], found["source"], studies, claims, tuple(found["limits"]))
        except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"no claims can be read: {type(error).__name__}: {error}",
                where=str(path),
                fix="title, source, studies, claims and limits, as in recipes/paper",
            ) from error
        for claim in claims.values():
            Condition.parse(claim.condition, f"claims.{claim.name}.condition")
            if claim.study not in studies:
                raise ConfigError(
                    f"there is no study {claim.study!r}",
                    where=f"claims.{claim.name}.study",
                    fix=did_you_mean(claim.study, studies),
                )
        return paper

    def only(self, names: Sequence[str]) -> Paper:
        """The claims of these names, and those of these studies; all where no name is given.

        Raises:
            ConfigError: there is no claim and no study of a name.
        """
        for name in names:
            if name not in self.claims and name not in self.studies:
                raise ConfigError(
                    f"there is no claim and no study {name!r}",
                    where="only",
                    fix=did_you_mean(name, [*self.claims, *self.studies]),
                )
        claims = {
            name: claim
            for name, claim in self.claims.items()
            if not names or name in names or claim.study in names
        }
        needed = {claim.study for claim in claims.values()}
        studies = {name: study for name, study in self.studies.items() if name in needed}
        return replace(self, studies=studies, claims=claims)


def _typed(kind: Any, name: str, words: dict[str, Any], where: str) -> Any:
    known = [spec.name for spec in fields(kind)][1:]
    for key in words:
        if key not in known:
            raise ConfigError(
                f"there is no key {key!r}", where=f"{where}.{key}", fix=did_you_mean(key, known)
            )
    if "overrides" in words:
        words = {**words, "overrides": tuple(words["overrides"])}
    if "commands" in words:
        words = {**words, "commands": tuple(Command(**each) for each in words["commands"])}
    return kind(name=name, **words)


def to_run(study: StudyOf, folder: Path, overrides: Sequence[str] = ()) -> list[list[str]]:
    """The words of the commands, after ``rlvr``, that a study still lacks.

    Args:
        study: the study.
        folder: its own.
        overrides: further settings of `rlvr study`.
    """
    found = []
    if study.recipe and measured(folder) is None:
        found.append(["study", f"recipe={study.recipe}", *study.overrides, *overrides, f"run.dir={folder}"])
    for command in study.commands:
        # Normalised: beside a study's folder there may be something before the folder itself is there.
        if not Path(os.path.normpath(folder / command.makes)).exists():
            places = {"{folder}": folder, "{root}": folder.parent, "{package}": PACKAGE}
            words = command.run
            for name, place in places.items():
                words = words.replace(name, shlex.quote(str(place)))
            found.append(shlex.split(words))
    return found


def measured(folder: Path) -> dict[str, BenchmarkResults] | None:
    """What a finished study has measured, by benchmark; None for one that is not there or not finished.

    Raises:
        ConfigError: what is there cannot stand side by side.
        DataError: an evaluation is damaged.
    """
    if not folder.is_dir() or not any(folder.iterdir()):
        return None
    study = load_results([folder])
    if study.unfinished or not study.benchmarks:
        return None
    return {each.name: each for each in study.benchmarks}


def figure_of(claim: Claim, folder: Path) -> str | None:
    """The SVG that a study's report has drawn of what a claim is about; None where the claim names none, or it is not there."""
    path = folder / FIGURES_FOLDER / f"{claim.figure}.svg"
    return path.read_text(encoding="utf-8") if claim.figure and path.is_file() else None


def decide_claims(
    paper: Paper, results: dict[str, dict[str, BenchmarkResults]], *, seed: int = 0
) -> dict[str, Decided]:
    """Decide all claims whose study is finished, together.

    Args:
        paper: the claims.
        results: by study and benchmark, of the studies that are finished (:func:`measured`).
        seed: of the bootstrap.

    Raises:
        ConfigError: a study has not measured what a claim is about.
    """
    found = {}
    for name, claim in paper.claims.items():
        if claim.study not in results:
            continue
        benchmarks = results[claim.study]
        if claim.benchmark not in benchmarks:
            raise ConfigError(
                f"the study {claim.study} has not measured {claim.benchmark}",
                where=f"claims.{name}.benchmark",
                fix=did_you_mean(claim.benchmark, benchmarks),
            )
        condition = Condition.parse(claim.condition, f"claims.{name}.condition")
        found[name] = effects_of(condition, benchmarks[claim.benchmark].evaluations, seed=seed)
    return decide(found) if found else {}


def claims_data(
    paper: Paper, decided: dict[str, Decided], results: dict[str, dict[str, BenchmarkResults]]
) -> dict[str, Any]:
    """What ``claims.json`` holds."""
    rows: dict[str, Any] = {}
    for name, claim in paper.claims.items():
        row: dict[str, Any] = {key: value for key, value in asdict(claim).items() if key != "name"}
        if name in decided:
            verdict, evaluations = decided[name], results[claim.study][claim.benchmark].evaluations
            row |= {
                "decision": verdict.decision.value,
                "p_holm": verdict.p,
                "num_runs": verdict.num_runs,
                "num_problems": len(evaluations[0].problem_ids),
                "num_samples": min(int(each.num_samples.min()) for each in evaluations),
                "effects": [asdict(effect) for effect in verdict.effects],
            }
        rows[name] = row | ({} if name in decided else {"decision": None})
    return {"title": paper.title, "source": paper.source, "claims": rows, "limits": list(paper.limits)}
