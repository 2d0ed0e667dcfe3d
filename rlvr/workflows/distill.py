"""Distillation: a student learns the responses of a teacher that the verifier found right."""

from __future__ import annotations

import json
import random
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rlvr.config import DistillConfig
from rlvr.data.model_folder import check_model_folder, model_hash
from rlvr.distill import DistillProgress, Example, distill
from rlvr.errors import ConfigError, DataError
from rlvr.eval.discovery import stores_in
from rlvr.eval.samples import Sample, read_samples
from rlvr.eval.store import read_problems
from rlvr.files import write_json
from rlvr.provenance import plain_data, provenance
from rlvr.records import Problem, Status
from rlvr.run_folder import CONFIG_FILE, DISTILLED_FILE, SAMPLES_FILE
from rlvr.tracking.progress import StageProgress, say


def distill_student(config: DistillConfig, resolved: dict[str, Any] | None = None) -> Path | None:
    """What `rlvr distill` does: fine-tune ``config.model`` on the teacher's right responses.

    Args:
        config: student, teachers, and how it learns.
        resolved: the config as plain data without secrets; made of it by default.

    Returns:
        The student's folder; None in those processes of a launcher that leave the writing to another one.

    Raises:
        ConfigError: there is a model in ``config.output``, or no evaluation of a teacher.
        DataError: the teacher has no right response.
    """
    resolved = plain_data(config) if resolved is None else resolved
    output = Path(config.output)
    check_model_folder(config.model)
    if (output / CONFIG_FILE).exists():
        raise ConfigError(
            "there is a model in this folder",
            where=f"output={output}",
            fix="output=ANOTHER_FOLDER, or delete it",
        )
    examples, teachers = examples_of(config)
    if not examples:
        raise DataError(
            "the teacher has no right response", where=f"teacher={config.teacher}", fix="sample more of it"
        )
    started = time.monotonic()
    with StageProgress("distill", len(examples)) as progress:

        def show(now: DistillProgress) -> None:
            progress.update(
                round(len(examples) * now.step / now.num_steps),
                f"examples  loss {now.loss:.4f} nats/token  {now.tokens_per_second:,.0f} tok/s",
            )

        num_learned = distill(config, examples, output, show)
    if not (output / CONFIG_FILE).exists():
        return None  # another process of the same run writes
    record = {
        **provenance(resolved),
        "config": resolved,
        "teachers": teachers,
        "num_examples": num_learned,
        "num_too_long": len(examples) - num_learned,
        "start_model_sha256": model_hash(config.model),
        "model_sha256": model_hash(str(output)),
        "wall_seconds": round(time.monotonic() - started, 1),
    }
    write_json(output / DISTILLED_FILE, json.loads(json.dumps(record)))
    return output


def examples_of(config: DistillConfig) -> tuple[list[Example], list[dict[str, Any]]]:
    """What the student learns from, and a record of each evaluation of the teachers."""
    examples: list[Example] = []
    teachers = []
    for folder in config.teacher:
        for store in stores_in(Path(folder)):
            problems = read_problems(store.folder)
            found = right_responses(
                problems, read_samples(store.folder / SAMPLES_FILE), config.max_per_problem, config.seed
            )
            solved = len({example.problem.id for example in found})
            say(f"{store.folder}: {len(found)} right responses to {solved} of {len(problems)} problems")
            teachers.append({**asdict(store.spec), "responses": len(found), "problems_solved": solved})
            examples += found
    return examples, teachers


def right_responses(
    problems: Iterable[Problem], samples: Iterable[Sample], max_per_problem: int, seed: int
) -> list[Example]:
    """Different right responses, at most so many of a problem, drawn evenly.

    A problem that the teacher nearly always solves would otherwise make up most of the corpus.
    """
    by_id = {problem.id: problem for problem in problems}
    right: dict[str, dict[str, None]] = defaultdict(dict)  # in the order of the file, each text once
    for sample in samples:
        if sample.status is Status.CORRECT and sample.problem in by_id:
            right[sample.problem][sample.text] = None
    rng = random.Random(f"distill/responses/{seed}")
    return [
        Example(by_id[name], text)
        for name in sorted(right)
        for text in rng.sample(sorted(right[name]), min(max_per_problem, len(right[name])))
    ]
