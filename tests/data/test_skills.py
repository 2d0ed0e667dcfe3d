"""The generated family with named operations: exact solutions, readings, topics, entropy."""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from dataclasses import replace
from itertools import islice

import pytest

from rlvr.config import SkillsWorld
from rlvr.data import chains, skills
from rlvr.data.skills import Skill, SkillGraph, all_skills, corpus, generate, make_splits, solution_text
from rlvr.errors import ConfigError
from rlvr.records import Problem, Status
from rlvr.rewards.final_answer import FinalAnswerVerifier
from rlvr.rewards.process import readings, right_steps
from rlvr.rewards.registry import verifier_for

WORLD = SkillsWorld()
MEANING = {
    "a + b": lambda a, b: a + b,
    "a - b": lambda a, b: a - b,
    "b - a": lambda a, b: b - a,
    "a * b": lambda a, b: a * b,
}


@pytest.fixture(scope="module")
def splits() -> tuple[list[Problem], list[Problem]]:
    return make_splits(300, 100, [3, 4, 5], 5, WORLD)


def solved_from_the_text(problem: Problem) -> str:
    """The answer, from the problem's words and the table of skills alone."""
    *statements, question = problem.prompt[0]["content"].split(" ; ")
    definitions = {line.split(" = ")[0]: line.split(" = ")[1].split() for line in statements}
    means = {each.name: MEANING[each.right] for each in all_skills(WORLD)}
    means |= {"+": MEANING["a + b"], "-": MEANING["a - b"], "*": MEANING["a * b"]}

    def value(word: str) -> int:
        if word.isdigit():
            return int(word)
        words = definitions[word]
        return int(words[0]) if len(words) == 1 else means[words[1]](value(words[0]), value(words[2])) % 23

    assert question.endswith(" ?")
    return " ".join(str(value(name)) for name in question.removesuffix(" ?").split())


def test_the_ground_truth_is_what_the_text_evaluates_to(splits) -> None:
    for problem in [*splits[0], *splits[1]]:
        assert problem.ground_truth == solved_from_the_text(problem)
        assert len(problem.ground_truth.split()) == WORLD.num_asked


def test_the_right_solution_is_accepted_and_has_only_right_steps(splits) -> None:
    verifier = verifier_for(splits[0])
    for problem in splits[0]:
        graph = rebuilt(problem)
        text, entropy = solution_text(graph)
        assert entropy == 0
        assert verifier.verify(problem, text, "stop").status is Status.CORRECT
        assert right_steps(problem.extra_info["solution_graph"], text) == 1
        assert all(reading.right for reading in readings(problem.extra_info["solution_graph"], text))


def rebuilt(problem: Problem) -> SkillGraph:
    stored = problem.extra_info["solution_graph"]
    rate = {each.name: each.rate for each in all_skills(WORLD)}
    return SkillGraph(
        stored["modulus"],
        tuple(chains.Node(**node) for node in stored["nodes"]),
        len(stored["asked"]),
        tuple(
            Skill(name, way["right"], way["misreading"], rate[name]) for name, way in stored["skills"].items()
        ),
    )


def test_a_misread_solution_is_found_out_at_its_step(splits) -> None:
    """Read wrongly everywhere: each named step is reported, no value that follows is blamed for it."""
    seen = 0
    for problem in splits[0]:
        graph = rebuilt(problem)
        misread = replace(graph, skills=tuple(replace(each, rate=0.0) for each in graph.skills))
        text, _ = solution_text(misread, random.Random(1))
        found = readings(problem.extra_info["solution_graph"], text)
        wrong = {each.name: each.misreading for each in graph.skills}
        assert all(not each.right and each.reading == wrong[each.skill] for each in found)
        if found:
            assert right_steps(problem.extra_info["solution_graph"], text) < 1
        seen += len(found)
    assert seen > 300


def test_an_invented_reading_is_neither_right_nor_the_popular_one() -> None:
    graph = {
        "nodes": [
            {"name": "a", "left": "3", "operator": None, "right": None, "value": 3},
            {"name": "b", "left": "a", "operator": "f0", "right": "4", "value": 7},
        ],
        "skills": {"f0": {"right": "a + b", "misreading": "b - a"}},
    }
    [found] = readings(graph, "a = 3 ; b = a f0 4 = 3 * 4 = 12 ; # 12")
    assert (found.reading, found.right) == ("", False)
    assert readings(graph, "a = 3 ; b = a f0 5 = 3 + 5 = 8 ; # 8") == []  # restates no definition
    [found] = readings(graph, "a = 5 ; b = a f0 4 = 4 - 5 = 22 ; # 22")
    assert (found.reading, found.right) == ("b - a", False)


def test_readings_that_look_alike_are_not_counted() -> None:
    graph = {
        "nodes": [
            {"name": "a", "left": "4", "operator": None, "right": None, "value": 4},
            {"name": "b", "left": "a", "operator": "f0", "right": "4", "value": 0},
        ],
        "skills": {"f0": {"right": "a - b", "misreading": "b - a"}},
    }
    assert readings(graph, "a = 4 ; b = a f0 4 = 4 - 4 = 0 ; # 4 0") == []


