"""Steps against the solution graph, in every mix."""

from __future__ import annotations

import random
from typing import Any

import pytest

from rlvr.data.chains import generate, graph_of, solution_text
from rlvr.errors import ConfigError, DataError
from rlvr.records import Problem, Status
from rlvr.rewards.config import ProcessConfig
from rlvr.rewards.process import Fault, ProcessVerifier, judge_steps, right_steps

NODES: list[dict[str, Any]] = [
    {"name": "a", "left": "3", "operator": None, "right": None, "value": 3},
    {"name": "b", "left": "a", "operator": "+", "right": "4", "value": 7},
    {"name": "c", "left": "b", "operator": "*", "right": "a", "value": 21},
]
GRAPH = {"modulus": 23, "nodes": NODES}
PROBLEM = Problem("p/0", (), "chains", "21", ability="arithmetic", extra_info={"solution_graph": GRAPH})
RIGHT = "a = 3 ; b = a + 4 = 3 + 4 = 7 ; c = b * a = 7 * 3 = 21 ; # 21"


@pytest.mark.parametrize(
    ("response", "share"),
    [
        (RIGHT, 1.0),
        (RIGHT.replace(" ; ", ";  "), 1.0),
        ("a = 3 ; b = a + 4 = 3 + 4 = 8 ; c = b * a = 8 * 3 = 1 ; # 1", 0.0),  # one right, two wrong
        ("a = 3 ; b = a + 4 = 3 + 4 = 7 ; # 21", 2 / 3),
        ("# 21", 0.0),
        ("b = a + 4 = 3 + 4 = 7 ; a = 3 ; c = b * a = 7 * 3 = 21 ; # 21", 0.0),  # a child before its parent
        ("a = 3 ; a = 3 ; b = a + 4 = 3 + 4 = 7 ; c = b * a = 7 * 3 = 21 ; # 21", 2 / 3),  # said twice
        ("a = 3 ; b = a + 5 = 3 + 5 = 8 ; # 21", 0.0),  # another definition
        ("a = 3 ; b = a + 4 = 2 + 5 = 7 ; c = b * a = 7 * 3 = 21 ; # 21", 0.0),  # values of no parent
        ("z = 1 ; " * 50 + RIGHT, 0.0),
        ("a = 3 ; b = a + 4 = 3 + 4 = 7 ; c = b * a = 7 * 3 = 21", 0.0),  # nothing ends in an answer
        (RIGHT + "x" * 30_000, 0.0),
    ],
)
def test_share_of_right_steps(response: str, share: float) -> None:
    assert right_steps(GRAPH, response) == pytest.approx(share)


@pytest.mark.parametrize(
    ("mix", "weight", "response", "score", "status"),
    [
        ("outcome", 0.5, "# 21", 1.0, Status.CORRECT),
        ("outcome", 0.5, "# 20", 0.0, Status.INCORRECT),
        ("process", 0.5, RIGHT, 1.0, Status.CORRECT),
        ("process", 0.5, "# 21", 0.5, Status.CORRECT),
        ("process", 0.25, "a = 3 ; b = a + 4 = 3 + 4 = 7 ; # 20", 0.25 * 2 / 3, Status.INCORRECT),
        ("process", 1.0, RIGHT.replace("# 21", "# 20"), 1 - 1e-6, Status.INCORRECT),
        ("strict", 0.5, RIGHT, 1.0, Status.CORRECT),
        ("strict", 0.5, "# 21", 0.0, Status.INCORRECT),
        ("strict", 0.5, RIGHT.replace("7 * 3", "3 * 7"), 0.0, Status.INCORRECT),
        ("strict", 0.5, "no", 0.0, Status.UNPARSED),
    ],
)
def test_mixes(mix: str, weight: float, response: str, score: float, status: Status) -> None:
    verdict = ProcessVerifier(ProcessConfig(mix, weight)).verify(PROBLEM, response, "stop")
    assert verdict.score == pytest.approx(score)
    assert verdict.status is status


WRONG = RIGHT.replace("7 * 3 = 21 ; # 21", "7 * 3 = 20 ; # 20")
EXTRA = RIGHT.replace("b = a", "z = 1 ; b = a")


@pytest.mark.parametrize(
    ("config", "response", "score", "status"),
    [
        # The equation of arXiv 2512.07783: outcome and process are weighed whatever the answer is.
        (ProcessConfig("process", 0.8, extra_steps="allowed"), WRONG, 0.8 * 2 / 3, Status.INCORRECT),
        # Its code: the process only scales right answers.
        (ProcessConfig("process", 0.8, gated=True), WRONG, 0.0, Status.INCORRECT),
        (ProcessConfig("process", 0.8, gated=True), "# 21", 0.2, Status.CORRECT),
        (ProcessConfig("process", 0.8, gated=True), RIGHT, 1.0, Status.CORRECT),
        # Extra steps: charged in its training, allowed in its evaluation.
        (ProcessConfig("process", 0.8), EXTRA, 0.2 + 0.8 * 2 / 3, Status.CORRECT),
        (ProcessConfig("process", 0.8, extra_steps="allowed"), EXTRA, 1.0, Status.CORRECT),
        (ProcessConfig("strict"), EXTRA, 0.0, Status.INCORRECT),
        (ProcessConfig("strict", extra_steps="allowed"), EXTRA, 1.0, Status.CORRECT),
        # No search for a right step by stating many: the first of a name counts.
        (
            ProcessConfig("strict", extra_steps="allowed"),
            RIGHT.replace("b = a", "b = a + 4 = 3 + 4 = 8 ; b = a"),
            0.0,
            Status.INCORRECT,
        ),
    ],
)
def test_gates_and_extra_steps(config: ProcessConfig, response: str, score: float, status: Status) -> None:
    verdict = ProcessVerifier(config).verify(PROBLEM, response, "stop")
    assert verdict.score == pytest.approx(score)
    assert verdict.status is status


