"""The generated programs: right solutions, tests that tell mistakes apart, disjoint splits."""

from __future__ import annotations

import json
import math
import random
import re
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.data import programs
from rlvr.data.programs import (
    INPUTS,
    MAX_VALUE,
    NAMES,
    Step,
    canonical_key,
    corpus,
    generate,
    make_splits,
    problem_text,
    result,
    sample_steps,
    solution_text,
    trace,
)
from rlvr.errors import ConfigError
from rlvr.records import Problem, Status
from rlvr.rewards.code import CodeVerifier
from rlvr.rewards.config import SandboxConfig
from rlvr.rewards.extract import program

OPERATIONS = [1, 3, 5, 7]
SIGNS: dict[str, Any] = {
    "plus": "+",
    "minus": "-",
    "times": "*",
    "above": ">",
    "below": "<",
    "twice": 2,
    "thrice": 3,
}


@pytest.fixture(scope="module")
def splits() -> tuple[list[Problem], list[Problem]]:
    return make_splits(60, 40, OPERATIONS, 1)


def function(source: str) -> Any:
    """The function that a solution defines; our own generator's programs are no danger."""
    text = program(source)
    assert text is not None
    namespace: dict[str, Any] = {}
    exec(text, namespace)
    return namespace["f"]


def described(text: str) -> Any:
    """The function that a problem's words describe, read independently of the generator."""
    *definitions, last = text.split(" ; ")
    steps = {words.split()[0]: words.split()[2:] for words in definitions}

    def value(name: str, x: int) -> int:
        if name == "x":
            return x
        if re.fullmatch(r"\d+", name):
            return int(name)
        start, *words = steps[name]
        found = value(start, x)
        if words[0] == ",":
            sign, constant = SIGNS[words[1]], int(words[2])
            if words[3] == "if":
                holds = found > int(words[5]) if words[4] == "above" else found < int(words[5])
                times = int(holds)
            else:
                times = int(SIGNS[words[3]])
            return found + times * (constant if sign == "+" else -constant)
        other = value(words[1], x)
        return {"+": found + other, "-": found - other, "*": found * other}[str(SIGNS[words[0]])]

    return lambda x: value(last.removeprefix("return "), x)


@given(st.integers(0, 10**9), st.integers(1, 8))
def test_words_program_and_tests_mean_the_same_function(seed: int, num_steps: int) -> None:
    rng = random.Random(seed)
    steps = sample_steps(rng, num_steps)
    written, told = function(solution_text(steps)), described(problem_text(steps, rng))
    for x in INPUTS:
        assert result(steps, x) == written(x) == told(x)
        assert max(map(abs, trace(steps, x).values())) <= MAX_VALUE


def test_the_result_depends_on_the_argument_and_every_step_counts() -> None:
    for seed in range(40):
        steps = sample_steps(random.Random(seed), 5)
        assert len({result(steps, x) for x in INPUTS}) > 10
        assert [step.left for step in steps] == ["x", *(step.name for step in steps[:-1])]


def test_a_mistake_differs_in_one_word() -> None:
    rng = random.Random(0)
    for step in (step for _ in range(30) for step in sample_steps(rng, 4)):
        right = step.text.split()
        assert step.mistakes()
        for mistake in step.mistakes():
            wrong = mistake.text.split()
            assert sum(a != b for a, b in zip(right, wrong, strict=True)) == 1


def test_the_tests_notice_nearly_every_mistake() -> None:
    """Of all functions that differ by one word, fewer than one in a thousand pass and are wrong."""
    rng = random.Random(1)
    missed = tried = 0
    for _ in range(60):
        steps = sample_steps(rng, rng.choice([3, 5, 7]))
        inputs = programs.test_inputs(steps, rng)
        assert inputs
        for place, step in enumerate(steps):
            for mistake in step.mistakes():
                wrong = [*steps[:place], mistake, *steps[place + 1 :]]
                tried += 1
                if all(result(wrong, x) == result(steps, x) for x in inputs):
                    missed += any(result(wrong, x) != result(steps, x) for x in INPUTS)
    assert tried > 3000
    assert missed / tried < 1e-3


