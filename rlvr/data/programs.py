"""Generated problems: small functions, described in words and judged by running them.

A problem describes a function step by step, in shuffled order::

    c is b times 5 ; a is x plus 3 ; b is a , minus 7 if above 10 ; return c

and is solved by any program whose function ``f`` returns the right numbers, such as::

    ```python
    def f(x):
        a = x + 3
        b = a
        if b > 10:
            b = b - 7
        c = b * 5
        return c
    ```

Difficulty is the number of steps. Each step goes on from the one before it, so all are needed and one
order works; the second operand is a constant or an earlier value. The tests are function calls in the
columns of the code verifier. Their inputs lie at the edges of every branch, where a wrong comparison
shows, and at random.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rlvr.data.generated import Worked, distinct, mistake_entropy
from rlvr.errors import ConfigError
from rlvr.records import Problem

DATA_SOURCE = "programs"
ENTRY_POINT, ARGUMENT = "f", "x"
NAMES = "abcdeghjklmnopqrstuvwyz"
OPERATORS = {"+": "plus", "-": "minus", "*": "times"}
COMPARISONS = {">": "above", "<": "below"}
ROUNDS = {2: "twice", 3: "thrice"}
CONSTANTS = range(1, 21)
FACTORS = range(2, 6)
INPUTS = range(-20, 21)
"""Arguments that tests call with."""
MAX_VALUE = 10_000
"""No value of a function exceeds this for any input."""
VARIABLE_SHARE = 0.25
"""Share of plain steps whose second operand is an earlier value."""
BRANCH_SHARE, LOOP_SHARE = 0.3, 0.15
"""Shares of steps with a condition, and with a loop."""
INDENT, INNER = "\n    ", "\n        "
OPENING, CLOSING = "```python", "\n```"


@dataclass(frozen=True, slots=True)
class Step:
    """One value: ``name = left operator right``, under a condition on ``left`` or several times over."""

    name: str
    left: str
    operator: str
    right: str
    comparison: str | None = None
    threshold: int = 0
    """With a comparison: ``left operator right`` where ``left`` compares so, else ``left``."""
    rounds: int | None = None
    """How often the operation is applied, in a loop."""

    @property
    def text(self) -> str:
        """The step as the problem describes it."""
        operation = f"{OPERATORS[self.operator]} {self.right}"
        if self.comparison is not None:
            condition = f"if {COMPARISONS[self.comparison]} {self.threshold}"
            return f"{self.name} is {self.left} , {operation} {condition}"
        if self.rounds is not None:
            return f"{self.name} is {self.left} , {operation} {ROUNDS[self.rounds]}"
        return f"{self.name} is {self.left} {operation}"

    @property
    def code(self) -> str:
        """Its lines in the program, each with the line break before it."""
        if self.comparison is None and self.rounds is None:
            return f"{INDENT}{self.name} = {self.left} {self.operator} {self.right}"
        head = (
            f"for _ in range({self.rounds}):"
            if self.comparison is None
            else f"if {self.name} {self.comparison} {self.threshold}:"
        )
        start = f"{INDENT}{self.name} = {self.left}"
        return f"{start}{INDENT}{head}{INNER}{self.name} = {self.name} {self.operator} {self.right}"

    def value(self, values: Mapping[str, int]) -> int:
        """What it computes from the values before it."""
        value = values[self.left]
        if self.comparison is not None and not compare(self.comparison, value, self.threshold):
            return value
        right = values[self.right] if self.right.isalpha() else int(self.right)
        for _ in range(self.rounds or 1):
            value = apply(self.operator, value, right)
        return value

    def mistakes(self) -> list[Step]:
        """Every step that differs in one word: operator, constant, condition or number of rounds."""
        plain = self.comparison is None and self.rounds is None
        found = [
            replace(self, operator=sign) for sign in (OPERATORS if plain else "+-") if sign != self.operator
        ]
        if not self.right.isalpha():
            found += [replace(self, right=str(n)) for n in CONSTANTS if str(n) != self.right]
        if self.comparison is not None:
            found += [replace(self, comparison=sign) for sign in COMPARISONS if sign != self.comparison]
            found += [replace(self, threshold=n) for n in CONSTANTS if n != self.threshold]
        if self.rounds is not None:
            found += [replace(self, rounds=number) for number in ROUNDS if number != self.rounds]
        return found


def apply(operator: str, left: int, right: int) -> int:
    """Value of ``left operator right``."""
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
    raise ValueError(f"unknown operator {operator!r}; known are {', '.join(OPERATORS)}")


def compare(comparison: str, left: int, right: int) -> bool:
    """Whether ``left comparison right`` holds."""
    return left > right if comparison == ">" else left < right


def trace(steps: Sequence[Step], x: int) -> dict[str, int]:
    """All values of a run of the function, by name."""
    values = {ARGUMENT: x}
    for step in steps:
        values[step.name] = step.value(values)
    return values


def result(steps: Sequence[Step], x: int) -> int:
    """What the function returns."""
    return trace(steps, x)[steps[-1].name]


def sample_steps(rng: random.Random, num_steps: int, inputs: Sequence[int] = INPUTS) -> tuple[Step, ...]:
    """Draw a function of ``num_steps`` steps whose result, on ``inputs``, depends on its argument."""
    while True:
        steps: list[Step] = []
        runs = [{ARGUMENT: x} for x in inputs]
        for name in rng.sample(NAMES, num_steps):
            step = sample_step(rng, name, steps, runs)
            steps.append(step)
            for values in runs:
                values[name] = step.value(values)
        if len({values[steps[-1].name] for values in runs}) > len(inputs) // 4:
            return tuple(steps)


def sample_step(
    rng: random.Random, name: str, before: Sequence[Step], runs: Sequence[Mapping[str, int]]
) -> Step:
    """Draw the next step: no value too large, and both ways of a condition taken by some input."""
    left = before[-1].name if before else ARGUMENT
    earlier = [other for other in runs[0] if other != left]
    while True:
        kind = rng.random()
        operator = rng.choice("+-" if kind < BRANCH_SHARE + LOOP_SHARE else "+-*")
        right = str(rng.choice(FACTORS if operator == "*" else CONSTANTS))
        if kind < BRANCH_SHARE:
            step = Step(name, left, operator, right, rng.choice(list(COMPARISONS)), rng.choice(CONSTANTS))
            if len({compare(step.comparison or "", run[left], step.threshold) for run in runs}) < 2:
                continue
        elif kind < BRANCH_SHARE + LOOP_SHARE:
            step = Step(name, left, operator, right, rounds=rng.choice(list(ROUNDS)))
        else:
            if earlier and rng.random() < VARIABLE_SHARE:
                right = rng.choice(earlier)
            step = Step(name, left, operator, right)
        if all(abs(step.value(run)) <= MAX_VALUE for run in runs):
            return step


def problem_text(steps: Sequence[Step], rng: random.Random) -> str:
    """The steps in shuffled order, then what is returned."""
    texts = [step.text for step in steps]
    rng.shuffle(texts)
    return " ; ".join([*texts, f"return {steps[-1].name}"])


def solution_text(steps: Sequence[Step]) -> str:
    """The program, fenced as chat models do."""
    lines = "".join(step.code for step in steps)
    return f"{OPENING}\ndef {ENTRY_POINT}({ARGUMENT}):{lines}{INDENT}return {steps[-1].name}{CLOSING}"


def words() -> list[str]:
    """The vocabulary: every word of problems and programs with the white space before it."""
    layout = [f"\ndef {ENTRY_POINT}({ARGUMENT}):", INDENT[:-1], INNER[:-1], ":", CLOSING]
    code = [OPENING, "=", *OPERATORS, *COMPARISONS, "for _ in", *(f"range({number})" for number in ROUNDS)]
    spoken = ["is", *OPERATORS.values(), *COMPARISONS.values(), *ROUNDS.values(), ";", ","]
    both = ["if", "return", ARGUMENT, *NAMES, *map(str, CONSTANTS)]
    return layout + [f" {word}" for word in code + spoken + both]


def corpus(stream: str, operations: Sequence[int], noise: float) -> Iterator[Worked]:
    """Endless pre-training corpus, the same for the same stream name.

    With probability ``noise`` a step of the program is one of its mistakes: a corpus written by fallible
    authors, which makes a model trained on it a sampler with something left to sharpen.
    """
    rng = random.Random(f"programs/corpus/{stream}")
    while True:
        steps = sample_steps(rng, rng.choice(operations), INPUTS[::4])
        written = [rng.choice(step.mistakes()) if rng.random() < noise else step for step in steps]
        entropy = sum(mistake_entropy(noise, len(step.mistakes())) for step in steps) if noise else 0.0
        yield Worked(problem_text(steps, rng), solution_text(written), entropy)


def test_inputs(steps: Sequence[Step], rng: random.Random) -> list[int]:
    """Arguments of a problem's tests: two at random, and the nearest ones to the edge of every branch."""
    chosen = rng.sample(INPUTS, 2)
    for step in steps:
        if step.comparison is None:
            continue
        ways: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
        for x in INPUTS:
            value = trace(steps, x)[step.left]
            way = compare(step.comparison, value, step.threshold)
            ways[way].append((abs(value - step.threshold), x))
        chosen += [min(reached)[1] for reached in ways.values()]
    return list(dict.fromkeys(chosen))


