"""The generated family told in contexts: exact solutions, the same graph in other words, splits without doubles."""

from __future__ import annotations

import random
from collections import Counter
from itertools import islice

import pytest

from rlvr.config import BenchmarkConfig, DataConfig, GraphsConfig, GraphsWorld
from rlvr.data import chains
from rlvr.data.benchmarks import benchmark_problems, training_problems
from rlvr.data.chains import canonical_key
from rlvr.data.graphs import (
    CONTEXTS,
    CORPUS,
    SHARES,
    TEST,
    TRAIN,
    Graph,
    corpus,
    generate,
    gold,
    problem_text,
    sample_graph,
    solution_text,
    split_of,
    words,
)
from rlvr.errors import ConfigError
from rlvr.records import Problem, Status
from rlvr.rewards.config import ProcessConfig, RewardsConfig
from rlvr.rewards.process import right_steps
from rlvr.rewards.registry import chance_level, verifier_for

WORLD = GraphsWorld()
ALL = list(CONTEXTS)


def solved_from_the_text(text: str) -> str:
    """The answer, from the problem's words and the contexts' vocabulary alone."""
    *statements, question = text.split(" ; ")
    [context] = [each for each in CONTEXTS.values() if question.split()[0] == each.ask]
    signs = {word: sign for sign, word in context.operators.items()}
    definitions = {line.split()[0]: line.split()[2:] for line in statements}
    assert all(line.split()[1] == context.equals for line in statements)

    def value(word: str) -> int:
        if word.isdigit():
            return int(word)
        left, *rest = definitions[word]
        if not rest:
            return int(left)
        return {
            "+": value(left) + value(rest[1]),
            "-": value(left) - value(rest[1]),
            "*": value(left) * value(rest[1]),
        }[signs[rest[0]]] % WORLD.modulus

    return " ".join(str(value(word)) for word in question.removesuffix(" ?").split()[1:])


@pytest.mark.parametrize("split", [TRAIN, TEST])
def test_the_ground_truth_is_what_the_words_say_and_gold_solutions_are_strictly_right(split: str) -> None:
    problems = generate(90, [2, 5, 8], ALL, 1, WORLD, split)
    verifier = verifier_for(problems, RewardsConfig(process=ProcessConfig("strict")))
    for problem, worked in zip(problems, gold(problems), strict=True):
        assert worked.problem == problem.prompt[0]["content"]
        assert problem.ground_truth == solved_from_the_text(worked.problem)
        assert verifier.verify(problem, worked.solution, "stop").status is Status.CORRECT
    shares = Counter((each.extra_info["num_operations"], each.extra_info["context"]) for each in problems)
    assert set(shares.values()) == {10}
    assert len(shares) == 9


def test_a_graph_is_the_same_in_every_context_but_for_its_words() -> None:
    told = {context: sample_graph(random.Random(3), 6, context, WORLD, CORPUS) for context in CONTEXTS}
    assert len({canonical_key(graph) for graph in told.values()}) == 1
    assert len({graph.answer for graph in told.values()}) == 1
    zoo, school = (
        [CONTEXTS[name].words.index(word) if word in CONTEXTS[name].words else word for word in text.split()]
        for name, text in ((name, problem_text(told[name], random.Random(0))) for name in ("zoo", "school"))
    )
    assert zoo == school


def test_contexts_share_no_word_and_the_vocabulary_has_every_word_once() -> None:
    vocabulary = words(WORLD)
    assert len(set(vocabulary)) == len(vocabulary)
    assert all(len(each.names) == 26 for each in CONTEXTS.values())


def test_no_graph_is_twice_in_a_split_or_in_two_splits() -> None:
    def keys(problems: list[Problem]) -> list[str]:
        return [canonical_key(Graph.from_dict(each.extra_info["solution_graph"])) for each in problems]

    train = keys(generate(400, [2, 3], ["zoo"], 1, WORLD, TRAIN))
    other = keys(generate(400, [2, 3], ["school"], 2, WORLD, TRAIN))
    test = keys(generate(200, [2, 3], ["festival"], 1, WORLD, TEST))
    assert len(set(train)) == 400
    assert len(set(test)) == 200
    assert not set(train + other) & set(test)
    documents = list(islice(corpus("s", [1, 2], ALL, 0.0, WORLD), 2000))
    assert len({each.problem for each in documents}) == 2000
    splits = Counter(
        split_of(Graph.from_dict(each.extra_info["solution_graph"]))
        for split in SHARES
        for each in generate(50, [2], ALL, 5, WORLD, split)
    )
    assert splits == dict.fromkeys(SHARES, 50)


def test_the_splits_have_their_shares() -> None:
    rng, drawn = random.Random(0), Counter[str]()
    unsplit = [sample_graph(rng, 4, "zoo", WORLD, split) for split in SHARES for _ in range(5)]
    assert [split_of(graph) for graph in unsplit] == [split for split in SHARES for _ in range(5)]
    for _ in range(4000):
        nodes = chains.sample_nodes(rng, 4, 11, lambda a, b: chains.draw_operation(rng, a, b, 11))
        drawn[split_of(Graph(11, nodes, 3, "zoo"))] += 1
    for split, share in SHARES.items():
        assert abs(drawn[split] / 40 - share) < 2.5, split


def test_noise_makes_wrong_steps_and_the_corpus_is_the_same_for_the_same_stream() -> None:
    [first, again] = [list(islice(corpus("s", [4], ["zoo"], 0.5, WORLD), 20)) for _ in range(2)]
    assert first == again
    assert all(each.entropy > 0 for each in first)
    graph = sample_graph(random.Random(1), 5, "zoo", WORLD, TRAIN)
    assert right_steps(graph.to_dict(), solution_text(graph, random.Random(2), noise=1.0)) == 0


def test_a_blind_guess_is_right_about_once_in_a_thousand() -> None:
    assert chance_level(generate(3000, [5], ["zoo"], 4, WORLD, TRAIN)) < 1.5e-3


def test_training_and_benchmarks_come_from_the_config() -> None:
    data = DataConfig(
        family="graphs",
        graphs=GraphsConfig(operations=[3], contexts=["zoo", "zoo", "school"], num_train=30, num_test=9),
    )
    trained = training_problems(data)
    assert Counter(each.extra_info["context"] for each in trained) == {"zoo": 20, "school": 10}
    own = benchmark_problems(
        BenchmarkConfig("edge", family="graphs", operations=[6, 7], num_problems=4), data
    )
    assert [each.extra_info["num_operations"] for each in own] == [6, 7, 6, 7]
    told = benchmark_problems(BenchmarkConfig("graphs_festival", num_problems=4), data)
    assert {each.extra_info["context"] for each in told} == {"festival"}
    assert told[0].id == "graphs_festival/test/0"


def test_more_operations_than_names_are_refused() -> None:
    assert generate(1, [15], ["zoo"], 1, WORLD)
    with pytest.raises(ConfigError, match="from 1 to 15"):
        generate(1, [16], ["zoo"], 1, WORLD)


def test_an_unknown_context_is_refused() -> None:
    with pytest.raises(ConfigError, match="no context 'zo'") as caught:
        generate(1, [2], ["zo"], 1, WORLD)
    assert "'zoo'?" in str(caught.value.fix)
