"""``rlvr doctor``: what works on this machine, what is missing, and what mends it."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from rlvr.cli.words import WordsCommand
from rlvr.config import DoctorConfig
from rlvr.provenance import hardware, versions

MIN_DISK_GIB, MIN_MEMORY_GIB = 5.0, 8.0
EXAMPLES = """\
rlvr doctor: check the engines, the machine and the shipped model; starts none of them.

Examples:
  rlvr doctor
  rlvr doctor --json            for a program, or an issue report

Exit code 0 if everything that a study needs is there, 1 if not.
"""
COMMAND = WordsCommand("doctor", DoctorConfig, EXAMPLES)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    name: str
    ok: bool
    detail: str
    fix: str = ""


def run(arguments: list[str]) -> None:
    """Run the command."""
    COMMAND.run(app, arguments)


def app(config: DoctorConfig) -> None:
    """Check, and print what was found."""
    findings = [check() for check in CHECKS] + [engine(*words) for words in ENGINES]
    if config.json:
        print(json.dumps({"versions": versions(), "findings": [asdict(f) for f in findings]}, indent=2))
    else:
        for finding in findings:
            print(f"{'ok     ' if finding.ok else 'MISSING'} {finding.name:<12} {finding.detail}")
            if not finding.ok and finding.fix:
                print(f"{'':21}fix: {finding.fix}")
    if not all(finding.ok for finding in findings):
        sys.exit(1)


def engine(name: str, module: str, purpose: str) -> Finding:
    """Whether an engine can be imported."""
    try:
        with contextlib.redirect_stdout(sys.stderr):  # some packages greet on stdout, which is for --json
            found = importlib.import_module(module)
    except Exception as error:  # noqa: BLE001 - an engine can fail to import in any way; all mean that it is not usable
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Finding(name, False, f"{purpose}: {reason}", "make setup (or make setup GPU=1)")
    version = getattr(found, "__version__", None) or metadata.version(module)
    return Finding(name, True, f"{version}  {purpose}")


def python() -> Finding:
    """The interpreter."""
    version = sys.version_info
    return Finding(
        "python", (3, 11) <= version[:2] < (3, 13), f"{version.major}.{version.minor}.{version.micro}"
    )


def machine() -> Finding:
    """Cores and memory."""
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    detail = f"{os.cpu_count()} cores, {gib:.0f} GiB memory, {hardware()['cpu']}"
    return Finding("machine", gib >= MIN_MEMORY_GIB, detail, f"at least {MIN_MEMORY_GIB:.0f} GiB")


def gpus() -> Finding:
    """GPUs; their absence is no fault."""
    names = hardware()["gpus"]
    return Finding(
        "gpus", True, ", ".join(names) if names else "none: everything runs on the CPU, at tiny scale"
    )


def disk() -> Finding:
    """Room where runs are written."""
    gib = shutil.disk_usage(Path.cwd()).free / 2**30
    return Finding(
        "disk", gib >= MIN_DISK_GIB, f"{gib:.0f} GiB free here", f"at least {MIN_DISK_GIB:.0f} GiB"
    )


def shared_memory() -> Finding:
    """Ray's object store lives in shared memory; containers often have 64 MiB."""
    path = Path("/dev/shm")
    if not path.exists():
        return Finding("/dev/shm", True, "absent: Ray uses files instead, which is slower")
    gib = shutil.disk_usage(path).free / 2**30
    return Finding("/dev/shm", gib >= 1, f"{gib:.1f} GiB free", "docker run --shm-size=4g")


def tiny_model() -> Finding:
    """The base model of recipe=tiny."""
    folder = Path(__file__).resolve().parent.parent / "models" / "tiny"
    there = (folder / "model.safetensors").exists()
    return Finding("tiny model", there, str(folder), "rlvr pretrain recipe=tiny")


def sandbox() -> Finding:
    """Isolation of model-written programs; only code tasks need it."""
    from rlvr.errors import RlvrError
    from rlvr.rewards.config import SandboxConfig
    from rlvr.rewards.sandbox import Sandbox

    try:
        made = Sandbox(SandboxConfig(packages=[]))
    except RlvrError as error:
        return Finding(
            "sandbox", False, error.what.replace("\n   ", ""), "docs/rewards.md says what each level needs"
        )
    weaker = "; ".join(f"no {level}: {reason}" for level, reason in made.refusals.items())
    return Finding(
        "sandbox", True, f"{made.level} for model-written programs" + (f" ({weaker})" if weaker else "")
    )


CHECKS: tuple[Callable[[], Finding], ...] = (python, machine, gpus, disk, shared_memory, sandbox, tiny_model)
ENGINES = (
    ("torch", "torch", "tensors"),
    ("transformers", "transformers", "models"),
    ("vllm", "vllm", "rollouts"),
    ("deepspeed", "deepspeed", "learning"),
    ("ray", "ray", "placement"),
    ("datasets", "datasets", "data files"),
    ("python-flint", "flint", "symbolic answers"),
    ("wandb", "wandb", "tracking (optional)"),
)
