"""The settings of every algorithm: vetted defaults, what a preset changes, and what is refused."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from rlvr.algorithms.cispo import CISPOConfig
from rlvr.algorithms.dapo import DAPOConfig
from rlvr.algorithms.grpo import GRPOConfig
from rlvr.algorithms.gspo import GSPOConfig
from rlvr.algorithms.ppo import CriticConfig, PPOConfig
from rlvr.algorithms.registry import ALGORITHMS
from rlvr.algorithms.reinforce_pp import ReinforcePPConfig
from rlvr.algorithms.remax import ReMaxConfig
from rlvr.algorithms.rloo import RLOOConfig
from rlvr.algorithms.settings import KLConfig
from rlvr.cli.schema import keys_of
from rlvr.errors import ConfigError

SHARED = {
    "group_size": 8,
    "clip_low": 0.2,
    "clip_high": 0.2,
    "dual_clip": None,
    "importance_cap": None,
    "entropy_coef": 0.0,
    "mask_truncated": False,
    "kl.coef": 0.0,
}
IN_LOSS = {"kl.placement": "loss", "kl.estimator": "k3", "kl.group_baseline": "reward"}
IN_REWARD = {"kl.placement": "reward", "kl.estimator": "k1", "kl.group_baseline": "reward"}
GRPO = {**SHARED, **IN_LOSS, "divide_by_std": True, "std_epsilon": 1e-6, "reduction": "sequence_mean"}
REINFORCE_PP = {
    **SHARED,
    **IN_REWARD,
    "reduction": "token_mean",
    "baseline": "none",
    "gamma": 1.0,
    "ddof": 1,
}

VETTED: dict[str, dict[str, Any]] = {
    "ppo": {
        **SHARED,
        **IN_REWARD,
        "reduction": "token_mean",
        "gamma": 1.0,
        "lam": 1.0,
        "ddof": 1,
        "critic.learning_rate": None,
        "critic.value_clip": 0.2,
        "critic.warmup_steps": 0,
    },
    "grpo": GRPO,
    "reinforce_pp": REINFORCE_PP,
    "rloo": {
        **SHARED,
        **IN_REWARD,
        "kl.group_baseline": "reward_minus_kl",
        "policy_loss": "reinforce",
        "reduction": "sequence_sum",
    },
    "remax": {**SHARED, **IN_REWARD, "policy_loss": "reinforce", "reduction": "sequence_sum"},
    "dapo": {
        **GRPO,
        "clip_high": 0.28,
        "reduction": "token_mean",
        "dynamic_sampling": True,
        "max_sampling_factor": 10.0,
        "overlong_share": 0.2,
        "overlong_weight": 1.0,
    },
    "dr_grpo": {**GRPO, "divide_by_std": False, "reduction": "constant_length"},
    "reinforce_pp_baseline": {**REINFORCE_PP, "baseline": "group_mean"},
    "gspo": {**GRPO, "clip_low": 3e-4, "clip_high": 4e-4},
    "cispo": {**GRPO, "reduction": "token_mean", "max_ratio": 5.0},
}

PRESETS: dict[str, dict[str, Any]] = {
    "ppo_verl": {"dual_clip": 3.0, "critic.value_clip": 0.5},
    "ppo_openrlhf": {"ddof": 0, "critic.value_clip": 0.5},
    "grpo_verl": {"dual_clip": 3.0, "reduction": "token_mean"},
    "grpo_openrlhf": {
        "std_epsilon": 1e-9,
        "reduction": "token_mean",
        "kl.placement": "reward",
        "kl.estimator": "k1",
    },
    "reinforce_pp_verl": {"dual_clip": 3.0, "kl.group_baseline": "reward_minus_kl"},
    "reinforce_pp_openrlhf": {"ddof": 0},
    "rloo_verl": {"dual_clip": 3.0, "policy_loss": "clip", "reduction": "token_mean"},
    "rloo_openrlhf": {"policy_loss": "clip", "reduction": "token_mean", "kl.group_baseline": "reward"},
    "remax_verl": {"dual_clip": 3.0, "policy_loss": "clip", "reduction": "token_mean"},
    "dapo_verl": {"dual_clip": 10.0},
    "dapo_openrlhf": {"std_epsilon": 1e-9},
}
"""Name → what it changes against the papers' settings of the same algorithm."""


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key → value."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def paper_name(preset: str) -> str:
    return preset.removesuffix("_verl").removesuffix("_openrlhf")


def test_every_algorithm_and_preset_is_pinned_here() -> None:
    assert set(ALGORITHMS) == {*VETTED, *PRESETS}


@pytest.mark.parametrize("name", list(VETTED))
def test_the_defaults_are_the_vetted_settings(name: str) -> None:
    assert flat(asdict(ALGORITHMS[name])) == {**VETTED[name], "name": name}


@pytest.mark.parametrize("name", list(PRESETS))
def test_a_preset_changes_what_its_source_does_differently(name: str) -> None:
    paper, preset = (flat(asdict(ALGORITHMS[key])) for key in (paper_name(name), name))
    assert type(ALGORITHMS[name]) is type(ALGORITHMS[paper_name(name)])
    changed = {key: value for key, value in preset.items() if paper[key] != value}
    assert changed == {**PRESETS[name], "name": name}


@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_every_dotted_key_is_listed(name: str) -> None:
    leaves = flat(asdict(ALGORITHMS[name]))
    sections = {key.partition(".")[0] for key in leaves if "." in key}
    assert sorted(key.name for key in keys_of(type(ALGORITHMS[name]))) == sorted({*leaves, *sections})


