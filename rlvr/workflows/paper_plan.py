"""How far the studies of papers' claims have come, the commands that they still lack, and how long those will take."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Self

from rlvr.config import EvaluateConfig, ExperimentConfig
from rlvr.errors import ConfigError
from rlvr.eval.discovery import stores_under
from rlvr.eval.loading import load_results
from rlvr.eval.names import checkpoint_of, seed_of
from rlvr.eval.tables import aligned
from rlvr.run_folder import command_seconds, recorded_seconds
from rlvr.workflows.paper import Command, StudyOf, names_seeds

PACKAGE = Path(__file__).parent.parent
DONE, PARTLY, TO_RUN = "done", "partly done", "to run"
TAKING = {"study": ExperimentConfig, "train": ExperimentConfig, "evaluate": EvaluateConfig}
"""Commands that take further settings, with the keys that they know. What pre-training and distillation call alike means another thing."""
ABOUT = ("model", "models", "name", "benchmark", "benchmarks", "regrade")
"""Keys by which a command says what it is about, which no further setting changes; nor the data that it names itself."""
ENTRY = re.compile(r"[^,{}]*\{-seed\}[^,{}]*(?:\{-seed\}[^,{}]*)*")
"""What stands between commas in a list or mapping of a command, and is there for each seed."""
LEAST = 0.1
"""Share of a study's expected time that is left at least while something of it is to be run: what has been done took longer."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far one study has come."""

    study: StudyOf
    folder: Path
    """Its own."""
    waiting: tuple[tuple[str, ...], ...]
    """The words, after ``rlvr``, of the commands that are still to be run."""
    seconds: float
    """Wall time so far, as far as it is known; 0 where nothing tells."""
    is_whole: bool
    """Whether that is the time of commands, their starts of engines included; else that of trainings and evaluations alone."""
    has_begun: bool
    num_seeds: int = 1
    """From how many seeds each of its models is to be trained."""
    failure: str = ""
    """Why it was not finished by the command that has just tried, in a sentence: it failed, or one that it needs did."""

    @property
    def state(self) -> str:
        """``done``, ``partly done`` or ``to run``."""
        return PARTLY if self.waiting and self.has_begun else TO_RUN if self.waiting else DONE

    @property
    def planned_seconds(self) -> float:
        """By the manifest's minutes, which are those of one training seed where a study does not name its own."""
        return 60.0 * self.study.minutes * self.num_seeds

    def seconds_left(self, speed: float) -> float:
        """By the manifest's minutes, each of which takes ``speed`` of them here."""
        expected = self.planned_seconds * speed
        is_to_come = self.waiting and not self.failure
        return max(expected - self.seconds, LEAST * expected) if is_to_come else 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How far the studies of some claims have come, and what is left to do."""

    root: Path
    """The folder that all studies share."""
    overrides: tuple[str, ...]
    """Further settings, for all commands that take them."""
    there: Mapping[str, Standing]
    """The studies of these claims, in the order in which they are run."""
    others: Mapping[str, Standing]
    """The other studies of these papers, which tell how fast this machine is as well."""
    seeds: tuple[int, ...] = ()
    """Training seeds for the studies that name none of their own."""

    @classmethod
    def of(
        cls,
        every: Mapping[str, StudyOf],
        chosen: Collection[str],
        root: Path,
        overrides: Sequence[str] = (),
        seeds: Sequence[int] = (),
    ) -> Self:
        """Look at what is there.

        Args:
            every: all studies of the papers, each after what it needs.
            chosen: names of those that are asked for.
            root: the folder that all studies share.
            overrides: further settings, for all commands that take them.
            seeds: training seeds for the studies that name none of their own.

        Raises:
            ConfigError: what is there cannot stand side by side, or was trained from one seed where several are asked for.
            DataError: a record or an evaluation is damaged.
        """
        found = {name: standing(study, root / name, overrides, seeds) for name, study in every.items()}
        asked = {name: each for name, each in found.items() if name in chosen}
        others = {name: each for name, each in found.items() if name not in chosen}
        return cls(root, tuple(overrides), asked, others, tuple(seeds))

    def again(self, name: str, failure: str = "") -> Self:
        """The same plan after something was done for a study, or has failed.

        Raises:
            DataError: a record or an evaluation is damaged.
        """
        now = standing(self.there[name].study, self.root / name, self.overrides, self.seeds)
        return replace(self, there={**self.there, name: replace(now, failure=failure)})

    def lacking(self, study: StudyOf) -> list[str]:
        """Names of the studies that this one needs and that are not done."""
        return [name for name in study.needs if self.there[name].state != DONE]

    @property
    def waiting(self) -> list[Standing]:
        """Studies of which something is still to be run, in this order."""
        return [each for each in self.there.values() if each.state != DONE]

    def not_taken(self) -> list[str]:
        """A line for each further setting that reaches none of the commands that some study lacks."""
        lines = []
        for setting in self.overrides:
            reached = {each.study.name for each in self.waiting if any(setting in ws for ws in each.waiting)}
            without = [each.study.name for each in self.waiting if each.study.name not in reached]
            if without:
                lines.append(f"{setting} reaches no command of {', '.join(without)}")
        without = [each.study.name for each in self.waiting if not each.study.takes_seeds]
        if self.seeds and without:
            lines.append(f"{' '.join(seeds_words(self.seeds))} reaches no command of {', '.join(without)}")
        return lines

    @property
    def speed(self) -> float | None:
        """What a minute of the manifest's takes here, by the studies that are done; None where none of them tells."""
        known = [
            each
            for each in (*self.there.values(), *self.others.values())
            if each.state == DONE and each.seconds and each.study.minutes
        ]
        planned = sum(each.planned_seconds for each in known)
        return sum(each.seconds for each in known) / planned if known else None

    def seconds_left(self, *of: Standing) -> float:
        """Of these studies; of all without any."""
        return sum(each.seconds_left(self.speed or 1.0) for each in of or self.waiting)