def test_every_setting_is_in_the_identity() -> None:
    configs = [
        ProcessConfig(mix, weight, gated, extra)
        for mix in ("process", "strict")
        for weight in (0.5, 0.8)
        for gated in (False, True)
        for extra in ("charged", "allowed")
    ]
    assert len({ProcessVerifier(config).identity for config in configs}) == len(configs)
    with pytest.raises(ConfigError, match="extra_steps"):
        ProcessConfig(extra_steps="some")


@pytest.mark.parametrize(
    ("response", "fault", "extra"),
    [
        (RIGHT, None, 0),
        (EXTRA, None, 1),
        (RIGHT.replace("; b = a + 4 = 3 + 4 = 7 ", ""), Fault.MISSING, 0),
        ("# 21", Fault.MISSING, 0),
        (RIGHT.replace("a = 3 ", "a = 2 "), Fault.VALUE, 0),
        (RIGHT.replace("3 + 4 = 7", "3 + 4 = 8"), Fault.VALUE, 0),
        (RIGHT.replace("a + 4 =", "a + 5 ="), Fault.VALUE, 0),
        (RIGHT.replace("b * a =", "b * 3 ="), Fault.DEPENDENCY, 0),
        (RIGHT.replace("b = a + 4", "b = c + 4"), Fault.DEPENDENCY, 0),
        ("b = a + 4 = 3 + 4 = 7 ; a = 3 ; c = b * a = 7 * 3 = 21 ; # 21", Fault.DEPENDENCY, 0),
        # What breaks off in the middle is judged as far as it goes.
        ("a", Fault.MISSING, 0),
        ("a ; # 21", Fault.VALUE, 0),
        ("a = 3 ; b ; # 21", Fault.DEPENDENCY, 0),
        ("a = ; b = ; c = = ; # 21", Fault.MISSING, 2),
        # The first step that is not right decides, in the order of the graph.
        ("a = 4 ; c = b * a = 7 * 4 = 5 ; # 5", Fault.VALUE, 0),
    ],
)
def test_faults(response: str, fault: Fault | None, extra: int) -> None:
    judged = judge_steps(GRAPH, response)
    assert (judged.first_fault, judged.num_extra) == (fault, extra)


def test_names_of_several_letters() -> None:
    names = {"a": "lions", "b": "owls", "c": "bears"}
    graph = {
        "modulus": 23,
        "nodes": [{key: names.get(str(value), value) for key, value in node.items()} for node in NODES],
    }
    told = " ".join(names.get(word, word) for word in RIGHT.split())
    assert right_steps(graph, told) == 1
    assert right_steps(graph, RIGHT) == 0


def test_the_generators_own_solutions_are_right_and_noisy_ones_are_not() -> None:
    verifier = ProcessVerifier(ProcessConfig("strict"))
    for index, problem in enumerate(generate(50, [1, 4, 8], seed=3)):
        graph = graph_of(problem)
        assert verifier.verify(problem, solution_text(graph), "stop").score == 1.0
        wrong = solution_text(graph, random.Random(index), noise=1.0)
        assert verifier.verify(problem, wrong, "stop").score == 0.0


def test_a_problem_without_a_graph_is_refused() -> None:
    with pytest.raises(DataError, match="no solution graph") as caught:
        ProcessVerifier().check([Problem("p/1", (), "d", "21")])
    assert caught.value.where == "problem p/1"


@pytest.mark.parametrize(
    "graph",
    [
        {"nodes": 5},
        {"nodes": [5]},
        {"nodes": [{"name": "a", "value": 3}]},
        {"nodes": [{"name": "a", "left": "3", "operator": None, "right": None, "value": "3"}]},
        {"nodes": [{"name": "a", "left": "b", "operator": "+", "right": "4", "value": 3}]},
        {"nodes": [{"name": "a", "left": "3", "operator": "+", "right": None, "value": 3}]},
        {"nodes": 2 * [{"name": "a", "left": "3", "operator": None, "right": None, "value": 3}]},
    ],
)
def test_a_broken_graph_is_refused(graph: object) -> None:
    problem = Problem("p/1", (), "d", "21", extra_info={"solution_graph": graph})
    with pytest.raises(DataError, match="no solution graph"):
        ProcessVerifier().check([problem])
