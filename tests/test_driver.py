"""The training loop, seen through engines, learners and trackers that record their use."""

from __future__ import annotations

import re
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest
import torch

from rlvr.checkpoint import Checkpoints
from rlvr.collect import PromptStream
from rlvr.config import GuardsConfig
from rlvr.driver import NUM_PROBES, probes_from, sample_rows
from rlvr.errors import TrainingError, VerifierError, WeightUpdateError
from rlvr.eval.report import dynamics
from rlvr.rewards.training import TrainingReward
from tests.fakes import (
    LEARNER_METRICS,
    FakeRenderer,
    group,
    problems,
)
from tests.training import Run, half_right


def test_every_update_is_published_under_its_step(tmp_path: Path) -> None:
    run = Run(tmp_path)()
    assert run.learner.calls == [
        "publish 0",
        *(call for step in (1, 2, 3) for call in ("annotate", "update", f"publish {step}")),
        *("save model", "save state"),  # a checkpoint, from which a longer run goes on
        "save .model.tmp",  # under its name once it is whole
    ]
    assert (tmp_path / "model").is_dir()


def test_no_response_is_sampled_with_stale_weights(tmp_path: Path) -> None:
    run = Run(tmp_path)()
    assert run.engine.sampled_versions == [0] * 8 + [1] * 8 + [2] * 8


def test_what_was_sampled_is_what_is_trained_on(tmp_path: Path) -> None:
    run = Run(tmp_path)()
    assert len(run.learner.updates) == 3
    for [batch] in run.learner.updates:
        assert len(batch) == 8
        assert batch.old_logprobs is None  # strictly on-policy: the ratio is 1
        assert batch.advantages.view(2, 4, -1)[:, :, 0].sum(1).tolist() == pytest.approx([0, 0], abs=1e-5)
        assert batch.loss_weights.sum().item() == pytest.approx(1)
    asked = [request.prompt_tokens[1] - 2 for request in run.engine.requests]
    assert sorted(asked) == list(range(6))  # an epoch: 3 steps of 2 prompts


def test_several_minibatches_are_annotated_before_the_first_update(tmp_path: Path) -> None:
    run = Run(tmp_path, num_steps=2, minibatch_size=4)()
    assert run.learner.calls[:7] == [
        "publish 0",
        *("annotate", "update", "publish 1"),
        *("annotate", "update", "publish 2"),
    ]
    for minibatches in run.learner.updates:
        assert [len(minibatch) for minibatch in minibatches] == [4, 4]
        for minibatch in minibatches:
            assert minibatch.old_logprobs is not None
            assert (minibatch.old_logprobs == -0.25).all()


def test_a_minibatch_of_the_whole_step_needs_no_old_logprobs(tmp_path: Path) -> None:
    run = Run(tmp_path, minibatch_size=8)()
    assert all(batch.old_logprobs is None for [batch] in run.learner.updates)


def test_a_second_epoch_goes_through_the_same_minibatches_again(tmp_path: Path) -> None:
    run = Run(tmp_path, num_steps=1, minibatch_size=4, num_epochs=2)()
    [[first, second, third, fourth]] = run.learner.updates
    assert torch.equal(first.tokens, third.tokens)
    assert torch.equal(second.tokens, fourth.tokens)
    assert third.old_logprobs is not None


def test_sampling_is_what_the_config_says(tmp_path: Path) -> None:
    run = Run(tmp_path, temperature=0.7)()
    for settings in run.engine.settings:
        assert (settings.temperature, settings.top_p, settings.max_tokens) == (0.7, 1.0, 16)
        assert settings.logprobs


def test_the_first_weights_are_proved_before_anything_is_sampled(tmp_path: Path) -> None:
    run = Run(tmp_path, lose_update=0)
    with pytest.raises(WeightUpdateError):
        run()
    assert run.engine.requests == []
    assert [list(probe.tokens) for probe in run.learner.probes[0]] == [[1, i + 2] for i in range(NUM_PROBES)]
    assert all(probe.prompt_length >= 1 for probe in run.learner.probes[0])


def test_a_lost_update_stops_the_run_before_the_next_sample(tmp_path: Path) -> None:
    run = Run(tmp_path, lose_update=2)
    with pytest.raises(WeightUpdateError):
        run()
    assert run.engine.sampled_versions == [0] * 8 + [1] * 8
    assert not (tmp_path / "model").exists()