def generate(
    size: int,
    operations: Sequence[int],
    seed: int,
    split: str = "train",
    exclude: frozenset[str] = frozenset(),
) -> list[Problem]:
    """Make ``size`` distinct problems, as many of each difficulty as divides evenly.

    Args:
        size: number of problems.
        operations: numbers of steps, taken in turn.
        seed: the same seed and split give the same problems.
        split: ``train`` or ``test``; recorded, and part of the random stream.
        exclude: keys (:func:`canonical_key`) that must not occur, such as those of the other split.

    Raises:
        ConfigError: an impossible number of steps, or the family has too few problems.
    """
    if not operations or min(operations) < 1 or max(operations) > len(NAMES):
        raise ConfigError(
            f"operations {list(operations)} must be numbers from 1 to {len(NAMES)}",
            where="data.programs.operations",
            fix="for example [3,4,5,6]",
        )
    rng = random.Random(f"programs/{seed}/{split}")
    drawn = distinct(
        size,
        lambda place: sample_steps(rng, operations[place % len(operations)]),
        canonical_key,
        exclude,
        f"operations {list(operations)}",
    )
    return [as_problem(steps, rng, split, index) for index, steps in enumerate(drawn)]


def as_problem(steps: Sequence[Step], rng: random.Random, split: str, index: int) -> Problem:
    """One problem with its tests and a right program."""
    cases = [{"args": [x], "expected": result(steps, x)} for x in test_inputs(steps, rng)]
    return Problem(
        id=f"{DATA_SOURCE}/{split}/{index}",
        prompt=({"role": "user", "content": problem_text(steps, rng)},),
        data_source=DATA_SOURCE,
        ground_truth=json.dumps({"entry_point": ENTRY_POINT, "cases": cases}),
        ability="code",
        extra_info={
            "split": split,
            "index": index,
            "num_operations": len(steps),
            "key": canonical_key(steps),
            "solution": solution_text(steps),
        },
    )


def canonical_key(steps: Sequence[Step]) -> str:
    """The function up to the names of its values and the order of the description."""
    position: dict[str, Any] = {step.name: f"v{number}" for number, step in enumerate(steps)}
    return ";".join(
        replace(
            step,
            name=position[step.name],
            left=position.get(step.left, step.left),
            right=position.get(step.right, step.right),
        ).text
        for step in steps
    )


def make_splits(
    num_train: int, num_test: int, operations: Sequence[int], seed: int
) -> tuple[list[Problem], list[Problem]]:
    """Disjoint train and test sets; the test set depends on the seed only, not on the train set."""
    test = generate(num_test, operations, seed, "test")
    keys = frozenset(problem.extra_info["key"] for problem in test)
    return generate(num_train, operations, seed, "train", exclude=keys), test
