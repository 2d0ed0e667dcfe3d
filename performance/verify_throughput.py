"""Verifications per second: short numbers, symbolic answers, code tests; memory over a long run; a poisoned batch.

Needs no model and no engine. Code runs at the isolation that this machine reaches.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from rlvr.records import Problem, Status, Verdict
from rlvr.rewards.code import CodeVerifier
from rlvr.rewards.config import SandboxConfig
from rlvr.rewards.math.verifier import MathVerifier
from rlvr.rewards.math.worker import cpu_time
from rlvr.rewards.pool import VerifierPool

SYMBOLIC = [
    (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt2}"),
    ("x^2-1", "(x-1)(x+1)"),
    (r"\{1,2,3\}", r"\{3,2,1\}"),
    (r"2\pi r^2", r"\pi r^2 \cdot 2"),
]
POISON = ["9^{9^{9^9}}", r"\binom{10^9}{10^8}", "(" * 400 + "7" + ")" * 400, "7" * 1_000_000]
TESTS = json.dumps([{"stdin": f"{number}\n", "stdout": f"{number * number}\n"} for number in range(5)])


def arguments(words: list[str]) -> argparse.Namespace:
    """Sizes."""
    parser = argparse.ArgumentParser(prog="python -m performance verify_throughput", description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--numbers", type=int, default=20_000, help="short numeric verifications")
    parser.add_argument("--symbolic", type=int, default=1_000)
    parser.add_argument("--programs", type=int, default=40, help="programs of 5 tests each")
    parser.add_argument("--poisoned", type=int, default=2_000, help="answers of which 1 %% are hostile")
    parser.add_argument("--level", default="auto", help="isolation of programs (rewards.sandbox.level)")
    parser.add_argument("--model", help=argparse.SUPPRESS)  # shared by all benchmarks
    parser.add_argument("--json", metavar="FILE")
    return parser.parse_args(words)


def rate(pool: VerifierPool, problems: list[tuple[Problem, str]]) -> tuple[float, list[Verdict]]:
    """Verifications per second through a pool, and the verdicts."""
    started = time.perf_counter()
    futures: list[Future[Verdict]] = [
        pool.submit(problem, response, "stop") for problem, response in problems
    ]
    verdicts = [future.result() for future in futures]
    return len(problems) / (time.perf_counter() - started), verdicts


def math_problem(gold: str, answer: str) -> tuple[Problem, str]:
    """A problem and a response to it."""
    return Problem("p", (), "benchmark", gold), rf"Therefore the answer is \boxed{{{answer}}}."


def resident_mib(pid: int) -> float:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main(words: list[str]) -> None:
    """Measure and print."""
    options = arguments(words)
    rng = random.Random(0)
    found: dict[str, Any] = {"workers": options.workers, "load_before": os.getloadavg()[0]}
    verifier = MathVerifier(num_workers=options.workers)
    with VerifierPool(verifier, options.workers) as pool:
        pool.verify(*math_problem("x+1", "1+x"), "stop")  # the worker's start is not throughput
        numbers = [math_problem(str(n), str(n + rng.randrange(2))) for n in range(options.numbers)]
        rate(pool, numbers)  # a first round fills what is bounded: caches, windows
        before = resident_mib(os.getpid())
        found["numbers_per_second"], _ = rate(pool, numbers)
        found["memory_growth_mib"] = resident_mib(os.getpid()) - before
        pairs = [SYMBOLIC[i % len(SYMBOLIC)] for i in range(options.symbolic)]
        # A number of its own in each: the worker remembers pairs that it has seen.
        symbolic = [math_problem(f"{gold}+{i}y", f"{answer}+{i}y") if "{1" not in gold else math_problem(gold, answer)
                    for i, (gold, answer) in enumerate(pairs)]  # fmt: skip
        found["symbolic_per_second"], verdicts = rate(pool, symbolic)
        found["symbolic_right"] = sum(verdict.status is Status.CORRECT for verdict in verdicts) / len(
            verdicts
        )
        found["worker_memory_mib"] = max(resident_mib(w.pid) for w in verifier.workers if w.pid)
        batch = [
            math_problem("7", POISON[i // 100 % 4] if i % 100 == 0 else "7") for i in range(options.poisoned)
        ]
        started = time.perf_counter()
        _, verdicts = rate(pool, batch)
        found["poisoned_seconds"] = time.perf_counter() - started
        hostile = len(range(0, options.poisoned, 100))
        found["poisoned_deadlines_seconds"] = hostile * verifier.config.cpu_seconds / options.workers
        found["poisoned_lost"] = sum(
            verdict.status is not Status.CORRECT for i, verdict in enumerate(verdicts) if i % 100
        )
    code = CodeVerifier(SandboxConfig(packages=[], level=options.level))
    found["sandbox"] = code.sandbox.level
    problem = Problem("p", (), "benchmark", TESTS, ability="code")
    with VerifierPool(code, options.workers) as pool:
        code.close()  # what its server has used by now counts as this process's children
        tests, cpu = code.num_tests, cpu_time(os.getpid()) + children_cpu()
        started = time.perf_counter()
        _, verdicts = rate(pool, [(problem, "print(int(input()) ** 2)")] * options.programs)
        tests = code.num_tests - tests
        found["code_tests_per_second"] = tests / (time.perf_counter() - started)
        code.close()
        found["code_cpu_ms_per_test"] = 1000 * (cpu_time(os.getpid()) + children_cpu() - cpu) / tests
        found["code_right"] = sum(verdict.status is Status.CORRECT for verdict in verdicts) / len(verdicts)
    for name, value in found.items():
        print(f"{name:28}{value:.3f}" if isinstance(value, float) else f"{name:28}{value}")
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def children_cpu() -> float:
    """CPU seconds of all children that have ended."""
    times = os.times()
    return times.children_user + times.children_system


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
