"""Worked solutions of generated problems, step by step against the solution graph.

A response to a chain problem (rlvr/data/chains.py) reads ``a = 3 ; b = a + 4 = 3 + 4 = 7 ; … ; # 12``; names may be
words (rlvr/data/graphs.py). A step is right if it restates its definition (so its parents are right), fills in the values of its parents
and comes to its own. A named operation (rlvr/data/skills.py) must be spelled out in its right reading. The
graph is in ``extra_info["solution_graph"]`` of every generated problem.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rlvr.errors import DataError
from rlvr.records import Problem, Status, Verdict
from rlvr.rewards.config import ProcessConfig
from rlvr.rewards.final_answer import FinalAnswerVerifier

MAX_CHARS = 20_000
"""A longer response is judged by its answer only, and has no right step."""


class ProcessVerifier:
    """Scores outcome, process or both; the *status* always says whether the final answer is right.

    Under ``strict`` a right answer with a wrong step is ``incorrect``.
    """

    expects = FinalAnswerVerifier.expects

    def __init__(self, config: ProcessConfig | None = None) -> None:
        """Take the mix."""
        self.config = config or ProcessConfig()
        self._outcome = FinalAnswerVerifier()

    @property
    def identity(self) -> str:
        """Version and settings."""
        config = self.config
        return (
            f"process/2(mix={config.mix},weight={config.weight},gated={config.gated},"
            f"extra_steps={config.extra_steps})"
        )

    def verify(self, problem: Problem, response: str, finish_reason: str) -> Verdict:
        """Judge one response."""
        outcome = self._outcome.verify(problem, response, finish_reason)
        if self.config.mix == "outcome":
            return outcome
        judged = judge_steps(problem.extra_info["solution_graph"], response)
        share = judged.share(charge_extra=self.config.extra_steps == "charged")
        if self.config.mix == "strict":
            if outcome.status is Status.CORRECT and share < 1:
                return Verdict(0.0, Status.INCORRECT, outcome.answer)
            return outcome
        if self.config.gated and outcome.status is not Status.CORRECT:
            return outcome
        score = (1 - self.config.weight) * outcome.score + self.config.weight * share
        if outcome.status is not Status.CORRECT:
            score = min(score, 1 - 1e-6)  # 1 is for right answers, also with a weight of 1
        return Verdict(score, outcome.status, outcome.answer)

    def check(self, problems: Sequence[Problem]) -> None:
        """Look for the solution graphs.

        Raises:
            DataError: the first problem without one, or with one that is broken.
        """
        for problem in problems:
            if not is_graph(problem.extra_info.get("solution_graph")):
                raise DataError(
                    "the problem has no solution graph",
                    where=f"problem {problem.id}",
                    fix="extra_info.solution_graph, as the generated chains have; or rewards.process.mix=outcome",
                )

    def close(self) -> None:
        """Nothing to end."""


def is_graph(graph: Any) -> bool:
    """Whether this is a solution graph: nodes with a name, a value, and operands that the graph knows."""
    nodes = graph.get("nodes") if isinstance(graph, Mapping) else None
    if not isinstance(nodes, Sequence) or not nodes or not all(isinstance(node, Mapping) for node in nodes):
        return False
    if any(not {"name", "left", "operator", "right", "value"} <= node.keys() for node in nodes):
        return False
    names = {node["name"] for node in nodes if isinstance(node["name"], str)}
    return len(names) == len(nodes) and all(
        isinstance(node["value"], int)
        and isinstance(node["left"], str)
        and (node["operator"] is None or isinstance(node["right"], str))
        and names.issuperset(parents(node))
        for node in nodes
    )


class Fault(StrEnum):
    """What is wrong with a step, or with a response: the first step that is not right decides."""

    MISSING = "missing"
    """The response has no step of that name."""
    DEPENDENCY = "dependency"
    """It is computed from other quantities than it depends on, or before they are."""
    VALUE = "value"
    """It depends on the right quantities and comes to another value, or is worked out wrongly."""
    ANSWER = "answer"
    """Every step is right and the final answer is not."""


@dataclass(frozen=True, slots=True)
class JudgedSteps:
    """A response against a solution graph."""

    faults: tuple[Fault | None, ...]
    """Of each of the graph's nodes, in their order; None where its step is right."""
    num_extra: int
    """Steps of which the graph knows nothing, or that say a step again."""

    @property
    def first_fault(self) -> Fault | None:
        """Of the first step that is not right; None where all are."""
        return next((fault for fault in self.faults if fault is not None), None)

    def share(self, charge_extra: bool = True) -> float:
        """Share of right steps, in [0, 1].

        Args:
            charge_extra: every step that the graph does not know, that says another one again or that is wrong takes
                away a right one, so that listing everything does not pay.
        """
        right = self.faults.count(None)
        stated_wrongly = len(self.faults) - right - self.faults.count(Fault.MISSING)
        charge = self.num_extra + stated_wrongly if charge_extra else 0
        return max(0, right - charge) / len(self.faults)


