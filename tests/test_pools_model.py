"""The model of the pools, on runs whose times can be worked out by hand."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from performance.pools import (
    AHEAD,
    IN_TURN,
    EngineRates,
    LearnerRates,
    Predicted,
    Prompt,
    Rates,
    in_flight,
)
from performance.pools_check import CPU_BLOCK, fit, least_squares
from performance.pools_model import _arguments as arguments
from performance.pools_model import calibrated, fastest, lognormal
from performance.pools_simulation import Engine, Simulation
from rlvr.errors import ConfigError

STEP = EngineRates(per_step=1.0, per_running=0.0, per_context=0.0, per_prompt_token=0.0)
"""A second per engine step, whatever it holds."""
PLAIN = Rates(STEP, LearnerRates(per_update=6.0, per_token=0.0), publish=1.0)


def run(rates: Rates, batch: list[Prompt], mode, *, engines: int = 1, learners: int = 1) -> Predicted:
    return Simulation(rates, [batch] * 16, engines, learners, mode).run(7)


@pytest.mark.parametrize(
    ("mode", "seconds"),
    [
        (IN_TURN, 10 + 6 + 1),
        (AHEAD, max(10, 6) + 1),
        # Two batches are under way: 10 s of sampling, which the other's update stops for 1 s, then learn and publish.
        (in_flight(1), (10 + 1 + 6 + 1) / 2),
        # Enough are under way for the learner never to wait.
        (in_flight(3), 6 + 1),
    ],
)
def test_a_step_of_one_response(mode, seconds: float) -> None:
    predicted = run(PLAIN, [Prompt(1, (10,))], mode)
    assert predicted.step == pytest.approx(seconds)
    assert predicted.learner_busy == pytest.approx(6 / seconds)
    assert predicted.tokens_per_second == pytest.approx(10 / seconds)
    # In flight, an engine may have two batches in hand at once.
    if not mode.in_flight:
        assert predicted.engines_busy == pytest.approx(10 / seconds)


def test_one_step_ahead_takes_as_long_as_the_slower_side() -> None:
    slow_learner = replace(PLAIN, learner=LearnerRates(30.0, 0.0))
    assert run(slow_learner, [Prompt(1, (10,))], AHEAD).step == pytest.approx(30 + 1)


def test_an_engine_step_grows_with_the_responses_and_with_what_they_look_back_on() -> None:
    rates = replace(
        PLAIN, engine=EngineRates(0.5, 0.25, 0.001, 0.01), learner=LearnerRates(0.0, 0.0), publish=0.0
    )
    # Two responses for 4 steps, then one for 6 more; the prompt of 20 tokens fills one block and 4 tokens of the next.
    prompt = 0.01 * (20 + 4)
    both = 4 * (0.5 + 2 * 0.25 + 0.001 * 40) + 0.001 * 2 * 4**2 / 2
    one = 6 * (0.5 + 0.25 + 0.001 * 24) + 0.001 * 6**2 / 2
    assert run(rates, [Prompt(20, (4, 10))], IN_TURN).step == pytest.approx(prompt + both + one)


def test_requests_wait_for_places_and_go_to_the_engine_that_has_some() -> None:
    rates = replace(PLAIN, engine=replace(STEP, places=1), learner=LearnerRates(0.0, 0.0), publish=0.0)
    batch = [Prompt(1, (9,)), Prompt(1, (3,)), Prompt(1, (3,)), Prompt(1, (3,))]
    assert run(rates, batch, IN_TURN, engines=2).step == pytest.approx(9)
    assert run(rates, batch, IN_TURN, engines=1).step == pytest.approx(18)


def test_rows_are_shared_by_the_learners_and_those_without_a_gradient_cost_less() -> None:
    rates = replace(
        PLAIN,
        engine=replace(STEP, per_step=0.0),
        learner=LearnerRates(1.0, 0.1, forward_share=0.25),
        publish=0.0,
    )
    batch = [Prompt(10, (30, 50)), Prompt(10, (30, 50), teaches=False), Prompt(90, (10,), learned=10)]
    tokens = 100 + 0.25 * 100 + 20
    assert run(rates, batch, IN_TURN, learners=2).step == pytest.approx(1 + 0.1 * tokens / 2)


def test_verdicts_come_beside_sampling_and_the_last_ones_after_it() -> None:
    rates = replace(PLAIN, verify=2.0, learner=LearnerRates(0.0, 0.0), publish=0.0)
    assert run(rates, [Prompt(1, (1, 10))], IN_TURN).step == pytest.approx(12)
    assert run(rates, [Prompt(1, (10, 10, 10))], IN_TURN).step == pytest.approx(16)


def test_pools_on_one_machine_slow_each_other_down_while_both_work() -> None:
    rates = replace(
        PLAIN, engine=replace(STEP, slowed=2.0), learner=LearnerRates(6.0, 0.0, slowed=1.5), publish=0.0
    )
    assert run(rates, [Prompt(1, (10,))], IN_TURN).step == pytest.approx(16)
    # The learner takes 9 s beside an engine that does 4.5 of its 10 s meanwhile.
    assert run(rates, [Prompt(1, (10,))], AHEAD).step == pytest.approx(9 + 5.5)


def test_what_goes_on_after_an_update_is_computed_again() -> None:
    free = run(PLAIN, [Prompt(1, (50,))], in_flight(2)).step
    again = replace(PLAIN, engine=replace(STEP, per_prompt_token=0.1))
    assert run(again, [Prompt(1, (50,))], in_flight(2)).step > free + 1


@pytest.mark.parametrize(
    ("prompts", "computed"),
    [
        # Of 40 tokens, 8 fill no block of 16; 32 are computed once for both responses, of which each has 10 tokens.
        ([Prompt(40, (20, 20))], 32 + 2 * (8 + 10)),
        # Two prompts have nothing in common,
        ([Prompt(40, (20,)), Prompt(40, (20,))], 2 * (40 + 10)),
        # unless they are beginnings of one text: the longer one's whole blocks are computed.
        ([Prompt(40, (20,), cached=True), Prompt(72, (20,), cached=True)], 64 + 2 * (8 + 10)),
    ],
)
def test_an_update_has_a_prompt_computed_once_for_all_of_its_responses(
    prompts: list[Prompt], computed: int
) -> None:
    engine = Engine(replace(STEP, per_prompt_token=0.01))
    for prompt in prompts:
        engine.take(prompt, 0)
    engine.advance(engine.clock + 10)
    before = engine.clock
    engine.compute_again()
    assert engine.clock - before == pytest.approx(0.01 * computed)


def test_a_long_tail_is_hidden_in_flight_and_not_one_step_ahead() -> None:
    drawn = random.Random(0)
    batch = [
        Prompt(10, tuple(min(2000, round(drawn.lognormvariate(4, 1.3))) for _ in range(8))) for _ in range(32)
    ]
    rates = replace(PLAIN, engine=EngineRates(0.01, 1e-4, 0.0, 1e-4), learner=LearnerRates(1.0, 1e-4))
    in_turn, ahead, flying = (run(rates, batch, mode).step for mode in (IN_TURN, AHEAD, in_flight(3)))
    assert in_turn > ahead > 1.2 * flying


def test_the_fit_finds_the_rates_that_the_times_were_made_with() -> None:
    drawn = np.random.default_rng(0)
    steps = drawn.integers(1, 200, (50, 3)).astype(float)
    seconds = 2e-3 + steps @ (3e-5, 1e-7, 4e-5)
    engine = [[*step, took, 0.0] for step, took in zip(steps.tolist(), seconds.tolist(), strict=True)]
    found = fit(
        {
            "engine": engine,
            "sample": [[1.0, n, 1.0 + 0.05 + 1e-3 * n] for n in (64, 128, 256)],
            "learn": [
                [a, b, 0.1 + 2e-5 * a + 5e-8 * b]
                for a, b in ((1000, 9e5), (4000, 8e5), (2000, 3e6), (3000, 5e5), (5000, 2e6))
            ],
            "publish": [0.1, 0.3, 0.1],
            "verdict": [1e-4] * 3,
            "together": {
                "engine": [[*step[:3], 1.25 * step[3], 0.0] for step in engine],
                # A second beside the engine, in which it did what takes 0.8 s alone, and the rest alone.
                "learn": [[4000, 5e5, 0.1 + 4000 * 2e-5 + 5e5 * 5e-8 + 0.2, 1.0]],
            },
        },
        256,
    )
    engine_rates = (found.engine.per_step, found.engine.per_running, found.engine.per_context)
    assert engine_rates == pytest.approx((2e-3, 3e-5, 1e-7))
    assert found.engine.per_prompt_token == pytest.approx(4e-5)
    assert (found.per_batch, found.engine.per_response) == pytest.approx((0.05, 1e-3))
    assert (found.engine.slowed, found.learner.slowed) == pytest.approx((1.25, 1.25))
    assert (found.learner.per_update, found.learner.per_token, found.learner.per_square) == pytest.approx(
        (0.1, 2e-5, 5e-8)
    )
    assert (found.engine.places, found.engine.block, found.publish) == (256, CPU_BLOCK, 0.1)


def test_no_rate_is_negative() -> None:
    features = np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 3.0]])
    assert least_squares(features, np.array([3.0, 2.0, 1.0])) == pytest.approx([2.0, 0.0])


def test_the_best_split_is_found_among_all() -> None:
    def step(engines: int) -> Predicted:
        return Predicted([abs(engines - 37) + 5.0], 1.0, 1.0, 1.0)

    assert fastest(step, 63, 1)[0] == 37
    assert fastest(step, 2, 1)[0] == 2


def test_lognormal_lengths_by_their_mean_and_maximum() -> None:
    median, spread = lognormal(1000.0, 12_000.0, 4096)
    drawn = random.Random(1)
    means, longest = [], []
    for _ in range(20):
        lengths = [median * np.exp(drawn.gauss(0, spread)) for _ in range(4096)]
        means.append(np.mean(lengths))
        longest.append(max(lengths))
    assert np.mean(means) == pytest.approx(1000, rel=0.05)
    assert np.median(longest) == pytest.approx(12_000, rel=0.2)


def test_a_run_of_ones_own_sets_the_level_of_the_rates(tmp_path: Path) -> None:
    config = {
        "model": "Qwen/Qwen2.5-0.5B",
        "train": {"prompts_per_step": 16},
        "algorithm": {"group_size": 4},
        "rollout": {
            "num_workers": 2, "max_num_seqs": 64, "tensor_parallel_size": 1, "max_response_tokens": 1024
        },
        "learner": {"num_learners": 2},
    }  # fmt: skip
    row = {
        "response/length_mean": 300.0, "response/length_max": 900.0,
        "time/rollout": 40.0, "time/learn": 20.0, "time/sync": 3.0,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "metrics.jsonl").write_text(
        "".join(json.dumps({"step": n, **row}) + "\n" for n in range(1, 7))
    )
    rates, batches = calibrated(arguments([]), tmp_path)
    predicted = Simulation(rates, batches[:8], 2, 2, IN_TURN).run(2)
    assert predicted.step == pytest.approx(40 + 20 + 3, rel=0.05)  # lengths are drawn
    assert rates.publish == 3.0


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least three steps"):
        calibrated(arguments([]), tmp_path)