def standing(
    study: StudyOf, folder: Path, overrides: Sequence[str] = (), seeds: Sequence[int] = ()
) -> Standing:
    """How far one study has come in its folder."""
    recorded, timed = recorded_seconds(folder), sum(command_seconds(folder).values())
    return Standing(
        study,
        folder,
        tuple(tuple(words) for words in to_run(study, folder, overrides, seeds)),
        max(recorded, timed),
        timed > recorded,
        folder.is_dir() and any(folder.iterdir()),
        len(seeds) if seeds and study.takes_seeds else 1,
    )


def plan_lines(plan: Plan) -> list[str]:
    """The plan for a terminal: a row for each study, the commands that it lacks, and how long all of it will take."""
    rows = [
        [
            name,
            each.state,
            minutes(each.seconds) if each.seconds else "",
            minutes(plan.seconds_left(each)) if each.waiting else "",
        ]
        for name, each in plan.there.items()
    ]
    rows.append(["all", "", "", minutes(plan.seconds_left()) if plan.waiting else ""])
    commands = [f"  rlvr {shlex.join(words)}" for each in plan.waiting for words in each.waiting]
    return [
        *aligned(["study", "", "took", "left, about"], rows),
        speed_line(plan),
        *commands,
        *plan.not_taken(),
    ]


def speed_line(plan: Plan) -> str:
    """What the minutes that are left go by."""
    if plan.speed is None:
        return "Minutes by the manifest, for two idle cores; no study that is done tells what they are here."
    return f"Minutes by the manifest × {plan.speed:.2f}, which is what the studies that are done took here."


def minutes(seconds: float) -> str:
    """``12 min`` or ``2 h 10 min``; at least a minute."""
    hours, rest = divmod(max(1, round(seconds / 60)), 60)
    return f"{hours} h {rest:02d} min" if hours else f"{rest} min"


def to_run(
    study: StudyOf, folder: Path, overrides: Sequence[str] = (), seeds: Sequence[int] = ()
) -> list[list[str]]:
    """The words of the commands, after ``rlvr``, that a study still lacks.

    Args:
        study: the study.
        folder: its own.
        overrides: further settings, which a study's recipe takes and its commands as :func:`with_settings` says.
        seeds: training seeds, for a study that names none of its own; none for one run each.

    Raises:
        ConfigError: seeds are asked for, and it was trained without.
    """
    found: list[list[str]] = []
    is_elsewhere = any(key_of(each) == "run.reuse_from" for each in overrides)
    further = [*overrides, *([] if is_elsewhere else [f"run.reuse_from={folder.parent}"])]
    if study.recipe:
        own = () if names_seeds(study.overrides) else tuple(seeds)
        if not (is_measured(folder) and has_seeds(folder, own)):
            settings = [*study.overrides, *seeds_words(own), *further, f"run.dir={folder}"]
            found.append(["study", f"recipe={study.recipe}", *settings])
    for command in study.commands:
        own = tuple(seeds) if command.takes_seeds else ()
        for words, makes in commands_of(command, folder, own):
            # Normalised: beside a study's folder there may be something before the folder itself is there.
            if not is_made(words[0], Path(os.path.normpath(folder / makes)), own):
                found.append(
                    with_settings(words, [*further, *(seeds_words(own) if words[0] == "study" else [])])
                )
    return found


