"""Workers that die, freeze or run out of memory, in one session of two engines and two ranks under ZeRO 3.

The tests build on one another: each leaves the pools whole, and the last one breaks a learner.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import ray

from rlvr.algorithms.algorithm import Sampling
from rlvr.algorithms.grpo import GRPOConfig
from rlvr.batch import TrainBatch, collate
from rlvr.cluster import LearnerPool, RolloutPool
from rlvr.cluster.watch import Watch, Worker
from rlvr.collect import collect
from rlvr.config import ClusterConfig
from rlvr.data.prompts import PromptRenderer
from rlvr.errors import ResourceError, WeightUpdateError, WorkerLostError
from rlvr.protocols import Probe, SampleRequest, SamplingSettings
from rlvr.records import Problem
from rlvr.rewards.final_answer import FinalAnswerVerifier
from tests.tiny import tiny_pools

pytestmark = pytest.mark.faults
ALGORITHM = GRPOConfig(group_size=4).build()
SAMPLED = SamplingSettings(temperature=1.0, max_tokens=128, logprobs=True)
GREEDY = SamplingSettings(temperature=0.0, max_tokens=128)
HEARTBEAT = 15.0
NUM_SAMPLES = 8


@dataclass
class Pools:
    """The pools and what the tests sample and train with."""

    engine: RolloutPool
    learner: LearnerPool
    requests: Sequence[SampleRequest]
    probes: Sequence[Probe]
    minibatches: Sequence[TrainBatch]

    @property
    def watch(self) -> Watch:
        """Of both pools."""
        return self.engine._watch

    def greedy(self) -> dict[int, list[int]]:
        """Responses that depend on the weights alone."""
        requests = [SampleRequest(request.key, request.prompt_tokens, 1) for request in self.requests[:16]]
        found = self.engine.generate(requests, GREEDY)
        return {key: list(completion.response_tokens) for key, [completion] in found}

    def sample(self, fault: Callable[[], None] = lambda: None) -> None:
        """Sample everything, with a fault after the first answer; each request is to be answered once."""
        answers: Counter[int] = Counter()
        for key, completions in self.engine.generate(self.requests, SAMPLED):
            if not answers:
                fault()
            answers[key] += 1
            assert len(completions) == NUM_SAMPLES
            assert {completion.policy_version for completion in completions} == {self.engine.version}
        assert answers == Counter({request.key: 1 for request in self.requests})


@pytest.fixture(scope="module")
def pools(problems: list[Problem], renderer: PromptRenderer) -> Iterator[Pools]:
    """Whole pools, whose weights are not those of the start model."""
    requests = [
        SampleRequest(key, renderer.render(problem), NUM_SAMPLES) for key, problem in enumerate(problems)
    ]
    probes = [Probe(request.prompt_tokens, 1) for request in requests[:4]]
    with tiny_pools(
        ALGORITHM,
        num_workers=2,
        num_learners=2,
        zero_stage=3,
        learning_rate=1e-3,
        cluster=ClusterConfig(heartbeat_timeout=HEARTBEAT, max_restarts=20),
    ) as (engine, learner):
        learner.publish(0, probes)
        groups = collect(
            engine, renderer, FinalAnswerVerifier(), iter(problems), 32, Sampling(4), SAMPLED
        ).groups
        batch = collate(groups, 128)
        minibatches = ALGORITHM.assign_credit(
            batch, learner.annotate(batch, old_logprobs=True), 128
        ).minibatches
        made = Pools(engine, learner, requests, probes, minibatches)
        before = made.greedy()
        for version in range(1, 10):
            learner.update(minibatches)
            learner.publish(version, probes)
            if made.greedy() != before:
                break
        else:
            pytest.fail("nine updates change no greedy response")
        yield made


def pid(worker: Worker) -> int:
    """Of a worker's process."""
    found: int = ray.get(worker.actor.__ray_call__.remote(lambda actor: os.getpid()))
    return found


