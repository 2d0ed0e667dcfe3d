"""Penalties for leaving the reference model: three estimators of KL(π ‖ π_ref) from sampled tokens.

Δ = log π − log π_ref of a sampled token. The names are those of J. Schulman, "Approximating
KL Divergence" (joschu.net/blog/kl-approx.html), which verl and OpenRLHF use as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

MAX_DELTA = 20.0
"""Δ is clamped to ± this, so that exp cannot overflow."""


def k1(delta: Tensor) -> Tensor:
    """Δ: unbiased, of high variance, negative at times. As a loss its expected gradient is zero."""
    return delta


def k2(delta: Tensor) -> Tensor:
    """Δ²/2: biased, of low variance; as a loss its gradient is that of the KL divergence."""
    return delta.square() / 2


def k3(delta: Tensor) -> Tensor:
    """e^−Δ − 1 + Δ: unbiased and never negative (GRPO, 2402.03300, eq. 4).

    verl cuts it off at 10 nats, and with it the gradient; here only the exponent is bounded.
    """
    return (-delta.clamp(-MAX_DELTA, MAX_DELTA)).expm1() + delta


ESTIMATORS: dict[str, Callable[[Tensor], Tensor]] = {"k1": k1, "k2": k2, "k3": k3}
"""Estimators by the name that configs use."""


@dataclass(frozen=True, slots=True)
class KLPenalty:
    """β times an estimate of the KL divergence, per token."""

    coef: float
    """β, above 0."""
    estimator: Callable[[Tensor], Tensor]

    def __call__(self, logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
        """β·k(log π − log π_ref), shape of its arguments, nats."""
        return self.coef * self.estimator(logprobs - ref_logprobs)
