"""What the families have in common: every problem with a solution graph has a reference solution, which is right."""

from __future__ import annotations

import pytest

from rlvr.config import DataConfig
from rlvr.data.families import FAMILIES, reference_solution
from rlvr.rewards.process import right_steps
from rlvr.rewards.registry import verifier_for


@pytest.mark.parametrize("name", FAMILIES)
def test_reference_solutions_are_right_and_whole(name: str) -> None:
    problems = FAMILIES[name].test_split(DataConfig(), 40, None)
    verifier = verifier_for(problems)
    for problem in problems:
        solution = reference_solution(problem)
        if not problem.extra_info.get("solution_graph"):
            assert solution is None
            continue
        assert solution is not None
        assert verifier.verify(problem, solution, "stop").score == 1.0
        assert right_steps(problem.extra_info["solution_graph"], solution) == 1.0