def send(worker: Worker, number: signal.Signals) -> Callable[[], None]:
    """Send a signal to a worker's process, whose number is asked for beforehand."""
    process = pid(worker)
    return lambda: os.kill(process, number)


def arm(worker: Worker, method: str, number: signal.Signals, part: str = "_engine") -> None:
    """Let a process kill or freeze itself on its next call of a method of one of its parts."""

    def replace(actor: Any) -> None:
        def strike(*args: Any) -> None:
            os.kill(os.getpid(), number)

        setattr(getattr(actor, part), method, strike)

    ray.get(worker.actor.__ray_call__.remote(replace))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_lost_while_sampling_is_replaced(pools: Pools, number: signal.Signals) -> None:
    expected, restarts, reissued = pools.greedy(), pools.watch.num_restarts, pools.watch.num_reissued
    old = pid(pools.engine.workers[1])
    pools.sample(send(pools.engine.workers[1], number))
    assert pools.watch.num_restarts == restarts + 1
    assert pools.watch.num_reissued > reissued
    assert pid(pools.engine.workers[1]) != old
    # Both engines hold the trained weights: half of these requests go to the new one.
    assert pools.greedy() == expected


def test_a_worker_lost_between_two_calls_is_replaced(pools: Pools) -> None:
    expected, restarts = pools.greedy(), pools.watch.num_restarts
    send(pools.engine.workers[0], signal.SIGKILL)()
    assert pools.greedy() == expected
    assert pools.watch.num_restarts == restarts + 1


@pytest.mark.parametrize("method", ["start_weight_update", "update_weights", "finish_weight_update", "probe"])
def test_a_worker_lost_in_a_weight_update_is_replaced(pools: Pools, method: str) -> None:
    restarts, version = pools.watch.num_restarts, pools.engine.version
    arm(pools.engine.workers[1], method, signal.SIGKILL)
    pools.learner.update(pools.minibatches)
    report = pools.learner.publish(version + 1, pools.probes)
    assert report.proved_share == 1
    assert pools.engine.version == version + 1
    assert pools.watch.num_restarts == restarts + 1
    pools.sample()


def test_a_worker_frozen_in_a_weight_update_is_replaced(pools: Pools) -> None:
    restarts, version = pools.watch.num_restarts, pools.engine.version
    arm(pools.engine.workers[0], "update_weights", signal.SIGSTOP)
    started = time.monotonic()
    pools.learner.publish(version + 1, pools.probes)
    assert time.monotonic() - started > HEARTBEAT
    assert pools.watch.num_restarts == restarts + 1
    pools.sample()


def test_a_worker_lost_while_the_learner_has_moved_on_is_replaced_at_the_next_publication(
    pools: Pools,
) -> None:
    """Nobody can give a new worker the weights that the other one samples with."""
    restarts, version = pools.watch.num_restarts, pools.engine.version
    pools.learner.update(pools.minibatches)
    pools.sample(send(pools.engine.workers[1], signal.SIGKILL))
    assert pools.engine.version == version
    assert pools.watch.num_restarts == restarts
    pools.learner.publish(version + 1, pools.probes)
    assert pools.watch.num_restarts == restarts + 1
    pools.sample()


def test_weights_that_no_engine_holds_any_more_end_the_run(pools: Pools) -> None:
    kills = [send(worker, signal.SIGKILL) for worker in pools.engine.workers]

    def kill_all() -> None:
        for kill in kills:
            kill()

    pools.learner.update(pools.minibatches)
    with pytest.raises(WorkerLostError, match="the learner has moved on") as error:
        pools.sample(kill_all)
    assert error.value.exit_code == 3
    pools.learner.publish(pools.engine.version + 1, pools.probes)
    pools.sample()


