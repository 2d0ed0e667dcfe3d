"""`rlvr train` on fake pools: what it writes, what it does not do twice, how it goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.pools import Pools


def test_training_writes_its_run_and_nothing_else(train, tmp_path: Path, cwd: Path) -> None:
    result = train()
    assert result.code == 0, result.err
    run = tmp_path / "run"
    names = {"config.json", "metrics.jsonl", "rollouts.jsonl", "trained.json", "model", "checkpoints"}
    assert {path.name for path in run.iterdir()} == names
    assert list(cwd.iterdir()) == []
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    config = json.loads((run / "config.json").read_text())
    assert config["train"]["num_steps"] == 2
    assert config["algorithm"]["group_size"] == 4
    record = json.loads((run / "trained.json").read_text())
    assert record["model_sha256"] != record["start_model_sha256"]
    assert {"date", "command", "seed", "config_sha256", "versions", "hardware", "wall_seconds"} <= set(record)


def test_a_trained_run_is_not_trained_again(train, pools: Pools) -> None:
    assert train().code == train().code == 0
    assert len(pools.trained) == 1


def test_a_run_is_not_mixed_with_other_settings(train, pools: Pools) -> None:
    train()
    result = train("seed=1", "learner.learning_rate=0.5")
    assert result.code == 2
    assert "seed: 0 there, 1 now" in result.err
    assert "learner.learning_rate: 1e-06 there, 0.5 now" in result.err
    assert "run.dir" in result.err
    assert len(pools.trained) == 1


def test_another_number_of_learners_is_refused_on_going_on(train, pools: Pools) -> None:
    pools.samples_left = 9  # in the second step
    assert train().code == 130
    result = train("learner.num_learners=2")
    assert result.code == 2
    assert "learner.num_learners: 1 there, 2 now" in result.err
    assert len(pools.trained) == 1


def test_an_interrupted_training_is_not_taken_for_a_trained_one(train, pools: Pools, tmp_path: Path) -> None:
    pools.die_after = 1
    assert train().code == 130
    assert not (tmp_path / "run" / "trained.json").exists()
    pools.die_after = None
    assert train().code == 0
    assert len(pools.trained) == 2


def test_an_interrupted_training_goes_on_where_it_stopped(train, pools: Pools, tmp_path: Path) -> None:
    words = ("train.num_steps=5", "train.checkpoint_every=2", "tracking.num_logged_samples=1")
    pools.samples_left = 3 * 8 + 1  # in the fourth step
    stopped = train(*words)
    assert stopped.code == 130
    assert "checkpoint of step 3 written" in stopped.err
    # As if it had been killed later still: rows of a step that no checkpoint holds, and half a row.
    metrics = tmp_path / "run" / "metrics.jsonl"
    written = metrics.read_text()
    metrics.write_text(
        written + written.splitlines()[-1].replace('"step": 3', '"step": 4') + '\n{"step": 5, "rew'
    )
    pools.samples_left = None
    result = train(*words)
    assert result.code == 0, result.err
    assert "going on after step 3" in result.err
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]
    samples = (tmp_path / "run" / "rollouts.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in samples] == [1, 2, 3, 4, 5]


def test_a_finished_run_is_gone_on_with(train, pools: Pools, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train("train.num_steps=3", "train.checkpoint_every=2").code == 0
    before = json.loads((run / "trained.json").read_text())
    # A longer run that is cut short is unfinished, and goes on in turn.
    pools.samples_left = 8
    stopped = train("train.num_steps=5", "train.checkpoint_every=2")
    assert stopped.code == 130
    assert "going on after step 3" in stopped.err
    assert not (run / "trained.json").exists()
    pools.samples_left = None
    result = train("train.num_steps=5", "train.checkpoint_every=2")
    assert result.code == 0, result.err
    assert "going on after step 4" in result.err
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]
    assert json.loads((run / "config.json").read_text())["train"]["num_steps"] == 5
    assert json.loads((run / "trained.json").read_text())["date"] >= before["date"]
    assert train("train.num_steps=5", "train.checkpoint_every=2").code == 0
    assert len(pools.trained) == 3


def test_what_makes_a_longer_run_another_one_is_refused(train, pools: Pools, tmp_path: Path) -> None:
    assert train("train.num_steps=3", "train.checkpoint_every=2").code == 0
    config = (tmp_path / "run" / "config.json").read_text()
    changed = train("train.num_steps=5", "algorithm.group_size=8")
    assert changed.code == 2
    assert "algorithm.group_size: 4 there, 8 now" in changed.err
    assert "num_steps" not in changed.err
    fewer = train("train.num_steps=2")
    assert fewer.code == 2
    assert "has done 3 steps, which is more than 2" in fewer.err
    assert (tmp_path / "run" / "config.json").read_text() == config
    assert len(pools.trained) == 1


def test_a_run_that_left_no_checkpoint_is_not_made_longer(train, pools: Pools, tmp_path: Path) -> None:
    assert train("train.checkpoint_every=0").code == 0
    result = train("train.checkpoint_every=0", "train.num_steps=3")
    assert result.code == 2
    assert "ended after 2 steps and left no checkpoint" in result.err
    assert train("train.checkpoint_every=0").code == 0  # untouched
    assert len(pools.trained) == 1


def test_a_run_on_its_way_may_end_earlier_but_not_before_what_is_done(train, pools: Pools) -> None:
    pools.samples_left = 3 * 8 + 1
    assert train("train.num_steps=9").code == 130
    pools.samples_left = None
    assert "has done 3 steps" in train("train.num_steps=2").err
    assert train("train.num_steps=4").code == 0


def test_starting_anew_keeps_what_was_there(train, pools: Pools, tmp_path: Path) -> None:
    assert train().code == 0
    result = train("run.resume=never", "seed=1")
    assert result.code == 0, result.err
    assert "run.old1" in result.err
    assert len(pools.trained) == 2
    for folder, seed in (("run.old1", 0), ("run", 1)):
        assert json.loads((tmp_path / folder / "config.json").read_text())["seed"] == seed
        assert (tmp_path / folder / "trained.json").exists()


def test_how_a_run_is_carried_out_may_change(train, pools: Pools, tmp_path: Path) -> None:
    pools.samples_left = 9
    assert train().code == 130
    pools.samples_left = None
    words = ("tracking.num_logged_samples=0", "train.checkpoint_every=1", "cluster.address=auto")
    assert train(*words).code == 0
    assert json.loads((tmp_path / "run" / "config.json").read_text())["train"]["checkpoint_every"] == 1


@pytest.mark.parametrize(
    ("returned", "cause"),
    [
        ("False", "100% of the responses hold a wrong answer"),
        ("None", "100% of the responses hold no answer that the verifier can read"),
    ],
)
def test_a_run_without_any_reward_says_at_its_end_that_nothing_was_learned(
    train, tmp_path: Path, returned: str, cause: str
) -> None:
    judge = tmp_path / "judge.py"
    judge.write_text(f"def judge(problem, response):\n    return {returned}\n")
    result = train(f"rewards.function={judge}:judge")
    assert result.code == 0, result.err
    warning, last = result.err.strip().splitlines()[-2:]
    assert "nothing was learned: not one response of 2 steps was right" in warning
    assert cause in warning
    assert "trained model: " in last
    assert "nothing was learned" not in train(f"run.dir={tmp_path}/other").err


STAGE = "stages=[{from_step:2,train:{prompts_per_step:4},rollout:{max_response_tokens:64}}]"


def test_stages_are_shown_run_and_recorded(train, tmp_path: Path) -> None:
    shown = train(STAGE, "train.num_steps=3", "--dry-run").out
    assert "3 steps in 2 stages" in shown
    assert "steps 1 to 1: 2 prompts × 4 = 8 rollouts" in shown
    assert "steps 2 to 3: 4 prompts × 4 = 16 rollouts" in shown
    longer = train(STAGE.replace(":64", ":160"), "train.num_steps=3", "--dry-run").out
    assert "at most 3,840 tokens a step (240 a rollout)" in longer
    held = "sequences of full length at once"
    assert [line for line in longer.splitlines() if held in line] != [
        line for line in shown.splitlines() if held in line
    ]
    result = train(STAGE, "train.num_steps=3")
    assert result.code == 0, result.err
    assert "from step 2 of 4 with responses of up to 64 tokens" in result.err
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["train/stage"] for row in rows] == [1, 2, 2]
    record = json.loads((tmp_path / "run" / "trained.json").read_text())
    assert [(each["from_step"], each["prompts_per_step"]) for each in record["stages"]] == [(1, 2), (2, 4)]


def test_a_stage_too_long_for_the_engines_is_refused(train) -> None:
    result = train(STAGE.replace(":64", ":100000"))
    assert result.code == 2
    assert "100" in result.err


def test_a_stage_is_added_to_a_run_that_has_not_come_to_it(train, pools: Pools) -> None:
    """As DeepCoder's was, once the first had shown what it could."""
    assert train("train.checkpoint_every=1").code == 0
    result = train("train.checkpoint_every=1", STAGE)
    assert result.code == 2
    assert "stages: [] there" in result.err
    later = STAGE.replace("from_step:2", "from_step:3")
    assert train("train.checkpoint_every=1", "train.num_steps=4", later).code == 0
    result = train("train.checkpoint_every=1", "train.num_steps=4")
    assert result.code == 2
    assert "from_step" in result.err


def test_a_key_that_has_come_since_a_run_began_counts_as_its_default(
    train, pools: Pools, tmp_path: Path
) -> None:
    pools.samples_left = 9  # in the second step
    assert train().code == 130
    pools.samples_left = None
    path = tmp_path / "run" / "config.json"
    stored = json.loads(path.read_text())
    del stored["stages"], stored["train"]["reward"], stored["algorithm"]["entropy_coef"]
    path.write_text(json.dumps(stored))
    result = train("algorithm.entropy_coef=0.5")
    assert result.code == 2
    assert "algorithm.entropy_coef: 0.0 there, 0.5 now" in result.err
    assert train().code == 0