@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_every_config_composes(name: str) -> None:
    algorithm = ALGORITHMS[name].build()
    assert algorithm.group_size == 8
    assert (algorithm.critic is not None) == (paper_name(name) == "ppo")
    assert algorithm.sampling.greedy_baseline == (paper_name(name) == "remax")
    assert (algorithm.sampling.keep_group is not None) == (paper_name(name) == "dapo")
    assert (algorithm.shape_reward is not None) == (paper_name(name) == "dapo")


# Refusals.


@pytest.mark.parametrize("size", [1, 0])
@pytest.mark.parametrize(
    ("config", "title"),
    [
        (GRPOConfig, "GRPO"),
        (DAPOConfig, "DAPO"),
        (GSPOConfig, "GSPO"),
        (CISPOConfig, "CISPO"),
        (RLOOConfig, "RLOO"),
        (lambda **options: ReinforcePPConfig(baseline="group_mean", **options), "REINFORCE++-baseline"),
    ],
)
def test_an_algorithm_that_compares_refuses_a_group_without_comparison(config, title: str, size: int) -> None:
    with pytest.raises(ConfigError) as caught:
        config(group_size=size)
    assert caught.value.where == "algorithm.group_size"
    if size == 1:
        assert caught.value.what.startswith(f"{title} compares the responses of a group")
        assert "2 or more" in (caught.value.fix or "")


@pytest.mark.parametrize("config", [PPOConfig, ReinforcePPConfig, ReMaxConfig])
def test_an_algorithm_with_another_baseline_takes_a_single_response(config) -> None:
    assert config(group_size=1).build().group_size == 1
    with pytest.raises(ConfigError, match="group_size is 0"):
        config(group_size=0)


@pytest.mark.parametrize(
    ("config", "settings", "key", "meant"),
    [
        (GRPOConfig, {"reduction": "token_meen"}, "reduction", "token_mean"),
        (PPOConfig, {"reduction": "constant"}, "reduction", "constant_length"),
        (RLOOConfig, {"policy_loss": "reinforced"}, "policy_loss", "reinforce"),
        (ReMaxConfig, {"policy_loss": "clipped"}, "policy_loss", "clip"),
        (ReinforcePPConfig, {"baseline": "groupmean"}, "baseline", "group_mean"),
        (KLConfig, {"placement": "rewards"}, "kl.placement", "reward"),
        (KLConfig, {"group_baseline": "reward-kl"}, "kl.group_baseline", "reward"),
    ],
)
def test_an_unknown_word_is_answered_with_the_closest_known(
    config, settings: dict, key: str, meant: str
) -> None:
    [word] = settings.values()
    with pytest.raises(ConfigError, match=f"'{word}' is not a choice") as caught:
        config(**settings)
    assert caught.value.where == f"algorithm.{key}"
    assert caught.value.fix == f"did you mean {meant!r}?"


def test_a_word_like_no_other_is_answered_with_all_of_them() -> None:
    with pytest.raises(ConfigError) as caught:
        KLConfig(estimator="mse")
    assert caught.value.where == "algorithm.kl.estimator"
    assert caught.value.fix == "known: k1, k2, k3"


OUT_OF_RANGE = [
    (GRPOConfig, "clip_low", 0),
    (GRPOConfig, "clip_low", -0.1),
    (PPOConfig, "clip_high", 0),
    (RLOOConfig, "clip_high", -0.1),
    (PPOConfig, "dual_clip", 1.0),
    (GRPOConfig, "dual_clip", 0.5),
    (GRPOConfig, "std_epsilon", 0.0),  # a group of equal rewards would be 0 / 0
    (GRPOConfig, "importance_cap", 0.0),
    (PPOConfig, "importance_cap", -1.0),
    (RLOOConfig, "entropy_coef", -0.001),
    (PPOConfig, "gamma", 1.1),
    (PPOConfig, "gamma", -0.1),
    (PPOConfig, "lam", 1.01),
    (PPOConfig, "lam", -0.1),
    (PPOConfig, "ddof", 2),
    (ReinforcePPConfig, "gamma", 1.5),
    (ReinforcePPConfig, "ddof", -1),
    (DAPOConfig, "max_sampling_factor", 0.9),
    (DAPOConfig, "overlong_share", 0.0),
    (DAPOConfig, "overlong_share", 1.1),
    (DAPOConfig, "overlong_weight", -1.0),
    (CISPOConfig, "max_ratio", 0.0),
    (KLConfig, "kl.coef", -0.001),
    (CriticConfig, "critic.learning_rate", -1e-6),
    (CriticConfig, "critic.value_clip", 0.0),
    (CriticConfig, "critic.warmup_steps", -1),
]


@pytest.mark.parametrize(("config", "key", "value"), OUT_OF_RANGE)
def test_a_number_under_which_the_equations_mean_nothing_is_refused(config, key: str, value: float) -> None:
    name = key.rpartition(".")[2]
    with pytest.raises(ConfigError, match=f"{name} is {value}") as caught:
        config(**{name: value})
    assert caught.value.where == f"algorithm.{key}"
    assert caught.value.fix


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        (PPOConfig, {"gamma": 0, "lam": 0, "ddof": 0}),
        (PPOConfig, {"gamma": 1, "lam": 1, "ddof": 1}),
        (DAPOConfig, {"max_sampling_factor": 1, "overlong_share": 1, "overlong_weight": 0}),
        (CriticConfig, {"learning_rate": 0, "value_clip": None, "warmup_steps": 0}),
        (KLConfig, {"coef": 0}),
    ],
)
def test_the_ends_of_a_range_belong_to_it(config, settings: dict) -> None:
    assert asdict(config(**settings)).items() >= settings.items()


def test_gspo_refuses_the_dual_clip_that_its_loss_does_not_have() -> None:
    with pytest.raises(ConfigError, match="no dual clip") as caught:
        GSPOConfig(dual_clip=3.0)
    assert caught.value.where == "algorithm.dual_clip"