def test_replacements_have_a_limit(pools: Pools) -> None:
    limit, pools.watch.limits.max_restarts = pools.watch.limits.max_restarts, pools.watch.num_restarts
    with pytest.raises(WorkerLostError, match="are used up") as error:
        pools.sample(send(pools.engine.workers[0], signal.SIGKILL))
    assert error.value.where == "rollout worker 0"
    assert "cluster.max_restarts" in str(error.value)
    assert error.value.exit_code == 3
    pools.watch.limits.max_restarts = limit
    pools.sample()


def sample_for_ever(pools: Pools) -> None:
    """The machine is looked at every two seconds."""
    while True:
        pools.sample()


def test_a_machine_short_of_memory_stops_the_run(pools: Pools) -> None:
    limit, pools.watch.limits.max_memory_share = pools.watch.limits.max_memory_share, 0.001
    with pytest.raises(ResourceError, match="of the memory of") as error:
        sample_for_ever(pools)
    assert "rollout worker 0" in str(error.value)
    assert error.value.exit_code == 8
    pools.watch.limits.max_memory_share = limit
    pools.sample()


def test_every_process_reports_its_vitals(pools: Pools) -> None:
    pools.sample()
    metrics = pools.watch.metrics()
    for name in ("driver", "ray", "rollout_worker_0", "rollout_worker_1", "learner_0", "learner_1"):
        assert 0.02 < metrics[f"process/{name}_memory_gib"] < 20, name
        assert metrics[f"process/{name}_open_files"] > 5, name
        assert metrics[f"process/{name}_threads"] > 1, name
    assert 0 < metrics["process/host_memory_used"] < 1


def set_one_weight(value: float) -> Callable[[Any], None]:
    """For all ranks at once: the first number of the last parameter."""

    def change(actor: Any) -> None:
        import deepspeed

        *_, parameter = actor._learner._hf_model.parameters()
        with deepspeed.zero.GatheredParameters([parameter], modifier_rank=0):
            parameter.data.view(-1)[0] = value

    return change


def on_all(workers: Sequence[Worker], function: Callable[[Any], Any]) -> list[Any]:
    """Call a function with every worker's actor, in its process."""
    found: list[Any] = ray.get([worker.actor.__ray_call__.remote(function) for worker in workers])
    return found


def test_weights_that_are_not_finite_reach_no_engine(pools: Pools) -> None:
    version = pools.engine.version
    on_all(pools.learner.workers, set_one_weight(math.nan))
    with pytest.raises(WeightUpdateError, match="NaN or infinity") as error:
        pools.learner.publish(version + 1, pools.probes)
    assert error.value.exit_code == 4
    assert pools.engine.version == version
    with pytest.raises(WeightUpdateError, match="were not proved"):
        pools.sample()
    # The run ends here. For the next test the engines, in the middle of an update, are replaced.
    on_all(pools.learner.workers, set_one_weight(0.0))
    for worker in pools.engine.workers:
        send(worker, signal.SIGKILL)()
    pools.learner.publish(version + 1, pools.probes)
    pools.sample()


def test_a_learner_frozen_while_it_sends_weights_ends_the_run(pools: Pools) -> None:
    """The other rank waits for it in a collective operation, and is not to blame."""
    version = pools.engine.version
    arm(pools.learner.workers[1], "send_weights", signal.SIGSTOP, part="_transfer")
    pools.learner.update(pools.minibatches)
    started = time.monotonic()
    with pytest.raises(WorkerLostError, match="did not answer") as error:
        pools.learner.publish(version + 1, pools.probes)
    assert time.monotonic() - started < HEARTBEAT + 30
    assert error.value.where == "learner 1"
    assert error.value.exit_code == 3
    # Nothing is labelled with weights that only some engines may have, and nothing is sampled with them.
    assert pools.engine.version == version
    assert set(on_all(pools.engine.workers, engine_version)) == {version}
    with pytest.raises(WeightUpdateError, match="were not proved"):
        pools.sample()


def engine_version(actor: Any) -> int:
    """Of one engine's process."""
    version: int = actor._engine.version
    return version
