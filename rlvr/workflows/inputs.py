"""What a training run is made of besides its settings: problems, verifier, and the user's own code.

These lie outside of the run's folder and may change behind its back.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from rlvr.checkpoint import Checkpoints
from rlvr.config import DataConfig, ExperimentConfig
from rlvr.data.loaders import problems_hash
from rlvr.errors import ConfigError
from rlvr.provenance import PLUGINS
from rlvr.run_folder import TRAINED_FILE, read_provenance
from rlvr.tracking.progress import say
from rlvr.user_code import file_identity, identity_of
from rlvr.workflows.preflight import Prepared, check_training

PROBLEMS = "problems_sha256"
CODE = {
    "verifier": "the verifier",
    "reward_functions": "the reward functions (train.reward.functions)",
    "algorithm_file": "the file of the algorithm",
}
"""Inputs that are code, by their keys in a run's record, and in words."""


def checked_inputs(config: ExperimentConfig) -> dict[str, Any]:
    """The inputs of a run that has passed its checks.

    Raises:
        RlvrError: the first thing that is wrong.
    """
    prepared = check_training(config)
    with prepared.verifier:
        return training_inputs(config, prepared)


def training_inputs(config: ExperimentConfig, prepared: Prepared) -> dict[str, Any]:
    """What ``trained.json`` and every checkpoint keep, to tell whether a run would be the same if it were done again.

    Args:
        config: of the run.
        prepared: the same, checked; where its problems are on the hub and it was not asked, what they decide is left out.
            The verifier's identity names the content of a function of the user's.
    """
    own = sys.modules[type(config.algorithm).__module__]
    hashes = {}
    for before, stage in zip([None, *prepared.stages], prepared.stages, strict=False):
        if stage.problems and (before is None or stage.problems is not before.problems):
            begins = "" if before is None else f"_from_{stage.first_step}"
            hashes[f"{PROBLEMS}{begins}"] = problems_hash(stage.problems)
    return {
        **hashes,
        **({"verifier": prepared.verifier.identity} if prepared.problems else {}),
        "reward_functions": [identity_of(each.function) for each in config.train.reward.functions],
        "algorithm_file": file_identity(Path(str(own.__file__))) if own in PLUGINS else None,
    }


def refuse_other_inputs(config: ExperimentConfig, inputs: dict[str, Any]) -> None:
    """Refuse a run whose inputs have changed since it began.

    An unfinished run goes on with changed code, and says so: that is how a function is mended that failed on the way.
    What an older version has not recorded is not compared.

    Args:
        config: of the run, whose folder need not exist.
        inputs: as they are now.

    Raises:
        ConfigError: the problems have changed; or the run is finished, and its verifier or the user's code has.
    """
    if config.run.resume == "never":
        return
    folder = Path(config.run.dir)
    finished = (folder / TRAINED_FILE).exists()
    recorded = read_provenance(folder) if finished else _in_checkpoint(folder)
    changed = [key for key, value in inputs.items() if key in recorded and recorded[key] != value]
    for key in changed:
        if key.startswith(PROBLEMS):
            step = int(key.rpartition("_")[2]) if key != PROBLEMS else 1
            place = _place(config.in_stages()[step].data)
            raise _refusal(folder, f"the training problems {place} have changed since the run began")
        what = f"{CODE[key]} has changed since the run began: {recorded[key]} then, {inputs[key]} now"
        if finished:
            raise _refusal(folder, what)
        say(f"train: WARNING: {what}; the steps that are left are computed with it")


def _in_checkpoint(folder: Path) -> dict[str, Any]:
    for checkpoint in reversed([each for each in Checkpoints(folder).all() if each.resumable]):
        try:
            return checkpoint.state()
        except (OSError, ValueError):  # damaged, and so passed over when the run goes on
            continue
    return {}


def _refusal(folder: Path, what: str) -> ConfigError:
    return ConfigError(
        what,
        where=f"run.dir={folder}",
        fix="another run.dir; or what was there before, put back; or run.resume=never, which keeps the old run under "
        "another name",
    )


def _place(data: DataConfig) -> str:
    return f"in {data.path}" if data.path is not None else f"of the family {data.family}"
