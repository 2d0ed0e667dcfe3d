"""What responses earn in training, by the published rules of several systems."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlvr.batch import collate
from rlvr.collect import Collected
from rlvr.errors import ConfigError, TrainingError
from rlvr.records import Completion, Problem, Rollout, RolloutGroup, Status, Verdict
from rlvr.rewards.training import RewardFunction, TrainingReward

THINK_ANSWER = r"\s*<think>.*</think>\s*<answer>.*</answer>\s*"
GOOD = "<think>two\nlines</think>\n<answer>4</answer>"
BAD = "4, of course"

CODE_R1 = TrainingReward(right=1.1, wrong=0.1, format=THINK_ANSWER, malformed=-1.1)
EASYR1 = TrainingReward(right=0.9, format=THINK_ANSWER, well_formed=0.1)
DAPO = TrainingReward(wrong=-1.0)


PROBLEM = Problem("a", ({"role": "user", "content": "?"},), "test", "4")


def rollout(score: float, text: str = GOOD, status: Status | None = None) -> Rollout:
    status = status or (Status.CORRECT if score == 1 else Status.INCORRECT)
    return Rollout(Completion([1], [2], [-1.0], text, "stop", 0), Verdict(score, status))


@pytest.mark.parametrize(
    ("rule", "right", "wrong", "right_malformed", "wrong_malformed"),
    [
        (TrainingReward(), 1.0, 0.0, 1.0, 0.0),
        (CODE_R1, 1.1, 0.1, -1.1, -1.1),
        (EASYR1, 1.0, 0.1, 0.9, 0.0),
        (DAPO, 1.0, -1.0, 1.0, -1.0),
    ],
)
def test_published_rules(
    rule: TrainingReward, right: float, wrong: float, right_malformed: float, wrong_malformed: float
) -> None:
    found = [rule(PROBLEM, rollout(score, text)) for text in (GOOD, BAD) for score in (1, 0)]
    assert found == pytest.approx([right, wrong, right_malformed, wrong_malformed])


def test_a_partial_score_earns_in_proportion() -> None:
    assert DAPO(PROBLEM, rollout(0.25)) == -0.5


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"right": 0.0}, "train.reward.right"),
        ({"wrong": 2.0}, "train.reward.right"),
        ({"well_formed": 0.1}, "train.reward.format"),
        ({"malformed": -1.0}, "train.reward.format"),
        ({"format": "<think>(.*"}, "train.reward.format"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(changes: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainingReward(**changes)  # type: ignore[arg-type]
    assert caught.value.where == key


def test_a_group_that_differs_in_form_alone_has_something_to_teach() -> None:
    group = RolloutGroup(PROBLEM, (rollout(0), rollout(0, BAD)), baseline=rollout(1, BAD))
    assert collate([group], 8, CODE_R1).rewards.tolist() == pytest.approx([0.1, -1.1])
    assert collate([group], 8, CODE_R1).baseline_rewards.tolist() == pytest.approx([-1.1] * 2)  # type: ignore[union-attr]
    metrics = Collected([group], [group], 0.0).metrics(CODE_R1)
    assert metrics["reward/uniform_group_share"] == 0.0
    assert metrics["reward/well_formed_share"] == 0.5
    assert metrics["reward/mean"] == 0.0  # what the verifier says, as before
    plain = Collected([group], [group], 0.0).metrics(TrainingReward())
    assert plain["reward/uniform_group_share"] == 1.0
    assert "reward/well_formed_share" not in plain


def test_functions_of_ones_own_are_added_with_their_weights(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "def brevity(problem, response): return 1 / len(response)\n"
        "def knows(problem, response): return float(problem.ground_truth in response)\n"
        "def broken(problem, response): return 1 / 0\n"
        "def endless(problem, response): return float('inf')\n"
    )

    def rule(**weights: float) -> TrainingReward:
        return TrainingReward(
            wrong=-1.0, functions=[RewardFunction(f"{file}:{n}", w) for n, w in weights.items()]
        )

    both = rule(brevity=0.5, knows=2.0)
    both.load()
    assert both(PROBLEM, rollout(0, "44")) == pytest.approx(-1 + 0.25 + 2)
    assert both(PROBLEM, rollout(1, "3")) == pytest.approx(1 + 0.5)
    for name, message in (("broken", "ZeroDivisionError"), ("endless", "returned inf")):
        with pytest.raises(TrainingError, match=message):
            rule(**{name: 1.0})(PROBLEM, rollout(1))
        with pytest.raises(ConfigError, match=message) as tried:
            rule(**{name: 1.0}).try_out(PROBLEM)
        assert f"train.reward.functions={file}:{name}" in str(tried.value.where)
    both.try_out(PROBLEM)
    with pytest.raises(ConfigError, match="has no function 'brevty'") as caught:
        rule(brevty=1.0).load()
    assert "brevity" in str(caught.value.fix)
