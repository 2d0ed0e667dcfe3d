"""ReMax (Li et al. 2023, arXiv 2310.10505).

REINFORCE whose baseline is the score of the greedy response ȳ to the same prompt.

(1) reward     r_t = 1[t last]·r(x, y) − β log(π(y_t) / π_ref(y_t))
(2) advantage  Â_t = Σ_{s≥t} r_s − r(x, ȳ),   ȳ_t = argmax π(· | x, ȳ_<t)            Algorithm 2, lines 4-6
(3) loss       ℓ_t = −Â_t log π(y_t | x, y_<t)
(4) objective  sum of (3) over a response, mean over responses

The greedy response costs one more generation per prompt and is never trained on.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from rlvr.algorithms.advantages import return_to_go, to_tokens, token_rewards
from rlvr.algorithms.algorithm import Algorithm, Credit, Scored
from rlvr.algorithms.settings import KLConfig, ReinforceConfig


@dataclass
class ReMaxConfig(ReinforceConfig):
    """Defaults: the paper's, with as many responses per prompt as the study takes (the paper: 1)."""

    name: str = "remax"
    kl: KLConfig = field(default_factory=lambda: KLConfig(placement="reward", estimator="k1"))
    """β of (1)."""

    def build(self) -> Algorithm:
        """Compose the algorithm from the numbered equations."""
        parts = self.shared()  # β of (1), (4)
        parts["sampling"] = replace(parts["sampling"], greedy_baseline=True)  # ȳ of (2)
        return Algorithm(
            **parts,
            advantage=advantage,  # (2)
            policy_loss=self.surrogate(),  # (3)
        )


def advantage(scored: Scored) -> Credit:
    """Equations (1) and (2)."""
    assert scored.baseline_rewards is not None
    rewards = token_rewards(scored.rewards, scored.kl_penalty, scored.mask)
    returns = return_to_go(rewards, scored.mask, gamma=1.0)
    return Credit(returns - to_tokens(scored.baseline_rewards, scored.mask))