def test_one_row_of_metrics_per_step_under_the_documented_names(tmp_path: Path) -> None:
    rows = Run(tmp_path)().tracker.rows
    assert [step for step, _ in rows] == [1, 2, 3]
    expected = {
        *LEARNER_METRICS,
        *("reward/mean", "reward/uniform_group_share"),
        *("filter/kept_groups", "filter/sampling_factor"),
        *("reward/shaped_mean", "advantage/mean", "advantage/abs_mean"),
        *("response/length_mean", "response/length_max", "response/truncated_share"),
        *(f"verify/{status}" for status in ("correct", "incorrect", "unparsed", "timeout", "error")),
        *("sync/version", "sync/proved_share", "sync/probe_mean_abs", "sync/probe_max_abs"),
        *("time/rollout", "time/learn", "time/sync", "time/step", "time/verify"),
        *("throughput/rollouts_per_second", "throughput/tokens_per_second"),
    }
    for step, row in rows:
        assert set(row) == expected
        assert all(isinstance(value, float) for value in row.values())
        assert row["reward/mean"] == 0.5
        assert row["sync/version"] == step
        stages = row["time/rollout"] + row["time/learn"] + row["time/sync"]
        assert row["time/step"] == pytest.approx(stages)


def test_the_report_draws_only_metrics_that_exist() -> None:
    table = (Path(__file__).resolve().parents[1] / "docs" / "metrics.md").read_text()
    documented = set(re.findall(r"`([a-z]+/[a-z_]+)`", table))
    drawn = {
        key
        for table in vars(dynamics).values()
        if isinstance(table, dict)
        for key in table
        if isinstance(key, str) and "/" in key
    }
    assert len(drawn) > 10
    assert drawn <= documented


def test_every_metric_is_documented(tmp_path: Path) -> None:
    table = (Path(__file__).resolve().parents[1] / "docs" / "metrics.md").read_text()
    [(_, row), *_] = Run(tmp_path)().tracker.rows
    assert set(row) <= set(re.findall(r"`([a-z]+/[a-z_]+)`", table))


def test_verifier_errors_stop_the_run_before_they_are_trained_on(tmp_path: Path) -> None:
    run = Run(tmp_path, lambda index, sample: "error" if sample == 3 else f"# {index}")
    with pytest.raises(VerifierError) as caught:
        run()
    assert caught.value.exit_code == 5
    assert run.learner.calls == ["publish 0"]


def test_the_cases_of_a_verifier_error_are_there_to_be_read(tmp_path: Path) -> None:
    # The message sends the reader to rollouts.jsonl.
    run = Run(tmp_path, lambda index, sample: "error" if sample == 3 else f"# {index}")
    with pytest.raises(VerifierError, match="verifier failed"):
        run()
    assert "error" in {row["status"] for _, rows in run.tracker.samples for row in rows}


def test_few_verifier_errors_are_left_out_of_training(tmp_path: Path) -> None:
    run = Run(
        tmp_path,
        lambda index, sample: "error" if (index, sample) == (0, 1) else half_right(index, sample),
        max_error_share=0.2,
    )()
    weightless = [int((batch.loss_weights.sum(1) == 0).sum()) for [batch] in run.learner.updates]
    assert sorted(weightless) == [0, 0, 1]


def test_samples_are_logged_at_every_step(tmp_path: Path) -> None:
    samples = Run(tmp_path, num_logged_samples=1)().tracker.samples
    assert [(step, len(rows)) for step, rows in samples] == [(1, 1), (2, 1), (3, 1)]
    keys = {"problem", "prompt", "ground_truth", "response", "answer", "score", "reward", "status"}
    assert set(samples[0][1][0]) == keys


def test_models_that_are_kept_outlive_their_checkpoints(tmp_path: Path) -> None:
    Run(tmp_path, num_steps=7, checkpoint_every=1, keep_checkpoints=2, keep_model_every=3)()
    found = [(each.step, each.resumable) for each in Checkpoints(tmp_path).all()]
    assert found == [(3, False), (6, True), (7, True)]


def test_the_last_step_leaves_a_checkpoint_whenever_any_does(tmp_path: Path) -> None:
    for folder, every, expected in (("due", 2, [2, 3]), ("first", 9, [3]), ("off", 0, [])):
        Run(tmp_path / folder, num_steps=3, checkpoint_every=every)()
        assert [each.step for each in Checkpoints(tmp_path / folder).all()] == expected


