"""Two Ray nodes on this machine: pools spread over them, and the loss of one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import ray
from ray.cluster_utils import Cluster

from rlvr.algorithms.grpo import GRPOConfig
from rlvr.cluster import training_pools
from rlvr.config import ClusterConfig, LearnerConfig, RolloutConfig
from rlvr.errors import RlvrError
from rlvr.protocols import Probe
from tests.tiny import PROMPT, TINY, random_batch


@pytest.fixture
def nodes() -> Iterator[tuple[Cluster, object]]:
    """A head of 3 CPUs and a second node of 1: an engine of 2 threads fits the head only, two learners neither."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 3})
    try:
        yield cluster, cluster.add_node(num_cpus=1)
    finally:
        ray.shutdown()
        cluster.shutdown()


def test_a_learner_pool_over_two_nodes_trains_and_ends_with_the_node(nodes) -> None:
    cluster, second = nodes
    rollout = RolloutConfig(threads_per_worker=2, max_prompt_tokens=80, max_response_tokens=128)
    learner = LearnerConfig(num_learners=2, threads_per_learner=1, zero_stage=3, learning_rate=1e-4)
    where = ClusterConfig(address=cluster.address)
    probes = [Probe(row, PROMPT) for row in random_batch().tokens.tolist()]
    with training_pools(
        str(TINY), rollout, learner, where, GRPOConfig().build(), temperature=1.0, seed=0
    ) as (engine, learners):
        homes = node_of_each_actor()
        assert len(set(homes["LearnerActor"])) == 2
        assert len(set(homes["EngineActor"])) == 1
        learners.publish(0, probes)
        learners.update([random_batch()])
        report = learners.publish(1, probes)  # proved: what two nodes trained is what the engine holds
        assert report.num_bytes > 0
        assert engine.version == 1

        cluster.remove_node(second, allow_graceful=False)
        with pytest.raises(RlvrError) as caught:
            learners.update([random_batch()])
    assert "learner" in str(caught.value)


def node_of_each_actor() -> dict[str, list[str]]:
    """Nodes of the living actors by class; from the control store, since the state API needs a dashboard."""
    found: dict[str, list[str]] = {}
    for actor in ray._private.state.actors().values():
        if actor["State"] == "ALIVE":
            found.setdefault(actor["ActorClassName"], []).append(actor["Address"]["NodeID"])
    return found
