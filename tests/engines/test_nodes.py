"""Two Ray nodes on this machine: pools spread over them, and the loss of one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from rlvr.algorithms.grpo import GRPOConfig
from rlvr.cluster import training_pools
from rlvr.config import ClusterConfig, LearnerConfig, RolloutConfig
from rlvr.errors import RlvrError
from rlvr.protocols import Probe
from tests.commands import TIMEOUT, start, stderr, wait_for
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


@pytest.mark.faults
def test_a_run_that_lost_a_node_goes_on_with_another(tmp_path: Path, nodes) -> None:
    """The whole command: the node's loss is said and exits with 3, and the same command finishes the run."""
    cluster, second = nodes
    run = tmp_path / "run"
    words = (
        "train", "recipe=tiny", f"run.dir={run}", f"cluster.address={cluster.address}", "train.num_steps=12",
        "train.prompts_per_step=4", "algorithm.group_size=4", "train.checkpoint_every=2",
        "rollout.num_workers=1", "rollout.threads_per_worker=2", "learner.num_learners=2",
        "learner.threads_per_learner=1", "learner.zero_stage=3",
    )  # fmt: skip
    metrics = run / "metrics.jsonl"
    command = start(tmp_path, *words)
    wait_for(lambda: metrics.exists() and metrics.read_text().count("\n") >= 3, command)
    cluster.remove_node(second, allow_graceful=False)
    command.communicate(timeout=TIMEOUT)
    assert command.returncode == 3, stderr(tmp_path)
    assert "learner" in stderr(tmp_path)
    assert "the same command goes on" in stderr(tmp_path)

    cluster.add_node(num_cpus=1)
    command = start(tmp_path, *words)
    command.communicate(timeout=TIMEOUT)
    assert command.returncode == 0, stderr(tmp_path)
    assert "going on after step" in stderr(tmp_path)
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert all(row["sync/version"] == row["step"] for row in rows)


def node_of_each_actor() -> dict[str, list[str]]:
    """Nodes of the living actors by class; from the control store, since the state API needs a dashboard."""
    found: dict[str, list[str]] = {}
    for actor in ray._private.state.actors().values():
        if actor["State"] == "ALIVE":
            found.setdefault(actor["ActorClassName"], []).append(actor["Address"]["NodeID"])
    return found
