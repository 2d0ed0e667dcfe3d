"""Evaluations in the log formats of inspect_ai and lm-eval, for the viewers and scripts that read those.

What they show follows from the samples on disk. Numbers with intervals are rlvr's own: neither format has a place for
pass@k over paired models.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from rlvr import __version__
from rlvr.eval.pass_at_k import default_ks, pass_at_k
from rlvr.eval.samples import Sample
from rlvr.eval.store import Evaluation, read_problems
from rlvr.files import write_json, write_text
from rlvr.records import Problem, Status
from rlvr.run_folder import SAMPLES_FILE

INSPECT_VERSION = 2
"""Of inspect_ai's log schema."""
INSPECT_VALUES = {Status.CORRECT: "C", Status.UNPARSED: "N"}
"""inspect's words for right and for no answer; all else is ``I``."""
SCORER = "rlvr"
STOP_REASONS = {"stop": "stop", "length": "max_tokens"}


def inspect_log(evaluation: Evaluation, folder: Path) -> Path:
    """Write one evaluation as a log of inspect_ai, an epoch per sample index; read it with ``read_eval_log``.

    Samples on which the verifier itself failed carry no score.

    Args:
        evaluation: a finished one.
        folder: where logs are written; made if it is not there.

    Returns:
        The file.
    """
    spec, created = evaluation.spec, _created(evaluation)
    problems = {problem.id: problem for problem in read_problems(evaluation.folder)}
    samples = [
        _inspect_sample(sample, problems[sample.problem], spec.model_name) for sample in _rows(evaluation)
    ]
    accuracy = float(np.mean(evaluation.num_correct / np.maximum(evaluation.num_samples, 1)))
    log = {
        "version": INSPECT_VERSION,
        "status": "success",
        "eval": {
            "created": created.isoformat(),
            "task": spec.benchmark,
            "task_id": _identity(evaluation),
            "run_id": _identity(evaluation),
            "dataset": {
                "name": spec.benchmark,
                "samples": spec.num_problems,
                "sample_ids": list(evaluation.problem_ids),
            },
            "model": spec.model_name,
            "model_generate_config": {
                name: spec.sampling[name]
                for name in ("temperature", "top_p", "max_tokens")
                if name in spec.sampling
            },
            "config": {"epochs": spec.num_samples},
            "packages": {"rlvr": __version__},
            "metadata": _about(evaluation),
        },
        # What inspect's viewer and header readers ask for, though nothing here has solvers or a clock for each sample.
        "plan": {"name": "plan", "steps": [], "config": {}},
        "results": {
            "total_samples": spec.num_problems * spec.num_samples,
            "completed_samples": len(samples),
            "scores": [
                {
                    "name": SCORER,
                    "scorer": SCORER,
                    "metrics": {"accuracy": {"name": "accuracy", "value": accuracy}},
                }
            ],
        },
        "stats": {"started_at": created.isoformat(), "completed_at": created.isoformat(), "model_usage": {}},
        "samples": samples,
    }
    name = f"{created:%Y-%m-%dT%H-%M-%S}_{spec.benchmark}_{spec.model_name}_{_identity(evaluation)[:8]}.json"
    path = folder / name.replace("/", "-")
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(log, ensure_ascii=False, separators=(",", ":")))
    return path


def _inspect_sample(sample: Sample, problem: Problem, model: str) -> dict[str, Any]:
    messages = [dict(message) for message in problem.prompt]
    reply = {"role": "assistant", "content": sample.text, "source": "generate", "model": model}
    written = {
        "id": problem.id,
        "epoch": sample.sample + 1,
        "input": messages,
        "target": problem.ground_truth,
        "messages": [*messages, reply],
        "output": {
            "model": model,
            "choices": [{"message": reply, "stop_reason": STOP_REASONS.get(sample.finish_reason, "unknown")}],
            "completion": sample.text,
            "usage": {"output_tokens": sample.num_tokens},
        },
        "metadata": {"status": sample.status.value, "score": sample.score},
    }
    if sample.status is not Status.ERROR:
        score = {"value": INSPECT_VALUES.get(sample.status, "I"), "answer": sample.answer}
        written["scores"] = {SCORER: score}
    return written


