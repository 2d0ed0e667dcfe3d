"""Programs, judged by their behaviour: run in the sandbox, outputs compared here.

The program gets one input at a time and never the expected output, so there is nothing in its process to
read, forge or compare with cleverly: what passes is what prints or returns the right value.

There are two sets of conventions (:class:`Conventions`): the plain ones, and those of LiveCodeBench's own grader.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal, InvalidOperation
from keyword import iskeyword
from typing import Any

from rlvr.errors import DataError
from rlvr.records import Problem, Status, Verdict
from rlvr.rewards.config import SandboxConfig
from rlvr.rewards.extract import program
from rlvr.rewards.jail_process import SandboxError
from rlvr.rewards.plain import NotPlainError, decode, same
from rlvr.rewards.sandbox import Run, Sandbox

VERSION = 3
"""Raised whenever a verdict could change."""
MAX_SOURCE_CHARS = 200_000
TESTS_EXAMPLE = (
    '[{"stdin": "2\\n", "stdout": "4\\n"}] or {"entry_point": "f", "cases": [{"args": [2], "expected": 4}]}'
)


@dataclass(frozen=True, slots=True)
class Conventions:
    """What a program may rely on, and when a text that it prints is right."""

    name: str
    same_text: Callable[[str, str, float], bool]
    """Expected text, found text, tolerance of the test."""
    preamble: str = ""
    """Python source that runs in the program's name space before it."""
    any_exit_code: bool = False
    """Whether ``sys.exit(n)`` after the right output is an end as good as any."""


@dataclass(frozen=True, slots=True)
class Test:
    """One input and its expected output."""

    expected: Any
    """Text of standard output, or the decoded result of the call."""
    stdin: str = ""
    call: dict[str, Any] | None = None
    """``{"entry_point": …, "args": […]}`` for a function call; None for standard input."""
    tolerance: float = 0.0
    """Absolute and relative, for numbers; 0 is exact."""

    def passes(self, run: Run, same_text: Callable[[str, str, float], bool]) -> bool:
        """Whether a run of the program is right."""
        if not run.ok:
            return False
        if self.call is None:
            return same_text(str(self.expected), run.output.decode("utf-8", errors="replace"), self.tolerance)
        try:
            found = decode(json.loads(run.output, parse_constant=_refuse))
        except (ValueError, NotPlainError, RecursionError):
            return False
        return same(self.expected, found, self.tolerance)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def parse_tests(text: str, where: str) -> list[Test]:
    """Read the tests of a problem from its ground truth.

    Raises:
        DataError: malformed, or no test at all: such a problem would pass everything.
    """
    try:
        data = json.loads(text, parse_constant=_refuse)
        tests = _stdio(data) if isinstance(data, list) else _calls(data)
    except (ValueError, KeyError, TypeError, AttributeError, NotPlainError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"the tests cannot be read ({reason})", where=where, fix=TESTS_EXAMPLE) from error
    if not tests:
        raise DataError(
            "the problem has no tests", where=where, fix="at least one; without, every program would be right"
        )
    return tests


def _stdio(rows: list[dict[str, Any]]) -> list[Test]:
    tests = []
    for row in rows:
        if not isinstance(row["stdin"], str) or not isinstance(row["stdout"], str):
            raise TypeError("stdin and stdout must be text")
        tests.append(Test(row["stdout"], stdin=row["stdin"], tolerance=_tolerance(row)))
    return tests


def _calls(data: dict[str, Any]) -> list[Test]:
    entry_point = data["entry_point"]
    if not isinstance(entry_point, str) or not entry_point.isidentifier() or iskeyword(entry_point):
        raise ValueError(f"entry_point {entry_point!r} is not a name")
    tests = []
    for case in data["cases"]:
        if not isinstance(case["args"], list):
            raise TypeError("args must be a list")
        decode(case["args"])
        call = {"entry_point": entry_point, "args": case["args"]}
        tests.append(Test(decode(case["expected"]), call=call, tolerance=_tolerance(data | case)))
    return tests


def _tolerance(words: dict[str, Any]) -> float:
    """A tolerance; one that is infinite would let everything pass, and NaN nothing."""
    value = words.get("tolerance", 0.0)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ValueError(f"tolerance is {value!r}, not a number from 0 up")
    return float(value)


def same_text(expected: str, found: str, tolerance: float = 0.0) -> bool:
    """Equal up to white space at the ends of lines and of the text; with a tolerance, word by word."""
    left = [line.rstrip() for line in expected.rstrip().splitlines()]
    right = [line.rstrip() for line in found.rstrip().splitlines()]
    if left == right:
        return True
    if not tolerance or len(left) != len(right):
        return False
    return all(_same_words(a.split(), b.split(), tolerance) for a, b in zip(left, right, strict=True))


