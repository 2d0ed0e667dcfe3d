"""Tests of programs: their format, how outputs are compared, what each ending means."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from rlvr.errors import ConfigError, DataError
from rlvr.records import Problem, Status
from rlvr.rewards.code import CodeVerifier, parse_tests, same_text
from rlvr.rewards.config import SandboxConfig
from rlvr.rewards.jail_process import SandboxError
from rlvr.rewards.plain import NotPlainError, decode, encode, same


@pytest.fixture(scope="module")
def verifier() -> CodeVerifier:
    try:
        return CodeVerifier(SandboxConfig(cpu_seconds=2, packages=[]))
    except ConfigError as error:
        pytest.skip(error.what)


def judge(verifier: CodeVerifier, tests: Any, response: str, finish_reason: str = "stop") -> Status:
    text = json.dumps(tests)
    return verifier.verify(Problem(text, (), "d", text, ability="code"), response, finish_reason).status


DOUBLE = [{"stdin": "2\n", "stdout": "4\n"}, {"stdin": "3\n", "stdout": "6\n"}]


@pytest.mark.parametrize(
    ("response", "status"),
    [
        ("print(2 * int(input()))", Status.CORRECT),
        ("Like so:\n```python\nprint(2 * int(input()))\n```\nDone.", Status.CORRECT),
        ("print(4)", Status.INCORRECT),
        ("print(2 * int(input())); raise SystemExit(3)", Status.INCORRECT),
        ("while True: pass", Status.TIMEOUT),
        ("```python\nprint(2 * int(input()))", Status.UNPARSED),
        ("", Status.UNPARSED),
    ],
)
def test_scripts(verifier: CodeVerifier, response: str, status: Status) -> None:
    assert judge(verifier, DOUBLE, response) is status


def test_a_response_that_was_cut_off_has_no_program(verifier: CodeVerifier) -> None:
    assert judge(verifier, DOUBLE, "print(2 * int(input()))", "length") is Status.UNPARSED


def test_the_first_failing_test_is_the_last_one_run(verifier: CodeVerifier) -> None:
    tests = [{"stdin": "1", "stdout": "no"}] + DOUBLE * 5
    before = verifier.num_tests
    assert judge(verifier, tests, "print(2 * int(input()))") is Status.INCORRECT
    assert verifier.num_tests == before + 1


@pytest.mark.parametrize(
    ("args", "expected", "body", "status"),
    [
        ([[3, 1, 2]], [1, 2, 3], "return sorted(a)", Status.CORRECT),
        ([[3, 1, 2]], [1, 2, 3], "return tuple(sorted(a))", Status.CORRECT),
        ([[3, 1, 2]], [1, 2, 3], "return a", Status.INCORRECT),
        ([{"$tuple": [1, 2]}], True, "return isinstance(a, tuple) and {a: 1} is not None", Status.CORRECT),
        ([[1, 1, 2]], {"$set": [2, 1]}, "return set(a)", Status.CORRECT),
        ([[1, 1, 2]], {"$set": [2, 1]}, "return [1, 2]", Status.INCORRECT),
        ([2], {"$dict": [[2, "two"]]}, "return {a: 'two'}", Status.CORRECT),
        (["é\ud83d\ude00"], "é😀", "return a", Status.CORRECT),
        ([2], None, "print(a)", Status.CORRECT),
        ([2], "2", "return a", Status.INCORRECT),
        ([2], 2.0, "return a", Status.CORRECT),
        ([3], 1.5, "return a / 2", Status.CORRECT),
        ([3], {"$float": "nan"}, "return float('nan')", Status.CORRECT),
        ([3], {"$complex": [0.0, 3.0]}, "return a * 1j", Status.CORRECT),
        ([10], 10**60, "return 10 ** 60", Status.CORRECT),
        ([10], 10**60, "return 1e60", Status.INCORRECT),
    ],
)
def test_calls(verifier: CodeVerifier, args: list[Any], expected: Any, body: str, status: Status) -> None:
    tests = {"entry_point": "f", "cases": [{"args": args, "expected": expected}]}
    assert judge(verifier, tests, f"def f(a):\n    {body}") is status


def test_tolerances_hold_where_a_task_gives_them(verifier: CodeVerifier) -> None:
    source = "def f(x): return [x / 3, 'third']"
    case = {"args": [1], "expected": [0.3333, "third"]}
    assert judge(verifier, {"entry_point": "f", "cases": [case]}, source) is Status.INCORRECT
    assert judge(verifier, {"entry_point": "f", "tolerance": 1e-3, "cases": [case]}, source) is Status.CORRECT


@pytest.mark.parametrize(
    ("expected", "found", "tolerance", "equal"),
    [
        ("4\n", "4", 0, True),
        ("4 5\n6", "4 5  \n6\n\n", 0, True),
        ("4 5", "4  5", 0, False),
        ("4\n5", "4 5", 0, False),
        ("", "", 0, True),
        ("4", "", 0, False),
        ("0.333", "0.3333", 0, False),
        ("0.333 a", "0.3333 a", 1e-2, True),
        ("0.333 a", "0.3333 b", 1e-2, False),
        ("1", "nan", 1e-2, False),
        (" 4", "4", 0, False),
    ],
)
def test_text(expected: str, found: str, tolerance: float, equal: bool) -> None:
    assert same_text(expected, found, tolerance) is equal


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        -2.5,
        "text",
        [1, [2]],
        (1, "a"),
        {1, 2},
        {"a": [1]},
        {1: "a", (2,): None},
        {"$x": 1},
        2 + 3j,
        math.inf,
    ],
)
def test_plain_values_come_back(value: Any) -> None:
    back = decode(json.loads(json.dumps(encode(value), allow_nan=False)))
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize("value", [object(), b"bytes", lambda: 1, range(3), [object()]])
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises(NotPlainError):
        encode(value)


@pytest.mark.parametrize(
    "data", [{"$tuple": 3}, {"$set": [[1]]}, {"$float": "x"}, {"$dict": [[1]]}, {"$complex": [1]}]
)
def test_malformed_encodings_are_refused(data: Any) -> None:
    with pytest.raises(NotPlainError):
        decode(data)


def test_equality_is_of_types_too() -> None:
    assert not same("4", 4)
    assert not same([4], {4})
    assert not same(None, False)
    assert same(True, 1)


@pytest.mark.parametrize(
    ("tests", "what"),
    [
        ("[]", "no tests"),
        ('{"entry_point": "f", "cases": []}', "no tests"),
        ('{"entry_point": "f()", "cases": [{"args": [], "expected": 1}]}', "not a name"),
        ('{"entry_point": "f", "cases": [{"args": 1, "expected": 1}]}', "must be a list"),
        ('{"entry_point": "f", "cases": [{"args": [1]}]}', "expected"),
        ('[{"stdin": "1"}]', "stdout"),
        ('[{"stdin": 1, "stdout": "1"}]', "must be text"),
        ('{"entry_point": "def", "cases": [{"args": [1], "expected": 1}]}', "not a name"),
        ('{"entry_point": "f", "cases": [{"args": [1], "expected": NaN}]}', "NaN is not JSON"),
        ('[{"stdin": "", "stdout": "1", "tolerance": 1e999}]', "tolerance is inf"),
        ('[{"stdin": "", "stdout": "1", "tolerance": -1}]', "tolerance is -1"),
        ('[{"stdin": "", "stdout": "1", "tolerance": true}]', "tolerance is True"),
        (
            '{"entry_point": "f", "tolerance": "1", "cases": [{"args": [1], "expected": 1}]}',
            "tolerance is '1'",
        ),
        ("{", "cannot be read"),
        ('"text"', "cannot be read"),
    ],
)
def test_unusable_tests_are_refused_by_problem(tests: str, what: str) -> None:
    with pytest.raises(DataError, match=what) as caught:
        parse_tests(tests, "problem 7")
    assert caught.value.where == "problem 7"


def test_our_own_failure_is_an_error_and_tried_twice(
    verifier: CodeVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def fail(*arguments: Any) -> None:
        calls.append(arguments)
        raise SandboxError("the jail did not report")

    monkeypatch.setattr(verifier.sandbox, "run", fail)
    assert judge(verifier, DOUBLE, "print(1)") is Status.ERROR
    assert len(calls) == 2
