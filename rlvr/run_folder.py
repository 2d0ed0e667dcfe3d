"""What lies in the folder of a run, under which names; and the records that a training run and an evaluation keep.

    run.dir of `rlvr study`                       run.dir of `rlvr evaluate`
      config.json                                   evaluation/BENCHMARK/MODEL/ as there
      RUN/                a training run            report.html, summary.json, figures/
        config.json, metrics.jsonl, rollouts.jsonl
        trained.json      written last
        model/, checkpoints/step-000040/
      evaluation/BENCHMARK/MODEL/
        spec.json, problems.jsonl, prompt.txt, samples.jsonl.gz, counts.json, wall_seconds.json
        audit.json, perplexity.json, entropy.json, equal_entropy.json
      report.html, summary.json, figures/

`rlvr train` makes a RUN alone; `rlvr pretrain` and `rlvr distill` leave pretraining.json and distilled.json beside the model; `rlvr paper`
leaves timings.json in the folder of a study whose commands it ran. Every other module takes the names from here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlvr.errors import ConfigError, DataError
from rlvr.files import write_json

CONFIG_FILE = "config.json"
METRICS_FILE, ROLLOUTS_FILE, TRAINED_FILE = "metrics.jsonl", "rollouts.jsonl", "trained.json"
MODEL_FOLDER, CHECKPOINTS_FOLDER = "model", "checkpoints"
EVALUATIONS_FOLDER = "evaluation"
SPEC_FILE, PROBLEMS_FILE, PROMPT_FILE = "spec.json", "problems.jsonl", "prompt.txt"
SAMPLES_FILE, COUNTS_FILE, SECONDS_FILE = "samples.jsonl.gz", "counts.json", "wall_seconds.json"
PRETRAINED_FILE, DISTILLED_FILE = "pretraining.json", "distilled.json"
AUDIT_FILE, PERPLEXITY_FILE, ENTROPY_FILE = "audit.json", "perplexity.json", "entropy.json"
EQUAL_ENTROPY_FILE = "equal_entropy.json"
TIMINGS_FILE = "timings.json"
REPORT_FILE, SUMMARY_FILE, FIGURES_FOLDER = "report.html", "summary.json", "figures"
BASE = "base"
"""Name of a study's start model in its evaluations."""

MetricRow = Mapping[str, Any]
"""A row of ``metrics.jsonl``: ``step``, and metrics by ``stage/name``."""


def evaluation_folder(run_dir: Path, benchmark: str, model: str) -> Path:
    """Where the evaluation of the model of that name lies in ``run.dir``."""
    return run_dir / EVALUATIONS_FOLDER / benchmark / model


def run_dir_of(evaluation: Path) -> Path:
    """``run.dir`` of the study, or of the evaluate command, that an evaluation's folder lies in; itself where it is alone."""
    above = [parent for parent in evaluation.parents if parent.name == EVALUATIONS_FOLDER]
    return above[0].parent if above else evaluation


def training_folder(run_dir: Path, run: str) -> Path:
    """The folder of a training run: the subfolder of its name, or ``run.dir`` itself."""
    return run_dir / run if (run_dir / run).is_dir() else run_dir


def is_study(run_dir: Path) -> bool:
    """Whether a folder has a config and is no training run, so that what trains lies in subfolders."""
    return (run_dir / CONFIG_FILE).exists() and not (run_dir / METRICS_FILE).exists()


def read_config(run: Path) -> dict[str, Any]:
    """The settings of a training run or study; empty where they are not there.

    Raises:
        DataError: the file is malformed.
    """
    path = run / CONFIG_FILE
    return read_json(path) if path.exists() else {}


def write_config(run: Path, resolved: dict[str, Any]) -> None:
    """Keep the settings of a training run or study, by which it is told whose the folder is."""
    write_json(run / CONFIG_FILE, resolved)


def read_metrics(run: Path) -> list[MetricRow]:
    """Rows of a run's ``metrics.jsonl``; a last line that was never finished is left out."""
    path = run / METRICS_FILE
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines if line.strip()]


def read_provenance(run: Path) -> dict[str, Any]:
    """What a finished training run recorded about itself; empty for anything else.

    Raises:
        DataError: the file is malformed.
    """
    path = run / TRAINED_FILE
    return read_json(path) if path.exists() else {}


