"""What pools ask Ray for, and the threads that their processes compute with."""

from __future__ import annotations

import pytest

from rlvr.cluster.resources import plan_resources
from rlvr.cluster.session import actor_options
from rlvr.config import LearnerConfig, RolloutConfig

ENGINES = RolloutConfig(device="cuda", dtype="bfloat16")


@pytest.mark.parametrize(
    ("learner", "bundle"),
    [
        (LearnerConfig(device="cpu", threads_per_learner=6), {"CPU": 6}),
        (LearnerConfig(device="cuda", threads_per_learner=6), {"CPU": 1, "GPU": 1}),
        # AdamW steps on the host there; with one thread, as Ray would have it, it would take as many times longer.
        (
            LearnerConfig(device="cuda", threads_per_learner=6, offload_optimizer=True),
            {"CPU": 6, "GPU": 1},
        ),
    ],
)
def test_a_learner_gets_the_threads_that_it_computes_with(
    learner: LearnerConfig, bundle: dict[str, float]
) -> None:
    needed = plan_resources(ENGINES, learner)
    assert needed.learner_bundle == bundle
    environment = actor_options(None, 0, bundle, learner.cpu_threads)["runtime_env"]["env_vars"]
    assert environment.get("OMP_NUM_THREADS") == ("6" if bundle["CPU"] == 6 else None)
