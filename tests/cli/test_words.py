"""Words on the command line as a config, for the commands without recipes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from rlvr.cli.words import WordsCommand
from rlvr.config import EntropyConfig, PaperConfig, RolloutConfig, VerifyConfig
from rlvr.errors import ConfigError


@dataclass
class Config:
    """Something of every type."""

    action: str = "show"
    folders: list[str] = field(default_factory=list)
    numbers: list[float] = field(default_factory=list)
    label: str | None = "x"
    count: int = 1
    rate: float = 0.5
    quick_look: bool = False
    rollout: RolloutConfig = field(default_factory=RolloutConfig)


COMMAND = WordsCommand("try", Config, "rlvr try", plain=("action", "folders"))


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        (["list"], "action", "list"),
        (["list", "a", "b"], "folders", ["a", "b"]),
        (["folders=c", "list", "a"], "folders", ["c", "a"]),
        (["folders=a,b"], "folders", ["a", "b"]),
        (["folders=[a,b]"], "folders", ["a", "b"]),
        (["numbers=1,1e-3"], "numbers", [1.0, 0.001]),
        (["label=a=b, c: 1"], "label", "a=b, c: 1"),
        (["label=null"], "label", None),
        (["action=null"], "action", "null"),
        (["label=12"], "label", "12"),
        (["rate=1e-3"], "rate", 0.001),
        (["--quick-look"], "quick_look", True),
        (["quick_look=true"], "quick_look", True),
        (["rollout.num_workers=3"], "rollout", RolloutConfig(num_workers=3)),
        (["+rollout.engine_args.seed=3"], "rollout", RolloutConfig(engine_args={"seed": 3})),
    ],
)
def test_words_fill_the_config(words: list[str], key: str, value: Any) -> None:
    assert getattr(COMMAND.config(words), key) == value


@pytest.mark.parametrize(
    ("words", "what", "fix"),
    [
        (["cuont=2"], "unknown key 'cuont'", "'count'"),
        (["rollout.num_worker=2"], "unknown key 'rollout.num_worker'", "'rollout.num_workers'"),
        (["--quick-lok"], "unknown flag '--quick-lok'", "'--quick-look'"),
        (["--count=2"], "unknown flag '--count'", "count=…"),
        (["count=two"], "count is 'two', and not of the type int", "rlvr try --help=count"),
        (["count="], "count is ''", "--help=count"),
        (["numbers=hot"], "numbers is 'hot'", "--help=numbers"),
        (["rollout.num_workers=0"], "num_workers is 0", "above 0"),
    ],
)
def test_what_does_not_fit_is_refused(words: list[str], what: str, fix: str) -> None:
    with pytest.raises(ConfigError) as error:
        COMMAND.config(words)
    assert what in error.value.what
    assert fix in str(error.value.fix)


def test_a_word_too_many() -> None:
    with pytest.raises(ConfigError, match="one word too many: 'b'"):
        WordsCommand("verify", VerifyConfig, "", plain=("file",)).config(["a", "b"])


def test_words_for_others_are_kept_for_them() -> None:
    command = WordsCommand("paper", PaperConfig, "", others="overrides")
    config = command.config(["only=a", "train.num_steps=4", "+x=1", "~y=2", "--dry-run"])
    assert config == PaperConfig(only=["a"], dry_run=True, overrides=["train.num_steps=4", "+x=1", "~y=2"])
    with pytest.raises(ConfigError, match="recipe is what the studies differ in"):
        command.config(["recipe=tiny"])


def test_a_program_is_refused_the_same_values() -> None:
    with pytest.raises(ConfigError, match="responses is 0"):
        EntropyConfig(["runs"], responses=0)
    with pytest.raises(ConfigError, match="no folder is named"):
        EntropyConfig()
