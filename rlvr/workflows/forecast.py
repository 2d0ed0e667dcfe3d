"""How long work will take: by the speed that a user names or a past run had, and by the last run beside it of the like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from rlvr.config import ExperimentConfig
from rlvr.errors import ConfigError, DataError
from rlvr.eval.report.labels import duration
from rlvr.eval.store import Evaluation, EvaluationSpec, is_counted, load_evaluation, read_problems, read_spec
from rlvr.provenance import hardware
from rlvr.run_folder import (
    CONFIG_FILE,
    METRICS_FILE,
    SECONDS_FILE,
    SPEC_FILE,
    evaluation_engines,
    evaluation_seconds,
    read_json,
    read_metrics,
    read_provenance,
    run_dir_of,
)
from rlvr.tracking import progress

WHERE = "--dry-run=…"
DEPTH = 4
"""Folders from the search's start down to a run: ``runs/MULTIRUN/JOB/RUN``."""
EVALUATION_DEPTH = 6
"""The same down to an evaluation: ``runs/STUDY/evaluation/BENCHMARK/MODEL``, and a multirun's job between."""
ALIKE = (
    ("model",),
    ("algorithm", "group_size"),
    ("train", "prompts_per_step"),
    ("train", "max_staleness"),
    ("rollout", "max_response_tokens"),
    ("stages",),
    ("rollout", "num_workers"),
    ("learner", "num_learners"),
)
"""What makes steps of two runs take about the same time."""
ALGORITHM = ("algorithm", "name")
"""Matters less: a run of another algorithm tells it where there is none of the same."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Of one kind of work."""

    tokens_per_second: float
    """Response tokens over wall time; in training, whose steps also learn, over all of it."""
    response_tokens: float | None = None
    """Mean length of a response; None where nobody knows."""
    engines: float | None = None
    """That an evaluation had, mean over its time; None where nobody knows."""

    def on(self, engines: int) -> Speed:
        """That of an evaluation with so many engines, which sample each for itself."""
        if self.engines is None:
            return self
        return replace(
            self, tokens_per_second=self.tokens_per_second * engines / self.engines, engines=float(engines)
        )

    def line(self, num_responses: int, most_tokens: int) -> str:
        """The time for so many responses, or at most for so many tokens where their length is only bounded."""
        if self.response_tokens is None:
            took, how = most_tokens, "at most"
            of = "if every response were as long as it may be"
        else:
            took, how = round(num_responses * self.response_tokens), "about"
            of = f"with responses of {self.response_tokens:,.0f} tokens, as they were there"
        return (
            f"{how} {duration(took / self.tokens_per_second)} at {self.tokens_per_second:,.0f} tokens/s, {of}"
        )


@dataclass(frozen=True, slots=True)
class Pace:
    """What is known of the speed; None of a kind of work that it does not speak of."""

    training: Speed | None
    evaluation: Speed | None


NO_PACE = Pace(None, None)


def pace_of(word: str) -> Pace:
    """The pace that ``--dry-run=WORD`` means.

    Args:
        word: tokens a second, or the folder of a study, a training run or an evaluation; empty says nothing.

    Raises:
        ConfigError: it is neither, or nothing in the folder tells a speed.
    """
    if not word:
        return NO_PACE
    if not Path(word).is_dir():
        try:
            stated = float(word)
        except ValueError:
            stated = 0.0
        if not stated > 0:
            raise ConfigError(
                f"{word!r} is neither a number of tokens a second nor the folder of a past run",
                where=WHERE,
                fix="--dry-run=5000, or --dry-run=runs/tiny",
            )
        return Pace(Speed(stated), Speed(stated))
    pace = Pace(_trained(Path(word)), _measured(Path(word)))
    if pace == NO_PACE:
        raise ConfigError(
            f"no training step and no finished evaluation lies in {word}",
            where=WHERE,
            fix="the folder of a study, a training run or an evaluation; or tokens a second",
        )
    return pace


def _trained(folder: Path) -> Speed | None:
    """Of all training steps that were recorded under a folder."""
    tokens = responses = seconds = 0.0
    for path in folder.rglob(METRICS_FILE):
        for row in read_metrics(path.parent):
            took = row.get("time/step", 0.0)
            seconds += took
            tokens += row.get("throughput/tokens_per_second", 0.0) * took
            responses += row.get("throughput/rollouts_per_second", 0.0) * took
    return Speed(tokens / seconds, tokens / responses) if tokens and responses else None


def _measured(folder: Path) -> Speed | None:
    """Of all finished evaluations under a folder."""
    found: list[Evaluation] = []
    for path in folder.rglob(SPEC_FILE):
        try:
            found.append(load_evaluation(path.parent, [each.id for each in read_problems(path.parent)]))
        except DataError:  # unfinished
            continue
    samples = [sum(each.status_counts.values()) for each in found]
    tokens = sum(count * each.mean_num_tokens for count, each in zip(samples, found, strict=True))
    took = [evaluation_seconds(each.folder) for each in found]
    if not tokens or not sum(took):
        return None
    counts = [evaluation_engines(each.folder) for each in found]
    known = [seconds * count for seconds, count in zip(took, counts, strict=True) if count is not None]
    engines = sum(known) / sum(took) if len(known) == len(took) else None
    return Speed(tokens / sum(took), tokens / sum(samples), engines)