def is_made(kind: str, path: Path, seeds: Sequence[int]) -> bool:
    """Whether a command has made its file; a report of runs also that it is whole, and of all these seeds.

    Raises:
        ConfigError: it is of none.
    """
    if not path.exists() or not seeds or kind not in ("study", "evaluate"):
        return path.exists()
    return is_measured(path.parent) and has_seeds(path.parent, seeds)


def commands_of(command: Command, folder: Path, seeds: Sequence[int]) -> list[tuple[list[str], str]]:
    """The words of a study's command, and the file that it makes; of one with ``{seed}`` once for each seed."""
    places = {"{folder}": folder, "{root}": folder.parent, "{package}": PACKAGE}
    text = command.run
    for name, place in places.items():
        text = text.replace(name, shlex.quote(str(place)))
    endings = {seed: f"-seed{seed}" for seed in seeds} or {0: ""}
    if "{seed}" in text:
        return [
            (
                shlex.split(text.replace("{seed}", str(seed)).replace("{-seed}", ending)),
                command.makes.replace("{-seed}", ending),
            )
            for seed, ending in endings.items()
        ]
    words = [
        ENTRY.sub(
            lambda found: ",".join(found[0].replace("{-seed}", each) for each in endings.values()), word
        )
        for word in shlex.split(text)
    ]
    return [(words, command.makes)]


def has_seeds(folder: Path, seeds: Sequence[int]) -> bool:
    """Whether all that was measured in a folder and trained from several seeds is there of each of these.

    Raises:
        ConfigError: nothing there was, so that these cannot be added.
    """
    there: dict[str, set[int]] = {}
    for store in stores_under(folder):
        run, _ = checkpoint_of(store.name) or (store.name, 0)
        if (known := seed_of(run)) is not None:
            there.setdefault(known[0], set()).add(known[1])
    if seeds and not there:
        raise ConfigError(
            f"{folder} holds one run each, and {' '.join(seeds_words(seeds))} asks for several",
            where="seeds",
            fix="folder=ANOTHER_FOLDER; if that lies below a folder OLD, run.reuse_from=OLD takes over the runs that are there",
        )
    return all(found >= set(seeds) for found in there.values())


def seeds_words(seeds: Sequence[int]) -> list[str]:
    """The setting of `rlvr study` that asks for these; none where there are none."""
    return [f"seeds=[{','.join(map(str, seeds))}]"] if seeds else []


def with_settings(words: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """A command of a study with the further settings that it knows, but for what it is about, in place of its own.

    Args:
        words: of the command, after ``rlvr``.
        overrides: the settings.
    """
    schema = TAKING.get(words[0])
    known = {spec.name for spec in fields(schema)}.difference(ABOUT) if schema else set()
    stays = {key for word in words if (key := key_of(word)).startswith("data.")}
    taken = [
        each for each in overrides if key_of(each).partition(".")[0] in known and key_of(each) not in stays
    ]
    keys = {key_of(each) for each in taken}
    # A short form, num_samples=…, would win over the long one.
    kept = [word for word in words if not keys & {key_of(word), f"evaluation.{key_of(word)}"}]
    return [*kept, *taken]


def key_of(word: str) -> str:
    """The key of ``key=value``, ``+key=value`` or ``~key``."""
    return word.partition("=")[0].lstrip("+~")


def is_measured(folder: Path) -> bool:
    """Whether a study in a folder is finished; one that was stopped before it measured anything is not."""
    if not folder.is_dir() or not stores_under(folder):
        return False
    found = load_results([folder])
    return bool(found.benchmarks) and not found.unfinished
