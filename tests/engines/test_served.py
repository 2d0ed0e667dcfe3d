"""A model behind vLLM's own OpenAI server, as a user has one: measured, killed in the middle, measured on."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from rlvr.eval.samples import read_samples
from tests.commands import MARK, TIMEOUT, assert_nothing_left, end_all, start, stderr, wait_for
from tests.tiny import TINY
from tests.vision import vision_model, visual_set


def documented_command() -> tuple[dict[str, str], list[str]]:
    """The command by which docs/served.md starts a server on a CPU: variables and words."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "served.md").read_text()
    lines = page.split("    VLLM_CPU_KVCACHE_SPACE")[1].split("\n\n")[0].replace("\\\n", " ")
    variable, *command = shlex.split(f"VLLM_CPU_KVCACHE_SPACE{lines}")
    name, _, value = variable.partition("=")
    return {name: value}, command


@contextmanager
def served(tmp_path: Path, model: Path) -> Iterator[str]:
    """Address of a server with a model, under the name ``tiny``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables, command = documented_command()
    given = {"--model": str(model), "--served-model-name": "tiny", "--port": str(port)}
    for option, value in given.items():
        command[command.index(option) + 1] = value
    process = subprocess.Popen(
        [sys.executable, *command[1:], "--host", "127.0.0.1"],
        env={
            **os.environ, **variables, MARK: str(tmp_path),
            # Beside other tests: no binding to cores, which they use too, and one thread.
            "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1", "VLLM_NO_USAGE_STATS": "1",
        },
        stdout=(tmp_path / "server.txt").open("w"), stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}/v1"

    def answers() -> bool:
        try:
            return bool(urlopen(f"{url}/models", timeout=5).status == 200)
        except (URLError, OSError):
            return False

    try:
        wait_for(answers, process, 240)
        yield url
        process.terminate()
        process.wait(timeout=60)
        assert_nothing_left(tmp_path)
    finally:
        end_all(tmp_path)


def test_a_served_model_is_measured_and_a_killed_evaluation_goes_on(tmp_path: Path) -> None:
    with served(tmp_path, TINY) as url:
        run = tmp_path / "run"
        arguments = (
            "evaluate", "model=tiny", f"api.base_url={url}", "api.max_concurrent=32", "api.seed_field=seed",
            "benchmark=skills", "num_samples=16", "data.skills.num_test=30", f"run.dir={run}",
        )  # fmt: skip
        samples = run / "evaluation" / "skills" / "tiny" / "samples.jsonl.gz"
        command = start(tmp_path, *arguments)
        wait_for(lambda: samples.exists() and samples.stat().st_size > 20_000, command)
        command.kill()
        command.communicate(timeout=60)
        stored = list(read_samples(samples))
        assert 0 < len(stored) < 30 * 16

        command = start(tmp_path, *arguments)
        output, _ = command.communicate(timeout=TIMEOUT)
        assert command.returncode == 0, stderr(tmp_path)
        assert f"{len(stored):,} already there" in stderr(tmp_path)
        assert "pass@16" in output
        rows = list(read_samples(samples))
        assert rows[: len(stored)] == stored
        assert len({(row.problem, row.sample) for row in rows}) == len(rows) == 30 * 16
        # What the tiny model writes: worked steps of that many tokens, right now and then, and not all the same.
        assert 0.1 < sum(row.score for row in rows) / len(rows) < 0.9
        assert all(row.num_tokens > 5 and "# " in row.text for row in rows if row.status == "correct")
        assert len({row.text for row in rows}) > 100


def test_a_served_model_is_shown_images(tmp_path: Path) -> None:
    """One that reads the answer off the image, and sees nothing else that could tell it."""
    visual_set(tmp_path / "data", repeat=2)
    run = tmp_path / "run"
    with served(tmp_path, vision_model(tmp_path / "model", steps=60)) as url:
        command = start(
            tmp_path, "evaluate", "model=tiny", f"api.base_url={url}", "benchmark=mathvista", "prompt=chat",
            f"data.folder={tmp_path / 'data'}", "num_samples=4", "evaluation.max_tokens=8", f"run.dir={run}",
        )  # fmt: skip
        command.communicate(timeout=TIMEOUT)
        assert command.returncode == 0, stderr(tmp_path)
    rows = list(read_samples(run / "evaluation" / "mathvista" / "tiny" / "samples.jsonl.gz"))
    assert len(rows) == 8 * 4
    assert sum(row.score for row in rows) > 0.9 * len(rows)
