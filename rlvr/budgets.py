"""Compute budgets: reinforcement learning in tokens of mid-training, and a budget split between the two.

A token of mid-training costs about 6 FLOPs a parameter: 2 forward and 4 backward. arXiv 2512.07783 (section 5 and
appendix A.8) states the cost of RL in such tokens::

    T_RL = (4/3 + γ/3) · N · r · L                                                      (1)

for N prompts with r responses each, of a length L, where γ is 1 with a reference model and 0 without. A response is
sampled and scored (4/3, with the backward pass), and scored by the reference model once more (1/3). L is the longest
prompt and response together, 2,048 in the paper, whatever the responses have come to; its text writes the length twice in
equation 9, and its table of budgets goes by (1).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Split:
    """A budget, divided."""

    mid_tokens: int
    """Tokens of mid-training."""
    rl_steps: int
    """Steps of RL, rounded."""


def rl_tokens(num_prompts: int, group_size: int, max_tokens: int, *, has_reference: bool = True) -> float:
    """Equation (1): what RL on so many prompts costs, in tokens of mid-training.

    Args:
        num_prompts: N, over all steps.
        group_size: r, responses for each.
        max_tokens: L, longest prompt and response together.
        has_reference: whether a reference model scores the responses (a KL term): γ.
    """
    return (5 if has_reference else 4) / 3 * num_prompts * group_size * max_tokens


def split_budget(
    budget: float,
    rl_share: float,
    *,
    prompts_per_step: int,
    group_size: int,
    max_tokens: int,
    has_reference: bool = True,
) -> Split:
    """Divide a budget of token equivalents: ``rl_share`` (β) of it to RL, the rest to mid-training.

    The paper's Light, Medium and Heavy RL have shares of 0.2, 0.5 and 0.8.
    """
    step = rl_tokens(prompts_per_step, group_size, max_tokens, has_reference=has_reference)
    return Split(round(budget * (1 - rl_share)), round(budget * rl_share / step))