def test_rates_are_half_known_and_half_rare() -> None:
    rates = [each.rate for each in all_skills(SkillsWorld(num_skills=4000))]
    known = [rate for rate in rates if rate >= 0.5]
    assert 0.46 < len(known) / len(rates) < 0.54
    assert max(rates) <= 0.95
    assert min(rates) >= 0.004
    rare = sorted(rate for rate in rates if rate < 0.5)
    assert rare[len(rare) // 2] == pytest.approx(math.sqrt(0.5 * 0.004), rel=0.15)  # log-uniform


def test_a_skill_does_not_depend_on_how_many_there_are() -> None:
    assert all_skills(SkillsWorld(num_skills=30)) == all_skills(WORLD)[:30]
    assert all_skills(SkillsWorld(world_seed=8))[:30] != all_skills(WORLD)[:30]
    assert all(each.right != each.misreading for each in all_skills(WORLD))


def test_the_corpus_reads_each_skill_at_its_rate() -> None:
    world = SkillsWorld(num_skills=6)
    right: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    for document in islice(corpus("rates", [4], 0.0, world), 4000):
        for step in document.solution.split(" ; "):
            match = re.fullmatch(r"\w = \w (f\d+) \w+ = (\d+ . \d+) = \d+", step)
            if match:
                seen[match[1]] += 1
    rates = {each.name: each for each in all_skills(world)}
    graphs = random.Random(3)
    for _ in range(4000):
        graph = skills.sample_graph(graphs, 4, world)
        text, _ = solution_text(graph, graphs)
        for reading in readings(graph.to_dict(), text):
            right[reading.skill] += reading.right
            seen[reading.skill + "r"] += 1
    for name, each in rates.items():
        assert seen[name] > 500
        assert right[name] / seen[name + "r"] == pytest.approx(each.rate, abs=0.04)


def test_the_entropy_is_that_of_the_readings_and_the_noise() -> None:
    """Against the log-probability of what was written, averaged over many solutions of one problem."""
    world = SkillsWorld(num_skills=40)
    rng = random.Random(2)
    graph = skills.sample_graph(rng, 5, world)
    assert len(graph.skills) >= 1
    counted = Counter(solution_text(graph, rng, 0.1)[0] for _ in range(60_000))
    rate = {each.name: each.rate for each in graph.skills}
    surprise = 0.0
    for text, times in counted.items():
        taken = readings(graph.to_dict(), text)
        logp = sum(math.log(rate[each.skill] if each.right else 1 - rate[each.skill]) for each in taken)
        for step in text.split(" ; ")[1:-1]:
            _, _, spelled, result = step.split(" = ")
            left, sign, right = spelled.split()
            exact = chains.apply(sign, int(left), int(right), 23)
            logp += math.log(0.9 if exact == int(result) else 0.1 / 22)
        surprise -= logp * times / 60_000
    stated = [solution_text(graph, rng, 0.1)[1] for _ in range(20_000)]
    assert sum(stated) / len(stated) == pytest.approx(surprise, rel=0.01)


def test_training_stays_within_one_topic_and_the_mixed_benchmark_does_not(splits) -> None:
    def topics(problem: Problem) -> set[int]:
        return {int(name[1:]) % 2 for name in problem.extra_info["solution_graph"]["skills"]}

    assert all(len(topics(problem)) <= 1 for part in splits for problem in part)
    mixed = generate(60, [3, 4, 5], 5, WORLD, "test", mixed=True, name="skills_mixed")
    assert all(topics(problem) == {0, 1} for problem in mixed)
    assert all(problem.ground_truth == solved_from_the_text(problem) for problem in mixed)
    assert not {problem.id for problem in mixed} & {problem.id for part in splits for problem in part}


def test_train_and_test_are_disjoint_up_to_renaming(splits) -> None:
    train, test = ({problem.extra_info["key"] for problem in part} for part in splits)
    assert len(train) == 300
    assert len(test) == 100
    assert not train & test


def test_the_same_seed_gives_the_same_problems() -> None:
    assert generate(20, [3], 1, WORLD) == generate(20, [3], 1, WORLD)
    assert generate(20, [3], 1, WORLD) != generate(20, [3], 2, WORLD)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"num_skills": 0}, "num_skills"),
        ({"named_fraction": 1.5}, "named_fraction"),
        ({"known_rates": [0.9, 0.1]}, "known_rates"),
        ({"rare_rates": [0.0, 0.1]}, "rare_rates"),
        ({"num_asked": 0}, "num_asked"),
    ],
)
def test_impossible_worlds_are_refused(changed: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        SkillsWorld(**changed)


def test_problems_that_cannot_mix_are_refused() -> None:
    with pytest.raises(ConfigError, match="two named operations"):
        generate(5, [1], 1, WORLD, mixed=True)
    with pytest.raises(ConfigError, match="num_skills"):
        generate(5, [3], 1, SkillsWorld(num_skills=1))


def test_the_answer_is_as_many_integers_as_asked_for_in_their_order() -> None:
    verifier = FinalAnswerVerifier()
    problem = Problem("x", ({"role": "user", "content": "?"},), "skills", "3 7 20", ability="arithmetic")

    def status(text: str, finish: str = "stop") -> Status:
        return verifier.verify(problem, text, finish).status

    assert status("a = 3 ; # 3 7 20") is Status.CORRECT
    assert status("#  03  +7 20 ") is Status.CORRECT
    for wrong in ("# 20 7 3", "# 3 7 21", "# 3 7 -20"):
        assert status(wrong) is Status.INCORRECT
    for unread in ("3 7 20", "# 7 20", "# 3 7 20 1", "# 3720", "# 37 20", "# 3, 7, x", "# 3 7 20 .", "#"):
        assert status(unread) is Status.UNPARSED
    assert status("# 3 7 20", "length") is Status.UNPARSED
