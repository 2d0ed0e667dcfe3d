"""Does this machine's GPU run rlvr, and how fast: the doctor, the GPU tests, a training run of a 0.5B shape.

The model has Qwen2.5-0.5B's shape and random weights; nothing is downloaded. Engine and learner share one GPU as with
`cluster=gpu_1`. Counted for the MFU are six operations for each response token and parameter, and attention over half of
the square. Prompts, which are short here, and what gradient checkpointing computes twice are not counted.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, Qwen2Config

from performance.common import TINY_MODEL, machine, machine_line, parser, table, write_result

SHAPES = {
    "0.5b": {
        "num_hidden_layers": 24, "hidden_size": 896, "intermediate_size": 4864, "num_attention_heads": 14,
        "num_key_value_heads": 2, "vocab_size": 151_936,
    },
    "small": {
        "num_hidden_layers": 4, "hidden_size": 128, "intermediate_size": 384, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 512,
    },
}  # fmt: skip
"""``small`` is for trying this script out on a CPU."""
GROUP_SIZE = 8


def main(arguments: list[str]) -> None:
    """Run all three, print what they say; exit code 1 if one fails."""
    args = _arguments(arguments)
    if args.device == "cuda" and not torch.cuda.is_available():
        print("torch sees no CUDA device; --device cpu --shape small tries the script out")
        return
    found = machine()
    print(machine_line(found), flush=True)
    failed = [name for name, command in _checks(args.device) if _run(name, command).returncode]
    with tempfile.TemporaryDirectory(prefix="rlvr-gpu-") as temporary:
        folder = Path(temporary)
        shape = _write_model(folder / "model", SHAPES[args.shape], args.response + 256)
        with _peak_memory() as peak:
            trained = _run("train", _training(folder, args))
        if trained.returncode:
            sys.exit("failed: " + ", ".join([*failed, "train"]))
        rows = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    result = _figures(rows[1:], shape, 1e12 * args.tflops) | {"peak GPU memory, GiB": max(peak, default=0.0)}
    lines = [(name, f"{value:,.4g}") for name, value in result.items()]
    print(table(("", f"steps 2 to {len(rows)}"), lines))
    write_result(args.json, {"machine": found, "figures": result, "rows": rows})
    if failed:
        sys.exit("failed: " + ", ".join(failed))


def _arguments(arguments: list[str]) -> Any:
    made = parser("gpu_check", __doc__)
    made.add_argument("--shape", choices=SHAPES, default="0.5b", help="of the model that is trained")
    made.add_argument("--steps", type=int, default=4, help="training steps; the first is left out as warm-up")
    made.add_argument(
        "--prompts", type=int, default=32, help=f"prompts of a step, {GROUP_SIZE} responses each"
    )
    made.add_argument("--response", type=int, default=1024, help="longest response, tokens")
    made.add_argument(
        "--tflops", type=float, default=989.0, help="what counts as all of the GPU (an H100's peak)"
    )
    made.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu tries this script out")
    return made.parse_args(arguments)


def _checks(device: str) -> Iterator[tuple[str, list[str]]]:
    yield "doctor", [sys.executable, "-m", "rlvr.cli.main", "doctor"]
    if device == "cuda":
        yield "tests", [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests/gpu"]


def _run(name: str, command: list[str]) -> subprocess.CompletedProcess[bytes]:
    print(f"\n== {name}: {' '.join(command)}", flush=True)
    return subprocess.run(command, check=False)


def _write_model(folder: Path, shape: dict[str, int], positions: int) -> dict[str, int]:
    """A Qwen2 model with random weights and the tiny model's tokenizer, which leaves most of its rows unused."""
    shutil.copytree(TINY_MODEL, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    known = json.loads((TINY_MODEL / "config.json").read_text())
    ends = {name: known[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id") if name in known}
    config = Qwen2Config(**shape, **ends, tie_word_embeddings=True, max_position_embeddings=positions)
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    return shape


def _training(folder: Path, args: Any) -> list[str]:
    settings = {
        "recipe": "tiny",
        "model": folder / "model",
        "run.dir": folder / "run",
        "algorithm": "grpo",
        "algorithm.group_size": GROUP_SIZE,
        "train.num_steps": args.steps,
        "train.prompts_per_step": args.prompts,
        "rollout.max_response_tokens": args.response,
    }
    if args.device == "cuda":
        settings |= {"cluster": "gpu_1", "rollout.dtype": "bfloat16", "learner.dtype": "bfloat16"}
    words = [f"{name}={value}" for name, value in settings.items()]
    return [sys.executable, "-m", "rlvr.cli.main", "train", *words, *args.rlvr]


@contextmanager
def _peak_memory(seconds: float = 0.5) -> Iterator[list[float]]:
    """Memory in use on all GPUs, GiB, as nvidia-smi has it; nothing where there is none."""
    seen: list[float] = []
    over = threading.Event()
    query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]

    def watch() -> None:
        while not over.wait(seconds):
            used = subprocess.run(query, check=False, capture_output=True, text=True).stdout.split()
            seen.append(sum(map(float, used)) / 1024)

    watcher = threading.Thread(target=watch, daemon=True)
    if shutil.which("nvidia-smi"):
        watcher.start()
    try:
        yield seen
    finally:
        over.set()


def _figures(rows: list[dict[str, float]], shape: dict[str, int], peak: float) -> dict[str, float]:
    """Means over the steps."""

    def mean(name: str) -> float:
        return sum(row[name] for row in rows) / len(rows)

    step = mean("time/step")
    responses = mean("throughput/rollouts_per_second") * step
    sampled = mean("throughput/tokens_per_second") * step
    hidden, layers, heads = shape["hidden_size"], shape["num_hidden_layers"], shape["num_attention_heads"]
    attention = hidden * hidden // heads * 2 * (heads + shape["num_key_value_heads"])
    body = layers * (attention + 3 * hidden * shape["intermediate_size"])
    work = (
        6 * (body + hidden * shape["vocab_size"]) * sampled
        + 6 * layers * hidden * sampled / responses * sampled
    )
    return {
        "rollout, response tokens/s": sampled / mean("time/rollout"),
        "learner, response tokens/s": sampled / mean("time/learn"),
        "learner MFU": work / mean("time/learn") / peak,
        "weight update and proof, s": mean("time/sync"),
        "step, s": step,
        "proved share of the weights": mean("sync/proved_share"),
        "mean |Δ log p| of engine and learner, nats": mean("sync/probe_mean_abs"),
    }
