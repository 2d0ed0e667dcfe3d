"""A process that compares answers symbolically, and the handle that can kill it.

Answers are compared here because that can take any time and memory on a few characters. Signals or
threads cannot stop it: an alarm works in a main thread only and is swallowed by broad handlers. So the
parent watches the CPU time of the process and kills it; the next request starts a fresh one.

Requests and answers are lines of JSON. One request is under way at a time.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from rlvr.rewards.config import MathConfig

START_SECONDS = 300.0
"""Wall time for starting Python and importing what compares, on a machine under any load."""
POLL_SECONDS = 0.05
PR_SET_PDEATHSIG = 1
SENTENCE_WORDS = 5
"""A ground truth of so many words and no mathematics is marked: an answer in other words would be wrong."""


class WorkerTimeoutError(Exception):
    """The request took more CPU or wall time than it may; the process was killed."""


class WorkerDiedError(Exception):
    """The process ended without an answer."""


class MathWorker:
    """One worker process, started at its first request. Not for several threads at once."""

    def __init__(self, config: MathConfig) -> None:
        """Remember the limits; start nothing."""
        self.config = config
        self.num_starts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = b""

    @property
    def pid(self) -> int | None:
        """Process id, or None while there is no process."""
        return self._process.pid if self._process else None

    def ask(self, operation: str, *texts: str) -> dict[str, Any]:
        """Answer one request.

        Raises:
            WorkerTimeoutError: over ``cpu_seconds`` or ``wall_seconds``.
            WorkerDiedError: the process ended by itself.
        """
        process = self._process
        if process is None or process.poll() is not None:
            process = self._start()
        line = json.dumps([operation, *texts]).encode() + b"\n"
        try:
            assert process.stdin is not None
            process.stdin.write(line)
            process.stdin.flush()
        except OSError as error:
            self.kill()
            raise WorkerDiedError(str(error)) from error
        return self._receive(process, self.config.cpu_seconds, self.config.wall_seconds)

    def kill(self) -> None:
        """End the process, whatever it is doing."""
        process, self._process, self._buffer = self._process, None, b""
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    try:
                        stream.close()
                    except OSError:  # unsent bytes for a dead process
                        continue

    def _start(self) -> subprocess.Popen[bytes]:
        self.kill()
        root = str(Path(__file__).resolve().parents[2])
        package = os.pathsep.join([_import_root(), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, "-B", "-m", "rlvr.rewards.math.worker", json.dumps(asdict(self.config))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": package},
            cwd=root,
            start_new_session=True,  # an interrupt at the terminal is the parent's business
        )
        self.num_starts += 1
        self._receive(self._process, START_SECONDS, START_SECONDS)
        return self._process

    def _receive(
        self, process: subprocess.Popen[bytes], cpu_limit: float, wall_limit: float
    ) -> dict[str, Any]:
        assert process.stdout is not None
        descriptor = process.stdout.fileno()
        started, cpu_before = time.monotonic(), cpu_time(process.pid)
        while b"\n" not in self._buffer:
            if select.select([descriptor], [], [], POLL_SECONDS)[0]:
                data = os.read(descriptor, 65536)
                if not data:
                    self.kill()
                    raise WorkerDiedError(f"the math worker ended with status {process.returncode}")
                self._buffer += data
            elif cpu_time(process.pid) - cpu_before > cpu_limit or time.monotonic() - started > wall_limit:
                self.kill()
                raise WorkerTimeoutError
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _import_root() -> str:
    import rlvr

    return str(Path(rlvr.__file__).parent.parent)


def cpu_time(pid: int) -> float:
    """CPU time of a process in seconds, to 10 ms; 0 for one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ------------------------------------------------------------------------------------- in the worker


def serve(config: MathConfig, requests: IO[str], answers: IO[str]) -> None:
    """Answer requests until the parent closes the pipe."""
    from rlvr.rewards.math.by_math_verify import MathVerifyJudge
    from rlvr.rewards.math.compare import Comparison, same_text
    from rlvr.rewards.math.form import Form, Words, parse
    from rlvr.rewards.math.functions import TooLargeError
    from rlvr.rewards.math.spelling import normalise
    from rlvr.rewards.math.tokens import UnreadableError

    comparison = Comparison(config)

    @lru_cache(maxsize=4096)
    def read_gold(text: str) -> Form | str:
        try:
            form = parse(normalise(text))
            comparison.same(form, form)
        except (RecursionError, UnreadableError) as error:
            return str(error) or type(error).__name__
        except TooLargeError:
            pass
        return form

    judge = None if config.judge == "exact" else MathVerifyJudge()

    @lru_cache(maxsize=16384)  # the responses of a group often end in the same wrong answer
    def respond(operation: str, *texts: str) -> dict[str, Any]:
        try:
            if judge is not None:
                return judge.respond(operation, *texts)
            gold = read_gold(texts[0])
            sentence = isinstance(gold, Words) and len(gold.text.split()) >= SENTENCE_WORDS
            if operation == "read":
                reason = (
                    gold if isinstance(gold, str) else "a sentence, compared word by word" if sentence else ""
                )
                return {"as_text": reason} if reason else {"ok": True}
            if isinstance(gold, str):
                return {"same": same_text(*texts), "as_text": True}
            same = comparison.same(gold, parse(normalise(texts[1])))
            return {"same": same, "as_text": True} if sentence else {"same": same}
        except (RecursionError, UnreadableError) as error:
            return {"unreadable": str(error) or type(error).__name__}
        except (MemoryError, TooLargeError) as error:
            return {"too_large": str(error) or type(error).__name__}
        except Exception as error:  # noqa: BLE001 - a fault here is ours, and counted
            return {"error": f"{type(error).__name__}: {error}"[:300]}

    answers.write("{}\n")
    answers.flush()
    for line in requests:
        answers.write(json.dumps(respond(*json.loads(line))) + "\n")
        answers.flush()


def limit_resources(memory_mib: int) -> None:
    """Cap this process's address space, write no core files, and end with the parent."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    size = memory_mib * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(arguments: list[str]) -> None:
    """Entry point of the process; its standard output carries the answers and nothing else."""
    config = MathConfig(**json.loads(arguments[0]))
    limit_resources(config.memory_mib)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not reach the channel
    serve(config, sys.stdin, answers)


if __name__ == "__main__":
    main(sys.argv[1:])
