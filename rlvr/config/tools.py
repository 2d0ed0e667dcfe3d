"""The commands that start no engine: data, verify, checkpoints, paper and doctor."""

from __future__ import annotations

from dataclasses import dataclass, field

from rlvr.config.checks import require, require_known
from rlvr.config.data import ColumnsConfig, DataConfig
from rlvr.rewards.config import RewardsConfig

DATA_ACTIONS = ("show", "validate")
CHECKPOINT_ACTIONS = ("list", "verify")


@dataclass
class InspectDataConfig:
    """``rlvr data``: what can be trained on and measured, and whether a file of one's own can be."""

    action: str = "show"
    """``show``: what there is; ``validate``: every row of a file."""
    subject: str | None = None
    """A benchmark or a file; null shows the list of all benchmarks and templates."""
    prompt: str | None = None
    """Name of a prompt template, or a YAML file with one of your own; null takes the benchmark's own."""
    model: str | None = None
    """Folder or hub name of a model, whose tokenizer says how long the prompts are."""
    family: str | None = None
    """The registered benchmark whose columns a file has."""
    columns: ColumnsConfig = field(default_factory=ColumnsConfig)
    """What the columns of a file hold, if they are neither a benchmark's nor verl's."""
    data: DataConfig = field(default_factory=DataConfig)
    """Where registered benchmarks come from, and the generated families."""

    def __post_init__(self) -> None:
        """Check the action, and that there is something to validate."""
        require_known(self.action, DATA_ACTIONS, "action")
        require(
            self.action == "show" or self.subject is not None,
            "no file is named",
            "command line",
            "rlvr data validate FILE",
        )


@dataclass
class VerifyConfig(RewardsConfig):
    """``rlvr verify``: rows of JSON with responses, judged; and the settings of the section ``rewards``."""

    file: str = "-"
    """JSONL file; - is standard input."""


@dataclass
class CheckpointsConfig:
    """``rlvr checkpoints``: what a training run can go on from, and whether it is whole."""

    action: str = "list"
    """``list``: step, size, what each is good for; ``verify``: read every byte and compare with the manifests."""
    run: str = ""
    """Folder of a training run."""
    json: bool = False
    """For programs."""

    def __post_init__(self) -> None:
        """Check the action, and that a run is named."""
        require_known(self.action, CHECKPOINT_ACTIONS, "action")
        require(bool(self.run), "no run is named", "command line", f"rlvr checkpoints {self.action} RUN")


@dataclass
class PaperConfig:
    """``rlvr paper``: papers' claims, each decided by a study of its own."""

    folder: str = "runs"
    """Where the studies are, a folder each."""
    only: list[str] = field(default_factory=list)
    """Names of claims or studies; none takes all."""
    output: str | None = None
    """Folder of the page; null takes ``FOLDER/paper``."""
    claims: list[str] = field(default_factory=lambda: ["2504.13837", "2512.07783"])
    """Papers by their numbers, or YAML files of claims and studies of your own."""
    dry_run: bool = False
    """Say how far the studies are, what would be run and how long it would take, and start nothing."""
    page_only: bool = False
    """Write the page of what is there, and start nothing."""
    seeds: list[int] = field(default_factory=list)
    """Training seeds for every study that trains and names none of its own, such as ``[0, 1, 2]``: claims are then about the mean of
    these runs, and intervals cover the chance in training. None: one run each."""
    overrides: list[str] = field(default_factory=list)
    """Settings such as ``train.num_steps=4`` for all commands of the studies that know them: `rlvr study`, `train` and `evaluate`.
    They win over what the claims' file says, but for the models, benchmarks, data and folders that it names."""

    def __post_init__(self) -> None:
        """Refuse words that would make one study of all, and no claims."""
        require(bool(self.claims), "no file of claims is named", "claims", "claims=2504.13837,2512.07783")
        require(
            len(self.seeds) != 1
            and len(set(self.seeds)) == len(self.seeds)
            and min(self.seeds, default=0) >= 0,
            f"the training seeds are {self.seeds}",
            "seeds",
            "two or more different numbers from 0 on; for one run of another seed, seed=N",
        )
        for word in self.overrides:
            key = word.partition("=")[0].lstrip("+~")
            require(
                key not in ("recipe", "run.dir", "seeds"),
                f"{key} is what the studies differ in",
                key,
                "folder=FOLDER; or claims=FILE of your own",
            )


@dataclass
class DoctorConfig:
    """``rlvr doctor``: what works on this machine and what is missing."""

    json: bool = False
    """For programs, or an issue report."""
