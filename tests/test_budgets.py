"""The split of a compute budget between mid-training and RL."""

from __future__ import annotations

from functools import partial

import pytest

from rlvr.budgets import Split, rl_tokens, split_budget

BATCH = 524_288
"""Tokens of a step of the paper's mid-training."""
split_papers = partial(split_budget, prompts_per_step=1024, group_size=6, max_tokens=2048)


@pytest.mark.parametrize("rl_steps", [50, 100, 200, 400, 600, 800])
def test_the_papers_table_of_budgets(rl_steps: int) -> None:
    """arXiv 2512.07783, Table 3: 2,000 steps of mid-training cost what 50 steps of RL cost, and so on."""
    budget = rl_tokens(1024 * rl_steps, 6, 2048)
    assert round(budget / BATCH) == 40 * rl_steps
    for rl_share, mid, rl in ((0.2, 32, 0.2), (0.5, 20, 0.5), (0.8, 8, 0.8)):
        split = split_papers(budget, rl_share)
        assert round(split.mid_tokens / BATCH) == mid * rl_steps
        assert split.rl_steps == round(rl * rl_steps)


def test_the_papers_largest_budget() -> None:
    assert split_papers(20e9, 1.0) == Split(0, 954)
    assert split_papers(20e9, 0.2).rl_steps == 191
    assert round(split_papers(20e9, 0.0).mid_tokens / BATCH) == 38_147


def test_without_a_reference_model_a_step_costs_a_fifth_less() -> None:
    assert rl_tokens(6, 2, 100, has_reference=False) == pytest.approx(1_600)
    assert rl_tokens(6, 2, 100) == pytest.approx(2_000)
