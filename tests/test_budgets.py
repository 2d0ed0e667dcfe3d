"""The split of a compute budget between mid-training and RL."""

from __future__ import annotations

from functools import partial

import pytest

from rlvr.budgets import mid_tokens, rl_steps, rl_tokens

BATCH = 524_288
"""Tokens of a step of the paper's mid-training."""
papers_steps = partial(rl_steps, prompts_per_step=1024, group_size=6, max_tokens=2048)


@pytest.mark.parametrize("steps", [50, 100, 200, 400, 600, 800])
def test_the_papers_table_of_budgets(steps: int) -> None:
    """arXiv 2512.07783, Table 3: 2,000 steps of mid-training cost what 50 steps of RL cost, and so on."""
    budget = rl_tokens(1024 * steps, 6, 2048)
    assert round(budget / BATCH) == 40 * steps
    for rl_share, mid, rl in ((0.2, 32, 0.2), (0.5, 20, 0.5), (0.8, 8, 0.8)):
        assert round(mid_tokens(budget, rl_share) / BATCH) == mid * steps
        assert papers_steps(budget, rl_share) == round(rl * steps)


def test_the_papers_largest_budget() -> None:
    assert papers_steps(20e9, 1.0) == 954
    assert papers_steps(20e9, 0.2) == 191
    assert papers_steps(20e9, 0.0) == mid_tokens(20e9, 1.0) == 0
    assert round(mid_tokens(20e9, 0.0) / BATCH) == 38_147


def test_without_a_reference_model_a_step_costs_a_fifth_less() -> None:
    assert rl_tokens(6, 2, 100, has_reference=False) == pytest.approx(1_600)
    assert rl_tokens(6, 2, 100) == pytest.approx(2_000)
