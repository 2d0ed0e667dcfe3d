"""Settings of the verifiers: the section ``rewards`` of every command that judges responses.

Everything that can change a verdict is a value here with a stated default, and goes into the
verifier's identity, so that results judged by different rules are never compared.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from rlvr.errors import ConfigError

EXTRACTIONS = ("auto", "any", "boxed", "answer_tag", "hashes", "answer_line", "last_number")
ATTRIBUTES = ("optional", "required", "ignored")
PERCENTS = ("unit", "value")
DEGREES = ("unit", "radians")
JUDGES = ("exact", "math_verify")
LEVELS = ("bubblewrap", "namespaces", "landlock", "rlimits")
"""Isolation of model-written programs, strongest first."""
PROCESS_MIXES = ("outcome", "process", "strict")
EXTRA_STEPS = ("charged", "allowed")


def _one_of(value: str, known: tuple[str, ...], where: str) -> None:
    if value not in known:
        raise ConfigError(f"{value!r} is not a choice here", where=where, fix=f"one of: {', '.join(known)}")


def _positive(config: object, section: str, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if value <= 0:
            raise ConfigError(f"{name} is {value}", where=f"{section}.{name}", fix="a number above 0")


@dataclass
class MathConfig:
    """How a final answer is found and when it equals the ground truth (see docs/rewards.md)."""

    extraction: str = "auto"
    """Where the answer stands: the last balanced ``\\boxed{…}`` (``boxed``), the last
    ``<answer>…</answer>`` or the box in it (``answer_tag``), after the last ``####`` (``hashes``), after
    ``Answer:`` on the last line (``answer_line``), in the last box or else the last number (``last_number``);
    ``any`` takes the first of the former three that occurs,
    ``auto`` the place that the prompt template asks for."""
    max_answer_chars: int = 1000
    """A longer answer is not read at all: ``unparsed``."""
    judge: str = "exact"
    """Who says that two answers are equal: ``exact`` (docs/rewards.md), or ``math_verify``, the library of that name
    with its own settings, for numbers that stand beside those of lighteval, TRL or a paper that used it. The
    five settings that follow are then its business."""
    decimal_tolerance: float = 0.0
    """Relative difference up to which two numbers are equal when one is written as a decimal; 0 is
    exact (0.5 is 1/2, 0.333 is not 1/3)."""
    units: str = "optional"
    """``optional``: may be left out, but a different unit is wrong; ``required``; ``ignored``.
    Units are compared by name and not converted."""
    percent: str = "unit"
    """``unit``: % is a unit like others, so 10% is not 0.1; ``value``: 10% is the number 0.1."""
    degrees: str = "unit"
    """``unit``: 30° is 30 of the unit degree, not π/6; ``radians``: 30° is the number π/6."""
    bases: str = "optional"
    """The subscript of 4210_5: ``optional``, ``required`` or ``ignored``, as for units."""
    cpu_seconds: float = 3.0
    """CPU time of one symbolic comparison; over it the verdict is ``timeout``."""
    wall_seconds: float = 30.0
    """Wall time of one symbolic comparison, loose, for a process that does not compute."""
    memory_mib: int = 1024
    """Address space of a worker process."""

    def __post_init__(self) -> None:
        """Check words and ranges."""
        _one_of(self.extraction, EXTRACTIONS, "rewards.math.extraction")
        _one_of(self.judge, JUDGES, "rewards.math.judge")
        self._refuse_others_settings()
        _one_of(self.units, ATTRIBUTES, "rewards.math.units")
        _one_of(self.bases, ATTRIBUTES, "rewards.math.bases")
        _one_of(self.percent, PERCENTS, "rewards.math.percent")
        _one_of(self.degrees, DEGREES, "rewards.math.degrees")
        _positive(self, "rewards.math", "max_answer_chars", "cpu_seconds", "wall_seconds", "memory_mib")
        if not 0 <= self.decimal_tolerance < 1:
            raise ConfigError(
                f"decimal_tolerance is {self.decimal_tolerance}",
                where="rewards.math.decimal_tolerance",
                fix="0 (exact), or a relative tolerance such as 1e-3",
            )

    def _refuse_others_settings(self) -> None:
        """Math-Verify would not see what the exact judge is told."""
        if self.judge == "exact":
            return
        for name in ("decimal_tolerance", "units", "percent", "degrees", "bases"):
            default = type(self).__dataclass_fields__[name].default
            if getattr(self, name) != default:
                raise ConfigError(
                    f"Math-Verify has its own rules and would not heed {name}={getattr(self, name)}",
                    where=f"rewards.math.{name}",
                    fix=f"{name}={default}, or rewards.math.judge=exact",
                )


@dataclass
class SandboxConfig:
    """Limits and isolation of one run of a model-written program."""

    require: str = "landlock"
    """Weakest isolation accepted; a machine that cannot reach it is refused. ``rlimits`` is for
    models that you trust: see docs/rewards.md for what it does not stop."""
    level: str = "auto"
    """``auto`` takes the strongest that works here; or one level by name."""
    cpu_seconds: int = 6
    """CPU time of one test, whole seconds: the verdict depends on this and not on the wall clock."""
    wall_seconds: float = 60.0
    """Wall time of one test, loose: for programs that sleep or wait."""
    memory_mib: int = 1024
    """Address space of the program."""
    output_kib: int = 4096
    """Most that a program may write on its standard output, or return."""
    disk_mib: int = 32
    """Most that it may write into its private folder."""
    packages: list[str] = field(default_factory=lambda: ["numpy"])
    """Installed packages that programs may import, beside the standard library."""

    def __post_init__(self) -> None:
        """Check words and ranges."""
        _one_of(self.require, LEVELS, "rewards.sandbox.require")
        _one_of(self.level, ("auto", *LEVELS), "rewards.sandbox.level")
        _positive(
            self, "rewards.sandbox", "cpu_seconds", "wall_seconds", "memory_mib", "output_kib", "disk_mib"
        )


@dataclass
class ProcessConfig:
    """How a worked solution of a generated problem is scored against its solution graph."""

    mix: str = "outcome"
    """``outcome``: the final answer only; ``process``: a weighted mean of the answer and the share of
    right steps; ``strict``: 1 only if the answer and every step are right."""
    weight: float = 0.5
    """Weight of the steps under ``process``; the answer has the rest."""
    gated: bool = False
    """Under ``process``, nothing for the steps of a wrong answer: they only scale right ones. This is what the code of
    arXiv 2512.07783 computes; its equation is the weighted mean whatever the answer is."""
    extra_steps: str = "charged"
    """Steps of which the solution graph knows nothing: each takes away one right one (``charged``), or none does
    (``allowed``). The code of arXiv 2512.07783 charges them in training and allows them in its evaluation."""

    def __post_init__(self) -> None:
        """Check words and range."""
        _one_of(self.mix, PROCESS_MIXES, "rewards.process.mix")
        _one_of(self.extra_steps, EXTRA_STEPS, "rewards.process.extra_steps")
        if not 0 <= self.weight <= 1:
            raise ConfigError(
                f"weight is {self.weight}", where="rewards.process.weight", fix="a number from 0 to 1"
            )


@dataclass
class RewardsConfig:
    """How responses are judged, in training and in evaluation alike."""

    num_workers: int = 2
    """Verifications that run at the same time."""
    function: str | None = None
    """A function of yours, ``PATH.py:NAME``, that judges every response in place of the verifiers: it is called with the
    problem and the response, and returns true or false, a score from 0 to 1, None for no answer, or a Verdict."""
    math: MathConfig = field(default_factory=MathConfig)
    sandbox: SandboxConfig = field(default_factory=SandboxConfig)
    process: ProcessConfig = field(default_factory=ProcessConfig)
    choice_tolerance: float = 0.0
    """Relative tolerance of numeric answers to visual questions; 0 is exact."""

    def asked_for(self, extraction: str) -> RewardsConfig:
        """With the answer where a prompt template asks for it, unless the config names a place itself."""
        if self.math.extraction != "auto":
            return self
        return replace(self, math=replace(self.math, extraction=extraction))

    def __post_init__(self) -> None:
        """Check the ranges."""
        _positive(self, "rewards", "num_workers")
        if not 0 <= self.choice_tolerance < 1:
            raise ConfigError(
                f"choice_tolerance is {self.choice_tolerance}",
                where="rewards.choice_tolerance",
                fix="0 (exact), or a relative tolerance such as 0.01",
            )