def work_ahead(
    config: ExperimentConfig, resolved: dict[str, Any], group_size: int, num_problems: int, last_step: int
) -> str:
    """The line that announces a training run.

    Args:
        config: of the run.
        resolved: the same as plain data.
        group_size: responses per prompt.
        num_problems: it trains on.
        last_step: done by earlier sessions.
    """
    size = f"{config.train.num_steps} steps of {config.train.prompts_per_step} prompts × {group_size}"
    size += "".join(
        f", from step {step} of {stage.train.prompts_per_step} with responses of up to "
        f"{stage.rollout.max_response_tokens:,} tokens"
        for step, stage in config.in_stages().items()
        if step > 1
    )
    parts = [
        f"{config.algorithm.name}, seed {config.seed}, {size}, {num_problems} problems",
        f"going on after step {last_step}" if last_step else "",
        training_forecast(config, resolved, config.train.num_steps - last_step),
        "starting Ray, vLLM and DeepSpeed",
    ]
    return "; ".join(part for part in parts if part)


def training_forecast(config: ExperimentConfig, resolved: dict[str, Any], num_steps: int) -> str:
    """How long so many steps will take, in words; empty where no run beside this one tells.

    Args:
        config: of the run that begins.
        resolved: the same as plain data.
        num_steps: that are still to do.
    """
    paths = list(_newest_first(Path(config.run.dir), METRICS_FILE, DEPTH))
    for alike in ((*ALIKE, ALGORITHM), ALIKE):
        wanted = [_at(resolved, keys) for keys in alike]
        for run in (path.parent for path in paths):
            stored = _json(run / CONFIG_FILE) if (run / CONFIG_FILE).exists() else None
            if stored is None or [_at(stored, keys) for keys in alike] != wanted:
                continue
            there = read_provenance(run).get("hardware")
            seconds = [row["time/step"] for row in read_metrics(run) if "time/step" in row]
            if there in (None, hardware()) and seconds:
                step = median(seconds)
                return f"about {progress.duration(step * num_steps)}, at {step:.1f} s a step as in {run}"
    return ""


def evaluation_forecast(missing: Mapping[Path, tuple[EvaluationSpec, int]], engines: int | None) -> str:
    """How long evaluations will take, in words; empty where none beside them tells it of each.

    Args:
        missing: by the folder of each evaluation what it measures, and how many samples are still to draw.
        engines: that draw them; None of a server.
    """
    seconds = [_sample_seconds(folder, spec, engines) for folder, (spec, _) in missing.items()]
    counts = [count for _, count in missing.values()]
    known = [(each, count) for each, count in zip(seconds, counts, strict=True) if each is not None]
    if not known or len(known) < len(missing):
        return ""
    return f"about {progress.duration(sum(each * count for each, count in known))}, as the last time"


def _sample_seconds(folder: Path, spec: EvaluationSpec, engines: int | None) -> float | None:
    """Of the last evaluation of this model, or of another one of this study, that sampled alike on as many engines."""
    for path in _newest_first(run_dir_of(folder), SECONDS_FILE, EVALUATION_DEPTH):
        other = path.parent
        theirs = _spec_of(other)
        if theirs is None or not is_counted(other) or evaluation_engines(other) != engines:
            continue
        is_alike = (theirs.benchmark, theirs.prompt_template, theirs.sampling) == (
            spec.benchmark, spec.prompt_template, spec.sampling,
        )  # fmt: skip
        if is_alike and (theirs.model_sha256 == spec.model_sha256 or run_dir_of(other) == run_dir_of(folder)):
            return evaluation_seconds(other) / (theirs.num_problems * theirs.num_samples)
    return None


def _newest_first(run_dir: Path, name: str, depth: int) -> Iterator[Path]:
    """Files of a name beside a folder, beside the study that it is of, and in what holds them here; the newest first.

    Folders above the working folder are left alone: nobody knows what else lies there.
    """
    run_dir, here = run_dir.absolute(), Path.cwd()
    above = [root for root in run_dir.parents[1:] if here in root.parents]
    of_study = [run_dir.parent.parent] if (run_dir.parent / CONFIG_FILE).exists() else []
    roots = {run_dir.parent, *above, *of_study}
    found = [path for root in roots for level in range(depth) for path in root.glob("*/" * level + name)]
    found = list({path.resolve(): path for path in found}.values())
    yield from sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def _at(config: dict[str, Any], keys: tuple[str, ...]) -> Any:
    found: Any = config
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found or None  # what an older version does not know, it did not do


def _json(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except DataError:
        return {}


def _spec_of(folder: Path) -> EvaluationSpec | None:
    try:
        return read_spec(folder) if (folder / SPEC_FILE).exists() else None
    except DataError:
        return None
