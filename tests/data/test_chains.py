"""The generated family: exact solutions, disjoint splits, no profitable guess."""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from itertools import islice

import pytest

from rlvr.data import chains
from rlvr.data.chains import (
    SolutionGraph,
    canonical_key,
    corpus,
    generate,
    graph_of,
    make_splits,
    problem_text,
    sample_graph,
    solution_text,
)
from rlvr.errors import ConfigError
from rlvr.records import Problem

OPERATIONS = (3, 4, 5, 6, 7)
SOLVE = {"+": lambda a, b: (a + b) % 23, "-": lambda a, b: (a - b) % 23, "*": lambda a, b: (a * b) % 23}


@pytest.fixture(scope="module")
def splits() -> tuple[list[Problem], list[Problem]]:
    return make_splits(400, 100, OPERATIONS, seed=5)


def definitions_of(problem: Problem) -> tuple[dict[str, list[str]], str]:
    """What the text itself says: definitions as words, and the variable that is asked for."""
    *statements, question = problem.prompt[0]["content"].split(" ; ")
    parsed = {}
    for statement in statements:
        match = re.fullmatch(r"([a-z])(?::| =) (.+)", statement)
        assert match, statement
        assert match[1] not in parsed
        parsed[match[1]] = match[2].split()
    assert re.fullmatch(r"[a-z] \?", question)
    return parsed, question[0]


def evaluate(definitions: dict[str, list[str]], word: str) -> int:
    """Value of a name or number, from the text alone."""
    if word.isdigit():
        return int(word)
    words = definitions[word]
    if len(words) == 1:
        return int(words[0])
    return SOLVE[words[1]](evaluate(definitions, words[0]), evaluate(definitions, words[2]))


def anonymous(problem: Problem) -> tuple:
    """The problem without its names and order, worked out from the text, not from the graph."""
    definitions, target = definitions_of(problem)
    chain = [target]
    while len(definitions[chain[-1]]) == 3:
        chain.append(definitions[chain[-1]][0])
    numbers = {name: f"#{i}" for i, name in enumerate(reversed(chain))}
    return tuple(tuple(numbers.get(word, word) for word in definitions[name]) for name in reversed(chain))


def test_the_ground_truth_is_what_the_text_evaluates_to(splits) -> None:
    for problem in [*splits[0], *splits[1]]:
        definitions, target = definitions_of(problem)
        assert problem.ground_truth == str(evaluate(definitions, target))


def test_every_operation_is_needed(splits) -> None:
    for problem in splits[0]:
        definitions, target = definitions_of(problem)
        needed, todo = set(), [target]
        while todo:
            name = todo.pop()
            if name not in needed:
                needed.add(name)
                todo += [word for word in definitions[name] if word.isalpha()]
        assert needed == set(definitions)
        assert len(definitions) == problem.extra_info["num_operations"] + 1


def test_definitions_are_shuffled(splits) -> None:
    asked_last = [list(definitions_of(p)[0])[-1] == definitions_of(p)[1] for p in splits[0]]
    assert 0.05 < sum(asked_last) / len(asked_last) < 0.35  # by chance about one in six


def test_no_two_problems_are_the_same_up_to_renaming(splits) -> None:
    train, test = ({anonymous(problem) for problem in split} for split in splits)
    assert len(train) == 400
    assert len(test) == 100
    assert not train & test


def test_the_canonical_key_agrees_with_the_text(splits) -> None:
    problems = [*splits[0], *splits[1]]
    assert len({canonical_key(graph_of(problem)) for problem in problems}) == len(problems)
    graph = graph_of(problems[0])
    other = str.maketrans(chains.NAMES, chains.NAMES[::-1])
    renamed = SolutionGraph(
        graph.modulus,
        tuple(
            chains.Node(
                node.name.translate(other),
                node.left.translate(other),
                node.operator,
                node.right and node.right.translate(other),
                node.value,
            )
            for node in graph.nodes
        ),
    )
    assert canonical_key(renamed) == canonical_key(graph)


def test_the_test_split_does_not_depend_on_the_train_split(splits) -> None:
    assert make_splits(10, 100, OPERATIONS, seed=5)[1] == splits[1]


