"""Programs with the verdict that they deserve, and where LiveCodeBench's own grader differs.

``cases/code.jsonl``: one case a row. Many are after public reports about graders.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlvr.errors import ConfigError
from rlvr.records import Problem, Status
from rlvr.rewards.code import LIVECODEBENCH, PLAIN, CodeVerifier
from rlvr.rewards.extract import program

CASES = [
    json.loads(line)
    for line in (Path(__file__).parent / "cases" / "code.jsonl").read_text(encoding="utf-8").splitlines()
]
pytestmark = pytest.mark.xdist_group("sandbox")


@pytest.fixture(scope="module")
def verifiers() -> Iterator[dict[str, CodeVerifier]]:
    try:
        made = {one.name: CodeVerifier(conventions=one) for one in (PLAIN, LIVECODEBENCH)}
    except ConfigError as error:
        pytest.skip(error.what)
    yield made
    for verifier in made.values():
        verifier.close()


def judge(verifier: CodeVerifier, tests: Any, response: str) -> Status:
    text = json.dumps(tests)
    return verifier.verify(Problem(text, (), "d", text, ability="code"), response, "stop").status


@pytest.mark.parametrize(
    "case", CASES, ids=[f"{number}: {case['about']}" for number, case in enumerate(CASES, 1)]
)
def test_case(verifiers: dict[str, CodeVerifier], case: dict[str, Any]) -> None:
    status = judge(verifiers["code"], case["tests"], case["response"])
    assert (status is Status.CORRECT) == (case["want"] == "correct")
    assert status is not Status.ERROR


def test_a_large_input_is_read(verifiers: dict[str, CodeVerifier]) -> None:
    numbers = range(200_000)
    tests = [{"stdin": " ".join(map(str, numbers)), "stdout": str(sum(numbers))}]
    assert judge(verifiers["code"], tests, "print(sum(map(int, input().split())))") is Status.CORRECT


@pytest.mark.parametrize(
    ("source", "stdout", "plain", "theirs"),
    [
        ("print(len(deque([1, 2])))", "2", Status.INCORRECT, Status.CORRECT),
        ("print(gcd(4, 6), math.inf)", "2 inf", Status.INCORRECT, Status.CORRECT),
        ("print('0.50 2')", "0.5 2.0", Status.INCORRECT, Status.CORRECT),
        ("print('50000000000000001')", "50000000000000000", Status.INCORRECT, Status.INCORRECT),
        ("print('0.3333')", "0.333", Status.INCORRECT, Status.INCORRECT),
        ("print('  yes')", "yes", Status.INCORRECT, Status.CORRECT),
        ("print('Yes')", "yes", Status.INCORRECT, Status.INCORRECT),
        ("print(1)\nprint()\nprint(2)", "1\n2", Status.INCORRECT, Status.INCORRECT),
        ("print(1); raise SystemExit(3)", "1", Status.INCORRECT, Status.CORRECT),
        ("print(1); raise ValueError", "1", Status.INCORRECT, Status.INCORRECT),
        ("def f(n): return n and f(n - 1)\nprint(f(20000))", "0", Status.INCORRECT, Status.CORRECT),
        ("from __future__ import annotations\nprint(1)", "1", Status.CORRECT, Status.CORRECT),
    ],
)
def test_where_livecodebench_differs(
    verifiers: dict[str, CodeVerifier], source: str, stdout: str, plain: Status, theirs: Status
) -> None:
    tests = [{"stdin": "", "stdout": stdout}]
    assert judge(verifiers["code"], tests, source) is plain
    assert judge(verifiers["livecodebench"], tests, source) is theirs


def test_a_method_comes_before_a_name_that_was_imported(verifiers: dict[str, CodeVerifier]) -> None:
    tests = {"entry_point": "count", "cases": [{"args": [2], "expected": 4}]}
    source = "class Solution:\n    def count(self, x: int) -> int: return x * x"
    assert judge(verifiers["livecodebench"], tests, source) is Status.CORRECT


FINAL = "```python\nx = 1\n```"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"{FINAL}\nOutput:\n```\n4\n```", "x = 1\n"),
        (f"<think>\n```python\nx = 0\n</think>\n{FINAL}", "x = 1\n"),
        (f"```python\nx = 0\nwait, no\n{FINAL}", "x = 1\n"),
        ('```python\n"""\n```\nf(2)\n```\n"""\nx = 1\n```', '"""\n```\nf(2)\n```\n"""\nx = 1\n'),
        ("```python\ns = '''\n```python\n'''\n```", "s = '''\n```python\n'''\n"),
        ('```python\nx = 1  # it is """\n```\ntext', 'x = 1  # it is """\n'),
        ("  ```python\n  x = 1\n  ```", "x = 1\n"),
        ("1. So:\n   ```python\n   if x:\n       y()\n\n   z = 1\n   ```", "if x:\n    y()\n\nz = 1\n"),
        ("\t```python\n\tif x:\n\t\ty()\n\t```", "if x:\n\ty()\n"),
        ("   ```python\nif x:\n    y()\n   ```", "if x:\n y()\n"),
        (f"{FINAL}\n```python\nx = 2", None),
        (f"{FINAL}\n```text\n4", "x = 1\n"),
    ],
)
def test_where_a_program_stands(text: str, found: str | None) -> None:
    assert program(text) == found