def test_every_request_and_every_step_has_a_seed_of_its_own(tmp_path: Path) -> None:
    seeds = [each.seed for each in Run(tmp_path)().engine.settings]
    assert None not in seeds
    assert len(set(seeds)) == 3
    assert {each.seed for each in Run(tmp_path / "off", seed_requests=False)().engine.settings} == {None}


def test_a_jump_stops_the_run_before_it_is_trained_on(tmp_path: Path) -> None:
    answered = count()
    run = Run(
        tmp_path,
        lambda index, sample: half_right(index, sample) if next(answered) < 5 * 8 else "# no",
        num_steps=9,
        guards=GuardsConfig(window=3, on_jump="stop"),
    )
    with pytest.raises(TrainingError, match=r"reward/mean is 0\.000 at step 6"):
        run()
    assert len(run.learner.updates) == 5
    assert run.said == ["checkpoint of step 5 written"]
    # What was watched goes on as well: the first step of the next session jumps, too.
    with pytest.raises(TrainingError, match="at step 6"):
        Run(tmp_path, lambda index, sample: "# no", num_steps=9, guards=run.guards)(resume=True)


def test_a_policy_that_has_run_away_is_not_kept(tmp_path: Path) -> None:
    run = Run(tmp_path, num_steps=5, checkpoint_every=1)
    update = run.learner.update

    def runaway(*args: Any, **kwargs: Any) -> dict[str, float]:
        metrics = update(*args, **kwargs)
        return metrics | ({"policy/ratio_mean": 1e6} if len(run.learner.updates) == 3 else {})

    run.learner.update = runaway
    with pytest.raises(TrainingError, match=r"ratio of step 3 is 1e\+06"):
        run()
    assert run.learner.calls[-1] == "update"  # not published
    assert [each.step for each in Checkpoints(tmp_path).all()] == [1, 2]


def test_the_prompt_stream_goes_through_every_problem_once_an_epoch() -> None:
    stream = PromptStream(problems(5), seed=3)
    epochs = [[problem.id for problem in islice(stream, 5)] for _ in range(3)]
    assert all(sorted(epoch) == [f"fake/train/{i}" for i in range(5)] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_the_prompt_stream_is_seeded() -> None:
    first, again, other = (list(islice(PromptStream(problems(20), seed), 40)) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("num_drawn", [0, 1, 4, 5, 12, 10_000])
def test_the_prompt_stream_goes_on_at_any_place(num_drawn: int) -> None:
    whole = PromptStream(problems(5), seed=3)
    for _ in range(num_drawn):
        next(whole)
    resumed = PromptStream(problems(5), seed=3, num_drawn=num_drawn)
    assert list(islice(resumed, 12)) == list(islice(whole, 12))
    assert resumed.num_drawn == whole.num_drawn == num_drawn + 12


def test_probes_are_rollouts_of_this_step() -> None:
    groups = [group([1, 0], prompt=[1, index], index=index) for index in range(NUM_PROBES + 1)]
    probes = probes_from(groups, FakeRenderer())
    assert len(probes) == NUM_PROBES
    # The prompt as it is sent, and not as the engine has read it.
    assert list(probes[2].tokens) == [1, 4, 30, 30, 30]
    assert probes[2].prompt_length == 2


def test_no_more_rows_than_asked_for() -> None:
    assert len(sample_rows([group([1, 0])] * 3, 2, TrainingReward())) == 2
    assert sample_rows([group([1, 0])], 0, TrainingReward()) == []


def test_nothing_touches_the_global_random_state(tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    Run(tmp_path)()
    assert torch.equal(before, torch.random.get_rng_state())


def test_responses_without_answers_are_warned_about_once(tmp_path: Path) -> None:
    run = Run(tmp_path, lambda index, sample: f"I think {index}")()
    [warning] = [line for line in run.said if "WARNING" in line]
    assert warning.startswith("WARNING, step 1: 8 of 8 responses hold no answer that the verifier can read")
    assert "an answer is looked for after #" in warning
    assert "'I think " in warning


def test_a_few_responses_without_answers_are_nothing_to_warn_about(tmp_path: Path) -> None:
    run = Run(tmp_path, lambda index, sample: "I think" if sample % 2 else f"# {index}")()
    assert not any("WARNING" in line for line in run.said)