def test_the_sandbox_passes_the_solutions_and_refuses_a_mistake() -> None:
    try:
        verifier = CodeVerifier(SandboxConfig(packages=[]))
    except ConfigError as error:
        pytest.skip(error.what)
    for problem in generate(4, [2, 4], 5):
        assert problem.ability == "code"
        solution = problem.extra_info["solution"]
        assert verifier.verify(problem, f" {solution}", "stop").status is Status.CORRECT
        name = problem.prompt[0]["content"].rpartition(" ")[2]
        wrong = solution.replace(f"return {name}", f"return {name} + 1")
        assert verifier.verify(problem, wrong, "stop").status is Status.INCORRECT
        assert verifier.verify(problem, solution.replace("```python", ""), "stop").status is Status.UNPARSED


def test_splits_are_seeded_and_disjoint(splits) -> None:
    train, test = splits
    assert (len(train), len(test)) == (60, 40)
    keys = [problem.extra_info["key"] for problem in train + test]
    assert len(set(keys)) == len(keys)
    assert make_splits(60, 40, OPERATIONS, 1) == splits
    assert make_splits(10, 40, OPERATIONS, 1)[1] == test
    assert make_splits(60, 40, OPERATIONS, 2)[1] != test
    assert [problem.extra_info["num_operations"] for problem in test[:4]] == OPERATIONS


def test_the_key_forgets_names_and_order() -> None:
    first = (Step("a", "x", "+", "3"), Step("b", "a", "*", "a"))
    renamed = (Step("q", "x", "+", "3"), Step("r", "q", "*", "q"))
    other = (Step("a", "x", "+", "3"), Step("b", "a", "*", "x"))
    assert canonical_key(first) == canonical_key(renamed) != canonical_key(other)


def test_a_problem_says_its_tests_in_the_verifiers_columns(splits) -> None:
    problem = splits[0][0]
    tests = json.loads(problem.ground_truth)
    assert tests["entry_point"] == "f"
    for case in tests["cases"]:
        assert case["expected"] == described(problem.prompt[0]["content"])(*case["args"])


@pytest.mark.parametrize("operations", [[], [0], [len(NAMES) + 1]])
def test_an_impossible_difficulty_is_refused(operations: list[int]) -> None:
    with pytest.raises(ConfigError) as caught:
        generate(1, operations, 0)
    assert caught.value.where == "data.programs.operations"


def test_a_family_that_is_too_small_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = sample_steps(random.Random(0), 3)
    monkeypatch.setattr(programs, "sample_steps", lambda *_: steps)
    with pytest.raises(ConfigError, match="found only 1 of 2"):
        generate(2, [3], 0)


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_noise_is_the_share_of_wrong_steps(noise: float) -> None:
    wrong = total = 0
    for document in islice(corpus("noise", [4], noise), 400):
        # A mistake changes one word of a step and never a name, so steps can be compared one by one.
        for step in map(step_of, document.problem.split(" ; ")[:-1]):
            total += 1
            wrong += step.code not in document.solution
    assert abs(wrong / total - noise) <= 4 * math.sqrt(noise * (1 - noise) / total)


def step_of(text: str) -> Step:
    """The step that words describe."""
    name, _, left, *words = text.split()
    if words[0] != ",":
        return Step(name, left, str(SIGNS[words[0]]), words[1])
    operator = str(SIGNS[words[1]])
    if words[3] == "if":
        return Step(name, left, operator, words[2], str(SIGNS[words[4]]), int(words[5]))
    return Step(name, left, operator, words[2], rounds=int(SIGNS[words[3]]))


def test_the_corpus_is_seeded_and_says_its_noise() -> None:
    first, again, other = (list(islice(corpus(stream, OPERATIONS, 0.1), 10)) for stream in ("1", "1", "2"))
    assert first == again != other
    assert all(document.entropy > 0 for document in first)
    assert {document.entropy for document in islice(corpus("1", [3], 0.0), 5)} == {0.0}
