"""Compute budgets: reinforcement learning in tokens of mid-training, and a budget split between the two.

A token of mid-training costs about 6 FLOPs a parameter: 2 forward and 4 backward. arXiv 2512.07783 (section 5 and
appendix A.8) states the cost of RL in such tokens::

    T_RL = (4/3 + γ/3) · N · r · L                                                      (1)

for N prompts with r responses each, of a length L, where γ is 1 with a reference model and 0 without. A response is
sampled (1/3) and learned (1), and scored by the reference model once more (1/3). L is the longest prompt and response
together, 2,048 in the paper, whatever the responses have come to; its equation 9 has the length twice, and its table of
budgets goes by (1).

Recipes write ``${rlvr_mid_tokens:…}`` and ``${rlvr_rl_steps:…}`` for the two functions below.
"""

from __future__ import annotations


def rl_tokens(num_prompts: int, group_size: int, max_tokens: int, has_reference: bool = True) -> float:
    """Equation (1): what RL on so many prompts costs, in tokens of mid-training.

    Args:
        num_prompts: N, over all steps.
        group_size: r, responses for each.
        max_tokens: L, longest prompt and response together.
        has_reference: whether a reference model scores the responses (a KL term): γ.
    """
    return (5 if has_reference else 4) / 3 * num_prompts * group_size * max_tokens


def mid_tokens(budget: float, rl_share: float) -> int:
    """Tokens of mid-training in a budget of which RL has a share (the paper's β: Light 0.2, Medium 0.5, Heavy 0.8)."""
    return round(budget * (1 - rl_share))


def rl_steps(
    budget: float,
    rl_share: float,
    prompts_per_step: int,
    group_size: int,
    max_tokens: int,
    has_reference: bool = True,
) -> int:
    """Steps of RL in its share of a budget, by :func:`rl_tokens`, rounded."""
    return round(budget * rl_share / rl_tokens(prompts_per_step, group_size, max_tokens, has_reference))