def lm_eval_files(evaluation: Evaluation, folder: Path) -> Path:
    """Write one evaluation as lm-eval logs it: ``MODEL/results_DATE.json`` and ``MODEL/samples_TASK_DATE.jsonl``.

    A row of the latter is a problem with all of its responses; the metrics are its accuracy and pass@k.

    Args:
        evaluation: a finished one.
        folder: where models have folders; made if it is not there.

    Returns:
        The file of results.
    """
    spec = evaluation.spec
    ks = default_ks(int(evaluation.num_samples.min()))
    metrics = ["exact_match", *(f"pass@{k}" for k in ks)]
    by_problem: dict[str, list[Sample]] = defaultdict(list)
    for sample in _rows(evaluation):
        by_problem[sample.problem].append(sample)
    values = np.column_stack(
        [
            evaluation.num_correct / evaluation.num_samples,
            pass_at_k(evaluation.num_samples, evaluation.num_correct, ks),
        ]
    )
    rows = [
        _lm_eval_row(
            index, problem, by_problem[problem.id], dict(zip(metrics, map(float, found), strict=True))
        )
        for index, (problem, found) in enumerate(zip(read_problems(evaluation.folder), values, strict=True))
    ]
    created = _created(evaluation)
    date = f"{created:%Y-%m-%dT%H-%M-%S.%f}"
    home = folder / spec.model_name.replace("/", "__")
    home.mkdir(parents=True, exist_ok=True)
    write_text(
        home / f"samples_{spec.benchmark}_{date}.jsonl",
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows),
    )
    means, spreads = values.mean(0), values.std(0, ddof=1) / np.sqrt(len(values))
    results: dict[str, Any] = {"alias": spec.benchmark}
    for metric, mean, spread in zip(metrics, means, spreads, strict=True):
        results |= {f"{metric},none": float(mean), f"{metric}_stderr,none": float(spread)}
    path = home / f"results_{date}.json"
    write_json(
        path,
        {
            "results": {spec.benchmark: results},
            "configs": {
                spec.benchmark: {
                    "task": spec.benchmark,
                    "output_type": "generate_until",
                    "repeats": spec.num_samples,
                    "generation_kwargs": spec.sampling,
                    "metadata": _about(evaluation),
                }
            },
            "versions": {spec.benchmark: spec.verifier},
            "n-shot": {spec.benchmark: 0},
            "n-samples": {spec.benchmark: {"original": spec.num_problems, "effective": spec.num_problems}},
            "config": {
                "model": "rlvr",
                "model_args": {"pretrained": spec.model_path},
                "random_seed": spec.seed,
            },
            "date": created.timestamp(),
            "model_name": spec.model_name,
        },
    )
    return path


def _lm_eval_row(
    index: int, problem: Problem, samples: Sequence[Sample], metrics: Mapping[str, float]
) -> dict[str, Any]:
    ordered = sorted(samples, key=lambda sample: sample.sample)
    prompt = json.dumps([dict(message) for message in problem.prompt], ensure_ascii=False)
    doc = {"id": problem.id, "prompt": prompt, "ground_truth": problem.ground_truth}
    return {
        "doc_id": index,
        "doc": doc,
        "target": problem.ground_truth,
        "arguments": {"gen_args_0": {"arg_0": prompt}},
        "resps": [[sample.text for sample in ordered]],
        "filtered_resps": [[sample.answer for sample in ordered]],
        "filter": "none",
        "metrics": list(metrics),
        "doc_hash": _sha256(json.dumps(doc, sort_keys=True)),
        "prompt_hash": _sha256(prompt),
        "target_hash": _sha256(problem.ground_truth),
        **metrics,
    }


def _rows(evaluation: Evaluation) -> list[Sample]:
    order = {problem: index for index, problem in enumerate(evaluation.problem_ids)}
    return sorted(evaluation.samples(), key=lambda sample: (order[sample.problem], sample.sample))


def _about(evaluation: Evaluation) -> dict[str, Any]:
    """What neither format has a place of its own for."""
    spec = evaluation.spec
    return {
        "model_path": spec.model_path,
        "model_sha256": spec.model_sha256,
        "problems_sha256": spec.problems_sha256,
        "prompt_template": spec.prompt_template,
        "verifier": spec.verifier,
        "seed": spec.seed,
        "chance_level": spec.chance_level,
    }


def _created(evaluation: Evaluation) -> datetime:
    """When its last sample was written."""
    return datetime.fromtimestamp((evaluation.folder / SAMPLES_FILE).stat().st_mtime, UTC)


def _identity(evaluation: Evaluation) -> str:
    spec = evaluation.spec
    return _sha256("/".join((spec.model_sha256, spec.problems_sha256, spec.prompt_template, str(spec.seed))))[
        :22
    ]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


FORMATS: dict[str, Callable[[Evaluation, Path], Path]] = {"inspect": inspect_log, "lm_eval": lm_eval_files}
"""By the name that ``rlvr export`` takes."""