def _same_words(expected: list[str], found: list[str], tolerance: float) -> bool:
    if len(expected) != len(found):
        return False
    for left, right in zip(expected, found, strict=True):
        if left == right:
            continue
        try:
            if not same(float(left), float(right), tolerance):
                return False
        except ValueError:
            return False
    return True


def same_decimals(expected: str, found: str, tolerance: float = 0.0) -> bool:
    """Equal line by line without the white space around lines; or lines of equal decimal numbers.

    ``tolerance`` is not used: LiveCodeBench has none.
    """
    left = [line.strip() for line in expected.strip().split("\n")]
    right = [line.strip() for line in found.strip().split("\n")]
    return len(left) == len(right) and all(map(_same_line, left, right))


def _same_line(left: str, right: str) -> bool:
    if left == right:
        return True
    numbers = _decimals(left)
    return numbers is not None and numbers == _decimals(right)


def _decimals(line: str) -> list[Decimal] | None:
    try:
        return [Decimal(word) for word in line.split()]
    except InvalidOperation:
        return None


STARRED = (
    *("string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics"),
    *("itertools", "functools", "operator", "io", "sys", "json", "builtins", "typing"),
)
"""Modules whose names LiveCodeBench's programs may use without an import, in its order: later ones win."""
RECURSION_LIMIT = 50_000
PLAIN = Conventions("code", same_text)
LIVECODEBENCH = Conventions(
    "livecodebench",
    same_decimals,
    preamble="".join(f"from {module} import *\n" for module in STARRED)
    + f"import {', '.join(STARRED)}\nsys.setrecursionlimit({RECURSION_LIMIT})\n",
    any_exit_code=True,
)
"""As in lcb_runner/evaluation/testing_util.py of github.com/LiveCodeBench/LiveCodeBench (15808c7)."""
ABILITIES = (PLAIN.name, LIVECODEBENCH.name)
"""Of problems whose responses are programs."""


class CodeVerifier:
    """Judges programs; may be called from several threads, each of which then runs a jail at a time."""

    expects = "in the last closed ```python block, or as a response that is a program throughout"

    def __init__(self, config: SandboxConfig | None = None, conventions: Conventions = PLAIN) -> None:
        """Choose and test the isolation.

        Raises:
            ConfigError: the machine offers none that is strong enough.
        """
        self.config = config or SandboxConfig()
        self.conventions = conventions
        self.sandbox = Sandbox(self.config)
        self._tests: dict[str, list[Test]] = {}
        self._lock = threading.Lock()
        self.num_tests = 0
        """Tests run so far."""

    @property
    def identity(self) -> str:
        """Version and limits; not the level, which decides what an attack can reach and not what is right."""
        limits = asdict(self.config)
        for name in ("require", "level"):
            del limits[name]
        return f"{self.conventions.name}/{VERSION}({','.join(f'{key}={value}' for key, value in limits.items())})"

    def verify(self, problem: Problem, response: str, finish_reason: str) -> Verdict:
        """Judge one response by all tests of the problem, up to the first that fails.

        A failure of the sandbox is tried once more and is then ``error``: the program is not to blame.
        """
        source = program(response) if finish_reason == "stop" else None
        if source is None or len(source) > MAX_SOURCE_CHARS:
            return Verdict(0.0, Status.UNPARSED)
        for test in self.tests(problem):
            try:
                run = self._run(source, test)
            except SandboxError as error:
                return Verdict(0.0, Status.ERROR, error.what[:200])
            if run.stopped in ("cpu", "wall"):
                return Verdict(0.0, Status.TIMEOUT, source)
            if not test.passes(run, self.conventions.same_text):
                return Verdict(0.0, Status.INCORRECT, source)
        return Verdict(1.0, Status.CORRECT, source)

    def tests(self, problem: Problem) -> list[Test]:
        """The tests of a problem, read once."""
        with self._lock:
            if problem.id not in self._tests:
                self._tests[problem.id] = parse_tests(problem.ground_truth, f"problem {problem.id}")
            return self._tests[problem.id]

    def check(self, problems: Sequence[Problem]) -> None:
        """Read the tests of every problem.

        Raises:
            DataError: the first problem whose tests are malformed or none.
        """
        for problem in problems:
            self.tests(problem)

    def _run(self, source: str, test: Test) -> Run:
        with self._lock:
            self.num_tests += 1
        preamble, any_exit_code = self.conventions.preamble, self.conventions.any_exit_code
        try:
            return self.sandbox.run(source, test.stdin, test.call, preamble, any_exit_code)
        except SandboxError:
            return self.sandbox.run(source, test.stdin, test.call, preamble, any_exit_code)

    def close(self) -> None:
        """End the process that jails are forked from."""
        self.sandbox.close()
