"""Algorithms by name: the only list of them.

A name is an option of the Hydra group ``algorithm`` and stands for a config: the paper's
settings under the plain name, those of verl and OpenRLHF under ``<name>_verl`` and
``<name>_openrlhf``. What a preset changes is visible here, and in every run's config.json.
"""

from __future__ import annotations

from types import ModuleType

from rlvr.algorithms.cispo import CISPOConfig
from rlvr.algorithms.dapo import DAPOConfig
from rlvr.algorithms.grpo import GRPOConfig
from rlvr.algorithms.gspo import GSPOConfig
from rlvr.algorithms.ppo import CriticConfig, PPOConfig
from rlvr.algorithms.reinforce_pp import ReinforcePPConfig
from rlvr.algorithms.remax import ReMaxConfig
from rlvr.algorithms.rloo import RLOOConfig
from rlvr.algorithms.settings import AlgorithmConfig, KLConfig
from rlvr.errors import ConfigError
from rlvr.user_code import load_module

PAPER: tuple[AlgorithmConfig, ...] = (
    PPOConfig(),
    GRPOConfig(),
    ReinforcePPConfig(),
    RLOOConfig(),
    ReMaxConfig(),
    DAPOConfig(),
    GRPOConfig(name="dr_grpo", divide_by_std=False, reduction="constant_length"),
    ReinforcePPConfig(name="reinforce_pp_baseline", baseline="group_mean"),
    GSPOConfig(),
    CISPOConfig(),
)

KL_FIRST = KLConfig(placement="reward", estimator="k1", group_baseline="reward_minus_kl")
"""verl with ``use_kl_in_reward``: the penalty is part of the reward before any baseline."""
KL_AFTER = KLConfig(placement="reward", estimator="k1", group_baseline="reward")
"""OpenRLHF: the penalty is added to the returns after the baseline."""

VERL: tuple[AlgorithmConfig, ...] = (
    PPOConfig(name="ppo_verl", dual_clip=3.0, critic=CriticConfig(value_clip=0.5)),
    GRPOConfig(name="grpo_verl", dual_clip=3.0, reduction="token_mean"),
    ReinforcePPConfig(name="reinforce_pp_verl", dual_clip=3.0, kl=KL_FIRST),
    RLOOConfig(name="rloo_verl", dual_clip=3.0, policy_loss="clip", reduction="token_mean", kl=KL_FIRST),
    ReMaxConfig(name="remax_verl", dual_clip=3.0, policy_loss="clip", reduction="token_mean"),
    DAPOConfig(name="dapo_verl", dual_clip=10.0),
)

OPENRLHF: tuple[AlgorithmConfig, ...] = (
    PPOConfig(name="ppo_openrlhf", ddof=0, critic=CriticConfig(value_clip=0.5)),
    GRPOConfig(name="grpo_openrlhf", std_epsilon=1e-9, reduction="token_mean", kl=KL_AFTER),
    ReinforcePPConfig(name="reinforce_pp_openrlhf", ddof=0),
    RLOOConfig(name="rloo_openrlhf", policy_loss="clip", reduction="token_mean", kl=KL_AFTER),
    DAPOConfig(name="dapo_openrlhf", std_epsilon=1e-9),
)
"""OpenRLHF has no ReMax."""

ALGORITHMS = {config.name: config for config in (*PAPER, *VERL, *OPENRLHF)}
"""Name → config; its ``build()`` composes the algorithm."""

PLUGINS: list[ModuleType] = []
"""Modules that were loaded from users' files."""


def register(config: AlgorithmConfig) -> None:
    """Add an algorithm under its name: the last line of a file given by ``--plugin``.

    Raises:
        ConfigError: the name is empty or taken.
    """
    if not config.name or config.name in ALGORITHMS:
        raise ConfigError(
            f"an algorithm cannot be called {config.name!r}" + (": there is one" if config.name else ""),
            where=f"name of {type(config).__name__}",
            fix="another name",
        )
    ALGORITHMS[config.name] = config


def load_plugin(file: str) -> None:
    """Run a user's Python file, which registers its algorithms.

    Raises:
        ConfigError: no such file, or it fails; the message carries its error.
    """
    PLUGINS.append(load_module(file, f"--plugin {file}"))