def test_difficulties_are_equally_frequent_and_ids_unique(splits) -> None:
    for split in splits:
        counts = Counter(problem.extra_info["num_operations"] for problem in split)
        assert counts == dict.fromkeys(OPERATIONS, len(split) // len(OPERATIONS))
        assert len({problem.id for problem in split}) == len(split)


def test_the_same_seed_gives_the_same_problems(splits) -> None:
    assert make_splits(400, 100, OPERATIONS, seed=5) == splits
    assert make_splits(400, 100, OPERATIONS, seed=6)[1] != splits[1]


@pytest.mark.parametrize("num_operations", OPERATIONS)
def test_no_answer_is_right_more_often_than_once_in_twenty(num_operations: int) -> None:
    rng = random.Random(11)
    size = 20_000
    answers = Counter(sample_graph(rng, num_operations).answer for _ in range(size))
    assert set(answers) == set(range(23))
    assert max(answers.values()) / size < 0.05, answers.most_common(3)


@pytest.mark.parametrize("modulus", [0, 2, 19, 22, 24, 25, 27, 529])
def test_a_modulus_that_is_no_prime_or_too_small_is_refused(modulus: int) -> None:
    with pytest.raises(ConfigError, match=f"modulus {modulus} is not a prime") as caught:
        generate(1, OPERATIONS, 0, modulus=modulus)
    assert caught.value.where == "data.chains.modulus"
    assert caught.value.fix


def test_another_prime_is_used() -> None:
    problems = generate(200, OPERATIONS, 0, modulus=101)
    assert max(int(problem.ground_truth) for problem in problems) > 23
    assert all(graph_of(problem).modulus == 101 for problem in problems)


@pytest.mark.parametrize("operations", [[], [0, 3], [3, 26]])
def test_impossible_difficulties_are_refused(operations: list[int]) -> None:
    with pytest.raises(ConfigError, match="operations") as caught:
        generate(1, operations, 0)
    assert caught.value.where == "data.chains.operations"


def test_a_family_that_is_too_small_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = sample_graph(random.Random(0), 3)
    monkeypatch.setattr(chains, "sample_graph", lambda *_: graph)
    with pytest.raises(ConfigError, match="found only 1 of 2"):
        generate(2, [3], 0)


def test_excluded_problems_do_not_occur() -> None:
    first = generate(20, [3], 0)
    keys = frozenset(canonical_key(graph_of(problem)) for problem in first[:5])
    again = generate(20, [3], 0, exclude=keys)
    assert not keys & {canonical_key(graph_of(problem)) for problem in again}


def test_a_graph_survives_its_storage(splits) -> None:
    graph = graph_of(splits[0][0])
    assert SolutionGraph.from_dict(graph.to_dict()) == graph
    assert graph.num_operations == splits[0][0].extra_info["num_operations"]


STEP = re.compile(r"([a-z]) = ([a-z]) ([-+*]) (\w+) = (\d+) ([-+*]) (\d+) = (\d+)")


def steps_of(solution: str) -> tuple[list[tuple[bool, bool]], int]:
    """For each operation whether it restates its values and computes right; and the final answer."""
    leaf, *steps, answer = solution.split(" ; ")
    values = {leaf.split()[0]: int(leaf.split()[2])}
    found = []
    for step in steps:
        match = STEP.fullmatch(step)
        assert match, step
        name, left, operator, right, a, same, b, result = match.groups()
        restated = int(a) == values[left] and int(b) == values.get(
            right, -1 if right.isalpha() else int(right)
        )
        found.append((restated and operator == same, int(result) == SOLVE[operator](int(a), int(b))))
        values[name] = int(result)
    assert answer == f"# {values[name]}"
    return found, values[name]


def test_a_solution_without_noise_is_exact(splits) -> None:
    for problem in splits[0]:
        steps, answer = steps_of(solution_text(graph_of(problem)))
        assert all(restated and right for restated, right in steps)
        assert str(answer) == problem.ground_truth
        assert len(steps) == problem.extra_info["num_operations"]


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.3])
def test_noise_is_the_share_of_wrong_steps(noise: float) -> None:
    rng = random.Random(3)
    steps = []
    for _ in range(1500):
        found, _ = steps_of(solution_text(sample_graph(rng, rng.choice(OPERATIONS)), rng, noise))
        steps += found
    # A wrong step is a wrong result only: operands are always those of the steps before.
    assert all(restated for restated, _ in steps)
    wrong = sum(not right for _, right in steps) / len(steps)
    assert abs(wrong - noise) <= 4 * math.sqrt(noise * (1 - noise) / len(steps))


def test_the_corpus_is_endless_seeded_and_solves_its_problems() -> None:
    first, again, other = (list(islice(corpus(stream, OPERATIONS, 0.0), 20)) for stream in ("1", "1", "2"))
    assert first == again != other
    for document in first:
        problem = Problem("p", ({"role": "user", "content": document.problem},), "chains", "")
        definitions, target = definitions_of(problem)
        assert steps_of(document.solution)[1] == evaluate(definitions, target)
        assert document.entropy == 0


def test_the_corpus_says_how_much_of_it_no_model_can_predict() -> None:
    [document] = islice(corpus("1", [4], 0.1), 1)
    step = -0.9 * math.log(0.9) - 0.1 * math.log(0.1 / 22)  # right, or one of 22 other residues
    assert document.entropy == pytest.approx(4 * step)


def test_the_question_comes_last() -> None:
    graph = sample_graph(random.Random(0), 4)
    assert problem_text(graph, random.Random(0)).endswith(f"; {graph.nodes[-1].name} ?")