def right_steps(graph: Mapping[str, Any], response: str) -> float:
    """Share of the graph's nodes that the response derives rightly, in [0, 1], with extra steps charged."""
    return judge_steps(graph, response).share()


def judge_steps(graph: Mapping[str, Any], response: str) -> JudgedSteps:
    """Judge the steps of a response: the first one of each name counts, and only after its parents."""
    nodes = {node["name"]: node for node in graph["nodes"]}
    body = response[:MAX_CHARS].rpartition("#")[0] if len(response) <= MAX_CHARS else ""
    faults: dict[str, Fault | None] = {}
    num_extra = 0
    for step in filter(None, (" ".join(part.split()) for part in body.split(";"))):
        node = nodes.get(step.partition(" = ")[0])
        if node is None or node["name"] in faults:
            num_extra += 1
        else:
            faults[node["name"]] = fault_of(step, node, nodes, graph.get("skills", {}), faults)
    return JudgedSteps(tuple(faults.get(name, Fault.MISSING) for name in nodes), num_extra)


def fault_of(
    step: str,
    node: Mapping[str, Any],
    nodes: Mapping[str, Mapping[str, Any]],
    skills: Mapping[str, Mapping[str, str]],
    before: Mapping[str, Fault | None],
) -> Fault | None:
    """What is wrong with a step; ``before`` has those of the steps that stand before it."""
    needed = parents(node)
    definition_said = step.partition(" = ")[2].partition(" = ")[0]
    stated = {word for word in definition_said.split() if word in nodes}
    if stated != set(needed) or not all(parent in before for parent in needed):
        return Fault.DEPENDENCY
    if step != expected_step(node, nodes, skills) or any(before[parent] for parent in needed):
        return Fault.VALUE
    return None


def parents(node: Mapping[str, Any]) -> list[str]:
    """Names that a node is computed from."""
    return [word for word in (node["left"], node["right"]) if isinstance(word, str) and word.isalpha()]


def expected_step(
    node: Mapping[str, Any], nodes: Mapping[str, Mapping[str, Any]], skills: Mapping[str, Mapping[str, str]]
) -> str:
    """The one right way to write a step: definition, operation on the operands' values, value."""
    if node["operator"] is None:
        return f"{node['name']} = {node['left']}"
    left, right = (nodes[word]["value"] if word.isalpha() else word for word in (node["left"], node["right"]))
    named = skills.get(node["operator"])
    reading = named["right"] if named else f"a {node['operator']} b"
    return f"{definition(node)} = {spell_out(reading, left, right)} = {node['value']}"


def definition(node: Mapping[str, Any]) -> str:
    """A node as the problem states it."""
    return f"{node['name']} = {node['left']} {node['operator']} {node['right']}"


def spell_out(reading: str, left: int | str, right: int | str) -> str:
    """A reading with its operands filled in: ``b - a`` of 3 and 4 is ``4 - 3``."""
    return " ".join(str({"a": left, "b": right}.get(word, word)) for word in reading.split())


@dataclass(frozen=True, slots=True)
class Reading:
    """How a response took one named operation (rlvr/data/skills.py)."""

    step: str
    """Name that the step defines."""
    skill: str
    """Name of the operation, such as ``f17``."""
    reading: str
    """How it was taken, such as ``b - a``; empty if in no way that the problem knows of."""
    right: bool


def readings(graph: Mapping[str, Any], response: str) -> list[Reading]:
    """How a response took the named operations of its problem, in the order of its steps.

    Each step is seen by itself: its operands are the values that the response itself has come to, so that a
    wrong value does not make later readings wrong. Steps that restate no definition are passed over, and so are
    those on whose operands both readings look alike.
    """
    nodes = {node["name"]: node for node in graph["nodes"]}
    values: dict[str, str] = {}
    found = []
    for step in (" ".join(part.split()) for part in response[:MAX_CHARS].rpartition("#")[0].split(";")):
        node = nodes.get(step[:1])
        if node is None or " = " not in step:
            continue
        stated, _, rest = step.removeprefix(definition(node) + " = ").rpartition(" = ")
        values[node["name"]] = rest
        named = graph.get("skills", {}).get(node["operator"])
        if named is None or not step.startswith(definition(node) + " = "):
            continue
        left, right = (
            values.get(word, "") if word.isalpha() else word for word in (node["left"], node["right"])
        )
        ways = {spell_out(named[way], left, right): way for way in ("misreading", "right")}
        if len(ways) == 2:
            way = ways.get(stated)
            found.append(Reading(node["name"], node["operator"], named[way] if way else "", way == "right"))
    return found
