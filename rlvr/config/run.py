"""Where a run lives, what it starts from, and what it reports."""

from __future__ import annotations

from dataclasses import dataclass, field

from rlvr.config.checks import require, require_one_of

MISSING_PATH = ""
MAX_TAG = 64
"""Characters of a tag that W&B takes."""
TRACKER_MODES = ("off", "offline", "online")


@dataclass
class RunConfig:
    """Where a run lives."""

    dir: str = "runs/run"
    """Folder of everything that the run writes. A multirun adds a folder per job, named by the swept keys."""
    resume: str = "auto"
    """``auto``: go on with what is in the folder. ``never``: start anew; what is there is kept beside it,
    under a name that ends in ``.old1``, ``.old2``, …"""
    reuse_from: str | None = None
    """A folder with other studies, at any depth. A finished training run or evaluation there that is the same but for its name
    and place is copied and not made again. Of a run that is taken over, checkpoints are not."""

    def __post_init__(self) -> None:
        """Check the word, and that a run is not to begin anew and to be taken over as well."""
        require_one_of(self.resume, ("auto", "never"), "run.resume")
        require(
            self.resume == "auto" or self.reuse_from is None,
            "run.resume=never begins anew, and run.reuse_from takes over what is there",
            "run.reuse_from",
            "one of the two",
        )


@dataclass
class TrackingConfig:
    """Where metrics go, besides metrics.jsonl, which is always written."""

    wandb: str = "off"
    """``off``, ``offline`` or ``online``."""
    wandb_project: str = "rlvr"
    """Project of the run in W&B."""
    wandb_group: str | None = None
    """Runs of one group stand together in W&B; null groups the jobs of a multirun, and the runs of a study, by their
    folder."""
    wandb_tags: list[str] = field(default_factory=list)
    """Tags of the run; a multirun adds what the job has of the swept keys."""
    tensorboard: bool = False
    """Write the metrics for TensorBoard too, into ``tensorboard/`` of the run's folder."""
    num_logged_samples: int = 4
    """Rollouts written to rollouts.jsonl at every step, to be read."""
    process_every: int = 10
    """Steps between the metrics ``process/…``: memory, open files and threads of every process; 0 is never."""

    def __post_init__(self) -> None:
        """Check the mode and the number."""
        require_one_of(self.wandb, TRACKER_MODES, "tracking.wandb")
        for tag in self.wandb_tags:
            require(
                0 < len(tag) <= MAX_TAG,
                f"{tag!r} is no tag",
                "tracking.wandb_tags",
                f"1 to {MAX_TAG} characters",
            )
        require(
            self.num_logged_samples >= 0,
            "num_logged_samples is negative",
            "tracking.num_logged_samples",
            "0 or more",
        )
        require(self.process_every >= 0, "process_every is negative", "tracking.process_every", "0 or more")


def require_model(path: str) -> None:
    """Refuse a start model that is not set."""
    require(path != MISSING_PATH, "no model is given", "model", "model=FOLDER, or a recipe: recipe=tiny")