def write_provenance(run: Path, record: dict[str, Any]) -> None:
    """Keep what a training run was. Written last: a run that has this file is complete."""
    write_json(run / TRAINED_FILE, record)


def trained_steps(run: Path) -> int | None:
    """Steps of the finished run in a folder; None where there is none, or it is not finished."""
    if not (run / TRAINED_FILE).exists():
        return None
    rows = read_metrics(run)
    return int(rows[-1]["step"]) if rows else 0


def evaluation_seconds(evaluation: Path) -> float:
    """Wall time that an evaluation took, over all its sessions; 0 where it was not recorded."""
    return float(_time_record(evaluation)["seconds"])


def evaluation_engines(evaluation: Path) -> int | None:
    """Engines of an evaluation's last session; None where it was not recorded, and of a server."""
    found: int | None = _time_record(evaluation)["engines"]
    return found


def add_evaluation_seconds(evaluation: Path, seconds: float, engines: int | None) -> None:
    """Count the wall time of one more session, with so many engines."""
    total = round(evaluation_seconds(evaluation) + seconds, 1)
    write_json(evaluation / SECONDS_FILE, {"seconds": total, "engines": engines})


def _time_record(evaluation: Path) -> dict[str, Any]:
    path = evaluation / SECONDS_FILE
    found = json.loads(path.read_text()) if path.exists() else 0.0
    # Older versions wrote the seconds alone.
    return found if isinstance(found, dict) else {"seconds": found, "engines": None}


def write_equal_entropy(folder: Path, temperature: float, target: float) -> None:
    """Keep beside a model's samples the temperature at which it has the base's entropy.

    Args:
        folder: of an evaluation of the model.
        temperature: as `rlvr entropy match=…` found it.
        target: the base's entropy, nats per token.
    """
    found = {"temperature": round(temperature, 3), "base_nats_per_token": target}
    write_json(folder / EQUAL_ENTROPY_FILE, found)


def equal_entropy(folder: str) -> float:
    """The temperature at which the model of an evaluation has the base's entropy: ``${rlvr_equal_entropy:FOLDER}`` in a setting.

    Raises:
        ConfigError: `rlvr entropy` has not found it.
    """
    path = Path(folder) / EQUAL_ENTROPY_FILE
    if not path.is_file():
        raise ConfigError(
            "no temperature is known at which this model has the base's entropy",
            where=folder,
            fix="rlvr entropy STUDY match=0.8,1.0,1.2,1.5,2.0, with a range that the temperature lies in",
        )
    return float(read_json(path)["temperature"])


def recorded_seconds(folder: Path) -> float:
    """Wall time of what is finished under a folder, as it was recorded: trainings, pre-trainings, distillations, evaluations.

    The starts of engines, and what `rlvr audit`, `perplexity` and `entropy` took, nobody records. Folders that are links count
    where they lie in the folder itself.

    Raises:
        DataError: a record is malformed.
    """
    if not folder.is_dir():
        return 0.0
    places = [folder, *(each for each in folder.iterdir() if each.is_symlink() and each.is_dir())]
    found = {path.resolve(): path for place in places for path in place.rglob("*.json")}
    records = [
        path for path in found.values() if path.name in (TRAINED_FILE, PRETRAINED_FILE, DISTILLED_FILE)
    ]
    return sum(float(read_json(path).get("wall_seconds", 0)) for path in records) + sum(
        evaluation_seconds(path.parent) for path in found.values() if path.name == SECONDS_FILE
    )


def command_seconds(study: Path) -> dict[str, float]:
    """Wall time of the commands that `rlvr paper` ran for a study, over all their sessions, by their words.

    Raises:
        DataError: the file is malformed.
    """
    path = study / TIMINGS_FILE
    return {words: float(value) for words, value in read_json(path).items()} if path.exists() else {}


def add_command_seconds(study: Path, words: str, seconds: float) -> None:
    """Count the wall time of one more session; a study that has no folder yet gets none."""
    if study.is_dir():
        found = command_seconds(study)
        write_json(study / TIMINGS_FILE, {**found, words: round(found.get(words, 0.0) + seconds, 1)})


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        DataError: it is something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(
            f"malformed JSON: {error}", where=str(path), fix="restore or delete the file"
        ) from error
    if not isinstance(found, dict):
        raise DataError("not a JSON object", where=str(path), fix="restore or delete the file")
    return found
